"""`include`: a configuration in several files."""

from __future__ import annotations

from pathlib import Path

import pytest

from propylon.config import include
from propylon.config.load import Loaded, load, validate
from propylon.config.problems import ConfigError


def write(folder: Path, **files: str) -> None:
    """Write files; `__` in a name stands for a slash."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def problems(path: str = "main.yaml") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [str(problem) for problem in caught.value.problems]


def paths(loaded: Loaded) -> list[str]:
    return [route.path[0] for route in loaded.config.routes if route.path]


def route(path: str, **keys: str) -> str:
    return "\n".join([f"- path: {path}", *(f"  {key}: {value}" for key, value in (keys or {"respond": "ok"}).items())])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("conf.d", ["/main", "/a", "/b"]),
        ("conf.d/", ["/main", "/a", "/b"]),
        ("conf.d/*.yaml", ["/main", "/a", "/b"]),
        ("'**/b.yaml'", ["/main", "/b"]),
        ("conf.d/b.yaml", ["/main", "/b"]),
        ("[conf.d/b.yaml, conf.d/a.yaml]", ["/main", "/b", "/a"]),
        ("none.d/*.yaml", ["/main"]),
        ("${CONF}/a.yaml", ["/main", "/a"]),
    ],
)
def test_files_directories_and_patterns_are_joined_in_order(
    folder: Path, value: str, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONF", "conf.d")
    write(
        folder,
        main=f"include: {value}\nroutes:\n{route('/main')}",
        conf__d="",
        **{"conf.d__b": f"routes:\n{route('/b')}", "conf.d__a": f"routes:\n{route('/a')}"},
    )
    (folder / "conf.d" / ".hidden.yaml").write_text("nonsense: 1")
    (folder / "conf.d" / "README.md").write_text("nonsense: 1")
    assert paths(load("main.yaml")) == found


def test_paths_to_include_are_relative_to_the_file_that_names_them(folder: Path) -> None:
    write(
        folder,
        main="include: teams/a/all.yaml",
        teams__a__all=f"include: ['*.d', ../b.yaml]\nroutes:\n{route('/all')}",
        teams__b=f"routes:\n{route('/b')}",
        **{"teams__a__one.d__one": f"routes:\n{route('/one')}"},
    )
    (folder / "teams/a/all.yaml").write_text(f"include: [one.d, ../b.yaml]\nroutes:\n{route('/all')}")
    assert paths(load("main.yaml")) == ["/all", "/one", "/b"]
    assert paths(load(folder / "main.yaml")) == ["/all", "/one", "/b"]


def test_other_paths_are_relative_to_the_folder_of_the_main_file(folder: Path) -> None:
    (folder / "404.html").write_text("gone")
    (folder / "token").write_text("s3cret")
    write(
        folder,
        main="include: [conf/a.yaml]",
        conf__a="errors: {pages: {'404': 404.html}}\npolicies: [{headers: {request: {set: {a: {from_file: token}}}}}]",
    )
    loaded = load("main.yaml")
    assert loaded.config.errors.pages == {"404": folder / "404.html"}
    assert loaded.secrets == {"s3cret"}
    assert loaded.files == {Path("main.yaml"), Path("conf/a.yaml"), Path("token")}


def test_mappings_are_joined(folder: Path) -> None:
    write(
        folder,
        main="include: more.yaml\nlimits: {header_count: 7}\nservices: {a: {endpoints: http://a}}",
        more="limits: {request_line: 1KiB}\nlog: {level: error}\nservices: {b: {endpoints: http://b}}",
    )
    config = load("main.yaml").config
    assert (config.limits.header_count, config.limits.request_line, config.log.level) == (7, 1024, "error")
    assert list(config.services) == ["a", "b"]


def test_anchors_merge_keys_and_extensions_belong_to_their_file(folder: Path) -> None:
    one = "x-base: &base {endpoints: http://{}}\nservices: {{}: {<<: *base, retry: 1}}"
    write(
        folder,
        main="include: [a.yaml, b.yaml]",
        a=one.replace("{}", "a"),
        b=one.replace("{}", "b"),
    )
    services = load("main.yaml").config.services
    assert [service.endpoints[0].url for service in services.values()] == ["http://a", "http://b"]


def test_what_two_files_give_is_refused_with_both_places(folder: Path) -> None:
    write(
        folder,
        main="include: [a.yaml]\nlisten: ':80'\nlimits: {header_count: 7}\nservices: {a: {endpoints: http://a}}",
        a="listen: ':81'\nlimits: {header_count: 8}\nroutes: []\nservices:\n  <<: {a: {endpoints: http://b}}",
    )
    assert problems() == [
        "a.yaml:1:1: listen: duplicate key 'listen', first in main.yaml:2, lists and mappings can be in several files",
        "a.yaml:2:10: limits.header_count: duplicate key 'header_count', first in main.yaml:3",
        "a.yaml:5:8: services.a: duplicate key 'a', first in main.yaml:4",
    ]


def test_problems_of_all_files_come_together_each_in_its_place(folder: Path) -> None:
    write(
        folder,
        main=f"include: [a.yaml, b.yaml, c.yaml, none.yaml]\nnope: 1\nroutes:\n{route('x')}",
        a=f"routes:\n{route('/a', service='b', stripp='/')}\n",
        b="services: {b: {endpoints: [ftp://b]}}\nname: ${UNSET}",
        c="routes: [",
    )
    found = problems()
    assert [problem.partition(": ")[0] for problem in found] == [
        "main.yaml:1:35", "main.yaml:2:1", "main.yaml:4:9", "a.yaml:4:3", "b.yaml:1:28", "b.yaml:2:7", "c.yaml:2:1",
    ]  # fmt: skip
    assert "there is no file none.yaml" in found[0]
    assert "routes.1.stripp: unknown key 'stripp'" in found[3]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"main": "include: main.yaml"}, "main.yaml:1:10: include: main.yaml includes itself"),
        ({"main": "include: '*.yaml'"}, "main.yaml:1:10: include: main.yaml includes itself"),
        ({"main": "include: a.yaml", "a": "include: b.yaml", "b": "x-a: 1\ninclude: a.yaml"}, "b.yaml:2:10: include: "),
        ({"main": "include: [a.yaml, a.yaml]", "a": "x-a: 1"}, "main.yaml:1:19: include: a.yaml is included already, "),
        ({"main": "include: [a.yaml]", "a": "[1]"}, "a.yaml:1:1: include: should be a mapping"),
        ({"main": "include:"}, "main.yaml:1:9: include: should be the path"),
        ({"main": "include: {a: b}"}, "main.yaml:1:10: include: should be the path"),
        ({"main": "include: [5, a]"}, "main.yaml:1:11: include: should be the path"),
        ({"main": "include: '${UNSET}'"}, "main.yaml:1:10: include: the environment variable UNSET is not set"),
        ({"main": "include: [a.yaml]", "a": "routes: {a: 1}\nnope: 1"}, "a.yaml:1:1: routes: should be a list"),
        ({"main": "policies: [{hsts: {include: a}}]"}, "main.yaml:1:20: policies.0.hsts.include: unknown key"),
    ],
)
def test_what_cannot_be_included_is_refused(folder: Path, files: dict[str, str], message: str) -> None:
    write(folder, **files)
    assert problems()[0].startswith(message)


def test_a_link_to_itself_and_a_deep_chain_are_refused(folder: Path) -> None:
    (folder / "link.yaml").symlink_to("main.yaml")
    write(folder, main="include: link.yaml")
    assert problems() == [
        "main.yaml:1:10: include: link.yaml includes itself, put the files to include into a directory of their own"
    ]
    write(folder, main="include: f1.yaml", **{f"f{n}": f"include: f{n + 1}.yaml" for n in range(1, 20)})
    assert problems() == ["f10.yaml:1:1: include: files are included more than 10 levels deep"]


def test_the_number_and_the_size_of_files_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, main="include: d", **{f"d__{n}": "x-a: 1" for n in range(5)})
    monkeypatch.setattr(include, "MAX_FILES", 3)
    assert all("includes more than 3 files" in problem for problem in problems())
    monkeypatch.setattr(include, "MAX_FILES", 1000)
    monkeypatch.setattr("propylon.config.document.MAX_FILE_BYTES", 20)
    assert "includes more than 0 MiB" in problems()[0]


def test_an_empty_file_adds_nothing(folder: Path) -> None:
    write(folder, main=f"include: d\nroutes:\n{route('/main')}", d__empty="# nothing yet\n")
    assert paths(load("main.yaml")) == ["/main"]


def test_what_was_read_and_missed_is_known_for_a_reload(folder: Path) -> None:
    write(folder, main="include: [d, 'e/*.yml', none.yaml]", d__a="nope: 1")
    with pytest.raises(ConfigError) as caught:
        load("main.yaml")
    assert caught.value.files == (Path("main.yaml"), Path("d/a.yaml"), Path("none.yaml"))
    write(folder, main="include: [d, 'e/*.yml']", d__a="x-a: 1")
    assert load("main.yaml").patterns == {"d/*.yaml", "d/*.yml", "e/*.yml"}


def test_a_program_does_not_include_files() -> None:
    with pytest.raises(ConfigError, match="include: 'include' is for files"):
        validate({"include": ["conf.d"]})
