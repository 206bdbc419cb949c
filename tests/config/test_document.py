"""YAML as it is read here: one document, the core schema, bounded, and every node in its place."""

import codecs
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from propylon.config import document
from propylon.config.problems import ConfigError, ConfigSource
from propylon.config.resolve import Resolver


def read(text: str, environment: Mapping[str, str] | None = None, base_dir: Path | None = None) -> ConfigSource:
    root = document.parse(text, "f.yaml")
    assert root is not None
    resolver = Resolver("f.yaml", base_dir or Path(), environment or {})
    source = resolver.source(root)
    if resolver.problems:
        raise ConfigError(resolver.problems)
    return source


def problems(text: str, **options: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        read(text, **options)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: no", {"a": "no"}),
        ("no: 1", {"no": 1}),
        ("404: a", {"404": "a"}),
        ("a: '1'", {"a": "1"}),
        ('a: "${B}"', {"a": "7"}),
        ("a: ${B}", {"a": 7}),
        ("a: ${EMPTY}", {"a": None}),
        ("a: x${B}", {"a": "x7"}),
        ("a: $${B}", {"a": "${B}"}),
        ("${B}: a", {"${B}": "a"}),
        ("a: |\n  ${B}\n", {"a": "7\n"}),
        ("a: !!str 1", {"a": "1"}),
        ("a: !!int '1'", {"a": 1}),
        ("a: ! 1", {"a": "1"}),
        ("a: [1, [2]]", {"a": [1, [2]]}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("%YAML 1.2\n---\na: 1\n...\n", {"a": 1}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("a: {<<: [{b: 1}, {b: 2, c: 3}]}", {"a": {"b": 1, "c": 3}}),
        ("a: {c: 3, <<: {<<: {b: 1}, c: 2}}", {"a": {"b": 1, "c": 3}}),
        ("a: {'<<': 1}", {"a": {"<<": 1}}),
    ],
)
def test_a_document_has_this_data(text: str, data: Any) -> None:
    assert read(text, {"B": "7", "EMPTY": ""}).data == data


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2", "f.yaml:2:1: a: duplicate key 'a', first in line 1"),
        ("a: {b: 1, c: 2, b: 3}", "f.yaml:1:17: a.b: duplicate key 'b', first in line 1"),
        ("? [a]\n: 1", "f.yaml:1:3: a key is text, not a list or a mapping"),
        ("a: {<<: 1}", "f.yaml:1:9: a.<<: '<<' merges mappings only"),
        ("a: &x [*x]", "f.yaml:1:8: *x is inside of what it stands for"),
        ("a: !!int b", "f.yaml:1:4: a: is not of its type !!int"),
        ("a: !!int true", "f.yaml:1:4: a: is not of its type !!int"),
        ("a: !!set {b}", "is not supported"),
        ("a: !mine b", "the tag '!mine' is not supported"),
        ("a: !!seq {}", "is not supported"),
        ("a: 1\n--- \nb: 1", "f.yaml:2:1: a second document begins here"),
        ("a: [1", "not YAML"),
        ("a: 'b", "not YAML"),
        ("a: \x00", "not YAML"),
        ("a: \ud800", "not Unicode text"),
        ('a: "\\UFFFFFFFF"', "not YAML"),
        ("a: b: c", "put text that has ': ' in quotes"),
    ],
)
def test_a_wrong_document_says_where(text: str, problem: str) -> None:
    assert problem in problems(text)


def test_every_value_and_key_has_its_place() -> None:
    source = read("a:\n  - b\n  -  c: d\n")
    assert str(source.problem(("a", 0), "m")) == "f.yaml:2:5: a.0: m"
    assert str(source.problem(("a", 1, "c"), "m")) == "f.yaml:3:9: a.1.c: m"
    assert str(source.problem(("a", 1, "c"), "m", at_key=True)) == "f.yaml:3:6: a.1.c: m"
    assert str(source.problem(("a", 1, "missing"), "m")) == "f.yaml:3:6: a.1.missing: m"
    assert str(source.problem(("a",), "m")) == "f.yaml:1:1: a: m"


