"""The phases of an exchange in which policies take part; each is the name of the method that a policy has for it."""

from typing import Final

PHASES: Final = (
    "on_request",
    "on_attempt",
    "on_response",
    "on_request_chunk",
    "on_response_chunk",
    "on_message",
    "on_error",
    "on_done",
)
