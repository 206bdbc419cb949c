"""WebSockets: the upgrade of an exchange, and the tunnel behind it (RFC 6455)."""
