"""`python bench/variants_train.py`: what variants of the loss teach a small network, on lines of handwritten digits.

The network and the lines are the demo's (ctckit.demo). Four losses: plain CTC; label priors; CR-CTC, with two masked
views of each line; InterCTC, with a head before the recurrent layer. All see the same lines, masked in the same way,
for the same number of steps, and `--seeds` seeds; CR-CTC computes twice as much in each step. Held-out lines are read
by the most probable class of each frame, and aligned; where each digit stands on its line is known.

Writes bench/results/variants_train.csv, a row for each seed, and the tables of docs/variants.md and its Chinese twin.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from harness import Row, TableWords, publish, published, show, write_results
from rich.progress import track
from torch import Tensor, nn

import ctckit
import ctckit.torch
from ctckit.demo.data import SIZE, Lines, load_digits, training_batches, write_lines
from ctckit.demo.model import CLASSES, STRIDE, LineReader, frames, read_lines
from ctckit.demo.train import BATCH, PEAK_RATE, _follow, _rate
from ctckit.torch import LabelPriors, terms

EPOCH = 25  # steps, after which priors are set anew
HELD_OUT_LINES = 400
MASKS, WIDEST_MASK = 2, 5  # bars on a line, and their most columns
CONSISTENCY, WARM_UP = 0.2, 0.3  # CR-CTC's factor, and the share of the training in which it rises
INNER = 0.3  # InterCTC's weight of the inner head
PRIOR_SCALE = 0.6
SHOWN = {  # the columns that are published, and their digits
    "digits wrong, %": 2,
    "frames that say blank, %": 1,
    "entropy of paths, nats a frame": 3,
    "width of a digit, columns": 2,
    "borders are off by, columns": 2,
    "middle is off by, columns": 2,
}
VARIANTS = ("plain", "label priors", "CR-CTC", "InterCTC")
Loss = Callable[[LineReader, Tensor, Lines, float], Tensor]


class Found(NamedTuple):
    """Measures of one run, on held-out lines."""

    error_rate: float  # share of digits
    blank_share: float  # of frames, that are most probably blank
    entropy: float  # of paths given the text, nats a frame
    width: float  # columns that a digit's frames take, in the alignment
    border_error: float  # columns, from the first and the last of them to the borders of the digit; the mean of both
    middle_error: float  # columns, from the middle of them to the middle of the digit
    seconds: float


def masked(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Lines with some columns blanked, as SpecAugment's time masks do."""
    found = images.clone()
    for row in found:
        for _ in range(MASKS):
            width = int(rng.integers(0, WIDEST_MASK + 1))
            left = int(rng.integers(0, max(1, row.shape[1] - width)))
            row[:, left : left + width] = 0
    return found


def with_inner(model: LineReader, images: Tensor) -> Tensor:
    """Logits (2, T, N, 11) of the layer before the recurrent one, and of the last, by the same linear layer."""
    kept: list[Tensor] = []
    handle = model.neighbours.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    last = model(images)
    handle.remove()
    return torch.stack((model.classes(kept[0]), last))


def losses(priors: LabelPriors, rng: np.random.Generator) -> dict[str, Loss]:
    def given(lines: Lines) -> tuple[Tensor, Tensor, Tensor]:
        return tuple(map(torch.from_numpy, (lines.targets, frames(lines.widths), lines.target_lengths)))  # type: ignore[return-value]

    def plain(model: LineReader, images: Tensor, lines: Lines, done: float) -> Tensor:
        return ctckit.torch.ctc_loss(model(masked(images, rng)), *given(lines), from_logits=True)

    def with_priors(model: LineReader, images: Tensor, lines: Lines, done: float) -> Tensor:
        logits, arguments = model(masked(images, rng)), given(lines)
        priors.update(logits, arguments[1], from_logits=True)
        return ctckit.torch.ctc_loss(logits, *arguments, from_logits=True, class_scores=priors.class_scores)

    def consistent(model: LineReader, images: Tensor, lines: Lines, done: float) -> Tensor:
        arguments = given(lines)
        one, two = model(torch.cat((masked(images, rng), masked(images, rng)))).chunk(2, dim=1)
        both = [ctckit.torch.ctc_loss(view, *arguments, from_logits=True) for view in (one, two)]
        factor = CONSISTENCY * min(1.0, done / WARM_UP) / lines.target_lengths.sum()  # nats a digit, as the losses
        return (both[0] + both[1]) / 2 + factor * terms.consistency(one, two, arguments[1], from_logits=True)

    def inner(model: LineReader, images: Tensor, lines: Lines, done: float) -> Tensor:
        heads = with_inner(model, masked(images, rng))
        found = ctckit.torch.ctc_loss(heads, *given(lines), from_logits=True)
        return INNER * found[0] + (1 - INNER) * found[1]

    return {"plain": plain, "label priors": with_priors, "CR-CTC": consistent, "InterCTC": inner}


