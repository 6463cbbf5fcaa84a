"""Other projects' golden values: what their own tests expect, with the inputs of those tests.

``golden/*.json`` holds them, one file per project: repository, licence, file and version, inputs, the expected numbers
with the digits that are printed there, and the tolerance of the test there. docs/numbers.md counts them.

A printed number is right to half a unit of its last digit: that is the tolerance here. Where the peer computed in
float32, or its inputs are printed with too few digits, the case adds ``slack`` and says why. An independent oracle must
agree with every number too, so that a misread one is not mistaken for an error of ours.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from oracles import all_paths, enumerate_graph, log_softmax, textbook
from support.lattices import graph_of

import ctckit
from ctckit import Arc, Lattice, ctc_lattice

Array = np.ndarray[Any, Any]

HERE = Path(__file__).parent


def mxnet_ramps() -> Array:
    """Row i is the ramp 0 … 5999, rolled by i; then, as in MXNet's test, columns are read as if they were rows."""
    columns = np.stack([np.roll(np.arange(6000.0), i) / 13 for i in range(16)], axis=1)
    return columns.reshape(8, 2, 6000)


def sines(shape: list[int]) -> Array:
    t, n, c = np.indices(shape)
    return np.sin((7 * t + 13 * n + 3 * c) / 10)


def number(printed: Any) -> float:
    """A number, null for none, "inf", or a fraction in quotes."""
    if printed is None:
        return math.nan
    return float(Fraction(printed) if isinstance(printed, str) and printed != "inf" else printed)


def numbers(printed: Any) -> Array:
    return np.vectorize(number, otypes=[float])(np.array(printed, dtype=object))


def half_a_digit(printed: Any) -> float:
    """Half a unit of the last printed digit; integers and fractions are exact."""
    return 0.5 * 10.0 ** printed.as_tuple().exponent if isinstance(printed, Decimal) else 0.0


class Case(NamedTuple):
    """A problem of another project's tests."""

    project: str
    what: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.project}: {self.what['name']}"

    @property
    def scores(self) -> Array:
        given = self.what["scores"]
        if "values" in given:
            scores = numbers(given["values"])
        elif "fill" in given:
            scores = np.full(given["shape"], number(given["fill"]))
            for t, c, value in given.get("set", ()):
                scores[slice(None) if t is None else t, c] = number(value)
        elif given["formula"] == "rolled ramps of MXNet":
            scores = mxnet_ramps()
        else:
            assert given["formula"] == "sin((7t + 13n + 3c) / 10)"
            scores = sines(given["shape"])
        with np.errstate(divide="ignore"):
            return np.log(scores) if given["log"] else scores

    @property
    def batch(self) -> Array:
        """(T, N, C), N = 1 for a problem of one sample."""
        return self.scores if self.scores.ndim == 3 else self.scores[:, None]

    @property
    def logits(self) -> bool:
        """Whether the peer normalises the scores."""
        return bool(self.what["scores"]["normalise"])

    @property
    def log_probs(self) -> Array:
        return log_softmax(self.batch) if self.logits else self.batch

    @property
    def targets(self) -> list[list[int]]:
        return self.what["targets"] if self.scores.ndim == 3 else [self.what["targets"]]

    @property
    def input_lengths(self) -> list[int]:
        return self.what.get("input_lengths", [len(self.scores)] * self.batch.shape[1])

    @property
    def lattices(self) -> list[Lattice] | None:
        """If they are not CTC's."""
        return [lattice_of(graph) for graph in self.what["graphs"]] if "graphs" in self.what else None

    def unbatched(self, values: Array) -> Array:
        return values if self.scores.ndim == 3 else values[..., 0, :] if values.ndim == 3 else values[0]


def lattice_of(graph: dict[str, list[int]]) -> Lattice:
    arcs = np.full(len(graph["labels"]), int(Arc.STAY))
    arcs[1:] |= int(Arc.STEP)
    for name, arc in (("skips", Arc.SKIP), ("starts", Arc.START), ("ends", Arc.END)):
        arcs[graph[name]] |= int(arc)
    return Lattice(graph["labels"], arcs)


