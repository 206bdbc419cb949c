"""The built-in policies: one file is one policy and one key in YAML.

A policy is a module with `Config`, a frozen pydantic model that refuses unknown keys, and `Policy(config)`, a class
with any of `on_request`, `on_attempt`, `on_response`, `on_request_chunk`, `on_response_chunk`, `on_message`,
`on_error`, `on_done`.
Modules here that are no policy begin with an underscore.
"""
