"""The C++ extension's functions. Letters: T frames, N batch, C classes, S target length, K lattice states.

Wrong shapes raise ValueError; an output that would have to be converted, since its dtype or layout differs, raises
TypeError. Functions that compute release the GIL.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

LARGEST: int
"""The most frames, classes, and tokens of one target: days of speech, and what the kernels' numbers can hold."""

def instruction_sets() -> list[str]:
    """Names of the instruction sets that were compiled in and that this CPU can run, the best last."""

class LatticeBatch:
    """The lattices of a batch and the number of frames of each sample: everything that the kernels need except scores.

    Holds copies. Its attributes are read-only views of them, each named after its argument.
    """

    def __init__(
        self,
        frames: npt.NDArray[np.int64],
        num_tokens: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int32],
        arcs: npt.NDArray[np.uint8],
        num_states: npt.NDArray[np.int32],
        long_arcs: npt.NDArray[np.int32] | None = None,
        entry_costs: npt.NDArray[np.float64] | None = None,
        tokens: npt.NDArray[np.int32] | None = None,
        long_arc_scores: npt.NDArray[np.float64] | None = None,
    ) -> None:
        """Lattices of any topology.

        Args:
            frames: (N,) frames used of each sample.
            num_tokens: (N,) tokens of each target.
            labels: (N, K) the class that each state emits.
            arcs: (N, K) bits of :class:`ctckit.Arc`.
            num_states: (N,) states of each lattice, at least 1.
            long_arcs: (J, 3) sample, from, to with from < to; sorted by sample, then by to.
            entry_costs: (N, K) nats that a path pays when it enters a state from another or begins in it; +inf forbids
                entering.
            tokens: (N, K) the token of the target that each state is; -1, by default, for none.
            long_arc_scores: (J,) nats added when an arc is taken, 0 by default; -inf forbids.
        """

    def loss_weights(self, mean: bool) -> npt.NDArray[np.float64]:
        """(N,) what each sample's loss is multiplied with before they are added up.

        Args:
            mean: 1 / (N · tokens), with 0 tokens counting as 1; otherwise 1.
        """

    frames: Final[npt.NDArray[np.int64]]
    num_tokens: Final[npt.NDArray[np.int64]]
    labels: Final[npt.NDArray[np.int32]]
    arcs: Final[npt.NDArray[np.uint8]]
    num_states: Final[npt.NDArray[np.int32]]
    long_arcs: Final[npt.NDArray[np.int32]]
    entry_costs: Final[npt.NDArray[np.float64] | None]
    tokens: Final[npt.NDArray[np.int32]]
    long_arc_scores: Final[npt.NDArray[np.float64]]

def lay_out(
    frames: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    frames_max: int,
    classes: int,
    blank: int,
    arcs_by_role: npt.NDArray[np.uint8],
) -> LatticeBatch | tuple[str, int]:
    """Checks a call's integers and lays out CTC's lattices.

    Args:
        frames: (N,) frames used of each sample.
        targets: (N, S) padded, or all samples' tokens concatenated.
        lengths: (N,) tokens of each target.
        frames_max: T.
        classes: C.
        blank: the blank's class.
        arcs_by_role: (5,) arc bits of a blank, a token, a token equal to the one before it; and those added to the
            first two states and to the last two.

    Returns:
        The lattices; or the first fault, as ("input_lengths" or "target_lengths", sample), ("sum", sum of the lengths),
        or ("token", index in ``targets.ravel()``).
    """

def weighted_loss(score: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], zero_infinity: bool) -> float:
    """Σ weights · (-score); with ``zero_infinity`` a score of -inf counts as 0."""

def xla_handlers(arcs_by_role: npt.NDArray[np.uint8], explained: Callable[..., str]) -> dict[str, Any]:
    """The handlers of XLA's calls, by name, as capsules for ``jax.ffi.register_ffi_target``.

    Args:
        arcs_by_role: as in ``lattice/rule.py``.
        explained: says what is wrong with a call whose values are wrong. Its arguments: (N, T, C); targets (N, S), or
            None; frames (N,); target lengths (N,), or None; the blank, or -1; whether scores are logits; and whether
            the caller knows a single sample.
    """

