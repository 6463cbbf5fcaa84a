"""What MkDocs calls when it builds the site: every picture on it is drawn anew, by draw.py, for light and dark."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from draw import drawings
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import Files

from ctckit.drawing.canvas import Picture
from ctckit.drawing.colors import PALETTE


@event_priority(-200)  # after the plugin that sorts files by language, which wants them to be files
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Puts the pictures as they are drawn now in the place of those that are committed."""
    for file in files.media_files():
        if file.src_uri in _drawn():
            file.content_string = _drawn()[file.src_uri]
    return files


def on_post_build(config: MkDocsConfig) -> None:
    """Removes the sitemap as long as the site has no address: its links would lead nowhere."""
    if not config.site_url:
        for name in ("sitemap.xml", "sitemap.xml.gz"):
            (Path(config.site_dir) / name).unlink(missing_ok=True)


@cache
def _drawn() -> dict[str, str]:
    """Once a build: MkDocs asks for each language."""
    return {f"{name}.svg": _themed(picture) for name, picture in drawings("seed", "guide")}


def _themed(picture: Picture) -> str:
    """A picture whose colours follow the page that shows it."""
    opening, rest = picture.svg(themed=True).split(">", 1)
    return f"{opening}><style>{PALETTE}</style>{rest}"
