"""Service mode: a whole gateway from environment variables, without a file.

`UPSTREAMS` names services and where they run; each is reached at `/api/NAME/*`, `/sse/NAME/*` and `/ws/NAME`. What
comes out is an ordinary `GatewayConfig` of services, routes and policies: nothing but this package knows of the mode.

Import from the modules: `load` (environment to configuration), `variables` (what may be set), `gateway` (what is made
of it), `answers` and `websocket_path` (the policies it needs).
"""
