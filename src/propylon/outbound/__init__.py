"""Connections to endpoints: name resolution, connecting, TLS, pools, and the protocol."""
