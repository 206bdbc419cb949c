"""Who may connect to a Unix socket: the mode, owner and group of its file."""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from typing import Final

UNIX_MODE: Final = 0o660
"""Owner and group may connect; add other users to the group."""


@dataclass(frozen=True, slots=True)
class SocketAccess:
    """Mode, owner and group of a socket's file; `None` for those of the process."""

    mode: int = UNIX_MODE
    owner: str | int | None = None
    group: str | int | None = None

    def apply(self, path: str) -> None:
        """Set them. Raises `OSError`, or `LookupError` with a sentence if there is no such user or group."""
        if self.owner is not None or self.group is not None:
            os.chown(path, _user(self.owner), _group(self.group))
        os.chmod(path, self.mode)  # last: it may give more than before


DEFAULT_ACCESS: Final = SocketAccess()


def _user(owner: str | int | None) -> int:
    if owner is None or isinstance(owner, int):
        return -1 if owner is None else owner
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise LookupError(f"there is no user {owner!r}: create it, or write a number") from None


def _group(group: str | int | None) -> int:
    if group is None or isinstance(group, int):
        return -1 if group is None else group
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise LookupError(f"there is no group {group!r}: create it, or write a number") from None
