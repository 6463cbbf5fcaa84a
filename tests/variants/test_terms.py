"""Terms, priors and stars: masks, reductions, precision, edges, errors.

Their values are in test_golden_variants.py and test_random_variants.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support import variants
from support.devices import pretend

import ctckit
import ctckit.torch
from ctckit import CTCError, Lattice, LatticeBuilder, ctc_lattice
from ctckit.torch import LabelPriors, terms, w_ctc

T, N, C = 7, 3, 4
LENGTHS = [7, 4, 0]
ONES = torch.ones(N, 1, dtype=torch.int64)
Term = Callable[..., torch.Tensor]


def logits(seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(T, N, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def consistency(scores: torch.Tensor, lengths: Any = None, **more: Any) -> torch.Tensor:
    other = logits(1, scores.dtype)
    other = other.log_softmax(-1) if not more.get("from_logits") else other
    return terms.consistency(scores, other.transpose(0, 1) if more.get("batch_first") else other, lengths, **more)


TERMS: dict[str, Term] = {
    "consistency": consistency,
    "frame_entropy": terms.frame_entropy,
    "frame_smoothing": terms.frame_smoothing,
}


def by_frame(name: str, log_p: np.ndarray) -> np.ndarray:
    """(T, N) each term's value by its definition."""
    if name == "frame_entropy":
        return -(np.exp(log_p) * log_p).sum(-1)
    if name == "frame_smoothing":
        return -log_p.mean(-1) - np.log(C)
    q = logits(1).log_softmax(-1).numpy()
    return ((np.exp(q) * (q - log_p)).sum(-1) + (np.exp(log_p) * (log_p - q)).sum(-1)) / 2


def used(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(T)[:, None] < LENGTHS, values, 0)


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_masks_and_reductions(name: str, from_logits: bool, batch_first: bool) -> None:
    scores = logits()
    expected = used(by_frame(name, scores.log_softmax(-1).numpy()))
    given = scores.clone() if from_logits else scores.log_softmax(-1)
    for n, length in enumerate(LENGTHS):
        given[length:, n] = torch.nan
    given = given.transpose(0, 1) if batch_first else given
    for reduction, value in {
        "sum": expected.sum(),
        "mean": expected.sum() / sum(LENGTHS),
        "none": expected.sum(0),
    }.items():
        leaf = given.clone().requires_grad_()
        found = TERMS[name](leaf, LENGTHS, reduction=reduction, from_logits=from_logits, batch_first=batch_first)
        np.testing.assert_allclose(found.detach(), value, atol=1e-12)
        found.sum().backward()
        assert leaf.grad is not None
        grad = leaf.grad.transpose(0, 1) if batch_first else leaf.grad
        assert not grad.isnan().any()
        assert not grad[4:, 1].any()


@pytest.mark.parametrize("name", TERMS)
def test_gradient(name: str) -> None:
    """Of consistency, with the other view as a constant target, that of one half: targets have no gradient."""
    scores = logits().requires_grad_()
    TERMS[name](scores, LENGTHS, from_logits=True).backward()
    assert scores.grad is not None
    if name == "consistency":
        expected = (scores.softmax(-1) - logits(1).softmax(-1)) / 2
        expected = torch.where((torch.arange(T)[:, None] < torch.tensor(LENGTHS))[..., None], expected, 0)
        torch.testing.assert_close(scores.grad, expected, atol=1e-14, rtol=0)
        return
    leaf = scores.detach().requires_grad_()
    torch.autograd.gradcheck(lambda given: TERMS[name](given, LENGTHS, from_logits=True), leaf)


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-6)])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype, within: float) -> None:
    scores, other = logits(dtype=dtype), logits(1, dtype)
    given = scores.clone().requires_grad_()
    if name == "consistency":
        found = terms.consistency(given, other, LENGTHS, from_logits=True)
        exact = terms.consistency(scores.double(), other.double(), LENGTHS, from_logits=True)
    else:
        found = TERMS[name](given, LENGTHS, from_logits=True)
        exact = TERMS[name](scores.double(), LENGTHS, from_logits=True)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(exact.item(), rel=within)
    found.backward()
    assert given.grad is not None
    assert given.grad.dtype == dtype


@pytest.mark.parametrize("from_logits", [False, True])
def test_equal_views_agree_and_what_both_forbid_counts_nothing(from_logits: bool) -> None:
    scores = logits()[:, :1]
    scores[2, 0, 1] = -torch.inf
    given = scores if from_logits else scores.log_softmax(-1)
    views = torch.stack((given, given)).requires_grad_()
    found = terms.consistency(views[0], views[1], from_logits=from_logits)
    found.backward()
    assert found.item() == 0
    assert views.grad is not None
    assert views.grad.isfinite().all()
    if from_logits:
        assert not views.grad.any()


