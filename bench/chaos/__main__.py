"""`python -m bench.chaos`: run, print how it goes, end with 0 if nothing was wrong."""

from bench.chaos.run import chaos
from bench.chaos.settings import Settings
from bench.soak.command import command

command("chaos", "Streams whose peers die, vanish, freeze and lie, on loopback.", Settings, chaos)
