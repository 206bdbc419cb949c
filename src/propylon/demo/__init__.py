"""The files of `propylon demo`: three small services, a configuration and its policies."""
