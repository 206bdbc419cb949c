"""Endpoints from a file: every way of changing it is noticed, a mistake changes nothing, and is named with its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from propylon.services.discovery import DiscoveryError, EndpointSpec, ProviderContext
from propylon.services.discovery import file as module
from propylon.services.discovery.file import Config, Provider, endpoints_of
from tests.support.deadline import real_time, until
from tests.support.lists import lists_of, urls, watching

A, B = "http://a.test", "http://b.test"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_S", 0.03)


def provider(path: Path) -> Provider:
    return Provider(Config(path=path.name, interval="100ms"), ProviderContext("users", path.parent))


# what a file says


def test_a_file_lists_urls_and_mappings() -> None:
    text = f"# ours\n- {A}\n- {{url: {B}, weight: 3, priority: 1, zone: eu-1a, x-note: rented}}\n"
    assert endpoints_of(text.encode(), "f") == [EndpointSpec(A), EndpointSpec(B, 3, 1, "eu-1a")]


def test_json_is_read_too_also_with_tabs() -> None:
    text = f'[\n\t"{A}",\n\t{{"url": "{B}",\n\t"weight": 0}}\n]'
    assert endpoints_of(text.encode(), "f") == [EndpointSpec(A), EndpointSpec(B, 0)]
    assert endpoints_of(f'["{A}"]'.encode("utf-8-sig"), "f") == [EndpointSpec(A)]


def test_an_empty_list_says_that_there_are_none_and_an_empty_file_says_nothing() -> None:
    assert endpoints_of(b"[]", "f") == []
    for nothing in (b"", b"\n", b"# all of it\n"):
        with pytest.raises(DiscoveryError, match="is empty"):
            endpoints_of(nothing, "f")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a.test\n", "f:1:3: 0: has no scheme"),
        (
            "- http://a.test\n- {url: http://b.test, wieght: 3}\n",
            "f:2:24: 1.wieght: unknown key 'wieght', did you mean",
        ),
        ("- http://a.test\n- {url: http://b.test, weight: 1001}\n", "f:2:"),
        ("- http://a.test\n- {url: http://b.test, weight: true}\n", "f:2:"),
        ("- http://a.test\n- {weight: 1}\n", "f:2:"),
        ("- http://a.test\n- 7\n", "f:2:3: 1: should be a URL, or {url"),
        ("- [http://a.test]\n", "f:1:"),
        ("http://a.test\n", "f:1:1: should be a list"),
        ("endpoints: [http://a.test]\n", "f:1:1: should be a list"),
        ("- http://a.test\n-\thttp://b.test: [\n", "f:2:"),
        ("- &a http://a.test\n- *b\n", "f:2:3: "),
        ("- http://${HOST}\n", "f:1:3: "),
        ("- \udcff\n", "f:1:3: is not UTF-8"),
        ("null\n", "should be a list"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, says: str) -> None:
    with pytest.raises(DiscoveryError) as caught:
        endpoints_of(text.encode(errors="surrogateescape"), "f")
    assert says in str(caught.value)


def test_of_many_mistakes_a_few_are_named() -> None:
    with pytest.raises(DiscoveryError, match=r"; and 497 more$"):
        endpoints_of(b"- nonsense\n" * 500, "f")


@given(st.one_of(st.binary(max_size=80), st.text("-[]{}:,&*!|>'\"# \n\tahtp/.", max_size=40).map(str.encode)))
def test_whatever_is_in_a_file_it_is_a_list_or_an_error(content: bytes) -> None:
    try:
        listed = endpoints_of(content, "f")
    except DiscoveryError:
        return
    assert all(isinstance(found, EndpointSpec) for found in listed)


# how a file changes


async def test_a_file_that_is_written_again_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(f"- {A}\n")
    async with lists_of(provider(path)) as lists:
        await lists.until(A)
        path.write_text(f"- {A}\n- {B}\n")
        await lists.until(A, B)
        path.write_text("[]\n")
        await lists.until()


async def test_a_change_that_leaves_size_and_time_alone_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(f"- {A}\n")
    before = path.stat()
    async with lists_of(provider(path)) as lists:
        await lists.until(A)
        path.write_text(f"- {B}\n")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        await lists.until(B)


async def test_a_rename_over_the_file_is_noticed(tmp_path: Path) -> None:
    path, new = tmp_path / "users.yaml", tmp_path / "new"
    path.write_text(f"- {A}\n")
    async with lists_of(provider(path)) as lists:
        await lists.until(A)
        for url in (B, A, B):
            new.write_text(f"- {url}\n")
            new.rename(path)
            await lists.until(url)


async def test_a_config_map_whose_link_is_turned_is_noticed(tmp_path: Path) -> None:
    for name, url in (("v1", A), ("v2", B)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "users.yaml").write_text(f"- {url}\n")
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "users.yaml").symlink_to("..data/users.yaml")
    async with lists_of(provider(tmp_path / "users.yaml")) as lists:
        await lists.until(A)
        (tmp_path / "..data_tmp").symlink_to("v2")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await lists.until(B)


async def test_a_file_that_is_touched_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(f"- {A}\n")
    async with lists_of(provider(path)) as lists:
        await lists.until(A)
        path.touch()
        await lists.nothing_for(0.3)


async def test_half_of_a_list_is_not_believed_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLE_S", 0.1)
    path = tmp_path / "users.yaml"
    path.write_text(f"- {A}\n")
    async with lists_of(provider(path)) as lists:
        await lists.until(A)
        with path.open("w") as file:
            for number in range(30):
                file.write(f"- http://host-{number}.test\n")
                file.flush()
                await real_time(0.02)
        assert len(await lists.next()) == 30


# files that cannot be used


async def test_a_broken_file_keeps_the_last_endpoints_and_a_repaired_one_counts_soon(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(f"- {A}\n")
    async with watching(provider(path)) as (watch, applied):
        await until(lambda: urls(watch.found) == [A])
        path.write_text(f"- {B}\n- nonsense\n")
        await until(lambda: watch.problem is not None)
        assert (watch.problem or "").startswith(f"{path}:2:3: 1: has no scheme: write http://")
        assert urls(watch.found) == [A]
        path.write_text(f"- {B}\n")
        await until(lambda: urls(watch.found) == [B])
        assert watch.problem is None
        assert len(applied) == 2


async def test_a_file_that_is_gone_keeps_the_last_endpoints(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(f"- {A}\n")
    async with watching(provider(path)) as (watch, _):
        await until(lambda: urls(watch.found) == [A])
        path.unlink()
        await until(lambda: watch.problem is not None)
        assert watch.problem == f"{path}: cannot be read: No such file or directory"
        assert urls(watch.found) == [A]
        path.write_text(f"- {A}\n")
        await until(lambda: watch.problem is None)


async def test_the_same_mistake_is_reported_once_and_its_repair_is_seen_within_the_interval(tmp_path: Path) -> None:
    path = tmp_path / "users.yaml"
    path.write_text("- nonsense\n")
    broken = provider(path)
    async with lists_of(broken) as lists:
        with pytest.raises(DiscoveryError):
            await lists.next()
    async with lists_of(broken) as lists:  # as a watch starts it again
        await lists.nothing_for(0.3)
        path.write_text(f"- {A}\n")
        await lists.until(A)


async def test_what_is_too_large_or_no_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 10)
    path = tmp_path / "users.yaml"
    path.write_text(f"- {A}\n")
    async with lists_of(provider(path)) as lists:
        with pytest.raises(DiscoveryError, match="is larger than"):
            await lists.next()
    async with lists_of(provider(tmp_path / "..")) as lists:
        with pytest.raises(DiscoveryError, match="cannot be read: Is a directory"):
            await lists.next()


# settings


def test_a_path_alone_is_short_and_is_beside_the_configuration() -> None:
    assert Config.model_validate("users.yaml") == Config(path="users.yaml", interval=1)


@pytest.mark.parametrize("settings", [{}, "", {"path": "a", "interval": "10ms"}, {"path": "a", "pth": "b"}, 7])
def test_settings_that_cannot_work_are_refused(settings: object) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(settings)
