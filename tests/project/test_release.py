"""What a release does to README and pyproject.toml, which have no address of the repository."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ADDRESSES = runpy.run_path(str(ROOT / "release" / "addresses.py"))
ADDRESS = "https://example.org/owner/ctckit"


def test_readme_has_only_absolute_links_after_it() -> None:
    """An index follows no relative link, and shows no relative picture."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)]*)\)", ADDRESSES["absolute"](text, ADDRESS, "v1"))
    assert len(targets) > 8
    assert [target for target in targets if not target.startswith("https://")] == []
    files = [re.sub(rf"{ADDRESS}/(blob|raw)/v1/|#.*", "", target) for target in targets if ADDRESS in target]
    assert [name for name in files if not (ROOT / name).exists()] == []
    assert not re.search(r"<(img|a|picture)\b", text)  # links of HTML would stay relative


def test_an_index_shows_the_addresses() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    before = tomllib.loads(text)
    after = tomllib.loads(ADDRESSES["with_urls"](text, ADDRESS, "v1"))
    urls = after["project"].pop("urls")
    assert after == before
    assert urls["Homepage"] == ADDRESS
    assert all(url.startswith(ADDRESS) for url in urls.values())


def test_classifiers_name_the_versions_that_are_tested() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    first = int(re.search(r'requires-python = ">=3\.(\d+)"', text)[1])
    named = [int(minor) for minor in re.findall(r'"Programming Language :: Python :: 3\.(\d+)"', text)]
    assert named == list(range(first, first + len(named)))
