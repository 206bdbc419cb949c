"""Where the programs of a run come from: the system, the benchmark's own Python environment, its node_modules.

What is missing is installed: system packages through apt-get when run by root, all else below `bench/.cache`, which is
git-ignored. The load's C programs are compiled there. Versions are pinned, because a ratio to a peer means something
only when it says which peer.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

from bench.errors import Unavailable

BENCH = Path(__file__).resolve().parent
REPOSITORY = BENCH.parent
CACHE = BENCH / ".cache"
PROGRAMS = BENCH / "peers" / "programs"
LOAD = BENCH / "load"
PYTHON = CACHE / "venv" / "bin" / "python"
NODE = CACHE / "node"
PROJECT_PYTHON = REPOSITORY / ".venv" / "bin" / "python"

# executable -> Debian package
SYSTEM = {
    "wrk": "wrk",
    "nginx": "nginx",
    "curl": "curl",
    "taskset": "util-linux",
    "chrt": "util-linux",
    "openssl": "openssl",
    "cc": "gcc libc6-dev",
    "haproxy": "haproxy",
    "node": "nodejs",
    "npm": "npm",
}
REQUIRED = ("wrk", "nginx", "curl", "taskset", "openssl")
NODE_PACKAGES = {
    "private": True,
    "dependencies": {
        "fast-gateway": "5.0.1",
        "fastify": "5.12.8",
        "@fastify/http-proxy": "11.6.3",
        "http-proxy": "1.18.1",
    },
    # fast-gateway 5.0.1 asks for a version of this one that was never published.
    "overrides": {"fast-proxy-lite": "1.1.2"},
}


def require_system(names: Iterable[str] = REQUIRED) -> None:
    """Install the system's programs that are missing, or end with the command that does.

    Raises SystemExit when one of them is still missing.
    """
    missing = sorted({SYSTEM[name] for name in names if find(name) is None})
    if not missing:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing {' '.join(missing)}")
        subprocess.run(install, check=False, stdout=subprocess.DEVNULL, timeout=600)
    if any(find(name) is None for name in names):
        raise SystemExit(f"the benchmark needs {', '.join(missing)}; install with:  sudo {' '.join(install)}")


def executable(name: str) -> str:
    """The path of a system program that one peer needs; Unavailable("absent") without it."""
    path = find(name)
    if path is None:
        raise Unavailable("absent", f"{name} is not installed (apt-get install {SYSTEM[name]})")
    return path


def find(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


@cache
def python_packages(*pins: str) -> Path:
    """The benchmark environment's Python, with these `name==version` packages in it.

    Raises Unavailable("absent") when they cannot be installed on this machine.
    """
    if not PYTHON.exists():
        install([sys.executable, "-m", "venv", str(CACHE / "venv")])
    there = installed_python()
    wanted = [pin for pin in pins if there.get(pin.split("==")[0]) != pin.split("==")[1]]
    if wanted:
        say(f"installing {' '.join(wanted)}")
        install([str(PYTHON), "-m", "pip", "install", "--quiet", *wanted])
    return PYTHON


@cache
def node_packages() -> Path:
    """The directory whose node_modules holds the Node.js peers; Unavailable("absent") when npm cannot fill it."""
    npm = executable("npm")
    manifest = NODE / "package.json"
    wanted = json.dumps(NODE_PACKAGES, indent=2) + "\n"
    if not manifest.exists() or manifest.read_text() != wanted or not (NODE / "node_modules").is_dir():
        NODE.mkdir(parents=True, exist_ok=True)
        say("installing the Node.js peers")
        manifest.write_text(wanted)
        try:
            install([npm, "install", "--no-audit", "--no-fund", "--prefix", str(NODE)])
        except BaseException:
            # The manifest says what is installed whole, and an interrupt leaves half of it.
            manifest.unlink()
            raise
    return NODE


@cache
def c_program(name: str) -> str:
    """The path of a program of `load/`, compiled when a source is newer; Unavailable("absent") when it cannot be."""
    program = CACHE / "load" / name
    newest = max(source.stat().st_mtime for source in LOAD.glob("*.[ch]"))
    if not program.exists() or program.stat().st_mtime < newest:
        program.parent.mkdir(parents=True, exist_ok=True)
        say(f"compiling {name}.c")
        options = ["-std=gnu11", "-O2", "-Wall", "-Wextra"]
        install([executable("cc"), *options, "-o", str(program), str(LOAD / f"{name}.c")])
    return str(program)


def installed_python() -> dict[str, str]:
    """Name -> version of what the benchmark's Python environment holds."""
    places = [str(path) for path in (CACHE / "venv" / "lib").glob("python*/site-packages")]
    return {found.metadata["Name"]: found.version for found in metadata.distributions(path=places)}


def node_version(package: str) -> str:
    manifest = NODE / "node_modules" / package / "package.json"
    return str(json.loads(manifest.read_text())["version"])


def install(command: list[str]) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable("absent", str(error)) from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable("absent", lines[-1] if lines else f"{command[0]} failed")


def say(text: str) -> None:
    """Progress and reasons go to the terminal's error stream; standard output is the report alone."""
    print(text, file=sys.stderr, flush=True)
