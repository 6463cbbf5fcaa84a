"""How this copy of ctckit was installed, for messages that tell the user to install more. Imports nothing of ctckit."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname


def install_command(extra: str) -> str:
    """The command that adds an extra to this copy of ctckit, from where this copy came from.

    pip writes that down (PEP 610) unless it came from a package index.

    Example:
        >>> install_command("plot")  # doctest: +SKIP
        "pip install 'ctckit[plot]'"
    """
    in_a_checkout = f"in a checkout of ctckit, pip install '.[{extra}]'"
    try:
        origin = _origin()
    except PackageNotFoundError:  # imported from a folder of sources
        return in_a_checkout
    if origin is None:
        return f"pip install 'ctckit[{extra}]'"
    url = origin["url"]
    path = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else None
    if path is not None and not path.exists():
        return in_a_checkout
    if path is not None and "dir_info" in origin:
        editable = "-e " if origin["dir_info"].get("editable") else ""
        return f"pip install {editable}{shlex.quote(f'{_shown(path)}[{extra}]')}"
    version = origin.get("vcs_info")
    return f"pip install {shlex.quote(f'ctckit[{extra}] @ {url if version is None else _pinned(url, version)}')}"


def _origin() -> dict[str, Any] | None:
    text = distribution("ctckit").read_text("direct_url.json")
    return json.loads(text) if text else None


def _shown(folder: Path) -> str:
    return "." if Path.cwd() == folder.resolve() else str(folder)


def _pinned(url: str, version: dict[str, str]) -> str:
    return f"{version['vcs']}+{url}@{version.get('requested_revision', version['commit_id'])}"
