"""The command line. Every module here is one command and has it as `command`; helpers begin with an underscore.

A module is imported to list the commands, so it imports click and what is as light; the rest when it runs.
"""
