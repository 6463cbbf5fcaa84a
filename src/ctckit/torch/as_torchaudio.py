"""The beam search under the names of torchaudio's: ``ctc_decoder``, ``CTCDecoder``, ``CTCHypothesis``.

May import torch, arguments.py, decode.py, ctckit.decoding and what lies below it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..decoding import Hypothesis, Stream
from ..errors import CTCError
from ..files import read_text
from ..language import LanguageModel
from ..text import Vocabulary
from ..text.transcript import WORD_START
from ..validate import check_beam_width, check_integer, check_number
from .arguments import Lengths, check_tensor, real_of
from .decode import Decoder
from .errors import raises_tensor_errors

_LN_10 = math.log(10)


class CTCHypothesis(NamedTuple):
    """A text, as torchaudio's class of this name.

    Attributes:
        tokens: int64 (L,), its classes, with a silence at both ends.
        words: those of the lexicon, ``unk_word`` in place of others; none without a lexicon.
        score: nats, the sum of all parts.
        timesteps: int32 (L,), the first frame of each token; 0 for the silence at the beginning, the number of frames
            for the one at the end.
    """

    tokens: Tensor
    words: list[str]
    score: float
    timesteps: Tensor


class CTCDecoder:
    """A decoder with torchaudio's methods, as :func:`ctc_decoder` makes it.

    Attributes:
        nbest: how many texts of each sample.
        blank: the blank's class.
        decoder: the :class:`ctckit.torch.Decoder` that does the work.
        notes: what is strange about tokens, lexicon and language model together.
    """

    def __init__(
        self,
        decoder: Decoder,
        tokens: Sequence[str],
        *,
        nbest: int,
        silence: int,
        sil_score: float,
        unk_word: str | None,
    ) -> None:
        self.nbest, self.decoder, self.notes = nbest, decoder, decoder.notes
        self.blank = decoder.vocabulary.blank
        self._tokens, self._silence, self._sil_score, self._unk_word = tuple(tokens), silence, sil_score, unk_word
        self._stream: Stream | None = None
        self._final: list[CTCHypothesis] = []

    @raises_tensor_errors
    def __call__(self, emissions: Tensor, lengths: Lengths | None = None) -> list[list[CTCHypothesis]]:
        """Decodes a batch.

        Args:
            emissions: (N, T, C) log-probabilities or logits, batch first as in torchaudio; any float dtype, strides and
                device.
            lengths: (N,) frames of each sample; all T if not given.

        Returns:
            For each sample at most `nbest` texts, the best first; none if no text fits, or a frame holds NaN or +inf.

        Raises:
            CTCError: for anything malformed; the message says where.
        """
        check_tensor("emissions", emissions)
        found = self.decoder.decode(
            self._scores(emissions), lengths, from_logits=self._from_logits, nbest=self.nbest, batch_first=True
        )
        return [[self._hypothesis(h, h.alignment.starts, len(h.alignment.states)) for h in each] for each in found]

    def decode_begin(self) -> None:
        """Begins a recording that comes in pieces."""
        self._stream, self._final = self.decoder.stream(from_logits=self._from_logits), []

    @raises_tensor_errors
    def decode_step(self, emissions: Tensor) -> None:
        """Takes the next frames (t, C)."""
        check_tensor("emissions", emissions)
        self._open("decode_step").feed(self._scores(emissions))

    def decode_end(self) -> None:
        """Ends the recording."""
        stream = self._open("decode_end")
        self._final = [self._hypothesis(h, h.frames, stream.frames) for h in stream.finish(self.nbest)]
        self._stream = None

    def get_final_hypothesis(self) -> list[CTCHypothesis]:
        """The texts of the recording that came in pieces; its times are those at which the search added the tokens."""
        return self._final

    def idxs_to_tokens(self, idxs: Tensor | Iterable[int]) -> list[str]:
        """The names of classes.

        Example:
            >>> ctc_decoder(None, ["-", "|", "a", "b"]).idxs_to_tokens(torch.tensor([1, 3, 2, 1]))
            ['|', 'b', 'a', '|']
        """
        return [self._tokens[int(index)] for index in idxs]

    @property
    def _from_logits(self) -> bool:
        return not self._sil_score  # scores that got it are normalised before

    def _open(self, method: str) -> Stream:
        if self._stream is None:
            raise CTCError(f"{method} was called without decode_begin: call that first, once for each recording")
        return self._stream

    def _scores(self, emissions: Tensor) -> Tensor:
        if not self._sil_score:
            return emissions
        scores = emissions.detach().log_softmax(-1, dtype=real_of(emissions))
        scores[..., self._silence] += self._sil_score
        return scores

    def _hypothesis(self, found: Hypothesis, frames: Any, end: int) -> CTCHypothesis:
        tokens, times = found.tokens.tolist(), frames.tolist()
        if tokens[:1] != [self._silence]:
            tokens, times = [self._silence, *tokens], [0, *times]
        if tokens[-1] != self._silence or len(tokens) == 1:
            tokens, times = [*tokens, self._silence], [*times, end]
        words = []
        if self._unk_word is not None:
            words = [word.text if word.known else self._unk_word for word in found.spelled]
        return CTCHypothesis(torch.tensor(tokens), words, found.score, torch.tensor(times, dtype=torch.int32))


@raises_tensor_errors
def ctc_decoder(
    lexicon: str | Path | None,
    tokens: str | Path | Sequence[str],
    lm: str | Path | LanguageModel | None = None,
    lm_dict: str | None = None,
    nbest: int = 1,
    beam_size: int = 50,
    beam_size_token: int | None = None,
    beam_threshold: float = 50,
    lm_weight: float = 2,
    word_score: float = 0,
    unk_score: float = -math.inf,
    sil_score: float = 0,
    log_add: bool = False,
    blank_token: str = "-",
    sil_token: str = "|",
    unk_word: str = "<unk>",
) -> CTCDecoder:
    r"""A beam search with the arguments of ``torchaudio.models.decoder.ctc_decoder``.

    What differs from torchaudio:

    - Paths that say the same are added up, as with its ``log_add=True``; so scores are log-probabilities of texts.
      Emissions may be logits, and are normalised: torchaudio's scores of logits are not.
    - Timesteps are the frames of the most probable path. torchaudio's come from the search, and count one too many.
    - The beam holds no text twice, so that one of the same width holds more texts.
    - A word that the lexicon lacks, with ``unk_score`` above -inf, may be any letters; torchaudio's are beginnings of
      words that it has. With a language model, its worth is that of ``<unk>`` without what came before.
    - With a lexicon, the silence stands between words, neither first nor twice, and the last word needs none after it.
      Where no text of the lexicon fits, there is no hypothesis, in place of one whose last word is cut off.

    Args:
        lexicon: a file with a word and its tokens on each line, the last of them `sil_token`, unless tokens that begin
            words have a mark, ▁; None: any text.
        tokens: the classes' names, or a file of them, one a line.
        lm: a language model or its file: of words, or without a lexicon also of tokens. A model of your own, a
            ``CTCDecoderLM`` there, can't be asked while it searches: take `nbest` texts, and order them by it.
        lm_dict: taken and not needed: the words are the lexicon's.
        nbest: how many texts of each sample.
        beam_size: how many hypotheses go on from one frame to the next.
        beam_size_token: how many of a frame's best tokens are tried; None: all.
        beam_threshold: nats that a hypothesis may lie below the best.
        lm_weight: the weight of the language model's log10 P, as in torchaudio: it is ln 10 = 2.303 times ``alpha`` of
            :class:`ctckit.Decoder`, whose model gives ln P.
        word_score: nats for each word, with a lexicon.
        unk_score: nats for a word that the lexicon lacks, besides the model's P of ``<unk>``; -inf: there is none.
        sil_score: nats for each frame of `sil_token`.
        log_add: taken and not needed: see above.
        blank_token: the blank's name.
        sil_token: the name of the silence, which stands between words.
        unk_word: what words are called that the lexicon lacks.

    Raises:
        CTCError: for anything malformed; the message says where.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> lexicon = Path(folder.name, "lexicon.txt")
        >>> _ = lexicon.write_text("cat c a t |\ntea t e a |\n")
        >>> decoder = ctc_decoder(str(lexicon), ["-", "|", "a", "c", "e", "t"])
        >>> emissions = torch.eye(6)[[3, 2, 5]]  # c, a, t
        >>> [best] = decoder(emissions[None])[0]
        >>> best.words, decoder.idxs_to_tokens(best.tokens), best.timesteps.tolist()
        (['cat'], ['|', 'c', 'a', 't', '|'], [0, 0, 1, 2, 3])
        >>> folder.cleanup()
    """
    names = _names(tokens)
    blank, silence = _class("blank_token", blank_token, names), _class("sil_token", sil_token, names)
    vocabulary = _vocabulary(names, blank, silence)
    model = _model(lm)
    weight = check_number("lm_weight", lm_weight, least=0) if model is not None else 0.0
    word_score = check_number("word_score", word_score) if lexicon is not None else 0.0
    unk_score = check_number("unk_score", unk_score, infinite=True)
    # Without a weight of the language, unknown words would be worth nothing: then it is 1, and there is no model.
    alpha = weight / _LN_10 or 1.0
    unknown = None
    if lexicon is not None:
        unknown = (unk_score - word_score) / alpha
        if model is not None and weight:
            unknown += model.step(model.begin(False), 0)[0]
    beam_size = check_beam_width(beam_size, "beam_size")
    decoder = Decoder(
        vocabulary,
        language_model=model if weight else None,
        lexicon=None if lexicon is None else _lexicon(Path(lexicon), names, vocabulary),
        alpha=alpha,
        beta=word_score,
        unknown_score=unknown,
        beam_width=beam_size,
        beam_threshold=beam_threshold,
        tokens_per_frame=beam_size_token,
    )
    return CTCDecoder(
        decoder,
        names,
        nbest=min(check_integer("nbest", nbest, 1), beam_size),
        silence=silence,
        sil_score=check_number("sil_score", sil_score),
        unk_word=None if lexicon is None else unk_word,
    )


def _names(tokens: str | Path | Sequence[str]) -> list[str]:
    if not isinstance(tokens, (str, Path)):
        return list(tokens)
    return [line.split()[0] for line in read_text(tokens).splitlines() if line.strip()]


def _class(argument: str, name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise CTCError(f"{argument} = {name!r} is none of the {len(names)} tokens: expected the name of one")
    return names.index(name)


def _vocabulary(names: Sequence[str], blank: int, silence: int) -> Vocabulary:
    if any(name.startswith(WORD_START) and name != WORD_START for name in names):
        return Vocabulary(names, blank, convention="sentencepiece")
    labels = list(names)
    if names[silence] != "|" or " " in names:
        labels[silence] = " "
    return Vocabulary(labels, blank, convention="separator")


def _model(lm: Any) -> LanguageModel | None:
    if lm is None or isinstance(lm, LanguageModel):
        return lm
    if isinstance(lm, (str, Path)):
        return LanguageModel.read(lm)
    raise CTCError(
        f"lm has type {type(lm).__name__}: expected a file, or a ctckit.LanguageModel; a model of your own can't be "
        "asked while texts are searched: take nbest texts, and order them by their score and that of your model"
    )


def _lexicon(path: Path, names: Sequence[str], vocabulary: Vocabulary) -> dict[str, list[Sequence[str]]]:
    """Each word's spellings in the vocabulary's labels, without the silence at the end."""
    labels = dict(zip(names, vocabulary.labels, strict=True))
    found: dict[str, list[Sequence[str]]] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        word, *spelling = line.split() or [""]
        if not word:
            continue
        where = f"{path}, line {number}: {word!r}"
        unknown = [token for token in spelling if token not in labels]
        if unknown or not spelling:
            what = f"is spelled with {unknown[0]!r}" if unknown else "has no spelling"
            raise CTCError(f"{where} {what}: expected a word and its tokens, of those in tokens")
        if vocabulary.separator is not None:
            *spelling, last = spelling
            if labels[last] != vocabulary.labels[vocabulary.separator] or not spelling:
                raise CTCError(
                    f"{where} is spelled {line.split(maxsplit=1)[1]!r}: expected the silence, "
                    f"{names[vocabulary.separator]!r}, at the end and something before: it stands between words"
                )
        found.setdefault(word, []).append([labels[token] for token in spelling])
    return found