def ours(case: Case, quantity: str) -> Any:
    """The quantity by the public API, in the peer's convention."""
    what, blank, grad_is = case.what, case.what.get("blank", 0), case.what.get("grad_is")
    if quantity in ("alpha", "beta"):
        return getattr(ctckit.explain(case.scores, what["targets"], blank=blank, from_logits=case.logits), quantity)
    if quantity in ("path", "along_path"):
        (found,) = ctckit.forced_align(case.scores, what["targets"], blank=blank, from_logits=case.logits)
        return found.labels if quantity == "path" else np.exp(found.frame_scores)

    scores, logits = (case.log_probs.astype(float), False) if grad_is == "-gamma" else (case.batch, case.logits)
    reduction = {"mean": "mean", "grad_of_mean": "mean", "sum": "sum", "grad": "sum"}.get(quantity, "none")
    options = {"reduction": reduction, "zero_infinity": what.get("zero_infinity", False), "from_logits": logits}
    if case.lattices:
        loss, grad = ctckit.lattice_loss_and_grad(scores, case.lattices, **options)[:2]
    else:
        tokens = np.array([token for target in case.targets for token in target], int)
        lengths = [len(target) for target in case.targets]
        loss, grad = ctckit.ctc_loss_and_grad(scores, tokens, case.input_lengths, lengths, blank, **options)
    if quantity.startswith("grad"):
        return case.unbatched(grad + np.exp(scores) if grad_is == "exp(scores) - gamma" else grad)
    if quantity == "mean_of_samples":
        return np.mean(loss)
    loss = case.unbatched(loss) if reduction == "none" else loss
    return np.exp(-loss) if quantity == "probability" else loss


def occupancy(log_probs: Array, lattice: Lattice) -> tuple[float, Array]:
    """Log-score and γ by class of any lattice, by enumeration."""
    found = enumerate_graph(log_probs[:, lattice.labels].astype(float), graph_of(lattice)[0])
    gamma = np.zeros(log_probs.shape)
    np.add.at(gamma, (slice(None), lattice.labels), found.occupancy)
    return found.score, gamma


def by_oracle(case: Case, quantity: str) -> Any:
    """The same by tests/oracles.py."""
    if quantity in ("alpha", "beta"):
        return alpha_or_beta(case, quantity)
    what, log_probs, grad_is = case.what, case.log_probs, case.what.get("grad_is")
    losses, grads = [], np.zeros(log_probs.shape)
    for n, frames in enumerate(case.input_lengths):
        rows = log_probs[:frames, n]
        if case.lattices:
            score, gamma = occupancy(rows, case.lattices[n])
        else:
            score, gamma = textbook(rows, case.targets[n], what["blank"])
        losses.append(0.0 if what.get("zero_infinity") and score == -math.inf else -score)
        grads[:frames, n] = -gamma
        if grad_is == "exp(scores) - gamma" or (case.logits and grad_is is None):
            grads[:frames, n] += np.exp(rows).astype(float)
    if quantity.startswith("grad"):
        weights = 1 / (len(losses) * token_counts(case)) if quantity == "grad_of_mean" else np.ones(len(losses))
        return case.unbatched(grads * weights[:, None])
    if quantity in ("loss", "probability"):
        loss = case.unbatched(np.array(losses))
        return np.exp(-loss) if quantity == "probability" else loss
    return {"sum": np.sum, "mean_of_samples": np.mean, "mean": lambda x: np.mean(x / token_counts(case))}[quantity](
        losses
    )


def token_counts(case: Case) -> Array:
    return np.array([len(target) for target in case.targets])


def alpha_or_beta(case: Case, quantity: str) -> Array:
    """Of the states that the peer gives: all ways there, or all ways on from there, one after the other."""
    lattice = ctc_lattice(case.what["targets"], case.what["blank"])
    graph = graph_of(lattice)[0]
    emissions = case.log_probs[:, 0, lattice.labels].astype(float)
    found = np.full(emissions.shape, np.nan)
    for t, k in np.argwhere(~np.isnan(numbers(case.what["expected"][quantity]))):
        if quantity == "alpha":
            found[t, k] = enumerate_graph(emissions[: t + 1], graph._replace(ends=[k])).score
        else:
            found[t, k] = enumerate_graph(emissions[t:], graph._replace(starts=[k])).score - emissions[t, k]
    return found


