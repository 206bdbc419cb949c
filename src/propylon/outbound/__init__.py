"""Connections from the gateway to endpoints: addresses, names, TLS, and the connection itself."""
