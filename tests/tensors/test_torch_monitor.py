"""The training monitor: right numbers in any layout, no effect on training, and where numbers are written."""

from __future__ import annotations

import importlib
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.batches import Batch, draw

import ctckit
from ctckit.errors import MissingExtraError
from ctckit.problem import ctc_problem
from ctckit.torch import CTCLoss, CTCMonitor, ctc_loss
from ctckit.torch.monitor import FEWEST_ROWS, MOST_ROWS, SCORES, Rows, count_infeasible


class Written:
    """A writer that remembers."""

    def __init__(self) -> None:
        self.scalars: list[tuple[str, float, int]] = []

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.scalars.append((tag, scalar_value, global_step))


def tensors(batch: Batch, dtype: Any = torch.float32) -> tuple[Any, tuple[Any, Any, Any]]:
    """Scores that are no leaf, as a network's are, and the rest of the loss's arguments."""
    leaf = torch.from_numpy(batch.scores).to(dtype).requires_grad_()
    return leaf * 1, tuple(torch.from_numpy(array) for array in batch.arguments[:3])


def expected(scores: Any, batch: Batch) -> dict[str, float]:
    """Shares over all used frames."""
    used = np.arange(len(batch.scores))[:, None] < batch.frames
    probabilities = scores.detach().double().softmax(-1).numpy()[used]
    return {
        "blank_share": float((probabilities.argmax(axis=1) == batch.blank).mean()),
        "peakiness": float(probabilities.max(axis=1).mean()),
    }


SMALL = draw(0, 30, 3, 6, 5, blank=2)  # all of it is looked at


