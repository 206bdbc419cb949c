"""Certificates that are replaced on disk are taken up while the gateway runs.

A new pair is read as a whole or not at all: as long as certificate and key do not fit together, say because one of the
two has not been written yet, the old ones stay. What cannot be read is told once, and tried again when a file changes.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from propylon.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from propylon.inbound.tls import ListenerTls

LOOK_SECONDS: Final = 3.0  # between two looks at the files

_Trace = tuple[int, int, int] | None

log = logging.getLogger("propylon.tls")


class CertificateFiles:
    """The files of one listener, and how they were when they were read."""

    __slots__ = ("_address", "_seen", "_stat", "_tls")

    def __init__(self, tls: ListenerTls, address: str, stat: Callable[[str], os.stat_result] = os.stat) -> None:
        """`address` names the listener in the log; `stat` looks at a file and raises `OSError`."""
        self._tls = tls
        self._address = address
        self._stat = stat
        self._seen = self._look()

    def refresh(self) -> None:
        """Read the files anew if one of them has changed."""
        found = self._look()
        if found == self._seen:
            return
        self._seen = found
        try:
            self._tls.reload()
        except (TlsError, OSError) as error:
            log.error("%s: the certificates that were there stay in use: %s", self._address, error)
        else:
            log.info("%s: took up the certificates that have changed", self._address)

    def _look(self) -> dict[str, _Trace]:
        """Symbolic links are followed: certificate managers replace the file behind the link."""
        return {path: self._trace(path) for path in self._tls.files}

    def _trace(self, path: str) -> _Trace:
        try:
            found = self._stat(path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size
