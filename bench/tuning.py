"""`python bench/tuning.py`: weights of a language, chosen on a real recogniser's lines, and tested on others.

The lines are those of tests/data. Weights are chosen on the part `calibrate`, lines of docstrings; the test is on
the parts `develop` and `test`, lines of the Language Reference.

Writes bench/results/tuning.csv: the errors of all weights that were tried, which docs/draw.py draws.
"""

from __future__ import annotations

from harness import Row, show, write_results
from kept import printed

import ctckit
from ctckit.decoding import Trial


def row(what: str, trial: Trial) -> Row:
    errors = trial.errors
    return {"what": what, "alpha": trial.alpha, "beta": trial.beta, "errors": errors.total, "words": errors.length}


def main() -> None:
    decoder = printed.with_language()
    chosen_on = printed.lines("calibrate")
    kept_apart = [*printed.lines("develop"), *printed.lines("test")]
    found = ctckit.tune(decoder, [line.log_probs for line in chosen_on], [line.text for line in chosen_on])
    plain = ctckit.Decoder(printed.LABELS)
    rows: list[Row] = [
        {
            "what": what,
            "chosen on": f"{trial.rate:.2%}",
            "kept apart": f"{printed.errors_of(tried.decode, kept_apart).rate:.2%}",
        }
        for what, trial, tried in (
            ("without a language", found.without, plain),
            (f"before: {decoder.alpha:g}, {decoder.beta:g}", found.before.errors, decoder),
            (f"chosen: {found.decoder.alpha:g}, {found.decoder.beta:g}", found.chosen.errors, found.decoder),
        )
    ]
    show("Wrong words", rows, ["what"])
    trials = [row("without", Trial(0.0, 0.0, found.without)), row("before", found.before), row("chosen", found.chosen)]
    write_results(
        "tuning",
        [*trials, *(row("tried", trial) for trial in found.trials)],
        "wrong words of the printed lines, part calibrate",
    )


if __name__ == "__main__":
    main()