def recycled(bytes: int) -> npt.NDArray[np.uint8]:
    """An uninitialised buffer, which returns to a small pool when the last reference to it is gone."""

def sums(
    scores: npt.NDArray[Any],
    from_logits: bool,
    lattices: LatticeBatch,
    score: npt.NDArray[np.float64],
    status: npt.NDArray[np.uint8],
    grad: npt.NDArray[Any] | None,
    adds_softmax: bool,
    weights: npt.NDArray[np.float64] | None,
    occupancy: npt.NDArray[Any] | None,
    along: npt.NDArray[np.int32] | None,
    occupancy_along: npt.NDArray[np.float64] | None,
    class_scores: npt.NDArray[np.float64] | None,
    state_scores: npt.NDArray[np.float64] | None,
    class_scores_grad: npt.NDArray[np.float64] | None,
    state_scores_grad: npt.NDArray[np.float64] | None,
    entry_costs_grad: npt.NDArray[np.float64] | None,
    long_arc_scores_grad: npt.NDArray[np.float64] | None,
    index: npt.NDArray[np.int64] | None,
    ends: int,
    readable: bool,
    isa: str,
    threads: int,
) -> bool:
    """Sums over all paths of a batch. Gradients are those of Σ weights · (-score).

    Returns whether all paths of some sample count as impossible: they are, or they lie below what scaled floats hold.

    Args:
        scores: (T, N, C) float16, float32, float64, or the bits of bfloat16 as uint16. Or (H, T, N, C), of heads with
            the same lattices; N in other shapes but those of lattices is then H * N, head by head.
        from_logits: whether to normalise the scores.
        lattices: one for each sample.
        score: (N,) out: the log of the sum over all paths.
        status: (N,) out: a :class:`ctckit.Status` for each sample.
        grad: (T, N, C) out: the gradient to the scores, in their dtype, classes contiguous.
        adds_softmax: of log-probabilities, write softmax - occupancy, as of logits; not -occupancy.
        weights: (N,) factors of the samples' gradients, 1 by default.
        occupancy: (T, N, K) out: the occupancy of each state.
        along: (N, T) a path's states; goes with ``occupancy_along``, without any other output.
        occupancy_along: (N, T) out: the occupancies of those states, summed over the paths near them.
        class_scores: (C,) nats added to each class's log-probability, after the log_softmax.
        state_scores: (N, K) nats added to what a state emits, at every frame.
        class_scores_grad: (N, C) out, by sample.
        state_scores_grad: (N, K) out.
        entry_costs_grad: (N, K) out.
        long_arc_scores_grad: (J,) out.
        index: (M,) the utterance whose scores each of M lattices reads; N in other shapes is then M.
        ends: how the ends of paths combine, of enum ctckit_ends in native/ctckit.h; 0: paths go through all frames.
        readable: no used frame holds NaN or +inf, as the caller knows: rows are not searched for them.
        isa: one of :func:`instruction_sets`.
        threads: how many to use at most.
    """

def best_path(
    scores: npt.NDArray[Any],
    from_logits: bool,
    lattices: LatticeBatch,
    score: npt.NDArray[np.float64],
    status: npt.NDArray[np.uint8],
    states: npt.NDArray[np.int32],
    frame_scores: npt.NDArray[np.float64] | None,
    visits: npt.NDArray[np.int32] | None,
    class_scores: npt.NDArray[np.float64] | None,
    state_scores: npt.NDArray[np.float64] | None,
    isa: str,
    threads: int,
) -> None:
    """Finds each sample's best path.

    The arguments are those of :func:`sums`, and these outputs:

    - score: (N,) the best path's log-score.
    - states: (N, T) its state at each frame, -1 where there is none.
    - frame_scores: (N, T) what each frame adds to its score.
    - visits: (N, K, 2) its first frame in each state and one past its last; -1 if it is never there.
    """

