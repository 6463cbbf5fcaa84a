"""Ways to see the numbers of a computation: tables, heat maps, text. They compute nothing but where things go."""