def trained(name: str, seed: int, steps: int) -> tuple[LineReader, LabelPriors, float]:
    """The mean of the last networks of a run, as in the demo."""
    digits, _ = load_digits()
    torch.manual_seed(seed)
    model, average = LineReader(), LineReader()
    average.load_state_dict(model.state_dict())
    priors = LabelPriors(CLASSES, PRIOR_SCALE)
    loss = losses(priors, np.random.default_rng([seed, 1]))[name]
    optimizer = torch.optim.AdamW(model.parameters())
    batches = training_batches(digits, BATCH, np.random.default_rng(seed))
    begun = time.process_time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * _rate(step / steps)
        lines = next(batches)
        optimizer.zero_grad()
        loss(model, torch.from_numpy(lines.images), lines, step / steps).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        _follow(average, model, step)
        if (step + 1) % EPOCH == 0:
            priors.step()
    return average, priors, time.process_time() - begun


def measured(name: str, seed: int, steps: int, held_out: Lines) -> Found:
    model, priors, seconds = trained(name, seed, steps)
    seen = read_lines(model, held_out)
    log_probs, used = torch.from_numpy(seen.log_probs), torch.from_numpy(seen.frames)
    texts = torch.from_numpy(held_out.targets), used, torch.from_numpy(held_out.target_lengths)
    blank = log_probs.argmax(-1) == 0
    counted = torch.arange(len(log_probs))[:, None] < used
    entropy = terms.path_entropy(log_probs, *texts) / used.sum()
    scores = priors.class_scores.numpy() if name == "label priors" else None
    found = ctckit.forced_align(
        seen.log_probs, held_out.targets, seen.frames, held_out.target_lengths, class_scores=scores
    )
    spans = [(span, left[span.index]) for one, left in zip(found, held_out.lefts, strict=True) for span in one.spans()]
    # How far the first and the last column of a digit's frames are to the right of its own.
    begin, end = np.array([(STRIDE * s.start - left, STRIDE * s.end - left - SIZE) for s, left in spans], float).T
    return Found(
        seen.cer,
        float((blank & counted).sum() / counted.sum()),
        float(entropy),
        float((SIZE + end - begin).mean()),
        float((np.abs(begin) + np.abs(end)).mean() / 2),
        float(np.abs((begin + end) / 2).mean()),
        seconds,
    )


def rows_of(name: str, runs: list[Found]) -> list[Row]:
    """A row for each seed, in the units that are published."""
    return [
        {
            "loss": name,
            "seed": seed,
            "digits wrong, %": f"{100 * run.error_rate:.3f}",
            "frames that say blank, %": f"{100 * run.blank_share:.2f}",
            "entropy of paths, nats a frame": f"{run.entropy:.4f}",
            "width of a digit, columns": f"{run.width:.3f}",
            "borders are off by, columns": f"{run.border_error:.3f}",
            "middle is off by, columns": f"{run.middle_error:.3f}",
            "CPU s": f"{run.seconds:.1f}",
        }
        for seed, run in enumerate(runs)
    ]


def cells(rows: list[Row], words: Mapping[str, str]) -> list[list[str]]:
    """The published rows: means and standard deviations over the seeds."""
    found = []
    for name in VARIANTS:
        own = [row for row in rows if row["loss"] == name]
        line = [words.get(name, name)]
        for column, digits in SHOWN.items():
            values = [float(str(row[column])) for row in own]
            line.append(f"{statistics.fmean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}")
        found.append(line)
    return found


def publish_table(table: TableWords, rows: list[Row]) -> None:
    facts = {"lines": str(HELD_OUT_LINES), "seeds": str(1 + max(int(str(row["seed"])) for row in rows))}
    publish("variants_train", table, cells(rows, table.words), torch=torch.__version__, **facts)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--steps", type=int, default=300)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    _, digits = load_digits()
    held_out = write_lines(digits, HELD_OUT_LINES, np.random.default_rng(99))
    runs: dict[str, list[Found]] = {name: [] for name in VARIANTS}
    for seed in track(range(given.seeds), "training", transient=True):
        for name in VARIANTS:
            runs[name].append(measured(name, seed, given.steps, held_out))
    rows = [row for name, found in runs.items() for row in rows_of(name, found)]
    show(f"{HELD_OUT_LINES} held-out lines, {given.steps} steps", rows, left=("loss",))
    write_results("variants_train", rows, f"{given.steps} steps; torch {torch.__version__}")
    for table in published("variants_train"):
        publish_table(table, rows)


if __name__ == "__main__":
    main()
