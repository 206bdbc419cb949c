"""The version: the package, the command line and the build read it from here."""

__version__ = "0.1.0"
