"""The beam search under torchaudio's names: ``ctc_decoder``, ``CTCDecoder``, ``CTCHypothesis``.

May import torch, arguments.py, decode.py, ctckit.decoding and what is below it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..decoding import Hypothesis, Stream
from ..errors import CTCError
from ..files import read_text
from ..language import LanguageModel
from ..language.model import LN_10
from ..text import Vocabulary
from ..text.blank import check_labels
from ..text.transcript import WORD_START
from ..validate import check_beam_width, check_integer, check_number
from .arguments import Lengths, check_tensor, real_of
from .decode import Decoder
from .errors import raises_tensor_errors


class CTCHypothesis(NamedTuple):
    """A text, like torchaudio's class of this name.

    Attributes:
        tokens: int64 (L,), the text's classes, with a silence at both ends.
        words: the lexicon's words, ``unk_word`` in place of other words; empty without a lexicon.
        score: nats, the sum of all parts.
        timesteps: int32 (L,), the first frame of each token. A silence that was added has 0 at the beginning and the
            number of frames at the end.
    """

    tokens: Tensor
    words: list[str]
    score: float
    timesteps: Tensor


class CTCDecoder:
    """A decoder with torchaudio's methods, made by :func:`ctc_decoder`.

    Attributes:
        nbest: how many texts to return for each sample.
        blank: the blank's class.
        decoder: the :class:`ctckit.torch.Decoder` that does the work.
        notes: sentences about what is unusual in tokens, lexicon and language model.
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
            For each sample at most `nbest` texts, the best first; none if no text fits, or a frame has NaN or +inf.

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
        """The texts of the recording that came in pieces; timesteps are those at which the search added the tokens."""
        return self._final

    def idxs_to_tokens(self, idxs: Tensor | Iterable[int]) -> list[str]:
        """The names of classes.

        Raises:
            CTCError: a number is not a class.

        Example:
            >>> ctc_decoder(None, ["-", "|", "a", "b"]).idxs_to_tokens(torch.tensor([1, 3, 2, 1]))
            ['|', 'b', 'a', '|']
        """
        return [self._name(place, index) for place, index in enumerate(idxs)]

    def _name(self, place: int, given: Any) -> str:
        try:
            index = operator.index(given)
        except TypeError:
            index = -1
        if not 0 <= index < len(self._tokens):
            expected = f"expected a class, an integer from 0 to {len(self._tokens) - 1}"
            raise CTCError(f"idxs[{place}] = {given!r}: {expected}")
        return self._tokens[index]

    @property
    def _from_logits(self) -> bool:
        return not self._sil_score  # with it, scores are normalised before it is added

    def _open(self, method: str) -> Stream:
        if self._stream is None:
            raise CTCError(f"{method} was called without decode_begin: call that first, once for each recording")
        return self._stream

    def _scores(self, emissions: Tensor) -> Tensor:
        """The emissions with `sil_score` added. Malformed emissions are returned as they are; decoding rejects them."""
        if not self._sil_score or emissions.shape[-1:] != (len(self._tokens),) or not emissions.is_floating_point():
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

    Differences from torchaudio:

    - Paths with the same text are added up, as with torchaudio's ``log_add=True``; so scores are log-probabilities of
      texts. Emissions may be logits, which are normalised; torchaudio uses logits as they are.
    - Timesteps are the frames of the most probable path. In torchaudio they are the frames of the search, plus 1.
    - A text is in the beam once. In torchaudio it may be there twice, so a beam of the same width has fewer texts.
    - An unknown word, with ``unk_score`` above -inf, may have any letters; in torchaudio it is the beginning of a word
      of the lexicon. With a language model, it has the score of ``<unk>`` without context.
    - With a lexicon, there is one silence between two words and none before the first. After the last, a silence is
      optional. If no text of the lexicon fits, no hypothesis is returned; torchaudio returns one whose last word is cut
      off.

    Args:
        lexicon: a file with a word and its tokens on each line, where the last token is `sil_token`, unless a mark, ▁,
            begins the tokens that begin words. None: any text.
        tokens: the names of the classes, or a file with one name on each line.
        lm: a language model or its file: a model of words, or without a lexicon also one of tokens. A model of your
            own, torchaudio's ``CTCDecoderLM``, can't be used during the search: take `nbest` texts, and order them by
            your model.
        lm_dict: ignored: the lexicon has the words.
        nbest: how many texts to return for each sample.
        beam_size: how many hypotheses are kept at each frame.
        beam_size_token: how many of a frame's best tokens are tried; None: all.
        beam_threshold: nats; hypotheses further below the best are dropped.
        lm_weight: the weight of the language model's log10 P, as in torchaudio. It is ln 10 = 2.303 times the ``alpha``
            of :class:`ctckit.Decoder`, which is the weight of ln P.
        word_score: nats for each word, with a lexicon.
        unk_score: nats for each unknown word, in addition to the model's ln P of ``<unk>``; -inf: no unknown words are
            allowed.
        sil_score: nats for each frame of `sil_token`.
        log_add: ignored: see above.
        blank_token: the name of the blank.
        sil_token: the name of the silence, which is between words.
        unk_word: the text of unknown words.

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
    if blank == silence:
        raise CTCError(f"sil_token = {sil_token!r} is also the blank_token: expected another token")
    vocabulary = _vocabulary(names, blank, silence)
    model = _model(lm)
    weight = check_number("lm_weight", lm_weight, least=0) if model is not None else 0.0
    word_score = check_number("word_score", word_score) if lexicon is not None else 0.0
    unk_score = check_number("unk_score", unk_score, infinite=True)
    # Alpha also multiplies the score of unknown words. So for a weight of 0, alpha is 1 and no model is used.
    alpha = weight / LN_10 or 1.0
    unknown = None
    if lexicon is not None:
        unknown = (unk_score - word_score) / alpha
        if model is not None and weight:
            unknown += model.step(model.begin(False), 0)[0]
    beam_size = check_beam_width(beam_size, "beam_size")
    if beam_size_token is not None:
        check_integer("beam_size_token", beam_size_token, 1)
    decoder = Decoder(
        vocabulary,
        language_model=model if weight else None,
        lexicon=None if lexicon is None else _lexicon(lexicon, names, vocabulary),
        alpha=alpha,
        beta=word_score,
        unknown_score=unknown,
        beam_width=beam_size,
        beam_threshold=beam_threshold,
        tokens_per_frame=beam_size_token,
        unique_texts=False,
    )
    return CTCDecoder(
        decoder,
        names,
        nbest=min(check_integer("nbest", nbest, 1), beam_size),
        silence=silence,
        sil_score=check_number("sil_score", sil_score),
        unk_word=None if lexicon is None else unk_word,
    )


