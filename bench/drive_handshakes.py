"""The load of TLS handshakes: several `openssl s_time`, and one client that keeps its connection meanwhile.

s_time connects, agrees on keys, closes, and begins anew, without resumption. It is as dear as a gateway's side of the
handshake, or dearer, so it gets the processor only when nobody else wants it (sched(7), SCHED_IDLE): the kept client
beside it and the upstream wait for the gateway, and not for the processor they share with the load.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import measure
from bench.drive import pinned
from bench.errors import Unavailable
from bench.identity import Identity
from bench.processes import LOAD_CORE, Running
from bench.tools import LOAD, executable

AT_A_TIME = 8
# s_time counts whole seconds by the clock, and may take one more than it was asked for.
SLACK_SECONDS = 2
PATIENCE_SECONDS = 15
RATE = 200


@contextmanager
def handshakes(program: Running, identity: Identity, seconds: int) -> Iterator[list[measure.Handshakes]]:
    """Make handshakes while the block runs, and until they end; then the list holds what they came to.

    Raises Unavailable("errors") when one of the programs fails, ("slow") when one does not end.
    """
    target = ["-connect", f"127.0.0.1:{program.port}", "-new", "-time", str(seconds)]
    command = [executable("chrt"), "--idle", "0", executable("taskset"), "-c", str(LOAD_CORE), executable("openssl")]
    environment = {**os.environ, **identity.environment}
    found: list[measure.Handshakes] = []
    started = time.perf_counter()
    clients = [
        subprocess.Popen([*command, "s_time", *target], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(AT_A_TIME)
    ]
    try:
        yield found
        outputs = [client.communicate(timeout=seconds + PATIENCE_SECONDS)[0] for client in clients]
        took = time.perf_counter() - started
        found.append(measure.Handshakes(sum(map(measure.parse_s_time, outputs)), took))
    except subprocess.TimeoutExpired as error:
        raise Unavailable("slow", f"openssl s_time did not end in {seconds + PATIENCE_SECONDS} s") from error
    except ValueError as error:
        raise Unavailable("errors", f"{error}; {program.last_words()}") from error
    finally:
        for client in clients:
            client.kill()
            client.wait()


def kept_client(program: Running, identity: Identity, path: str, seconds: int) -> measure.Latencies:
    """One TLS connection, `RATE` requests a second on schedule; Unavailable("errors") when one is not answered."""
    arguments = [program.port, path, RATE, seconds, identity.certificate]
    command = [sys.executable, str(LOAD / "kept_client.py"), *map(str, arguments)]
    output = pinned(command, seconds + PATIENCE_SECONDS, identity)
    try:
        return measure.parse_latencies(output)
    except ValueError as error:
        raise Unavailable("errors", f"the kept client: {output.strip()[-200:]}; {program.last_words()}") from error