def test_columns_count_characters() -> None:
    assert str(read("ä: [ö, ü]").problem(("ä", 1), "m")) == "f.yaml:1:8: ä.1: m"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused(opening: str) -> None:
    assert "f.yaml:" in problems(opening * 50_000)


def test_nesting_by_aliases_is_refused() -> None:
    lines = ["a0: &a0 [1]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 300)]
    assert "nested more than 100 levels deep when its aliases are expanded" in problems("\n".join(lines))


def test_a_billion_laughs_are_refused() -> None:
    lines = ["a0: &a0 [lol, lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    assert "when its aliases are expanded" in problems("\n".join(lines))


def test_a_billion_merges_are_refused() -> None:
    lines = ["a0: &a0 {b: 1}"] + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 20)]
    assert "when its aliases are expanded" in problems("\n".join(lines))


def test_a_file_that_is_not_utf_8_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"f\.yaml:2:5: is not UTF-8: byte 0xff, save the file as UTF-8"):
        document.decode(b"a: 1\n\xc3\xa4b: \xff", "f.yaml")


def test_a_byte_order_mark_is_skipped() -> None:
    assert document.decode(codecs.BOM_UTF8 + b"a: 1", "f.yaml") == "a: 1"


def test_a_file_of_more_than_16_mib_is_refused() -> None:
    with pytest.raises(ConfigError, match="is larger than 16 MiB"):
        document.decode(b"#" * (document.MAX_FILE_BYTES + 1), "f.yaml")


def test_a_secret_comes_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("  s3cret\n")
    source = read("policies: [{auth: {key: {from_file: key}}}]", base_dir=tmp_path)
    assert source.data == {"policies": [{"auth": {"key": "s3cret"}}]}
    assert ("policies", 0, "auth", "key") in source.secrets


def test_from_file_is_a_plain_key_outside_of_policies() -> None:
    assert read("routes: [{docs: {from_file: key}}]").data == {"routes": [{"docs": {"from_file": "key"}}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b" \n", "is empty"),
        (b"\xff", "is not UTF-8 text"),
        (b"x" * (1024 * 1024 + 1), "too large for a secret"),
    ],
)
def test_a_secret_that_cannot_be_used_is_a_problem(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    found = problems("policies: [{auth: {key: {from_file: key}}}]", base_dir=tmp_path)
    assert found.startswith("f.yaml:1:37: policies.0.auth.key.from_file:")
    assert message in found


def test_a_secret_file_is_named_by_text() -> None:
    assert "should be the path of a file" in problems("policies: [{auth: {key: {from_file: 1}}}]")


def test_a_missing_variable_in_the_name_of_a_secret_file_is_one_problem() -> None:
    assert problems("policies: [{auth: {key: {from_file: '${NOPE}'}}}]").count("\n") == 0


FRAGMENTS = st.sampled_from(
    ["a", "b: ", "- ", "\n", "  ", "{", "}", "[", "]", ", ", "&x ", "*x", "<<: ", "'", '"', "|\n", "!!int ", "---\n",
     "${A}", "${", "? ", ": ", "#", "\t", "%YAML 1.1\n", "1", "~", "\x85", "\ufeff", "ä"]
)  # fmt: skip


def data_or_problem(text: str) -> None:
    try:
        root = document.parse(text, "f.yaml")
        if root is not None:
            Resolver("f.yaml", Path(), {"A": "1"}).source(root)
    except ConfigError:
        pass


@given(st.one_of(st.text(), st.lists(FRAGMENTS, max_size=30).map("".join)))
def test_any_text_is_data_or_a_problem(text: str) -> None:
    data_or_problem(text)


@given(st.lists(FRAGMENTS, max_size=30).map("".join))
def test_any_text_is_data_or_a_problem_without_the_c_parser(text: str) -> None:
    fast, document.LOADER = document.LOADER, yaml.SafeLoader  # type: ignore[misc]
    try:
        data_or_problem(text)
    finally:
        document.LOADER = fast  # type: ignore[misc]


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.text(st.characters(codec="utf-8"))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text("abc", min_size=1), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON)
def test_what_is_dumped_is_read_again(value: Any) -> None:
    text = yaml.safe_dump({"value": value}, default_style='"', allow_unicode=True).replace("${", "$${")
    assert read(text).data == {"value": value}
