"""What building a configuration may fail with."""


class BuildError(ValueError):
    """A configuration whose keys are right and that cannot be carried out; the message says where and why."""
