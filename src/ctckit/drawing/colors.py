"""The colours of all pictures, and the CSS variables that a page gives them, light or dark. Imports nothing.

Text in any of them has a contrast of 4.5 to 1 or more, except in ORANGE, which is for dots.
"""

from __future__ import annotations

INK, MUTED, GRID, PAPER = "#1f2429", "#5b6570", "#c9d1d9", "#ffffff"
ORANGE, BLUE, RED, GREEN, PURPLE, TEAL = "#e8710a", "#1c64d9", "#cf2a36", "#1a7f3c", "#8a3fd1", "#0b7f8c"
BROWN = "#b45309"
PATH_COLORS = (RED, BLUE, GREEN, BROWN, PURPLE, TEAL)

VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper", ORANGE: "orange", BROWN: "orange"}
VARIABLES |= {BLUE: "blue", RED: "red", GREEN: "green", PURPLE: "purple", TEAL: "teal"}

PALETTE = """\
:root {
  --ink: #1c2026; --muted: #5f6773; --paper: #ffffff; --grid: #dde1e7; --red: #c0341d; --blue: #1f6fc4;
  --green: #23804a; --orange: #b45309; --purple: #8a3fd1; --teal: #0a7581;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6e9ee; --muted: #9aa3b0; --paper: #191d24; --grid: #323945; --red: #ff8a73; --blue: #74b4ff;
    --green: #62c98b; --orange: #f2ac5c; --purple: #c79bff; --teal: #5cc9d6;
  }
}
"""
