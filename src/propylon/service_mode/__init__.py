"""Service mode: a gateway configured by environment variables, without a file.

`UPSTREAMS` lists services with their URLs; each is served at `/api/NAME/*`, `/sse/NAME/*` and `/ws/NAME`. The result is
an ordinary `GatewayConfig` of services, routes and policies; the rest of the gateway does not depend on the mode.

Import from the modules: `load` (environment to configuration), `variables` (the variables), `gateway` (the resulting
configuration), `answers` and `websocket_path` (the policies of the mode).
"""
