"""Configuration: parses a YAML file or Python data into a frozen `GatewayConfig`, or reports every problem at once.

Import from the modules: `schema` (the models), `load` (files and text), `problems` (error reports), `types` and
`units` (durations, sizes and addresses, for the `Config` of a policy).
"""