class TestNumbers:
    @pytest.mark.parametrize("batch", [SMALL, draw(1, 7, 1, 3, 2), draw(2, 20, 5, 4, 9)], ids=str.__class__)
    def test_shares(self, batch: Batch) -> None:
        scores, rest = tensors(batch)
        monitor = CTCMonitor(blank=batch.blank)
        stats = monitor(scores, *rest)
        for name, value in expected(scores, batch).items():
            assert stats[name] == pytest.approx(value, rel=1e-5), name
        assert all(type(value) is float for value in stats.values())
        assert monitor.last is stats
        assert monitor(scores.log_softmax(-1), *rest) == pytest.approx(stats, rel=1e-5)

    @pytest.mark.parametrize("batch_first", [False, True])
    def test_entropy_of_paths(self, batch_first: bool) -> None:
        scores, rest = tensors(SMALL)
        monitor = CTCMonitor(blank=2, batch_first=batch_first, path_entropy=True)
        stats = monitor(scores.transpose(0, 1) if batch_first else scores, *rest)
        entropy = ctckit.path_entropy(SMALL.scores.astype(np.float64), *SMALL.arguments[:3], 2, from_logits=True)
        assert stats["path_entropy"] == pytest.approx(entropy.sum() / SMALL.frames.sum(), rel=1e-4)
        assert "path_entropy" not in CTCMonitor(blank=2)(scores, *rest)

    def test_gradient_norm_by_the_backward_pass(self) -> None:
        scores, rest = tensors(SMALL)
        loss = ctc_loss(scores, *rest, blank=2, from_logits=True)
        (gradient,) = torch.autograd.grad(loss, scores, retain_graph=True)
        stats = CTCMonitor(blank=2)(scores, *rest, loss=loss)
        assert "grad_norm" not in stats
        loss.backward()
        assert stats["grad_norm"] == pytest.approx(float(gradient.norm()), rel=1e-5)
        assert stats["loss"] == loss.item()

    @pytest.mark.parametrize("leaf", [True, False])
    def test_gradient_norm_after_the_backward_pass(self, leaf: bool) -> None:
        scores, rest = tensors(SMALL)
        if leaf:
            scores = scores.detach().requires_grad_()
        else:
            scores.retain_grad()
        ctc_loss(scores, *rest, blank=2, from_logits=True).backward()
        stats = CTCMonitor(blank=2)(scores, *rest)
        assert stats["grad_norm"] == pytest.approx(float(scores.grad.norm()), rel=1e-5)

    def test_without_gradients(self) -> None:
        scores, rest = tensors(SMALL)
        with torch.no_grad():
            stats = CTCMonitor(blank=2)(scores.detach(), *rest, loss=0.5)
        assert set(stats) == {"blank_share", "peakiness", "infeasible", "loss"}
        assert stats["loss"] == 0.5

    def test_infeasible(self) -> None:
        scores, _ = tensors(SMALL)
        targets = torch.tensor([[1, 1, 1, 3], [1, 3, 1, 3], [4, 4, 0, 0]])
        for frames, count in (([6, 4, 3], 0.0), ([5, 4, 3], 1.0), ([5, 3, 2], 3.0)):
            assert CTCMonitor(blank=2)(scores, targets, frames, [4, 4, 2])["infeasible"] == count

    def test_infeasible_as_frames_needed_counts(self) -> None:
        rng = np.random.default_rng(0)
        seen = set()
        for seed in range(60):
            batch = draw(seed, 14, 5, int(rng.integers(2, 5)), 9)
            problem = ctc_problem(batch.scores, *batch.arguments, from_logits=True)
            needed = [ctckit.frames_needed(batch.sample(n)[1]) for n in range(5)]
            count = sum(need > frames for need, frames in zip(needed, batch.frames, strict=True))
            assert count_infeasible(problem) == count
            seen.add(count)
        assert len(seen) > 2

    def test_no_frames_at_all(self) -> None:
        scores, _ = tensors(SMALL)
        stats = CTCMonitor(blank=2)(scores, torch.zeros(3, 0, dtype=torch.int64), (0, 0, 0), (0, 0, 0))
        assert (stats["blank_share"], stats["peakiness"], stats["infeasible"]) == (0, 0, 0)

    def test_bad_input_is_the_losss_error(self) -> None:
        scores, (targets, frames, lengths) = tensors(SMALL)
        with pytest.raises(ctckit.CTCError, match=r"targets\[0, 0\] = 2 is the blank"):
            CTCMonitor(blank=2)(scores, torch.full_like(targets, 2), frames, lengths)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_numbers_that_are_none(self, value: float) -> None:
        scores, rest = tensors(SMALL)
        with torch.no_grad():
            scores[3, 0, 1] = value
        with pytest.warns(ctckit.CTCWarning, match="Step 0: the scores are not finite"):
            stats = CTCMonitor(blank=2)(scores, *rest)
        assert math.isnan(stats["peakiness"])
        ctc_loss(scores, *rest, blank=2, from_logits=True).backward()
        assert math.isnan(stats["grad_norm"])

    @pytest.mark.parametrize("every", [0, -1, 0.5, True])
    def test_every(self, every: Any) -> None:
        with pytest.raises(ctckit.CTCError, match=f"every = {every!r}: expected an integer of at least 1"):
            CTCMonitor(every=every)


class TestLayouts:
    @pytest.fixture
    def stats(self) -> dict[str, float]:
        scores, rest = tensors(SMALL)
        return self.watched(CTCMonitor(blank=2), scores, *rest)

    @staticmethod
    def watched(monitor: CTCMonitor, scores: Any, *rest: Any, **options: Any) -> dict[str, float]:
        stats = monitor(scores, *rest)
        ctc_loss(scores, *rest, blank=2, from_logits=True, **options).backward()
        return stats

    def test_batch_first(self, stats: dict[str, float]) -> None:
        scores, rest = tensors(SMALL)
        turned = scores.detach().transpose(0, 1).contiguous().requires_grad_() * 1
        found = self.watched(CTCMonitor(blank=2, batch_first=True), turned, *rest, batch_first=True)
        assert found == pytest.approx(stats, rel=1e-5)

    def test_not_contiguous(self, stats: dict[str, float]) -> None:
        scores, rest = tensors(SMALL)
        assert self.watched(CTCMonitor(blank=2), scores.transpose(0, 1).contiguous().transpose(0, 1), *rest) == (
            pytest.approx(stats, rel=1e-5)
        )

    def test_lists_and_targets_end_to_end(self, stats: dict[str, float]) -> None:
        scores, (targets, frames, lengths) = tensors(SMALL)
        joined = torch.cat([row[:length] for row, length in zip(targets, lengths, strict=True)])
        found = self.watched(CTCMonitor(blank=2), scores, joined, frames.tolist(), lengths.tolist())
        assert found == pytest.approx(stats, rel=1e-5)

    def test_one_sample(self) -> None:
        batch = SMALL.alone(0)
        scores, rest = tensors(batch)
        stats = self.watched(CTCMonitor(blank=2), scores, *rest)
        scores, (targets, frames, lengths) = tensors(batch)
        one = self.watched(CTCMonitor(blank=2), scores[:, 0], targets[0], int(frames), int(lengths))
        assert one == pytest.approx(stats, rel=1e-5)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_dtypes(self, stats: dict[str, float], dtype: Any) -> None:
        scores, rest = tensors(SMALL, dtype)
        found = self.watched(CTCMonitor(blank=2), scores, *rest)
        assert found == pytest.approx(stats, rel=1e-5 if dtype == torch.float64 else 0.02)


