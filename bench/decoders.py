"""The decoders that ours is compared with, each as a function from log-probabilities to the best text.

All search with the same beam and, if there is a language, with the same weights. flashlight's and torchaudio's use
log10 P, so their weight is larger by a factor of ln 10. Packages are imported only when they are used.
"""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from emissions import Array
from problems import SEPARATOR, Language, Problem

BEAM = 50

Decode = Callable[[Array], str]


class Peer(NamedTuple):
    package: str  # that must be installed
    settings: str
    make: Callable[[Problem], Decode]
    takes: Callable[[Array], Array] = (
        np.ascontiguousarray
    )  # its input in place of log-probabilities, made before it is timed
    most_classes: float = math.inf  # with more it takes seconds, or all memory


# --- flashlight-text, which torchaudio's ctc_decoder runs -------------------------------------------------------------


def flashlight(problem: Problem, *, tokens: int | None = None, threshold: float = 50, log_add: bool = False) -> Decode:
    """The defaults are torchaudio's settings."""
    from flashlight.lib.text import decoder as package

    common = {
        "beam_size": BEAM,
        "beam_size_token": min(tokens or len(problem.labels), len(problem.labels)),
        "beam_threshold": threshold,
        "sil_score": 0,
        "log_add": log_add,
        "criterion_type": package.CriterionType.CTC,
    }
    if problem.language:
        search, spelled = _flashlight_with(problem, problem.language, common)
    else:
        options = package.LexiconFreeDecoderOptions(lm_weight=0, **common)
        search = package.LexiconFreeDecoder(options, package.ZeroLM(), -1, 0, [])
        spelled = partial(_collapsed, problem.labels)

    def decode(log_probs: Array) -> str:
        return spelled(search.decode(log_probs.ctypes.data, *log_probs.shape)[0])

    return decode


def _collapsed(labels: Sequence[str], found: Any) -> str:
    path = np.asarray(found.tokens)
    return "".join(labels[token] for token in path[(path > 0) & (np.diff(path, prepend=-1) != 0)])


def _flashlight_with(problem: Problem, language: Language, common: dict[str, Any]) -> tuple[Any, Callable[[Any], str]]:
    from flashlight.lib.text import decoder as package
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import create_word_dict

    classes = {label: number for number, label in enumerate(problem.labels)}
    words = create_word_dict({word: [[*word, SEPARATOR]] for word in language.words} | {"<unk>": []})
    model = KenLM(str(language.arpa), words)
    trie = package.Trie(len(problem.labels), classes[SEPARATOR])
    start = model.start(False)
    for word in language.words:
        number = words.get_index(word)
        trie.insert([classes[letter] for letter in (*word, SEPARATOR)], number, model.score(start, number)[1])
    trie.smear(package.SmearingMode.MAX)
    options = package.LexiconDecoderOptions(
        lm_weight=language.alpha * math.log(10), word_score=language.beta, unk_score=-math.inf, **common
    )
    unknown = words.get_index("<unk>")
    search = package.LexiconDecoder(options, trie, model, classes[SEPARATOR], 0, unknown, [], False)
    return search, lambda found: " ".join(words.get_entry(word) for word in found.words if word >= 0)


# --- fast-ctc-decode, pyctcdecode, ctc-beam-decoder -------------------------------------------------------------------


def fast_ctc_decode(problem: Problem, *, cut: float) -> Decode:
    import fast_ctc_decode as package

    alphabet = ["\0", *problem.labels[1:]]
    return lambda probabilities: package.beam_search(probabilities, alphabet, BEAM, min(cut, 0.5 / len(alphabet)))[0]


def pyctcdecode(problem: Problem) -> Decode:
    import pyctcdecode as package

    logging.getLogger("pyctcdecode").setLevel(logging.ERROR)  # it warns of labels without a space
    return partial(_built(package.build_ctcdecoder, problem).decode, beam_width=BEAM)


def ctc_beam_decoder(problem: Problem) -> Decode:
    import ctc_beam_decoder as package

    return partial(_built(package.build_ctcdecoder, problem).decode, beam_width=BEAM)


def _built(build: Callable[..., Any], problem: Problem) -> Any:
    labels = [" " if label == SEPARATOR else label for label in problem.labels]
    if not problem.language:
        return build(labels)
    arpa, words, alpha, beta = problem.language
    return build(labels, str(arpa), list(words), alpha=alpha, beta=beta)


# --- all of them ------------------------------------------------------------------------------------------------------

PLAIN = [
    Peer("flashlight", "40 tokens, threshold 10, log_add", partial(flashlight, tokens=40, threshold=10, log_add=True)),
    Peer("flashlight", "torchaudio's defaults", flashlight, most_classes=100),
    Peer("fast_ctc_decode", "cut at 0.001 or 0.5/C", partial(fast_ctc_decode, cut=1e-3), np.exp, most_classes=1000),
    Peer("fast_ctc_decode", "no cut", partial(fast_ctc_decode, cut=0), np.exp, most_classes=100),
    Peer("ctc_beam_decoder", "defaults", ctc_beam_decoder),
    Peer("pyctcdecode", "defaults", pyctcdecode),
]
WITH_LANGUAGE = [
    Peer("flashlight", "torchaudio's defaults", flashlight),
    Peer("flashlight", "10 tokens, threshold 25", partial(flashlight, tokens=10, threshold=25)),
    Peer("flashlight", "10, 25, log_add", partial(flashlight, tokens=10, threshold=25, log_add=True)),
    Peer("ctc_beam_decoder", "defaults", ctc_beam_decoder),
    Peer("pyctcdecode", "defaults", pyctcdecode),
]


def installed(peers: Sequence[Peer]) -> list[Peer]:
    return [peer for peer in peers if importlib.util.find_spec(peer.package)]


def missing(peers: Sequence[Peer]) -> list[str]:
    return sorted({peer.package for peer in peers} - {peer.package for peer in installed(peers)})
