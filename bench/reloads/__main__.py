"""`python -m bench.reloads`: run, print figures, end with 0 if nothing was wrong."""

import argparse

import uvloop

from bench.reloads.run import Settings, reloads

usual = Settings()
parser = argparse.ArgumentParser(prog="reloads", description="Reloads of a busy gateway, on loopback.")
parser.add_argument("--reloads", type=int, default=usual.reloads, help=f"how many (default {usual.reloads})")
parser.add_argument("--routes", type=int, default=usual.routes, help=f"in the file (default {usual.routes})")
parser.add_argument("--clients", type=int, default=usual.clients, help=f"that ask (default {usual.clients})")
given = parser.parse_args()
verdict = uvloop.run(reloads(Settings(given.reloads, given.routes, given.clients)))
print(verdict)
raise SystemExit(1 if verdict.faults else 0)