FILES = [
    json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    for path in sorted((HERE / "golden").glob("*.json"))
]
CASES = [Case(file["project"], case) for file in FILES for case in file["cases"]]
VALUES = [
    pytest.param(case, quantity, id=f"{case}: {quantity}") for case in CASES for quantity in case.what["expected"]
]


def check(case: Case, quantity: str, found: Any, expected: Any = None) -> None:
    printed = np.array(case.what["expected"][quantity] if expected is None else expected, dtype=object)
    expected, found = numbers(printed), np.asarray(found, float)
    assert found.shape == expected.shape
    tolerance = np.vectorize(half_a_digit, otypes=[float])(printed)
    # 1e-12: what float64 itself may lose.
    tolerance = tolerance + float(case.what.get("slack", {}).get(quantity, 0)) + 1e-12 * np.abs(expected)
    given = ~np.isnan(expected)
    with np.errstate(invalid="ignore"):  # inf - inf
        wrong = given & (found != expected) & ~(np.abs(found - expected) <= tolerance)
    assert not wrong.any(), f"{found[wrong]} instead of {expected[wrong]}"


@pytest.mark.parametrize(("case", "quantity"), VALUES)
def test_value(case: Case, quantity: str, instruction_set: str) -> None:
    """Where we differ, on purpose, the case says what ours is, and its note why."""
    check(case, quantity, ours(case, quantity), case.what.get("differs", {}).get(quantity))


BY_ORACLE = [value for value in VALUES if value.values[1] not in ("path", "along_path")]


@pytest.mark.parametrize(("case", "quantity"), BY_ORACLE)
def test_oracle_agrees(case: Case, quantity: str) -> None:
    check(case, quantity, by_oracle(case, quantity))


@pytest.mark.parametrize("case", [value.values[0] for value in VALUES if value.values[1] == "path"], ids=str)
def test_no_path_is_better(case: Case) -> None:
    """By enumeration of all paths. This holds for their path and, in a tie, for ours."""
    target, blank = case.what["targets"], case.what["blank"]
    used = sorted({*target, blank})
    scores = case.scores[:, used]
    paths = np.array(
        list(all_paths(len(scores), len(used), [used.index(token) for token in target], used.index(blank)))
    )
    totals = scores[np.arange(len(scores)), paths].sum(axis=1)
    for path in (case.what["expected"]["path"], case.what.get("differs", case.what["expected"])["path"]):
        index = [used.index(label) for label in path]
        assert index in paths.tolist()
        assert scores[np.arange(len(scores)), index].sum() == pytest.approx(totals.max(), rel=1e-12)
    assert ("differs" in case.what) == (np.sum(totals > totals.max() - 1e-9) > 1)


def values_of(project: str) -> int:
    """How many golden values: numbers, and paths, each of which is one. Where we differ, none."""
    return sum(
        1 if quantity == "path" else int(np.sum(~np.isnan(numbers(expected))))
        for case in CASES
        for quantity, expected in case.what["expected"].items()
        if case.project == project and quantity not in case.what.get("differs", {})
    )


@pytest.mark.parametrize("page", ["numbers.md", "numbers.zh.md"])
def test_the_guide_counts_them(page: str) -> None:
    text = (HERE.parents[1] / "docs" / page).read_text(encoding="utf-8")
    counted = {
        project: int(count) for project, count in re.findall(r"^\| ([^|]+) \| (\d+) \| .+ \|$", text, re.MULTILINE)
    }
    assert counted == {file["project"]: values_of(file["project"]) for file in FILES}
    assert len(counted) >= 5
    assert sum(counted.values()) >= 100
    assert str(sum(counted.values())) in text


def test_every_file_names_its_source() -> None:
    for file in FILES:
        assert {"project", "repository", "licence", "cases"} == set(file)
        for case in file["cases"]:
            assert {"name", "file", "what", "scores", "expected", "their_tolerance"} <= set(case)
            assert ("slack" in case) == ("why" in case.get("slack", {}))
            assert "note" in case or not {"differs", "grad_is"} & set(case)


if __name__ == "__main__":  # the guide's counts
    for file in FILES:
        print(file["project"], values_of(file["project"]))
