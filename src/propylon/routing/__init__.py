"""Routing: patterns, the router, and path rewriting. Pure: no I/O, no clock, no engine."""
