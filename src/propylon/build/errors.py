"""Errors of building a configuration."""


class BuildError(ValueError):
    """A valid configuration that cannot be built.

    Attributes:
        messages: every reason; each begins with the path of keys.
    """

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


class StartError(BuildError):
    """A policy that cannot be started, as for want of what it connects to: no problem of the configuration."""
