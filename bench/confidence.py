"""`python bench/confidence.py`: how well confidences of words are calibrated, on a real recogniser's lines.

The lines are the part `test` of tests/data, which was not used to set any parameter, without and with a language.
ctckit's confidences are compared with shares of whole texts, which users of any decoder can compute from its n best
texts: a word's share is that of the texts, by their scores, that have it at its place. Here these are all texts of the
beam, with their exact scores; words are separated by spaces.

Writes bench/results/calibration.csv, the errors, and bench/results/confidence.csv, the curves, which docs/draw.py
draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness import Row, show, write_results
from kept import calibration, printed

import ctckit
from ctckit.decoding.confidence import Rival, confidences_among


class Judged(NamedTuple):
    """Of each word, whether it is right, ctckit's confidence, and its share among the texts of the beam."""

    hits: list[bool]
    confidences: list[float]
    shares: list[float]


def judge(decoder: ctckit.Decoder, lines: Sequence[printed.Line]) -> Judged:
    found = Judged([], [], [])
    for line in lines:
        texts = decoder.decode(line.log_probs, nbest=decoder.beam_width)[0]
        best = decoder.decode(line.log_probs)[0][0]
        words = [word.text for word in best.words]
        rivals = [Rival(text.tokens.tolist(), text.text.split(), text.score) for text in texts]
        found.hits.extend(calibration.right(words, line.text.split()))
        found.confidences.extend(word.confidence for word in best.words)
        found.shares.extend(confidences_among(best.tokens, best.words, rivals).words.tolist())
    return found


def decoders() -> dict[str, ctckit.Decoder]:
    return {
        "no language": ctckit.Decoder(printed.LABELS),
        "lexicon": ctckit.Decoder(printed.LABELS, lexicon=printed.lexicon()),
        "language model": ctckit.Decoder(printed.LABELS, language_model=printed.language_model()),
        "both": printed.with_language(),
    }


def main() -> None:
    curves: list[Row] = []
    errors: list[Row] = []
    for name, decoder in decoders().items():
        for noise in (0.6, 0.65):
            judged = judge(decoder, printed.lines("test", noise))
            error: Row = {"decoder": name, "noise": noise, "words": len(judged.hits)}
            error["right"] = f"{sum(judged.hits) / len(judged.hits):.3f}"
            above = sum(confidence > 0.99 for confidence in judged.confidences)
            error["above 0.99"] = f"{above / len(judged.hits):.3f}"
            for measure, sure in (("ctckit", judged.confidences), ("shares of texts", judged.shares)):
                found = calibration.curve(sure, judged.hits)
                error[measure] = f"{calibration.expected_error(found):.3f}"
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
    about = "words of the printed lines in tests/data, part test"
    write_results("calibration", errors, f"expected calibration error, {about}")
    write_results("confidence", curves, about)


if __name__ == "__main__":
    main()
