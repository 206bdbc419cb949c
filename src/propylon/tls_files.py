"""Reload of certificates that are replaced on disk, of listeners and towards endpoints.

A new pair is accepted completely or not at all: while certificate and key do not match, as when only one of the two has
been written, the old pair stays in use. A failure is logged once, and the files are read again when one changes.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final, Protocol

from propylon.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_SECONDS: Final = 3.0  # between two checks of the files

_FileState = tuple[int, int, int] | None

log = logging.getLogger("propylon.tls")


class Reloadable(Protocol):
    """TLS settings that are read from files."""

    @property
    def files(self) -> list[str]:
        """All files that are read."""

    def reload(self) -> None:
        """Read all files again. Raises `TlsError`, then nothing changes."""


class CertificateFiles:
    """The certificate files of one listener or service, with their state when last read."""

    __slots__ = ("_owner", "_stat", "_states", "_tls")

    def __init__(self, tls: Reloadable, owner: str, stat: Callable[[str], os.stat_result] = os.stat) -> None:
        """`owner`: name of the listener or the service in the log; `stat`: as `os.stat`, raises `OSError`."""
        self._tls = tls
        self._owner = owner
        self._stat = stat
        self._states = self._file_states()

    def refresh(self) -> None:
        """Read the files again if one of them has changed."""
        found = self._file_states()
        if found == self._states:
            return
        self._states = found
        try:
            self._tls.reload()
        except (TlsError, OSError) as error:
            log.error("%s: the certificates that were there stay in use: %s", self._owner, error)
        else:
            log.info("%s: took up the certificates that have changed", self._owner)

    def _file_states(self) -> dict[str, _FileState]:
        """Return the state of each file. Symbolic links are followed: certificate managers replace their targets."""
        return {path: self._file_state(path) for path in self._tls.files}

    def _file_state(self, path: str) -> _FileState:
        try:
            found = self._stat(path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
