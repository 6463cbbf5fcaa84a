"""Aligns or decodes a whole corpus: every row of a manifest, in a run that may be stopped and started again.

    ids.py        which ids rows may have, and how files are named after them
    forms.py      manifests in the forms of other tools
    folder.py     a folder of recordings as rows
    places.py     finds the scores or recordings of rows that don't name them
    manifest.py   reads the rows, and checks each separately
    job.py        what is done for one row; plain data, so that any runner can execute it
    aligning.py   the task of aligning
    decoding.py   the task of decoding
    development.py  rows in memory, for choosing a language's weights
    plan.py       which rows are done, which are left, and which outputs have no row
    store.py      the output folder: its log, its lock, its list of errors
    runner.py     runs the job over rows, in threads
    corpus.py     one run, from the manifest to its outcome

May import annotate and what is below it, and filelock.
"""

from __future__ import annotations

from .aligning import Aligning
from .corpus import Corpus, Outcome, parse_formats
from .decoding import Decoding, Totals, totals
from .development import Development, read_development
from .manifest import Defaults
from .runner import Threads

__all__ = [
    "Aligning",
    "Corpus",
    "Decoding",
    "Defaults",
    "Development",
    "Outcome",
    "Threads",
    "Totals",
    "parse_formats",
    "read_development",
    "totals",
]
