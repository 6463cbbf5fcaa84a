"""`python bench/confidence.py`: how well confidences of words are calibrated, on a real recogniser's lines.

The lines are the part `test` of tests/data, which nothing was fitted to, without and with a language. Beside ctckit's
confidences stand the shares of whole texts among those that the beam ends with, as other decoders' users compute them.

Writes bench/results/confidence.csv: the curves.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

from harness import ROOT, Row, show, write_results

import ctckit
from ctckit.decoding.confidence import Rival, confidences_among

sys.path.insert(0, str(ROOT / "tests"))
from support import printed
from support.calibration import curve, expected_error, right


class Judged(NamedTuple):
    """Words: whether each is right, and how sure ctckit is of it, and its share among the beam's texts."""

    hits: list[bool]
    sure: list[float]
    shares: list[float]


def judge(decoder: ctckit.Decoder, lines: Sequence[printed.Line]) -> Judged:
    found = Judged([], [], [])
    for line in lines:
        texts = decoder.decode(line.log_probs, nbest=decoder.beam_width)[0]
        best = decoder.decode(line.log_probs)[0][0]
        words = [word.text for word in best.words]
        rivals = [Rival(text.tokens.tolist(), text.text.split(), text.score) for text in texts]
        found.hits.extend(right(words, line.text.split()))
        found.sure.extend(word.confidence for word in best.words)
        found.shares.extend(confidences_among(best.tokens, best.words, rivals).words.tolist())
    return found


def decoders() -> dict[str, ctckit.Decoder]:
    vocabulary = ctckit.Vocabulary(printed.LABELS)
    model = ctckit.LanguageModel.read(BytesIO(printed.arpa().encode()))
    return {
        "no language": ctckit.Decoder(vocabulary),
        "lexicon": ctckit.Decoder(vocabulary, lexicon=printed.lexicon()),
        "language model": ctckit.Decoder(vocabulary, language_model=model),
        "both": ctckit.Decoder(vocabulary, language_model=model, lexicon=printed.lexicon()),
    }


def main() -> None:
    curves: list[Row] = []
    errors: list[Row] = []
    for name, decoder in decoders().items():
        for noise in (0.6, 0.65):
            lines = [line for line in printed.lines("test") if abs(line.noise - noise) < 0.01]
            judged = judge(decoder, lines)
            error: Row = {"decoder": name, "noise": noise, "words": len(judged.hits)}
            error["right"] = f"{sum(judged.hits) / len(judged.hits):.3f}"
            for measure, sure in (("ctckit", judged.sure), ("shares of texts", judged.shares)):
                found = curve(sure, judged.hits)
                error[measure] = f"{expected_error(found):.3f}"
                curves += [
                    {
                        "decoder": name,
                        "noise": noise,
                        "measure": measure,
                        "words": b.size,
                        "confidence": f"{b.confidence:.3f}",
                        "right": f"{b.right:.3f}",
                    }
                    for b in found
                ]
            errors.append(error)
    show("Expected calibration error of words' confidences", errors, ["decoder"])
    show("Of words with this confidence, this share is right", curves, ["decoder", "measure"])
    write_results("confidence", curves, "words of the printed lines in tests/data, part test")


if __name__ == "__main__":
    main()
