"""Builds a snapshot from a validated configuration. It may import everything below the runtime."""
