"""Each variant on random batches: values and gradients by its definition, and what holds for all losses.

A variant is a loss of each sample, beside its definition in support/variants.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from support import variants
from support.devices import needs_triton, pretend
from support.variants import BLANK, gradient, loss, only

import ctckit
import ctckit.torch
from ctckit import Lattice, LatticeBuilder
from ctckit.torch import terms

CLASSES, FRAMES, STAR = 4, 5, 4
TARGETS = [[1, 2], [2, 2], [3], [1, 3, 1]]
LENGTHS = [5, 4, 3, 5]
EXACT, SINGLE = 1e-10, 3e-6  # of the whole gradient's largest entry, and of the loss
Array = np.ndarray
Losses = Callable[..., torch.Tensor]  # (scores, targets, lengths, target lengths, from_logits) -> (N,)
CLASS_SCORES = np.array([-0.7, 0.4, 0.1, -0.2])


class Variant(NamedTuple):
    ours: Losses
    defined: Callable[[Array, list[int]], float]


def of_lattice(build: Callable[[Lattice], Lattice], star: str = "", scores: Callable[..., Any] | None = None) -> Losses:
    builder = LatticeBuilder(build)

    def losses(given: torch.Tensor, targets: Any, lengths: Any, tokens: Any, from_logits: bool) -> torch.Tensor:
        lattices = builder(targets, tokens)
        added = {} if scores is None else {"state_scores": torch.from_numpy(scores(lattices, lengths))}
        if star:
            given = ctckit.torch.with_star(given.log_softmax(-1) if from_logits else given, star)  # type: ignore[arg-type]
        logits = from_logits and not star
        return ctckit.torch.lattice_loss(given, lattices, lengths, "none", from_logits=logits, **added)  # type: ignore[arg-type]

    return losses


def by_targets(function: Callable[..., torch.Tensor], **more: Any) -> Losses:
    def losses(given: torch.Tensor, targets: Any, lengths: Any, tokens: Any, from_logits: bool) -> torch.Tensor:
        return function(given, targets, lengths, tokens, reduction="none", from_logits=from_logits, **more)

    return losses


def by_weight(weight: Callable[[list[int]], variants.Weight]) -> Callable[[Array, list[int]], float]:
    return lambda log_probs, target: loss(log_probs, weight(target))


def with_column(star: str, weight: Callable[[list[int]], variants.Weight]) -> Callable[[Array, list[int]], float]:
    def defined(log_probs: Array, target: list[int]) -> float:
        probs = np.exp(np.delete(log_probs, BLANK, axis=1))
        column = {"all": np.ones(len(probs)), "tokens": probs.sum(axis=1), "mean": probs.mean(axis=1)}[star]
        return loss(np.concatenate((log_probs, np.log(column)[:, None]), axis=1), weight(target))

    return defined


def words_of(target: Any) -> list[int]:
    """The first two tokens are a word, every other one is a word."""
    return [1, 1, *range(2, len(target))][: len(target)]


def split(target: list[int]) -> list[list[int]]:
    return [target[:2], *([token] for token in target[2:])]


def letters(target: list[int]) -> list[list[int]]:
    return [[token] for token in target]


def inner(target: list[int]) -> list[bool]:
    """The borders between two tokens."""
    return [0 < s < len(target) for s in range(len(target) + 1)]


def otc(lattice: Lattice) -> Lattice:
    """Words or a star instead, and up to two stars at each border of words."""
    words = words_of(lattice.target)
    borders = [words[s] != words[s - 1] for s in range(1, len(words))]
    return lattice.with_bypass(words, STAR, -1.0).with_stars(STAR, 0.2, between=borders, most=2)


def delay(lattices: list[Lattice], lengths: Any) -> Array:
    return ctckit.delay_scores(lattices, 0.4)


def bayes_risk(lattices: list[Lattice], lengths: Any) -> Array:
    return ctckit.risk_scores(lattices, 1.5, lengths)


VARIANTS: dict[str, Variant] = {
    "plain": Variant(by_targets(ctckit.torch.ctc_loss), by_weight(lambda y: only(variants.is_ctc(y)))),
    "class scores": Variant(
        by_targets(ctckit.torch.ctc_loss, class_scores=torch.from_numpy(CLASS_SCORES)),
        lambda log_probs, y: loss(log_probs + CLASS_SCORES, only(variants.is_ctc(y))),
    ),
    "delay penalty": Variant(
        of_lattice(lambda lattice: lattice, scores=delay),
        lambda log_probs, y: loss(log_probs, variants.delayed(y, 0.4, len(log_probs) / 2)),
    ),
    "Bayes risk": Variant(
        of_lattice(lambda lattice: lattice, scores=bayes_risk), by_weight(lambda y: variants.risky(y, 1.5))
    ),
    "selfless": Variant(of_lattice(Lattice.selfless), by_weight(lambda y: only(variants.is_selfless(y)))),
    "minimal": Variant(of_lattice(Lattice.minimal), by_weight(lambda y: only(variants.is_minimal(y)))),
    "stars": Variant(
        of_lattice(lambda lattice: lattice.with_stars(STAR, 0.6), "all"),
        with_column("all", lambda y: variants.spelled_with(variants.with_stars(letters(y), STAR, 0.6))),
    ),
    "stars between": Variant(
        of_lattice(lambda lattice: lattice.with_stars(STAR, 0.3, before=False, after=False), "tokens"),
        with_column("tokens", lambda y: variants.spelled_with(variants.with_stars(letters(y), STAR, 0.3, inner(y)))),
    ),
    "loops": Variant(
        of_lattice(lambda lattice: lattice.with_stars(STAR, -0.4, most=2), "mean"),
        with_column("mean", lambda y: variants.spelled_with(variants.with_stars(letters(y), STAR, -0.4, most=2))),
    ),
    "loops and bypass": Variant(
        of_lattice(otc, "mean"),
        with_column(
            "mean", lambda y: variants.spelled_with(variants.with_stars(split(y), STAR, 0.2, most=2, bypass=-1.0))
        ),
    ),
    "bypass": Variant(
        of_lattice(lambda lattice: lattice.with_bypass(words_of(lattice.target), STAR, -1.0), "mean"),
        with_column("mean", lambda y: variants.spelled_with(variants.with_bypass(split(y), STAR, -1.0))),
    ),
    "bypass of letters": Variant(
        of_lattice(lambda lattice: lattice.with_bypass(1 + np.arange(lattice.num_tokens), STAR, 0.5), "mean"),
        with_column("mean", lambda y: variants.spelled_with(variants.with_bypass(letters(y), STAR, 0.5))),
    ),
    "optional": Variant(
        of_lattice(lambda lattice: lattice.with_optional([1, *[0] * (lattice.num_tokens - 1)])),
        by_weight(lambda y: variants.spelled_with(variants.with_optional(y, [1, *[0] * (len(y) - 1)]))),
    ),
    **{
        f"W-CTC {ends}": Variant(
            by_targets(ctckit.torch.w_ctc_loss, ends=ends),
            lambda log_probs, y, ends=ends: variants.windowed(log_probs, y, ends),
        )
        for ends in ("sum_prob", "max_prob", "soft")
    },
    **{
        f"STC {prob}": Variant(
            by_targets(ctckit.torch.stc_loss, star_prob=prob),
            by_weight(lambda y, prob=prob: variants.star_temporal(y, prob)),
        )
        for prob in (1.0, 0.3, 0.0)
    },
}


STARRED = ("stars", "stars between", "loops", "loops and bypass", "bypass", "bypass of letters")


class Batch(NamedTuple):
    scores: Array  # (T, N, C), normalised
    targets: torch.Tensor
    lengths: list[int]
    tokens: list[int]

    def sample(self, n: int) -> tuple[Array, list[int]]:
        return self.scores[: self.lengths[n], n], self.targets[n, : self.tokens[n]].tolist()


def batch(seed: int, sharpness: float = 1.0, lengths: list[int] = LENGTHS) -> Batch:
    logits = sharpness * np.random.default_rng(seed).standard_normal((FRAMES, len(TARGETS), CLASSES))
    padded = [[*target, *[0] * (3 - len(target))] for target in TARGETS]
    scores = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    return Batch(scores, torch.tensor(padded), lengths, [len(target) for target in TARGETS])


def evaluated(
    losses: Losses, given: Batch, dtype: torch.dtype = torch.float64, from_logits: bool = False, fill: float = np.nan
) -> tuple[Array, Array]:
    """Each sample's loss, and the gradient of a weighted sum of those that are finite; padded frames hold `fill`."""
    scores = torch.tensor(given.scores, dtype=dtype)
    for n, length in enumerate(given.lengths):
        scores[length:, n] = fill
    scores.requires_grad_()
    found = losses(scores, given.targets, given.lengths, given.tokens, from_logits)
    (found * WEIGHTS.to(dtype)).sum().backward()
    assert scores.grad is not None
    return found.detach().numpy(), scores.grad.numpy()


