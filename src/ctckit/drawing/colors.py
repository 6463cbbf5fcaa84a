"""The colours of all pictures, and the CSS variables that a page gives them, light or dark. Imports nothing."""

from __future__ import annotations

INK, MUTED, GRID, PAPER = "#1f2429", "#5b6570", "#c9d1d9", "#ffffff"
ORANGE, BLUE, RED, GREEN, PURPLE, TEAL = "#e8710a", "#1c64d9", "#cf2a36", "#1a7f3c", "#8a3fd1", "#0b7f8c"
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"}
VARIABLES |= {ORANGE: "orange", BLUE: "blue", RED: "red", GREEN: "green"}
PATH_COLORS = (RED, BLUE, GREEN, ORANGE, PURPLE, TEAL)
