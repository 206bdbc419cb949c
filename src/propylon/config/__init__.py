"""Configuration: from a YAML file or Python data to one frozen `GatewayConfig`, or to every problem at once.

Import from the modules: `schema` (the models), `load` (files and text), `problems` (what is shown to people),
`types` and `units` (durations, sizes and addresses, for the `Config` of a policy).
"""
