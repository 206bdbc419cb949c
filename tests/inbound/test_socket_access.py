"""Who may connect to a Unix socket."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

import pytest

from propylon.inbound.socket_access import DEFAULT_ACCESS, SocketAccess


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "socket"
    made.touch(0o600)
    return made


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_owner_and_group_may_connect_unless_told_otherwise(path: Path) -> None:
    DEFAULT_ACCESS.apply(str(path))
    assert mode_of(path) == 0o660
    SocketAccess(0o600).apply(str(path))
    assert mode_of(path) == 0o600


def test_user_and_group_are_names_or_numbers(path: Path) -> None:
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    SocketAccess(owner=user, group=group).apply(str(path))
    SocketAccess(owner=os.getuid(), group=os.getgid()).apply(str(path))
    assert (path.stat().st_uid, path.stat().st_gid) == (os.getuid(), os.getgid())


@pytest.mark.parametrize(
    ("access", "message"),
    [
        (SocketAccess(owner="nobody-of-this-name"), "there is no user 'nobody-of-this-name'"),
        (SocketAccess(group="no-group-of-this-name"), "there is no group 'no-group-of-this-name'"),
    ],
)
def test_an_unknown_name_is_told_before_the_mode_is_set(access: SocketAccess, message: str, path: Path) -> None:
    with pytest.raises(LookupError, match=message):
        access.apply(str(path))
    assert mode_of(path) == 0o600
