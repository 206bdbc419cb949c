"""The rules of HTTP without I/O, shared by both sides of the gateway."""
