"""What MkDocs is told of this documentation: pages from outside docs/, and links that lead there.

The same Markdown is read on a code host and as a site. On the site the README is the first page, the changelog is a
page, and a link to any other file of the repository leads to the repository.
"""

from __future__ import annotations

import posixpath
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_ROOT: Final = Path(__file__).resolve().parents[1]
_REPOSITORY: Final[str] = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]
_OUTSIDE: Final = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}
_LINK: Final = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace each folder of the navigation by its pages, so a new policy is no entry to add."""
    config.repo_url = _REPOSITORY
    config.nav = _expanded(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/."""
    for source, page in _OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(_ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page that leave docs/, from the page's place in the repository."""
    here = next((source for source, made in _OUTSIDE.items() if made == page.file.src_uri), f"docs/{page.file.src_uri}")
    inside = posixpath.dirname(page.file.src_uri)

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), found[1]))
        if target in _OUTSIDE:
            return posixpath.relpath(_OUTSIDE[target], inside or ".")
        if target.startswith("docs/"):
            return posixpath.relpath(target.removeprefix("docs/"), inside or ".")
        kind = "tree" if (_ROOT / target).is_dir() else "blob"
        return f"{_REPOSITORY}/{kind}/main/{target}"

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)


def _expanded(nav: Any) -> Any:
    if isinstance(nav, list):
        return [_expanded(each) for each in nav]
    if isinstance(nav, dict):
        return {title: _expanded(below) for title, below in nav.items()}
    if nav.endswith("/"):
        pages = sorted((_ROOT / "docs" / nav).glob("*.md"), key=lambda page: (page.name != "README.md", page.name))
        return [f"{nav}{page.name}" for page in pages]
    return nav