def test_a_class_that_one_view_forbids_is_infinitely_far() -> None:
    scores = logits()[:, :1]
    other = scores.clone()
    other[2, 0, 1] = -torch.inf
    assert terms.consistency(scores, other, from_logits=True) == torch.inf
    by_sample = terms.consistency(
        torch.cat((scores, scores), 1), torch.cat((other, scores), 1), reduction="none", from_logits=True
    )
    assert by_sample.tolist() == [torch.inf, 0.0]


def test_blocks_of_frames_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from ctckit.torch import frames

    def found() -> list[torch.Tensor]:
        scores = logits().requires_grad_()
        value = consistency(scores, LENGTHS, from_logits=True)
        value = value + ctckit.torch.stc_loss(
            scores, torch.tensor([[1, 2]] * N), [7, 4, 2], [2] * N, from_logits=True, star_prob=0.3
        )
        value.backward()
        assert scores.grad is not None
        return [value.detach(), scores.grad]

    whole = found()
    monkeypatch.setattr(frames, "BLOCK", 2 * N * C)
    for one, other in zip(found(), whole, strict=True):
        torch.testing.assert_close(one, other, atol=1e-14, rtol=1e-14)


class TestFocal:
    def test_edges(self) -> None:
        losses = torch.tensor([0.0, -1e-9, 1e-8, 1e4, torch.inf], dtype=torch.float64, requires_grad=True)
        found = terms.focal(losses, 2.0, "none")
        assert found.tolist() == pytest.approx([0, 0, 1e-24, 1e4, np.inf])
        found[:4].sum().backward()
        assert losses.grad is not None
        assert losses.grad.isfinite().all()

    @pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
    def test_an_infeasible_sample_has_gradient_0(self, gamma: float) -> None:
        scores = torch.zeros(2, 2, 3, requires_grad=True)
        targets = torch.tensor([[1, 1], [1, 2]])
        losses = ctckit.torch.ctc_loss(scores, targets, [2, 2], [2, 2], reduction="none", from_logits=True)
        terms.focal(losses, gamma).backward()
        assert scores.grad is not None
        assert not scores.grad[:, 0].any()
        assert scores.grad[:, 1].abs().sum() > 0
        assert scores.grad.isfinite().all()


class TestRisk:
    def test_utterances_in_any_order(self) -> None:
        losses = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5], dtype=torch.float64, requires_grad=True)
        errors, index = torch.tensor([0.0, 2.0, 1.0, 4.0, 1.0]), torch.tensor([1, 0, 1, 0, 1])
        found = terms.expected_risk(losses, errors, index, "none")
        for n in (0, 1):
            own = index == n
            shares = (-losses[own]).softmax(0)
            assert found[n].item() == pytest.approx((shares @ errors[own].double()).item())
        torch.autograd.gradcheck(lambda given: terms.expected_risk(given, errors, index, "mean"), losses)

    def test_hypotheses_without_a_path(self) -> None:
        losses = torch.tensor([1.0, torch.inf, torch.inf], requires_grad=True)
        found = terms.expected_risk(losses, torch.tensor([3, 9, 9]), torch.tensor([0, 0, 1]), "none")
        assert found.tolist() == [3.0, 0.0]
        found.sum().backward()
        assert losses.grad is not None
        assert losses.grad.isfinite().all()

    def test_nan_is_seen_in_its_utterance_only(self) -> None:
        found = terms.expected_risk(torch.tensor([torch.nan, 1.0]), torch.tensor([1, 2]), torch.tensor([0, 1]), "none")
        assert found[0].isnan()
        assert found[1] == 2


