"""Values that were computed elsewhere, by a sum over all sequences of classes, to ten decimals.

Each stands beside its definition (support/variants.py) and what ctckit says, and must equal both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from support import variants
from support.variants import BLANK, loss, only, scores_of

import ctckit
import ctckit.torch
from ctckit import Lattice, ctc_lattice
from ctckit.torch import stc_loss, terms, w_ctc_loss

P = scores_of(12)  # six frames, four classes
T, C = P.shape
A, B, D = [1, 2], [2, 2], [1, 3, 1]
STAR = C
PRIOR = np.array([-1.4508764512, -1.4477513596, -1.2506318327, -1.4097143424])


def log_prior() -> np.ndarray:
    used = scores_of(13, 50)
    return np.array([variants.log_sum(column) for column in used.T]) - np.log(len(used))


def plain(target: list[int], scores: np.ndarray = P, **added: np.ndarray) -> float:
    return float(ctckit.ctc_loss(scores, target, len(scores), len(target), reduction="sum", **added))


def of_lattice(lattice: Lattice, scores: np.ndarray = P, **added: np.ndarray) -> float:
    return float(ctckit.lattice_loss(scores, lattice, reduction="sum", **added))


def enumerated(target: list[int], scores: np.ndarray = P) -> float:
    return loss(scores, only(variants.is_ctc(target)))


def starred(column: str = "all") -> np.ndarray:
    return ctckit.with_star(P, column)  # type: ignore[arg-type]


def mean_column() -> np.ndarray:
    mean = np.log(np.exp(P[:, 1:]).mean(axis=1, keepdims=True))
    return np.concatenate((P, mean), axis=1)


def zero_column() -> np.ndarray:
    return np.concatenate((P, np.zeros((T, 1))), axis=1)


def batch(*rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(rows, axis=1))


def w_ctc(target: list[int], ends: str) -> float:
    found = w_ctc_loss(torch.from_numpy(P), torch.tensor(target), T, len(target), reduction="sum", ends=ends)  # type: ignore[arg-type]
    return found.item()


def stc(target: list[int], prob: float, scores: np.ndarray = P) -> float:
    given = torch.from_numpy(scores)
    found = stc_loss(given, torch.tensor(target), len(scores), len(target), reduction="sum", star_prob=prob)
    return found.item()


def entropy(target: list[int], scores: np.ndarray = P) -> float:
    return terms.path_entropy(torch.from_numpy(scores), torch.tensor([target]), [len(scores)], [len(target)]).item()


def delayed(target: list[int], frames: int) -> float:
    """k2's CTC counts from ⌊T/2⌋, ours from T/2."""
    penalty, scores = 0.3, P[:frames]
    lattice = ctc_lattice(target)
    ours = of_lattice(lattice, scores, state_scores=ctckit.delay_scores(lattice, penalty))
    return ours + penalty * len(target) * (frames / 2 - frames // 2)


def both_views(frames: int = T) -> tuple[float, float]:
    """Both divergences of the views of seeds 12 and 14; by definition, and ours."""
    p, q = P[:frames], scores_of(14)[:frames]
    defined = float((np.exp(q) * (q - p)).sum() + (np.exp(p) * (p - q)).sum())
    given = (torch.from_numpy(P)[:, None], torch.from_numpy(scores_of(14))[:, None])
    return defined, 2 * terms.consistency(*given, [frames]).item()


def heads() -> float:
    found = ctckit.torch.ctc_loss(
        torch.from_numpy(np.stack([scores_of(seed)[:, None] for seed in (14, 15, 12)])),
        torch.tensor([A]),
        [T],
        [2],
        reduction="sum",
    )
    return (0.7 * found[-1] + 0.3 * found[:-1].mean()).item()


HYPOTHESES, ERRORS = ([1, 2], [1], [1, 3]), np.array([0.0, 1.0, 1.0])


def hypotheses_losses(scores: torch.Tensor) -> torch.Tensor:
    targets = torch.tensor([[1, 2], [1, 0], [1, 3]])
    index = torch.zeros(3, dtype=torch.int64)
    return ctckit.torch.ctc_loss(scores[:, None], targets, [T], [2, 1, 2], reduction="none", index=index)


def risk() -> tuple[float, float]:
    losses = np.array([enumerated(list(each)) for each in HYPOTHESES])
    shares = np.exp(-losses) / np.exp(-losses).sum()
    ours = terms.expected_risk(
        hypotheses_losses(torch.from_numpy(P)), torch.from_numpy(ERRORS), torch.zeros(3, dtype=torch.int64)
    )
    return float(shares @ ERRORS), ours.item()


class Golden(NamedTuple):
    value: float
    defined: Callable[[], float]
    ours: Callable[[], float]


def prior_scores(scale: float = 0.6) -> np.ndarray:
    return -scale * log_prior()


def with_penalty(scores: np.ndarray, penalty: float) -> np.ndarray:
    return scores - penalty * (np.arange(C) == BLANK)


def stars(target: list[int], cost: float) -> variants.Weight:
    return variants.spelled_with([(target, -cost)])


def of_words(score: float, *words: list[int]) -> tuple[Callable[[], float], Callable[[], float]]:
    """BTC: each of the words, or a star."""
    target = [token for word in words for token in word]
    numbers = [n + 1 for n, word in enumerate(words) for _ in word]
    lattice = ctc_lattice(target).with_bypass(numbers, STAR, score)
    choices = variants.spelled_with(variants.with_bypass(words, STAR, score))
    return lambda: loss(mean_column(), choices), lambda: of_lattice(lattice, starred("mean"))


def optional(target: list[int], groups: list[int]) -> tuple[Callable[[], float], Callable[[], float]]:
    lattice = ctc_lattice(target).with_optional(groups)
    return lambda: loss(P, variants.spelled_with(variants.with_optional(target, groups))), lambda: of_lattice(lattice)


def predicate(
    accepts: Callable[[list[int]], Callable[[variants.Path], bool]],
    build: Callable[[Lattice], Lattice],
    target: list[int],
) -> tuple[Callable[[], float], Callable[[], float]]:
    return lambda: loss(P, only(accepts(target))), lambda: of_lattice(build(ctc_lattice(target)))


def focal_of_a(gamma: float) -> tuple[Callable[[], float], Callable[[], float]]:
    return (
        lambda: enumerated(A) * (1 - np.exp(-enumerated(A))) ** gamma,
        lambda: terms.focal(torch.tensor([plain(A)], dtype=torch.float64), gamma).item(),
    )


def of_loops(weight: float, bypass: float = -np.inf) -> tuple[Callable[[], float], Callable[[], float]]:
    """OTC's loops: any number of stars at the borders of the words [1, 2] and [3], of which six frames hold three."""
    choices = variants.spelled_with(variants.with_stars([[1, 2], [3]], STAR, -weight, most=3, bypass=bypass))
    words = ctc_lattice([1, 2, 3])
    words = words.with_bypass([1, 1, 2], STAR, bypass) if bypass > -np.inf else words
    lattice = words.with_stars(STAR, -weight, between=[False, True], most=3)
    return lambda: loss(mean_column(), choices), lambda: of_lattice(lattice, starred("mean"))


UNIFORM = np.full((T, C), -np.log(C))
FEW = np.full((3, C), -np.log(C))


def loops_without_weight() -> tuple[Callable[[], float], Callable[[], float]]:
    """OTC's loop, weight 0: at the borders of the words [1, 2] and [3], a blank's frame may be a star's."""
    star = mean_column()[:, STAR]
    either = np.concatenate((P, np.logaddexp(P[:, BLANK], star)[:, None]), axis=1)
    lattice = ctc_lattice([1, 2, 3]).with_gaps([STAR, BLANK, STAR, STAR])

    def weight(path: variants.Path) -> float:
        """The words, with stars and blanks around them: CTC of what is left where stars count as blanks, but a star
        may not stand between 1 and 2."""
        text = variants.collapse([BLANK if label == STAR else label for label in path], BLANK)
        inside = False
        for label in path:
            if label == STAR and inside:
                return -np.inf
            inside = (inside or label == 1) and label != 2
        return 0.0 if text == (1, 2, 3) else -np.inf

    return lambda: loss(mean_column(), weight), lambda: of_lattice(lattice, either)


GOLDEN: dict[str, Golden] = {
    "plain A": Golden(5.5251061087, lambda: enumerated(A), lambda: plain(A)),
    "plain B": Golden(6.7888915401, lambda: enumerated(B), lambda: plain(B)),
    "plain D": Golden(2.9865530242, lambda: enumerated(D), lambda: plain(D)),
    "priors A": Golden(
        0.4724776153, lambda: enumerated(A, P + prior_scores()), lambda: plain(A, class_scores=prior_scores())
    ),
    "priors B": Golden(
        1.8964725637, lambda: enumerated(B, P + prior_scores()), lambda: plain(B, class_scores=prior_scores())
    ),
    "blank penalty A": Golden(
        8.4800539890,
        lambda: enumerated(A, with_penalty(P, 1.5)),
        lambda: plain(A, class_scores=with_penalty(np.zeros(C), 1.5)),
    ),
    "blank penalty B": Golden(
        10.6424353998,
        lambda: enumerated(B, with_penalty(P, 1.5)),
        lambda: plain(B, class_scores=with_penalty(np.zeros(C), 1.5)),
    ),
    "blank penalty before the softmax": Golden(
        6.5025259694,
        lambda: enumerated(A, np.asarray(variants.log_softmax(with_penalty(P, 1.5)), np.float64)),
        lambda: plain(A, with_penalty(P, 1.5), from_logits=True),  # type: ignore[arg-type]
    ),
    "consistency": Golden(11.2766346518, lambda: both_views()[0], lambda: both_views()[1]),
    "consistency, four frames": Golden(10.9855778258, lambda: both_views(4)[0], lambda: both_views(4)[1]),
    "CR-CTC": Golden(
        6.1743559223,
        lambda: (enumerated(A) + enumerated(A, scores_of(14))) / 2 + 0.1 * both_views()[0],
        lambda: (plain(A) + plain(A, scores_of(14))) / 2 + 0.1 * both_views()[1],
    ),
    "InterCTC": Golden(
        5.3044038353,
        lambda: 0.7 * enumerated(A) + 0.15 * (enumerated(A, scores_of(14)) + enumerated(A, scores_of(15))),
        heads,
    ),
    **{
        f"W-CTC {name} {ends}": Golden(
            value, lambda t=target, e=ends: variants.windowed(P, t, e), lambda t=target, e=ends: w_ctc(t, e)
        )
        for name, target, ends, value in (
            ("A", A, "sum_prob", 1.0961731682),
            ("A", A, "max_prob", 2.1311008318),
            ("A", A, "soft", 2.6161876580),
            ("B", B, "sum_prob", 3.0457101888),
            ("B", B, "max_prob", 3.3871584349),
            ("B", B, "soft", 3.9545500539),
        )
    },
    "star that must be": Golden(
        2.2208427335,
        lambda: loss(zero_column(), stars([1, STAR, 2], 0.7)),
        lambda: of_lattice(ctc_lattice([1, STAR, 2]).with_costs([0, 0, 0, 0.7, 0, 0, 0]), starred()),
    ),
    "star without cost": Golden(
        1.5208427335,
        lambda: loss(zero_column(), stars([1, STAR, 2], 0)),
        lambda: of_lattice(ctc_lattice([1, STAR, 2]), starred()),
    ),
    "star that may be": Golden(
        2.1847748166,
        lambda: loss(
            zero_column(), variants.spelled_with(variants.with_stars([[1], [2]], STAR, 0.7, [False, True, False]))
        ),
        lambda: of_lattice(ctc_lattice(A).with_stars(STAR, 0.7, before=False, after=False), starred()),
    ),
    **{
        f"STC {name}, {prob}": Golden(
            value,
            lambda t=target, p=prob: loss(P, variants.star_temporal(t, p)),
            lambda t=target, p=prob: stc(t, p),
        )
        for name, target, prob, value in (
            ("A", A, 1.0, 1.2775621911),
            ("B", B, 1.0, 1.6481289059),
            ("A", A, 0.1, 5.3106091167),
            ("B", B, 0.1, 5.8107889364),
        )
    },
    "STC, its authors' test": Golden(
        1.8562979904, lambda: loss(FEW, variants.star_temporal(A, 1.0)), lambda: stc(A, 1.0, FEW)
    ),
    "entropy A": Golden(3.3125772373, lambda: variants.path_entropy(P, A), lambda: entropy(A)),
    "entropy B": Golden(2.5164752133, lambda: variants.path_entropy(P, B), lambda: entropy(B)),
    "entropy of 70 paths": Golden(np.log(70), lambda: variants.path_entropy(UNIFORM, A), lambda: entropy(A, UNIFORM)),
    "EnCTC A": Golden(
        4.6413377741,
        lambda: 0.9 * enumerated(A) - 0.1 * variants.path_entropy(P, A),
        lambda: 0.9 * plain(A) - 0.1 * entropy(A),
    ),
    "EnCTC B": Golden(
        5.8583548647,
        lambda: 0.9 * enumerated(B) - 0.1 * variants.path_entropy(P, B),
        lambda: 0.9 * plain(B) - 0.1 * entropy(B),
    ),
    **{
        f"delay {name}, {frames} frames": Golden(
            value,
            lambda t=target, n=frames: loss(P[:n], variants.delayed(t, 0.3, n // 2)),
            lambda t=target, n=frames: delayed(t, n),
        )
        for name, target, frames, value in (
            ("A", A, 6, 4.9765664775),
            ("B", B, 6, 5.8468342884),
            ("A", A, 5, 5.0549141046),
            ("B", B, 5, 5.8101972052),
        )
    },
    "focal": Golden(5.4811538466, *focal_of_a(2)),
    "focal, gamma 1": Golden(5.5030860979, *focal_of_a(1)),
    "focal, gamma 0": Golden(5.5251061087, *focal_of_a(0)),
    "smoothing": Golden(
        2.0291751913,
        lambda: float((-P.mean(axis=1) - np.log(C)).sum()),
        lambda: terms.frame_smoothing(torch.from_numpy(P)).item(),
    ),
    "frame entropy": Golden(
        6.5803008527, lambda: float(-(np.exp(P) * P).sum()), lambda: terms.frame_entropy(torch.from_numpy(P)).item()
    ),
    "no blank A": Golden(9.3091613491, *predicate(variants.is_no_blank, Lattice.without_blank, A)),
    "no blank D": Golden(6.5718594625, *predicate(variants.is_no_blank, Lattice.without_blank, D)),
    "selfless A": Golden(6.6988868397, *predicate(variants.is_selfless, Lattice.selfless, A)),
    "selfless B": Golden(7.6454637171, *predicate(variants.is_selfless, Lattice.selfless, B)),
    "selfless D": Golden(4.1130862344, *predicate(variants.is_selfless, Lattice.selfless, D)),
    "minimal A": Golden(6.6988868397, *predicate(variants.is_minimal, Lattice.minimal, A)),
    "minimal B": Golden(7.3166578595, *predicate(variants.is_minimal, Lattice.minimal, B)),
    "minimal D": Golden(4.1130862344, *predicate(variants.is_minimal, Lattice.minimal, D)),
    "optional 2 and 3": Golden(2.5895396985, *optional([1, 2, 3], [0, 1, 2])),
    "optional 1 and 2": Golden(2.2171006650, *optional([1, 2, 3], [1, 2, 0])),
    "optional 2 between equals": Golden(4.0369625253, *optional([1, 2, 1], [0, 1, 0])),
    "bypass of words": Golden(3.6710444563, *of_words(-2.0, [1, 2], [3])),
    "bypass of letters": Golden(3.5566629437, *of_words(-2.0, [1], [2], [3])),
    "loops without weight": Golden(3.0225920725, *loops_without_weight()),
    "loops without weight, as stars": Golden(3.0225920725, *of_loops(0.0)),
    "loops": Golden(2.6193284403, *of_loops(0.5)),
    "loops and bypass": Golden(2.1865690640, *of_loops(0.5, -2.0)),
    "risk": Golden(0.9293997470, lambda: risk()[0], lambda: risk()[1]),
    "risk, less the mean": Golden(0.2627330803, lambda: risk()[0] - 2 / 3, lambda: risk()[1] - 2 / 3),
    "Bayes risk": Golden(
        7.1375948625,
        lambda: loss(P, variants.risky(A, 2.0)),
        lambda: of_lattice(ctc_lattice(A), state_scores=ctckit.risk_scores(ctc_lattice(A), 2.0, T)),
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_value(name: str) -> None:
    golden = GOLDEN[name]
    assert golden.defined() == pytest.approx(golden.value, abs=2e-10)
    assert golden.ours() == pytest.approx(golden.value, abs=2e-10)


def test_without_blank_refuses_equal_neighbours() -> None:
    assert loss(P, only(variants.is_no_blank(B))) == np.inf
    with pytest.raises(ctckit.CTCError, match="nothing tells two equal neighbours apart"):
        ctc_lattice(B).without_blank()


def test_log_priors() -> None:
    priors = ctckit.torch.LabelPriors(C, scale=0.6).double()
    priors.update(torch.from_numpy(scores_of(13, 50)))
    priors.step()
    np.testing.assert_allclose(priors.log_prior.numpy(), PRIOR, atol=2e-10)
    np.testing.assert_allclose(log_prior(), PRIOR, atol=2e-10)


@pytest.mark.parametrize(
    ("name", "value", "by"),
    [
        ("plain", -0.5718949239, lambda p: plain_of(p)),
        ("priors", -0.5867224872, lambda p: plain_of(p, class_scores=torch.from_numpy(prior_scores()))),
    ],
)
def test_gradient_by_the_logits(name: str, value: float, by: Callable[[torch.Tensor], torch.Tensor]) -> None:
    scores = torch.from_numpy(P).requires_grad_()
    by(scores).backward()
    assert scores.grad is not None
    assert scores.grad[0, 0].item() == pytest.approx(value, abs=2e-10)


def plain_of(scores: torch.Tensor, **added: torch.Tensor) -> torch.Tensor:
    return ctckit.torch.ctc_loss(scores, torch.tensor(A), T, 2, reduction="sum", **added)  # type: ignore[arg-type]


@pytest.mark.parametrize(("prob", "value"), [(1.0, -0.1685682634), (0.1, -0.0653972142)])
def test_gradient_of_stc(prob: float, value: float) -> None:
    scores = torch.from_numpy(P).requires_grad_()
    stc_loss(scores, torch.tensor(A), T, 2, reduction="sum", star_prob=prob).backward()
    assert scores.grad is not None
    assert scores.grad[0, 3].item() == pytest.approx(value, abs=2e-10)


def test_gradient_of_consistency() -> None:
    views = torch.from_numpy(np.stack([P, scores_of(14)]))[:, :, None].requires_grad_()
    terms.consistency(views[0], views[1], from_logits=True).backward()
    assert views.grad is not None
    assert views.grad[0, 0, 0, 0].item() == pytest.approx(-0.3174469069, abs=2e-10)


def test_gradient_by_a_stars_cost() -> None:
    """How likely the star is entered."""
    lattice = ctc_lattice(A).with_stars(STAR, before=False, after=False)
    costs = torch.from_numpy(np.where(lattice.labels == STAR, 0.7, 0.0)).requires_grad_()
    ctckit.torch.lattice_loss(torch.from_numpy(starred()), lattice, reduction="sum", entry_costs=costs).backward()
    assert costs.grad is not None
    assert costs.grad[lattice.labels == STAR].item() == pytest.approx(0.9645747803, abs=2e-10)


def test_gradient_of_the_risk() -> None:
    losses = hypotheses_losses(torch.from_numpy(P)).detach().requires_grad_()
    terms.expected_risk(losses, torch.from_numpy(ERRORS), torch.zeros(3, dtype=torch.int64)).backward()
    assert losses.grad is not None
    np.testing.assert_allclose(-losses.grad, [-0.0656158573, 0.0051437393, 0.0604721180], atol=2e-10)


def test_each_choice_of_optional_parts_counts_once() -> None:
    """Two choices leave "12" of "1212": it counts twice."""
    target, groups = [1, 2, 1, 2], [1, 2, 3, 4]
    choices = variants.with_optional(target, groups)
    assert sum(list(text) == A for text, _ in choices) > 1
    found = of_lattice(ctc_lattice(target).with_optional(groups))
    assert found == pytest.approx(loss(P, variants.spelled_with(choices)), abs=1e-10)


def test_state_scores_as_a_list_of_rows() -> None:
    lattices = [ctc_lattice(A), ctc_lattice([1])]
    rows = [ctckit.delay_scores(lattice, 0.3) for lattice in lattices]
    scores = np.stack([P, P], axis=1)
    padded = ctckit.delay_scores(lattices, 0.3)
    found = ctckit.lattice_loss(scores, lattices, reduction="none", state_scores=rows)
    np.testing.assert_array_equal(found, ctckit.lattice_loss(scores, lattices, reduction="none", state_scores=padded))
    leaves = [torch.from_numpy(row).requires_grad_() for row in rows]
    of_tensors = ctckit.torch.lattice_loss(torch.from_numpy(scores), lattices, reduction="none", state_scores=leaves)
    of_tensors.sum().backward()
    np.testing.assert_allclose(of_tensors.detach(), found, atol=1e-12)
    for leaf in leaves:
        assert leaf.grad is not None
        assert leaf.grad.sum().item() == pytest.approx(-T)  # a path is in some state at each frame
