"""Docstrings as the reference shows them: they are written for ``help()``, the site for Markdown.

Imports griffe only, which reads the package's source and imports none of it.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|func|meth):`([\w.]+)`")
EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Roles become links, and examples what griffe knows as such."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called once for each object."""
        if obj.docstring:
            text = ROLE.sub(r"[`\1`][\1]", obj.docstring.value)
            obj.docstring.value = EXAMPLE.sub("Examples:", text)
