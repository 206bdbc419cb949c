"""`python -m bench.soak`: run, print how it goes, end with 0 if nothing was wrong."""

from bench.soak.command import command
from bench.soak.run import soak
from bench.soak.settings import Settings

command("soak", "Hours of a gateway's life in minutes, on loopback.", Settings, soak)
