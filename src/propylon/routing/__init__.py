"""Which route a request takes: patterns, the router, and how a path is rewritten. Pure: no I/O, no clock, no engine."""
