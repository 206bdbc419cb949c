"""WebSockets: the upgrade of an exchange, and the tunnel after it (RFC 6455)."""