class LanguageModel:
    """What the search asks of a language model. A state is a tuple of at most 8 numbers, the last of them not 0."""

    def begin(self, sentence: bool) -> tuple[int, ...]:
        """The state at the start of a sentence, or without any context."""

    def step(self, state: tuple[int, ...], word: int) -> tuple[float, tuple[int, ...]]:
        """The ln P(word | state), and the state after it."""

    bound: Final[float]

class WordModel(LanguageModel):
    """A model whose words are strings; 0 is the unknown one."""

    def ids(self, words: list[bytes]) -> npt.NDArray[np.int32]:
        """The numbers of words, given in UTF-8; 0 for those that it lacks."""

    def score_texts(
        self, texts: list[bytes], bos: bool, eos: bool
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """The ln P of each word of texts, given in UTF-8, and where each text ends among them.

        Words stand between ASCII white space; with ``eos``, a text's end is one more.
        """

    end: Final[int]
    num_words: Final[int]
    counts: Final[list[int]]
    has_unknown: Final[bool]

class NgramModel(WordModel):
    """A model in a block of bytes, as ``ArpaReader.finish`` returns it; keeps them, and copies nothing."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None: ...
    def vocabulary(self) -> list[str]:
        """The words, by number."""

    def to_arpa(self) -> bytes:
        """The text that ``ArpaReader`` would make the same model of."""

class KenlmModel(WordModel):
    """KenLM's probing hash tables, read from its file's bytes, which it keeps."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None: ...
    def vocabulary(self) -> list[str]:
        """The words, by number; none if the file leaves them out."""

class PythonModel(LanguageModel):
    """A model that a Python function answers for. What the function raises comes out of :meth:`step` and of searches.

    Args:
        ask: takes a prefix, a tuple of columns; returns float32 (num_columns,), contiguous, the ln P of what follows.
            It is called by one thread at a time, which may be any.
        columns: int32, of each word, by number: where answers have it; -1 for the unknown word if they lack it.
        num_columns: of answers.
        start: the column that prefixes of sentences begin with; -1: none.
        end: the word that ends a sentence; the number of words if the end costs nothing.
        context: how many words prefixes are cut to; 0: they are whole.
        most_rows: how many answers are kept.
    """

    def __init__(
        self,
        ask: Callable[[tuple[int, ...]], npt.NDArray[np.float32]],
        columns: npt.NDArray[np.int32],
        num_columns: int,
        start: int,
        end: int,
        context: int,
        most_rows: int,
    ) -> None: ...
    def row(self, state: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """The ln P of all that may follow, as the function has said it."""

    def save(self) -> npt.NDArray[np.int32]:
        """The prefixes that states stand for."""

    def restore(self, saved: npt.NDArray[np.int32]) -> bool:
        """Takes over those of another model, just after it was made; False if they are damaged."""

class ArpaReader:
    """Reads an ARPA file in pieces. Raises ValueError, which says the line, and what was expected there."""

    def feed(self, piece: bytes) -> None: ...
    def finish(self) -> npt.NDArray[np.uint8]:
        """The model, after the last piece."""

def is_ngram(first: bytes) -> bool:
    """Whether a file that begins with these bytes is a model of ours."""

def is_kenlm(first: bytes) -> bool:
    """Whether a file that begins with these bytes is a binary one of KenLM's."""

def is_kenlm_trie(data: npt.NDArray[np.uint8]) -> bool:
    """Whether a binary file of KenLM's holds a trie."""

def read_kenlm_trie(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The same model as ours, for ``NgramModel``."""

class Spelling:
    """What each token spells, as :class:`ctckit.search_graph.Symbols` holds it. Constructors check values as well."""

    def __init__(self, offsets: npt.NDArray[np.int32], symbols: npt.NDArray[np.int32], separator: int) -> None: ...

class Lexicon:
    """The known words, as :class:`ctckit.search_graph.Lexicon` holds them."""

    def __init__(
        self,
        first: npt.NDArray[np.int32],
        symbols: npt.NDArray[np.int32],
        word_offsets: npt.NDArray[np.int32],
        words: npt.NDArray[np.int32],
        model_words: npt.NDArray[np.int32],
        lookahead: npt.NDArray[np.float64],
        closed: bool,
    ) -> None: ...

class Hotwords:
    """Phrases, as :class:`ctckit.search_graph.Hotwords` holds them, for one spelling. No symbol may add 300 nats."""

    def __init__(
        self,
        spelling: Spelling,
        first: npt.NDArray[np.int32],
        symbols: npt.NDArray[np.int32],
        fail: npt.NDArray[np.int32],
        rewards: npt.NDArray[np.float64],
        potentials: npt.NDArray[np.float64],
        start: int,
    ) -> None: ...

class SearchGraph:
    """All that a search takes besides the scores, as :class:`ctckit.search_graph.SearchGraph` holds it.

    Shares its parts; keeps the model alive. The model is one of tokens if there are ``model_tokens``.
    """

    def __init__(
        self,
        spelling: Spelling,
        blank: int,
        lexicon: Lexicon | None,
        hotwords: Hotwords | None,
        model: Any,
        end: int,
        model_tokens: npt.NDArray[np.int32] | None,
        sentence_bounds: bool,
        alpha: float,
        beta: float,
        unknown_score: float,
    ) -> None: ...

Texts = tuple[
    npt.NDArray[np.int64],
    npt.NDArray[np.int32],
    npt.NDArray[np.int32],
    npt.NDArray[np.int64],
    npt.NDArray[np.int32],
    npt.NDArray[np.float64],
]
"""Some texts end to end: offsets of tokens, tokens, their frames, offsets of words, words, and (texts, 5) score, ctc,
language, units, hotwords."""

class Search:
    """The search of one sample, whose frames come in chunks. RuntimeError if two threads use it at the same time."""

    def __init__(
        self,
        graph: SearchGraph,
        beam_width: int,
        recombine: bool,
        from_logits: bool,
        beam_threshold: float,
        tokens_per_frame: int,
        isa: str,
    ) -> None:
        """Arguments as of :func:`search`."""

    def feed(self, scores: npt.NDArray[Any]) -> None:
        """Goes on by the frames (t, C)."""

    def texts(self, most: int, finished: bool) -> Texts:
        """The best texts, the best first; ``finished`` closes their words and ends the sentence."""

    def take_stem(self) -> Texts:
        """The beginning that all prefixes share, as one text without scores; it is forgotten."""

    def save(self) -> bytes:
        """Its state."""

    def restore(self, state: bytes) -> None:
        """Goes on from a state of a search with the same graph and options.

        Numbers that would lead astray raise ValueError, but states of the language model are not known to it: bytes
        are to be trusted, as pickles are.
        """

    def reset(self) -> None:
        """Starts again."""

    @property
    def status(self) -> int:
        """A :class:`ctckit.Status`."""

    @property
    def num_frames(self) -> int:
        """How many frames it was fed."""

def search(
    graph: SearchGraph,
    scores: npt.NDArray[Any],
    frames: npt.NDArray[np.int64],
    nbest: int,
    beam_width: int,
    recombine: bool,
    from_logits: bool,
    beam_threshold: float,
    tokens_per_frame: int,
    isa: str,
    threads: int,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], Texts]:
    """Searches each sample of a batch for the texts of the highest score.

    Returns a :class:`ctckit.Status` for each sample, the offsets of its texts, and these.

    Args:
        graph: which texts there are, and what they are worth.
        scores: (T, N, C) float16, float32, float64, or the bits of bfloat16 as uint16.
        frames: (N,) frames used of each sample.
        nbest: how many texts of each at most.
        beam_width: how many prefixes are kept from one frame to the next.
        recombine: whether only the best is kept of prefixes that can be continued in the same ways.
        from_logits: whether to normalise the scores.
        beam_threshold: nats that a prefix may lie below the best; +inf: any.
        tokens_per_frame: how many of the best tokens of a frame are possible, in addition to the blank; 0: all.
        isa: one of :func:`instruction_sets`.
        threads: how many to use at most.
    """
