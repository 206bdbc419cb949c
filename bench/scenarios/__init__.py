"""What is measured, in the order of the report: requests and bodies in the clear, services, long-lived streams,
TLS.

A scenario is one function: it starts the gateway, does one run, and returns its figures by name; `report.COLUMNS` has
their headings and units.
"""

from __future__ import annotations

from bench.scenarios import https, plain, services, streams

# A group's name on the command line stands for all of its scenarios.
GROUPS = {
    "plain": plain.SCENARIOS,
    "services": services.SCENARIOS,
    "streams": streams.SCENARIOS,
    "https": https.SCENARIOS,
}
SCENARIOS = tuple(scenario for group in GROUPS.values() for scenario in group)
