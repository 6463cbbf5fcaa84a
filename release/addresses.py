"""Gives a release the repository's address: `python release/addresses.py https://HOST/OWNER/NAME v1.2.3`.

The project has no public address yet, so none is written down. The workflow that publishes it knows from where it does,
and calls this before it builds: README's relative links and pictures, which package indexes can't follow, become
absolute, and pyproject.toml gets `[project.urls]`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(!?)\[([^\[\]]*)\]\((?!\w+:)([^()\s]+)\)")


def absolute(text: str, address: str, tag: str) -> str:
    """Markdown whose links lead to the repository at this tag; pictures to their raw files.

    Example:
        >>> absolute("[docs](docs/a.md), [below](#b)", "https://x.org/y/z", "v1")
        '[docs](https://x.org/y/z/blob/v1/docs/a.md), [below](https://x.org/y/z/blob/v1/README.md#b)'
        >>> absolute("![A](a.png) [B](https://b.org)", "https://x.org/y/z", "v1")
        '![A](https://x.org/y/z/raw/v1/a.png) [B](https://b.org)'
    """

    def link(found: re.Match[str]) -> str:
        picture, label, target = found.groups()
        page = f"README.md{target}" if target.startswith("#") else target
        return f"{picture}[{label}]({address}/{'raw' if picture else 'blob'}/{tag}/{page})"

    return LINK.sub(link, text)


def with_urls(configuration: str, address: str, tag: str) -> str:
    """The text of pyproject.toml with the addresses that an index shows beside the package."""
    urls = {
        "Homepage": address,
        "Documentation": f"{address}/blob/{tag}/docs/index.md",
        "Changelog": f"{address}/blob/{tag}/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }
    table = "[project.urls]\n" + "".join(f'{name} = "{url}"\n' for name, url in urls.items())
    return configuration.replace("[project.scripts]\n", f"{table}\n[project.scripts]\n", 1)


def main() -> None:
    """Changes both files in place."""
    if len(sys.argv) != 3 or not sys.argv[1].startswith("https://"):
        sys.exit("usage: python release/addresses.py https://HOST/OWNER/NAME TAG")
    address, tag = sys.argv[1].rstrip("/"), sys.argv[2]
    for name, change in (("README.md", absolute), ("pyproject.toml", with_urls)):
        path = ROOT / name
        path.write_text(change(path.read_text(encoding="utf-8"), address, tag), encoding="utf-8")


if __name__ == "__main__":
    main()