class TestCheapness:
    @pytest.mark.parametrize("shape", [(1500, 16, 32), (400, 8, 5000), (500, 7, 500), (36, 32, 11), (3, 1, 2)])
    def test_every_row_has_its_turn(self, shape: tuple[int, int, int]) -> None:
        """Within as many steps as the stride, each row is looked at once; a single step looks at few."""
        frames, size, classes = shape
        first = Rows(shape, 0)
        most = min(max(FEWEST_ROWS, SCORES // classes), MOST_ROWS)
        seen: list[tuple[int, int]] = []
        step = 0
        while step == 0 or Rows(shape, step)._picked.start:
            rows = Rows(shape, step)
            assert len(rows.frames) <= 2 * most
            assert rows.scale * len(rows.frames) == pytest.approx(frames * size)
            seen += zip(rows.frames.tolist(), rows.samples.tolist(), strict=True)
            step += 1
        assert sorted(seen) == [(t, n) for t in range(frames) for n in range(size)]
        # A step looks at all samples, or at as many as it has rows.
        assert len(set(first.samples.tolist())) == min(size, len(first.samples))

    @pytest.mark.parametrize("contiguous", [True, False])
    def test_estimates(self, contiguous: bool) -> None:
        """From a sixtieth of the rows the numbers are right to a few hundredths."""
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(1000, 16, 20, generator=generator)
        logits[..., 0] += 2
        if not contiguous:
            logits = logits.transpose(0, 1).contiguous().transpose(0, 1)
        rest = torch.randint(1, 20, (16, 30), generator=generator), (1000,) * 16, (30,) * 16
        logits.requires_grad_()
        scores = logits * 1
        stats = CTCMonitor()(scores, *rest)
        ctc_loss(scores, *rest, from_logits=True).backward()
        probabilities = logits.detach().softmax(-1)
        assert stats["blank_share"] == pytest.approx(float((probabilities.argmax(-1) == 0).float().mean()), abs=0.1)
        assert stats["peakiness"] == pytest.approx(float(probabilities.amax(-1).mean()), abs=0.05)
        assert stats["grad_norm"] == pytest.approx(float(logits.grad.norm()), rel=0.1)

    def test_leaves_no_trace(self) -> None:
        """The gradient does not change, and no hook remains."""
        gradients = []
        for monitor in (None, CTCMonitor(blank=2)):
            scores, rest = tensors(SMALL)
            leaf = scores.detach().requires_grad_()
            loss = ctc_loss(leaf, *rest, blank=2, from_logits=True)
            if monitor is not None:
                monitor(leaf, *rest, loss=loss)
            loss.backward()
            assert not leaf._backward_hooks
            gradients.append(leaf.grad)
        assert torch.equal(*gradients)


def stepped(monitor: CTCMonitor, scores: Any, rest: Any, **options: Any) -> None:
    """A training step: loss, monitor, backward."""
    loss = ctc_loss(scores, *rest, blank=monitor.blank, from_logits=True, **options)
    monitor(scores, *rest, loss=loss)
    loss.backward()


def collapsed(label: int, height: float = 16.0) -> tuple[Any, Any]:
    """Logits of a network that always gives one class, and targets of other ones."""
    scores = torch.randn(60, 4, 8, generator=torch.Generator().manual_seed(0))
    scores[..., label] += height
    rest = torch.tensor([[1, 2, 3, 4, 5, 6]] * 4), torch.full((4,), 60), torch.full((4,), 6)
    return scores.requires_grad_() * 1, rest


class TestAlarms:
    def test_a_loss_that_is_nan(self) -> None:
        monitor = CTCMonitor(blank=2)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for step in range(6):
                scores, rest = tensors(SMALL)
                stepped(monitor, scores * (math.nan if step >= 3 else 1), rest)
        (warning,) = caught
        assert warning.category is ctckit.CTCWarning
        assert warning.filename == __file__  # whoever called the monitor
        said = str(warning.message)
        assert said.startswith("Step 3: the loss is nan. Every frame of every sample holds NaN")
        assert "last good step" in said
        report = monitor.report()
        assert report is not None
        assert [finding.code for finding in report.findings] == ["weights-not-finite"]

    def test_an_infeasible_sample(self) -> None:
        scores, (targets, _, lengths) = tensors(SMALL)
        monitor = CTCMonitor(blank=2)
        with pytest.warns(ctckit.CTCWarning, match=r"Step 0: the loss is inf. Sample 0 has 3 frames but needs"):
            stepped(monitor, scores, (targets, torch.tensor([3, 29, 21]), lengths))
        assert monitor.report().statistics["infeasible"] == 1

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_gradient(self, value: float) -> None:
        scores, rest = tensors(SMALL)
        monitor = CTCMonitor(blank=2)
        loss = ctc_loss(scores, *rest, blank=2, from_logits=True)
        monitor(scores, *rest, loss=loss)
        assert monitor.report() is None
        with pytest.warns(ctckit.CTCWarning, match="Step 0: the gradient with .* is (nan|inf).* itself is healthy"):
            (loss * value).backward()
        assert monitor.report().healthy

    @pytest.mark.parametrize("label", [0, 7])
    @pytest.mark.parametrize("normalise", [False, True])
    def test_a_collapse(self, label: int, normalise: bool) -> None:
        scores, rest = collapsed(label)
        monitor = CTCMonitor()
        code = "token-collapse" if label else "all-blank-collapse"
        with pytest.warns(ctckit.CTCWarning, match="Step 0: the network has collapsed"):
            monitor(scores.log_softmax(-1) if normalise else scores, *rest)
        assert code in [finding.code for finding in monitor.report().findings]
        assert "not-log-probs" not in [finding.code for finding in monitor.report().findings]
        monitor(scores, *rest)  # said once

    def test_the_phase_of_blanks_is_no_collapse(self) -> None:
        scores, rest = collapsed(0, height=10.0)
        scores, monitor = 0.3 * scores, CTCMonitor()
        for _ in range(4):
            monitor(scores, *rest)
        assert monitor.last["blank_share"] == 1
        assert monitor.report() is None

    def test_a_network_that_is_right(self) -> None:
        scores, rest = collapsed(3)
        right = torch.tensor([[3]] * 4), rest[1], torch.full((4,), 1)
        CTCMonitor()(scores, *right)

    def test_both_kinds_and_the_first_batch(self) -> None:
        scores, rest = collapsed(7)
        monitor = CTCMonitor()
        with pytest.warns(ctckit.CTCWarning, match="collapsed"):
            monitor(scores, *rest)
        with pytest.warns(ctckit.CTCWarning, match="Step 1: the loss is nan"):
            monitor(scores, *rest, loss=math.nan)
        with torch.no_grad():
            scores.zero_()  # what is kept does not change
        assert "token-collapse" in [finding.code for finding in monitor.report().findings]

    def test_it_can_be_silenced_and_speaks_chinese(self) -> None:
        scores, rest = tensors(SMALL)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=ctckit.CTCWarning)
            stepped(CTCMonitor(blank=2), scores * math.nan, rest)
        monitor = CTCMonitor(blank=2, lang="zh")
        with pytest.warns(ctckit.CTCWarning, match="第 0 步：损失是 nan。所有样本的每一帧都含有 NaN"):
            monitor(scores * math.nan, *rest, loss=math.nan)
        assert str(monitor.report()).startswith("不正常")
        with pytest.raises(ctckit.CTCError, match="lang = 'fr' is unknown"):
            CTCMonitor(lang="fr")

    def test_layouts(self) -> None:
        batch = SMALL.alone(0)
        scores, (targets, frames, lengths) = tensors(batch)
        monitor = CTCMonitor(blank=2)
        with pytest.warns(ctckit.CTCWarning, match="NaN"):
            monitor(scores[:, 0] * math.nan, targets[0], int(frames), int(lengths))
        assert monitor.report().statistics["samples"] == 1
        scores, rest = tensors(SMALL)
        monitor = CTCMonitor(blank=2, batch_first=True)
        with pytest.warns(ctckit.CTCWarning, match="NaN"):
            monitor((scores * math.nan).transpose(0, 1), *rest)
        assert monitor.report().statistics["frames"] == 30


class Gallery(Written):
    """A writer that remembers pictures too."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[tuple[str, Any, int]] = []
        self.histograms: list[tuple[str, Any, int]] = []

    def add_image(self, tag: str, img_tensor: Any, global_step: int, *, dataformats: str) -> None:
        assert dataformats == "HWC"
        self.images.append((tag, img_tensor, global_step))

    def add_histogram(self, tag: str, values: Any, global_step: int) -> None:
        self.histograms.append((tag, values, global_step))


class TestPictures:
    def test_alignment_and_blank_shares(self) -> None:
        writer = Gallery()
        monitor = CTCMonitor(writer, blank=2, pictures=2)
        for _ in range(3):
            scores, rest = tensors(SMALL)
            monitor(scores, *rest)
        assert [(tag, step) for tag, _, step in writer.images] == [("ctc/alignment", 0), ("ctc/alignment", 2)]
        image = writer.images[0][1]
        length = int(rest[2][0])
        assert image.shape == (4 * (2 * length + 1), 4 * 30, 3)
        assert image.dtype == np.uint8
        logits, target = SMALL.sample(0)
        states = ctckit.forced_align(logits - np.logaddexp.reduce(logits, 1, keepdims=True), target, blank=2)[0].states
        red = image[::4, ::4, 0].astype(int) - image[::4, ::4, 1]
        assert (red[::-1].argmax(axis=0) == states).all()
        ((tag, shares, step), _) = writer.histograms
        assert (tag, step) == ("ctc/blank_shares", 0)
        best = SMALL.scores.argmax(axis=2) == 2
        assert shares == pytest.approx([best[:frames, n].mean() for n, frames in enumerate(SMALL.frames)])

    def test_without_a_path_there_is_no_image(self) -> None:
        writer = Gallery()
        scores, (targets, _, lengths) = tensors(SMALL.alone(0))
        CTCMonitor(writer, blank=2, pictures=1)(scores, targets, torch.tensor([2]), lengths)
        assert writer.images == []
        assert len(writer.histograms) == 1

    def test_a_writer_that_takes_none(self) -> None:
        with pytest.raises(ctckit.CTCError, match="writer has type Written, which has no add_image"):
            CTCMonitor(Written(), pictures=1)
        with pytest.raises(ctckit.CTCError, match="pictures = -1"):
            CTCMonitor(pictures=-1)

    def test_tensorboard(self, tmp_path: Path) -> None:
        tensorboard = pytest.importorskip("torch.utils.tensorboard", reason="TensorBoard is not installed")
        accumulator = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
        scores, rest = tensors(SMALL)
        with tensorboard.SummaryWriter(str(tmp_path)) as writer:
            CTCMonitor(writer, blank=2, pictures=1)(scores, *rest)
        events = accumulator.EventAccumulator(str(tmp_path))
        events.Reload()
        assert events.Tags()["images"] == ["ctc/alignment"]
        assert events.Tags()["histograms"] == ["ctc/blank_shares"]


class TestWriters:
    def test_names_and_steps(self) -> None:
        writer = Written()
        monitor = CTCMonitor(writer, every=2, blank=2, prefix="train/")
        stats = []
        for _ in range(4):
            scores, rest = tensors(SMALL)
            loss = ctc_loss(scores, *rest, blank=2, from_logits=True)
            stats.append(monitor(scores, *rest, loss=loss))
            loss.backward()
        assert [bool(each) for each in stats] == [True, False, True, False]
        assert writer.scalars == [
            (f"train/{name}", stats[step][name], step)
            for step in (0, 2)
            for name in ("blank_share", "peakiness", "infeasible", "loss", "grad_norm")
        ]

    def test_a_second_backward_pass_is_not_another_step(self) -> None:
        writer = Written()
        scores, rest = tensors(SMALL)
        loss = ctc_loss(scores, *rest, blank=2, from_logits=True)
        CTCMonitor(writer, blank=2)(scores, *rest)
        loss.backward(retain_graph=True)
        loss.backward()
        assert [tag for tag, _, _ in writer.scalars].count("ctc/grad_norm") == 1

    def test_tensorboard(self, tmp_path: Path) -> None:
        tensorboard = pytest.importorskip("torch.utils.tensorboard", reason="TensorBoard is not installed")
        accumulator = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
        stats = []
        with tensorboard.SummaryWriter(str(tmp_path)) as writer:
            monitor = CTCMonitor(writer, blank=2)
            for seed in range(3):
                scores, rest = tensors(draw(seed, 30, 3, 6, 5, blank=2))
                loss = ctc_loss(scores, *rest, blank=2, from_logits=True)
                stats.append(monitor(scores, *rest, loss=loss))
                loss.backward()
        events = accumulator.EventAccumulator(str(tmp_path))
        events.Reload()
        assert set(events.Tags()["scalars"]) == {f"ctc/{name}" for name in stats[0]}
        for name in ("blank_share", "peakiness", "infeasible", "loss", "grad_norm"):
            read = events.Scalars(f"ctc/{name}")
            assert [event.step for event in read] == [0, 1, 2]
            assert [event.value for event in read] == pytest.approx([each[name] for each in stats], rel=1e-6)


class TestLightning:
    # Warnings of Lightning's own: its use of torch, and a hint to use more workers.
    @pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning", "ignore:.*does not have many workers")
    def test_callback(self, tmp_path: Path) -> None:
        lightning = pytest.importorskip("lightning.pytorch", reason="Lightning is not installed")
        from ctckit.torch.lightning import CTCMonitorCallback

        monitor = CTCMonitor()
        seen: list[dict[str, float]] = []

        class Model(lightning.LightningModule):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.head = torch.nn.Linear(4, 6)
                self.loss = CTCLoss(from_logits=True)

            def training_step(self, batch: Any, _: int) -> Any:
                logits = self.head(batch)
                rest = torch.tensor([[1, 2, 2], [3, 1, 0]]), (9, 9), (3, 2)
                loss = self.loss(logits, *rest)
                seen.append(monitor(logits, *rest, loss=loss))
                return loss

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.1)

        logged: list[dict[str, float]] = []

        class Log(lightning.loggers.Logger):  # type: ignore[misc, name-defined]
            name, version = "log", "0"

            def log_hyperparams(self, *_: Any, **__: Any) -> None: ...

            def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
                logged.append(metrics)

        trainer = lightning.Trainer(
            max_steps=2,
            accelerator="cpu",
            logger=Log(),
            log_every_n_steps=1,
            callbacks=[CTCMonitorCallback(monitor)],
            default_root_dir=tmp_path,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        batches = torch.utils.data.DataLoader(torch.randn(2, 9, 2, 4), batch_size=None)
        trainer.fit(Model(), batches)
        assert len(seen) == 2
        assert len(logged) == 2
        for metrics, stats in zip(logged, seen, strict=True):
            assert set(stats) == {"blank_share", "peakiness", "infeasible", "loss", "grad_norm"}
            for name, value in stats.items():
                assert metrics[f"ctc/{name}"] == pytest.approx(value, rel=1e-6)
                assert math.isfinite(value)

    def test_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in sys.modules if name.split(".")[0] in ("lightning", "pytorch_lightning")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "lightning", None)
        monkeypatch.delitem(sys.modules, "ctckit.torch.lightning", raising=False)
        with pytest.raises(MissingExtraError, match=r"needs the package 'lightning.*pip install .*\[lightning\]'"):
            importlib.import_module("ctckit.torch.lightning")
