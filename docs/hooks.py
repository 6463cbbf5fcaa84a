"""What MkDocs calls when it builds the site: every picture on it is drawn anew, by draw.py."""

from __future__ import annotations

from functools import cache

from draw import drawings
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import Files


@event_priority(-200)  # after the plugin that sorts files by language, which wants them to be files
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Puts the pictures as they are drawn now in the place of those that are committed."""
    for file in files.media_files():
        if file.src_uri in _drawn():
            file.content_string = _drawn()[file.src_uri]
    return files


@cache
def _drawn() -> dict[str, str]:
    """Once a build: MkDocs asks for each language."""
    return {f"{name}.svg": picture.svg() for name, picture in drawings("seed", "guide")}
