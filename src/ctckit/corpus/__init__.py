"""Works on a whole corpus: every row of a manifest, in a run that may be stopped at any moment and started again.

    ids.py        what rows may be called, and how files are named after them
    forms.py      rows as other tools write them
    emissions.py  where the scores are of rows that don't say
    manifest.py   the rows, each checked by itself
    job.py        what is done for one row; plain data, so that any runner can execute it
    aligning.py   the task of aligning
    decoding.py   the task of decoding
    development.py  rows in memory, to choose a language's weights on
    plan.py       which rows are done, which are left, and which outputs belong to no row
    store.py      the output folder: its log, its lock, its list of errors
    runner.py     runs the job over rows: in threads
    corpus.py     one run, from the manifest to its outcome

May import annotate and what lies below it, and filelock.
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
