"""What pictures say."""

from __future__ import annotations

import xml.etree.ElementTree as ET


def texts(svg: str) -> list[str]:
    """All text of an SVG, as a reader sees it."""
    root = ET.fromstring(svg)
    return ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]