class TestPriors:
    def test_the_first_epoch_adds_nothing(self) -> None:
        priors = LabelPriors(C)
        priors.update(logits().float(), LENGTHS, from_logits=True)
        assert not priors.class_scores.any()

    def test_padding_and_frames_that_are_not_finite_do_not_count(self) -> None:
        scores = logits()
        clean, soiled = LabelPriors(C), LabelPriors(C)
        clean.update(scores[:, :2], [7, 4], from_logits=True)
        scores[4:, 1] = torch.nan
        scores[:2, 2] = torch.inf
        soiled.update(scores, [7, 4, 2], from_logits=True)
        clean.step()
        soiled.step()
        torch.testing.assert_close(soiled.log_prior, clean.log_prior)
        assert clean.log_prior.exp().sum().item() == pytest.approx(1, abs=1e-6)

    def test_floor_and_epochs_without_frames(self) -> None:
        priors = LabelPriors(C, floor=-3.0)
        scores = torch.tensor([[[9.0, 0, 0, -1e9]]])
        priors.update(scores, from_logits=True)
        priors.step()
        before = priors.log_prior.clone()
        assert before.min() == -3
        priors.step()
        assert torch.equal(priors.log_prior, before)
        assert priors.epochs == 2

    def test_a_run_goes_on_where_it_was_saved(self) -> None:
        whole, halves = LabelPriors(C), LabelPriors(C)
        for seed in (0, 1):
            whole.update(logits(seed), LENGTHS, from_logits=True)
        halves.update(logits(0), LENGTHS, from_logits=True)
        rest = LabelPriors(C)
        rest.load_state_dict(halves.state_dict())
        rest.update(logits(1), LENGTHS, from_logits=True)
        whole.step()
        rest.step()
        torch.testing.assert_close(rest.class_scores, whole.class_scores)

    def test_ranks_add_their_frames(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from ctckit.torch import priors as module

        other = LabelPriors(C)
        other.update(logits(1), LENGTHS, from_logits=True)
        sums = iter((other._sums, other._frames))
        monkeypatch.setattr(module.dist, "is_initialized", lambda: True)
        monkeypatch.setattr(module.dist, "all_reduce", lambda tensor: tensor.add_(next(sums)))
        here, both = LabelPriors(C), LabelPriors(C)
        here.update(logits(0), LENGTHS, from_logits=True)
        here.step()
        monkeypatch.undo()
        for seed in (0, 1):
            both.update(logits(seed), LENGTHS, from_logits=True)
        both.step()
        torch.testing.assert_close(here.log_prior, both.log_prior)


class TestEntropy:
    @pytest.mark.parametrize(
        "build", [Lattice.selfless, lambda one: one.with_costs(0.7), lambda one: one.with_optional([1, 0])]
    )
    def test_of_lattices(self, build: Callable[[Lattice], Lattice]) -> None:
        """H is the limit of (log Σ P^s - s · log Σ P) / (1 - s) as s goes to 1: its slope, by differences."""
        lattice, scores = build(ctc_lattice([1, 2])), logits().log_softmax(-1)[:, 0].numpy()

        def total(power: float) -> float:
            costs = None if lattice.entry_costs is None else power * lattice.entry_costs
            scaled = Lattice(lattice.labels, lattice.arcs, lattice.tokens, costs, lattice.long_arcs)
            return -float(ctckit.lattice_loss(power * scores, scaled, reduction="sum"))

        slope = (total(1 + 1e-5) - total(1 - 1e-5)) / 2e-5
        found = ctckit.path_entropy(scores, lattices=lattice)
        assert float(found) == pytest.approx(total(1) - slope, abs=1e-8)

    @pytest.mark.parametrize("from_logits", [False, True])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_of_arrays(self, from_logits: bool, dtype: Any) -> None:
        scores = (10 * logits()).numpy().astype(dtype)
        log_p = scores - np.logaddexp.reduce(scores, axis=2, keepdims=True)
        scores[4:, 1], log_p[4:, 1] = np.nan, 0
        given = scores if from_logits else np.where(np.isnan(scores), scores, log_p)
        found = ctckit.path_entropy(given, [[1, 2], [2, 2], [1, 0]], [7, 4, 0], [2, 2, 1], from_logits=from_logits)
        assert found.dtype == dtype
        for n, (target, length) in enumerate((([1, 2], 7), ([2, 2], 4))):
            exact = variants.path_entropy(log_p[:length, n].astype(float), target)
            assert found[n] == pytest.approx(exact, abs=1e-10 if dtype is np.float64 else 2e-5)
        assert found[2] == 0

    def test_without_a_path_it_is_0_and_has_no_gradient(self) -> None:
        scores = torch.zeros(2, 2, 3, dtype=torch.float64, requires_grad=True)
        found = terms.path_entropy(
            scores, torch.tensor([[1, 1], [1, 0]]), [2, 2], [2, 1], from_logits=True, reduction="none"
        )
        found.sum().backward()
        assert found.tolist() == pytest.approx([0, np.log(3)])
        assert scores.grad is not None
        assert not scores.grad[:, 0].any()

    def test_one_path_is_certain(self) -> None:
        assert ctckit.path_entropy(np.zeros((3, 4)), [1, 2, 3], from_logits=True) == pytest.approx(0, abs=1e-12)


class TestStars:
    @pytest.mark.parametrize("star", ["all", "tokens", "mean"])
    @pytest.mark.parametrize("blank", [0, 2])
    def test_columns_of_arrays_and_tensors(self, star: Any, blank: int) -> None:
        log_p = logits().log_softmax(-1)
        found, same = ctckit.with_star(log_p.numpy(), star, blank), ctckit.torch.with_star(log_p, star, blank)
        probs = np.delete(log_p.exp().numpy(), blank, axis=2)
        expected = {"all": np.ones((T, N)), "tokens": probs.sum(2), "mean": probs.mean(2)}[star]
        np.testing.assert_allclose(np.exp(found[..., C]), expected, atol=1e-12)
        np.testing.assert_allclose(same, found, atol=1e-12)

    def test_a_long_way_below_the_best_class(self) -> None:
        """Gaps of STC whose probability no float32 can hold, beside the frame's best class."""
        scores = torch.zeros(5, 1, 3)
        scores[:, 0, 1] = 300.0
        given = scores.clone().requires_grad_(), scores.double().requires_grad_()
        found = [
            ctckit.torch.stc_loss(x, torch.tensor([[1, 2]]), [5], [2], from_logits=True, star_prob=0.5) for x in given
        ]
        for value in found:
            value.backward()
        assert found[0].item() == pytest.approx(found[1].item(), rel=1e-6)
        np.testing.assert_allclose(given[0].grad, given[1].grad, atol=3e-6)

    def test_forbidden_classes(self) -> None:
        scores = torch.full((3, 1, 3), -torch.inf)
        scores[0, 0, 1] = scores[1, 0, 0] = scores[2, 0, 2] = 0
        for function in (ctckit.torch.stc_loss, ctckit.torch.w_ctc_loss):
            leaf = scores.clone().requires_grad_()
            found = function(leaf, torch.tensor([[1, 2]]), [3], [2], reduction="sum")
            found.backward()
            assert found.item() == pytest.approx(0, abs=1e-6)
            assert leaf.grad is not None
            assert not leaf.grad.isnan().any()


class TestWindows:
    """W-CTC's kernels beside the lattices that compute it elsewhere."""

    @pytest.mark.parametrize("ends", w_ctc.ENDS)
    @pytest.mark.parametrize(("batch_first", "from_logits"), [(False, True), (True, False)])
    @pytest.mark.parametrize("reduction", ["none", "mean"])
    def test_kernels_and_lattices(
        self, ends: w_ctc.Ends, batch_first: bool, from_logits: bool, reduction: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        targets, lengths, sizes = torch.tensor([[1, 2], [3, 3], [0, 0]]), [7, 6, 5], [2, 2, 0]
        given = {"batch_first": batch_first, "from_logits": from_logits, "reduction": reduction, "ends": ends}

        def swept(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
            scores = logits(2, dtype) if from_logits else logits(2).log_softmax(-1).to(dtype)
            leaf = (scores.transpose(0, 1) if batch_first else scores).detach().requires_grad_()
            loss = ctckit.torch.w_ctc_loss(leaf, targets, lengths, sizes, **given)  # type: ignore[arg-type]
            (grad,) = torch.autograd.grad((loss * torch.arange(1.0, loss.numel() + 1)).sum(), leaf)
            return loss.detach(), grad

        found, half = swept(torch.float64), swept(torch.bfloat16)
        pretend(monkeypatch, "portable")
        for one, exact, rough in zip(found, swept(torch.float64), half, strict=True):
            torch.testing.assert_close(one, exact, rtol=0, atol=1e-12)
            torch.testing.assert_close(rough.double(), exact, rtol=0.02, atol=0.05)

    @pytest.mark.parametrize("backend", ["native", "portable"])
    @pytest.mark.parametrize("ends", w_ctc.ENDS)
    def test_no_frames(self, ends: w_ctc.Ends, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only an empty target fits."""
        pretend(monkeypatch, backend)
        given = torch.tensor([[0], [1], [1]]), [0, 0, 7], [0, 1, 1]
        leaf = logits().requires_grad_()
        losses = ctckit.torch.w_ctc_loss(leaf, *given, reduction="none", from_logits=True, ends=ends)
        assert losses[:2].tolist() == [0, np.inf]
        assert losses[2].isfinite()
        (grad,) = torch.autograd.grad(losses[2], leaf)
        assert grad[:, 2].any()
        assert not grad[:, :2].any()

    def test_second_derivatives(self) -> None:
        scores = logits(3)[:, :2].clone().requires_grad_()

        def loss(ends: w_ctc.Ends) -> Callable[[torch.Tensor], torch.Tensor]:
            targets = torch.tensor([[1, 2], [3, 0]])
            return lambda x: ctckit.torch.w_ctc_loss(x, targets, [7, 5], [2, 1], ends=ends, from_logits=True)

        assert torch.autograd.gradgradcheck(loss("sum_prob"), scores)
        for ends in ("soft", "max_prob"):
            with pytest.raises(CTCError, match='second derivatives of w_ctc_loss exist for ends="sum_prob" only'):
                torch.autograd.grad(loss(ends)(scores), scores, create_graph=True)

    def test_compiled_code_calls_the_kernels(self) -> None:
        def step(x: torch.Tensor) -> torch.Tensor:
            return ctckit.torch.w_ctc_loss(2 * x, ONES, [7] * N, [1] * N, from_logits=True)

        torch._dynamo.reset()
        assert torch.compile(step, backend="eager")(logits()) == step(logits())


class TestBuilder:
    def test_targets_of_any_form(self) -> None:
        builder = LatticeBuilder(Lattice.minimal, blank=1)
        one = builder(torch.tensor([[2, 3], [2, 0]]), torch.tensor([2, 1]))
        other = builder([[2, 3], [2]])
        assert one[0] is other[0]
        assert one[1] is other[1]
        assert one[1].labels.tolist() == [1, 2, 1]

    def test_the_oldest_are_forgotten(self) -> None:
        built: list[list[int]] = []
        builder = LatticeBuilder(lambda lattice: built.append(lattice.target.tolist()) or lattice, keep=2)  # type: ignore[func-returns-value]
        for target in ([1], [2], [1], [3], [2]):
            builder([target])
        assert built == [[1], [2], [3], [2]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: terms.consistency(logits(), logits()[1:]), r"other has shape \(6, 3, 4\): expected \(7, 3, 4\)"),
        (lambda: terms.frame_entropy(logits(), [8, 1, 1]), r"input_lengths\[0\] = 8"),
        (lambda: terms.frame_entropy(logits(), [1, 1]), "input_lengths"),
        (lambda: terms.frame_entropy(logits(), LENGTHS, "most"), "reduction"),
        (lambda: terms.focal(torch.zeros(2), -1.0), "gamma = -1.0"),
        (lambda: terms.expected_risk(torch.zeros(2), torch.zeros(3), torch.zeros(2).long()), "errors has shape"),
        (lambda: terms.expected_risk(torch.zeros(2), torch.zeros(2), torch.tensor([0, -1])), r"index\[1\] = -1 is out"),
        (lambda: terms.path_entropy(logits()), "targets and target_lengths are missing"),
        (lambda: LabelPriors(0), "num_classes = 0"),
        (lambda: LabelPriors(4, scale=-1.0), "scale = -1.0"),
        (lambda: LabelPriors(5).update(logits()), "has C=4 classes: expected num_classes=5"),
        (
            lambda: ctckit.torch.stc_loss(logits(), ONES, [7] * N, [1] * N, star_prob=1.5),
            "star_prob = 1.5",
        ),
        (
            lambda: ctckit.torch.w_ctc_loss(logits(), ONES, [7] * N, [1] * N, ends="last"),
            "ends = 'last'",
        ),  # type: ignore[arg-type]
        (lambda: ctckit.torch.stc_loss(logits(), 0 * ONES, [7] * N, [1] * N), r"targets\[0, 0\] = 0"),
        (lambda: ctckit.with_star(np.zeros((2, 3)), "any"), "star = 'any'"),  # type: ignore[arg-type]
        (lambda: ctckit.delay_scores(ctc_lattice([1]), np.nan), "penalty = nan"),
        (lambda: ctckit.risk_scores([ctc_lattice([1])], 1.0, [3, 3]), r"input_lengths has shape \(2,\)"),
        (lambda: ctc_lattice([1, 2]).with_bypass([1, 1], 4, np.inf), "score = inf"),
        (lambda: ctc_lattice([1, 2]).without_blank().with_stars(4), "gap 0, after 0 tokens, has 0 states"),
        (lambda: ctc_lattice([1, 2]).with_stars(4).with_stars(4), "has 3 states: expected one"),
        (lambda: ctc_lattice([1, 2]).with_stars(4, between=[True, True]), r"between has shape \(2,\): expected \(1,\)"),
        (lambda: ctc_lattice([1, 2]).with_stars(4, most=0), "most = 0"),
        (lambda: LatticeBuilder(Lattice.minimal)([[1, 2]], [3]), r"target_lengths\[0\] = 3"),
        (lambda: LatticeBuilder(Lattice.minimal)([1, 2]), r"targets has shape \(2,\)"),
    ],
)
def test_errors(call: Callable[[], object], message: str) -> None:
    with pytest.raises(CTCError, match=message):
        call()
