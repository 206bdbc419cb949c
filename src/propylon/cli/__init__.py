"""The command line. Every module here defines one command as `command`; modules of helpers begin with an underscore.

Modules are imported to list the commands, so they import only click and light modules; the rest when they run.
"""
