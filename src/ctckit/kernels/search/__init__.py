"""Searches for the texts with the highest scores: the textbook's search, which defines them, and the C++ search.

May import search_graph.py, results.py and the extension (ctckit.native).
"""
