"""Long downloads and uploads whose service dies in the middle; what comes of them is judged as in the soak run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.soak.asks import Ask, new_token, upload_of

if TYPE_CHECKING:
    from bench.chaos.load import ChaosLoad
    from bench.soak.load import Role


async def downloading(load: ChaosLoad) -> None:
    """Takes a body that is sent for a second: the whole of it, or in an outage its beginning and a cut."""
    await load.turn()
    connection = await load.connect()
    options = load.choose.choice(("pause=20", "pause=20&chunked=1"))
    try:
        await load.exchange(connection, Ask(new_token(), "shaky", size=800_000, options=options))
    finally:
        connection.close()


async def uploading(load: ChaosLoad) -> None:
    """Sends a body for a second: an answer that counts all of it, or in an outage one that says so."""
    await load.turn()
    connection = await load.connect()
    token = new_token()
    chunked = load.choose.random() < 0.5
    ask = Ask(token, "shaky", b"POST", upload_of(token, 800_000), chunked, size=500)
    try:
        await load.exchange(connection, ask, pause=0.02)
    finally:
        connection.close()


BODY_ROLES: dict[Role, int] = {downloading: 3, uploading: 3}
"""How many clients play each role at a time."""
