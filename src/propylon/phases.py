"""The phases of an exchange that policies can handle; each is the name of the policy's method."""

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
