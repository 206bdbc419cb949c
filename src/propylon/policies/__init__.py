"""The built-in policies: one file is one policy and one key in YAML.

A policy is a module with `Config`, a frozen pydantic model that refuses unknown keys, and `Policy(config, scope)`, a
class with one or more of `on_request`, `on_attempt`, `on_response`, `on_request_chunk`, `on_response_chunk`,
`on_message`, `on_error`, `on_done`; and `start` and `close`, if it has state beyond one exchange (`engine/scope.py`).
Modules here that are not policies start with an underscore.
"""
