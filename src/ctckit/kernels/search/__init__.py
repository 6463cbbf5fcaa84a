"""Searches for the texts of the highest score: the textbook's, which defines them, and the C++ one.

May import search_graph.py, results.py and the extension (ctckit.native).
"""
