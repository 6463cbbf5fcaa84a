"""Ways to see the numbers of a computation: tables, heat maps, text. They compute only where things go on the page."""
