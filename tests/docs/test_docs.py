"""The documentation is up to date, its configurations are valid, its programs run, and its links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from propylon import Gateway
from propylon.cli.main import main
from propylon.config.json_schema import json_schema
from tests.support.config import load_text, written

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```([a-z]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"^(?:\.\./)*\.venv/bin/propylon ((?:check|routes|explain) .*?)(?: > .*)?$", re.MULTILINE)
FOLDER = re.compile(r"\broot: ([a-z]+)")
CERTIFICATE = re.compile(r"certs/[a-z.]+")
README_LINES = 120
SCHEMA = Draft202012Validator(json_schema())


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def generator(file: str = "generate.py") -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{Path(file).stem}", ROOT / "docs" / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(kind: str) -> list[Any]:
    """Every block of a kind in all pages."""
    return [
        pytest.param(path, text, id=f"{name(path)}:{number}")
        for path in PAGES
        for number, (found, text) in enumerate(FENCE.findall(path.read_text("utf-8")))
        if found == kind
    ]


def base_of(text: str, tmp_path: Path) -> Path:
    """The folder that paths of a configuration are relative to, with the files and folders that it names."""
    certificates, folders = CERTIFICATE.findall(text), FOLDER.findall(text)
    for folder in folders:
        (tmp_path / folder).mkdir()
    for file in certificates:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    return tmp_path if certificates or folders else ROOT


GENERATED = generator().pages()


@pytest.mark.parametrize("page", GENERATED)
def test_generated_pages_are_up_to_date(page: str) -> None:
    assert (ROOT / "docs" / page).read_text("utf-8") == GENERATED[page], "run scripts/docs"


def test_the_types_of_keyword_arguments_are_up_to_date() -> None:
    folder = ROOT / "src" / "propylon" / "keywords"
    written = {path.name: path.read_text("utf-8") for path in folder.glob("*.py")}
    assert written == generator("keywords.py").modules(), "run scripts/docs"


def test_no_page_is_left_of_a_policy_that_is_gone() -> None:
    pages = {f"policies/{path.name}" for path in (ROOT / "docs" / "policies").glob("*.md")}
    assert pages == {page for page in GENERATED if page.startswith("policies/")}


@pytest.mark.parametrize(("path", "text"), blocks("yaml"))
def test_every_configuration_is_valid(path: Path, text: str, tmp_path: Path) -> None:
    load_text(text, name(path), base_dir=base_of(text, tmp_path))
    assert list(SCHEMA.iter_errors(written(text))) == []


@pytest.mark.parametrize(("path", "text"), [each for each in blocks("yaml") if "\ntests:" in each.values[1]])
def test_what_a_configuration_expects_of_itself_is_so(path: Path, text: str, tmp_path: Path) -> None:
    for folder in FOLDER.findall(text):
        (tmp_path / folder).mkdir()
    (tmp_path / "gateway.yaml").write_text(text)
    result = CliRunner().invoke(main, ["test", str(tmp_path / "gateway.yaml")])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("path", [path for path in PAGES if "```python" in path.read_text("utf-8")], ids=name)
def test_the_programs_of_a_page_run_and_their_gateways_compile(path: Path) -> None:
    scope: dict[str, Any] = {"__name__": "page"}
    for kind, text in FENCE.findall(path.read_text("utf-8")):
        if kind == "python":
            exec(compile(text, name(path), "exec"), scope)
            if isinstance(gateway := scope.get("gateway"), Gateway):
                gateway.snapshot()


COMMANDS = [
    pytest.param(text, line, id=line)
    for _, text in (block.values for block in blocks("sh"))
    for line in COMMAND.findall(text)
]


@pytest.mark.parametrize(("text", "line"), COMMANDS)
def test_every_command_that_only_looks_runs(text: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = re.match(r"cd (\S+)\n", text)
    monkeypatch.chdir(ROOT / folder[1] if folder else ROOT)
    result = CliRunner().invoke(main, shlex.split(line))
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in LINK.findall(text):
        file, _, anchor = target.partition("#")
        if "://" in target:
            continue
        page = (path.parent / file).resolve() if file else path
        assert page.exists(), f"{name(path)} links to {target}"
        if anchor and page.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9_ -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "WARNING" not in built.stdout + built.stderr
    index = json.loads((tmp_path / "site" / "search" / "search_index.json").read_text("utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    wanted = {f"{page.parent if page.name == 'README' else page}/" for page in pages}
    assert wanted <= found, "every page can be searched"


def test_the_page_of_a_wheel_has_only_links_that_lead_somewhere_from_there() -> None:
    command = [sys.executable, "-m", "hatch_fancy_pypi_readme"]
    page = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert page.startswith("# Propylon")
    assert [target for target in LINK.findall(page) if not target.startswith("https://")] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= README_LINES