def padding(name: str, from_logits: bool) -> float:
    """What frames that are not used hold. A star's column comes after a log_softmax, which is torch's."""
    return 7.0 if from_logits and name in STARRED else np.nan


WEIGHTS = torch.tensor([1.0, 0.5, 2.0, 1.5], dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_value_and_gradient(name: str) -> None:
    variant, given = VARIANTS[name], batch(1)
    values, grad = evaluated(variant.ours, given)
    for n, weight in enumerate(WEIGHTS.tolist()):
        log_probs, target = given.sample(n)
        assert values[n] == pytest.approx(variant.defined(log_probs, target), abs=EXACT)
        slope = gradient(log_probs, partial(lambda scores, target: variant.defined(scores, target), target=target))
        np.testing.assert_allclose(grad[: len(log_probs), n], weight * slope, atol=1e-8)  # differences have 1e-9
    for n, length in enumerate(given.lengths):
        assert not grad[length:, n].any()


# Of two windows that are equally good but for a rounding error, either may be the best.
PEAKY = [(name, 12.0) for name in VARIANTS if name != "W-CTC max_prob"]


@pytest.mark.parametrize(("name", "sharpness"), [*((name, 1.0) for name in VARIANTS), *PEAKY])
def test_single_precision(name: str, sharpness: float) -> None:
    given = batch(2, sharpness)
    values, grad = evaluated(VARIANTS[name].ours, given)
    found, found_grad = evaluated(VARIANTS[name].ours, given, torch.float32)
    np.testing.assert_allclose(found, values, rtol=SINGLE, atol=SINGLE * sharpness)
    np.testing.assert_allclose(found_grad, grad, atol=SINGLE * max(1.0, np.abs(grad).max()) * sharpness)


@pytest.mark.parametrize("name", VARIANTS)
def test_from_logits(name: str) -> None:
    """The gradient by logits is that by log-probabilities, through the softmax."""
    given = batch(3)
    shifted = given._replace(scores=given.scores + 2.5)
    values, grad = evaluated(VARIANTS[name].ours, given)
    found, found_grad = evaluated(VARIANTS[name].ours, shifted, from_logits=True, fill=padding(name, True))
    np.testing.assert_allclose(found, values, atol=EXACT)
    through = grad - np.exp(given.scores) * grad.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(found_grad, through, atol=EXACT)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("from_logits", [False, True])
def test_a_sample_without_a_path_or_with_nan_harms_no_other(name: str, from_logits: bool) -> None:
    lengths = [1, 4, 3, 5]  # the first one needs two frames
    alone, alone_grad = evaluated(
        VARIANTS[name].ours, batch(4), from_logits=from_logits, fill=padding(name, from_logits)
    )
    given = batch(4, lengths=lengths)
    given.scores[2, 2, 1] = np.nan
    if name in STARRED or name == "optional":
        given = given._replace(lengths=[0, *lengths[1:]])  # fewer frames than any of their strings
    values, grad = evaluated(VARIANTS[name].ours, given, from_logits=from_logits, fill=padding(name, from_logits))
    assert values[0] == np.inf
    assert np.isnan(values[2])
    assert not grad[:, 0].any()
    np.testing.assert_array_equal(values[[1, 3]], alone[[1, 3]])
    np.testing.assert_allclose(grad[:, [1, 3]], alone_grad[:, [1, 3]], atol=1e-15)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_batch_equals_its_samples(name: str) -> None:
    given = batch(5)
    values, _ = evaluated(VARIANTS[name].ours, given, fill=7.0)
    for n in range(len(TARGETS)):
        log_probs, target = given.sample(n)
        one = torch.from_numpy(np.ascontiguousarray(log_probs[:, None]))
        found = VARIANTS[name].ours(one, torch.tensor([target]), [len(log_probs)], [len(target)], False)
        assert found.item() == pytest.approx(values[n], abs=1e-12)


def test_path_entropy() -> None:
    given = batch(6)
    scores = torch.from_numpy(given.scores).requires_grad_()
    found = terms.path_entropy(scores, given.targets, given.lengths, given.tokens, reduction="none")
    found.sum().backward()
    assert scores.grad is not None
    for n in range(len(TARGETS)):
        log_probs, target = given.sample(n)
        assert found[n].item() == pytest.approx(variants.path_entropy(log_probs, target), abs=EXACT)
        slope = gradient(log_probs, partial(lambda p, y: variants.path_entropy(p, y), y=target))
        np.testing.assert_allclose(scores.grad[: len(log_probs), n], slope, atol=1e-8)


ON_A_GPU = [
    "STC 0.3",
    *(pytest.param(name, marks=pytest.mark.long) for name in ("class scores", "delay penalty", "selfless")),
    *(pytest.param(f"W-CTC {ends}", marks=pytest.mark.long) for ends in ("sum_prob", "max_prob", "soft")),
]


@needs_triton
@pytest.mark.parametrize("name", ON_A_GPU)
def test_a_gpu_gives_the_cpus_numbers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = batch(7)
    values, grad = evaluated(VARIANTS[name].ours, given)
    pretend(monkeypatch, "triton", torch.Tensor)
    found, found_grad = evaluated(VARIANTS[name].ours, given)
    np.testing.assert_allclose(found, values, atol=1e-11)
    np.testing.assert_allclose(found_grad, grad, atol=1e-11)


@needs_triton
@pytest.mark.parametrize("name", [*STARRED, "optional"])
def test_a_gpu_refuses_long_arcs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "triton", torch.Tensor)
    with pytest.raises(ctckit.CTCError, match="the triton backend cannot take long arcs yet: pass the scores"):
        evaluated(VARIANTS[name].ours, batch(7))
