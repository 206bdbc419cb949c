"""Errors of building a configuration."""


class BuildError(ValueError):
    """A valid configuration that cannot be built; the message names the key and the reason."""
