"""The one door to the C++ extension: everything that Python uses of it, re-exported.

The functions are documented in ``_ext.pyi``; their sources are in ``native/``. They check shapes, and values
that the kernels rely on, such as lengths and long arcs; public calls check before them, and say what is wrong. Imports
nothing else of the package.
"""

from . import _ext

LARGEST = _ext.LARGEST
ArpaReader = _ext.ArpaReader
Hotwords = _ext.Hotwords
KenlmModel = _ext.KenlmModel
LatticeBatch = _ext.LatticeBatch
Lexicon = _ext.Lexicon
NgramModel = _ext.NgramModel
PythonModel = _ext.PythonModel
Search = _ext.Search
SearchGraph = _ext.SearchGraph
Spelling = _ext.Spelling
best_path = _ext.best_path
instruction_sets = _ext.instruction_sets
is_kenlm = _ext.is_kenlm
is_kenlm_trie = _ext.is_kenlm_trie
is_ngram = _ext.is_ngram
lay_out = _ext.lay_out
read_kenlm_trie = _ext.read_kenlm_trie
recycled = _ext.recycled
search = _ext.search
sums = _ext.sums
weighted_loss = _ext.weighted_loss
xla_handlers = _ext.xla_handlers
