"""Recordings and lines of print as one HTML file: a click on a word plays it, or shows it in the image.

data.py       the numbers that the page's script shows
page.py       the page: explanation/page with one widget more
recording.js  the widget
"""

from __future__ import annotations

from .data import Clip, Shown, differences, read_clip
from .page import about, addition, recordings_page, widgets

__all__ = ["Clip", "Shown", "about", "addition", "differences", "read_clip", "recordings_page", "widgets"]
