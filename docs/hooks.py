"""What MkDocs calls when it builds the site: pictures drawn anew, the version, and each language as a site of its own.

The English site is in the root, the Chinese one in zh/. A page that is in English only is in both; the one in zh/ says
so, and is marked as English.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from draw import drawings
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

import ctckit
from ctckit.drawing.canvas import Picture
from ctckit.drawing.colors import PALETTE

SECOND = "zh"
ENGLISH_ONLY = f'<div class="admonition note" lang="{SECOND}" data-search-exclude><p>本页只有英文版。</p></div>'


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Shows the version in the header and in each page's title."""
    config.site_name = f"ctckit {ctckit.__version__}"
    return config


@event_priority(-200)  # after the plugin that sorts files by language, which wants them to be files
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Puts the pictures as they are drawn now in the place of those that are committed."""
    for file in files.media_files():
        if file.src_uri.startswith("images/") and file.src_uri in _drawn():
            file.content_string = _drawn()[file.src_uri]
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Tells readers and browsers that a page of the Chinese site is in English."""
    if not _is_second(page) or page.file.src_uri.endswith(f".{SECOND}.md"):
        return html
    return f'<div lang="en">{html.replace("</h1>", f"</h1>{ENGLISH_ONLY}", 1)}</div>'


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Says where a page's site begins, which is where its search looks for its index."""
    if not _is_second(page):
        return output
    base = json.dumps(get_relative_url(f"{SECOND}/", page.url))
    output, replaced = re.subn(r'(?<="base": )"[^"]*"', base, output, count=1)
    if not replaced:
        raise RuntimeError("the theme no longer says where the site begins; docs/hooks.py divides the search by it")
    return output


@event_priority(-200)  # after the plugin that builds all languages, and puts their pages into one index
def on_post_build(config: MkDocsConfig) -> None:
    """Divides the search index by language, repairs the search, and removes a sitemap that has no address."""
    if config.plugins["i18n"].building:
        return
    site = Path(config.site_dir)
    index = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))
    first, second = [], []
    for entry in index["docs"]:
        inside = entry["location"].removeprefix(f"{SECOND}/")
        (first if inside == entry["location"] else second).append({**entry, "location": inside})
    _write_index(site, {**index, "docs": first})
    _write_index(site / SECOND, {**index, "docs": second})
    _repair_search(site)
    if not config.site_url:  # its links would lead nowhere
        for name in ("sitemap.xml", "sitemap.xml.gz"):
            (site / name).unlink(missing_ok=True)


def _is_second(page: Page) -> bool:
    return page.url.startswith(f"{SECOND}/")


def _write_index(site: Path, index: dict[str, Any]) -> None:
    file = site / "search/search_index.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(index, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def _repair_search(site: Path) -> None:
    """Corrects how the theme's search cuts a Chinese query into words of the index.

    It takes no word that ends where the query does: for 无穷大 it looks for 无. And it adds two wildcards to a word,
    which is then said to be missing where it was found.
    """
    (worker,) = site.glob("assets/javascripts/workers/search.*.min.js")
    script = worker.read_text(encoding="utf-8")
    for wrong, right in (
        (r"(\w)<(\w)\.length;\1\+\+\)\2\.slice\((\w),\1\)in ", r"\1<=\2.length;\1++)\2.slice(\3,\1)in "),
        (r"(?<=\.invertedIndex\)\]\.join\()\"\* \"", '" "'),
    ):
        script, repaired = re.subn(wrong, right, script)
        if repaired != 1:
            raise RuntimeError("the theme's search has changed: see whether docs/hooks.py still has to repair it")
    worker.write_text(script, encoding="utf-8")


@cache
def _drawn() -> dict[str, str]:
    """Once a build: MkDocs asks for each language."""
    return {f"{name}.svg": _themed(picture) for name, picture in drawings("seed", "guide")}


def _themed(picture: Picture) -> str:
    """A picture whose colours follow the page that shows it."""
    opening, rest = picture.svg(themed=True).split(">", 1)
    return f"{opening}><style>{PALETTE}</style>{rest}"