def _names(tokens: Any) -> list[str]:
    if isinstance(tokens, (str, Path)):
        names = [fields[0] for _, fields in _rows(tokens)]
    elif isinstance(tokens, (bytes, Mapping)) or not isinstance(tokens, Iterable):
        raise CTCError(
            f"tokens has type {type(tokens).__name__}: expected a list of names, one for each class, or a file"
        )
    else:
        names = list(tokens)
    check_labels(names, "tokens")
    return names


def _rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """The numbers and the fields of a file's lines that are not empty. Only ASCII white space separates fields."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if fields := line.encode().split():
            yield number, [field.decode() for field in fields]


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
        "asked during the search: take nbest texts, and order them by their score and that of your model"
    )


def _lexicon(path: Any, names: Sequence[str], vocabulary: Vocabulary) -> dict[str, list[Sequence[str]]]:
    """The spellings of each word in the vocabulary's labels, without the silence at the end."""
    if not isinstance(path, (str, Path)):
        raise CTCError(f"lexicon has type {type(path).__name__}: expected a file; ctckit.torch.Decoder takes words")
    labels = dict(zip(names, vocabulary.labels, strict=True))
    found: dict[str, list[Sequence[str]]] = {}
    for number, (word, *spelling) in _rows(path):
        where = f"{path}, line {number}: {word!r}"
        unknown = [token for token in spelling if token not in labels]
        if unknown or not spelling:
            what = f"is spelled with {unknown[0]!r}" if unknown else "has no spelling"
            raise CTCError(f"{where} {what}: expected a word and its tokens, of those in tokens")
        if vocabulary.separator is not None:
            silence = names[vocabulary.separator]
            if spelling[-1] != silence or len(spelling) == 1:
                raise CTCError(
                    f"{where} is spelled {' '.join(spelling)!r}: expected the silence, {silence!r}, at the end, after "
                    "the word's tokens"
                )
            spelling.pop()
        found.setdefault(word, []).append([labels[token] for token in spelling])
    return found
