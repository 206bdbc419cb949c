"""Proxies one writes in an hour with Python's HTTP libraries, on uvloop: what a gateway in Python is compared to."""

from __future__ import annotations

from functools import partial

from bench.peers.peer import Peer, Place
from bench.processes import Command
from bench.tools import PROGRAMS, python_packages

AIOHTTP = ("aiohttp==3.14.5", "uvloop==0.23.0")
HTTPX = ("starlette==1.10.0", "httpx==0.28.1", "uvicorn==0.54.0", "httptools==0.9.0", "uvloop==0.23.0")


def install(pins: tuple[str, ...]) -> str:
    python_packages(*pins)
    return ", ".join(pin.replace("==", " ") for pin in pins)


def command(pins: tuple[str, ...], program: str, place: Place) -> Command:
    return Command([str(python_packages(*pins)), str(PROGRAMS / program), str(place.port), place.upstream])


AIOHTTP_PROXY = Peer("aiohttp", partial(install, AIOHTTP), partial(command, AIOHTTP, "aiohttp_proxy.py"))
HTTPX_PROXY = Peer("Starlette+httpx", partial(install, HTTPX), partial(command, HTTPX, "httpx_proxy.py"))
