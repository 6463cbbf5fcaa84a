"""The demo: honest data, known readings and error rates, a self-contained page, and a clean stop."""

from __future__ import annotations

import importlib.util
import io
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ctckit.demo
from ctckit.demo import data, reading
from ctckit.errors import MissingExtraError
from ctckit.text.reading import edits


def marked(labels: list[int], ink: float) -> data.Digits:
    """Digits of one shade each, so that a line shows whose scans it is made of."""
    images = np.full((len(labels), data.SIZE, data.SIZE), ink, dtype=np.float32)
    return data.Digits(images, np.array(labels, dtype=np.int64))


class TestData:
    def test_scans_are_split_once_and_whole(self) -> None:
        datasets = pytest.importorskip("sklearn.datasets")
        train, held_out = data.load_digits()
        bundled = datasets.load_digits()
        assert np.array_equal(np.concatenate([train.labels, held_out.labels]), bundled.target)
        assert np.array_equal(np.concatenate([train.images, held_out.images]) * 16, bundled.images)
        assert len(held_out.labels) == round(0.2 * len(bundled.target))

    def test_no_held_out_scan_is_also_a_training_scan(self) -> None:
        pytest.importorskip("sklearn")
        train, held_out = data.load_digits()
        assert not {scan.tobytes() for scan in train.images} & {scan.tobytes() for scan in held_out.images}

    def test_a_line_holds_scans_of_its_own_part_only(self) -> None:
        lines = data.write_lines(marked([3, 5], ink=0.25), 50, np.random.default_rng(0))
        assert set(np.unique(lines.images)) == {0.0, 0.25}
        assert {digit for n in range(50) for digit in lines.truth(n)} == {3, 5}

    def test_same_seed_same_lines(self) -> None:
        digits = marked(list(range(10)), ink=0.5)
        for distort in (False, True):
            one, same = (data.write_lines(digits, 20, np.random.default_rng(4), distort=distort) for _ in range(2))
            other = data.write_lines(digits, 20, np.random.default_rng(5), distort=distort)
            assert np.array_equal(one.images, same.images)
            assert np.array_equal(one.targets, same.targets)
            assert not np.array_equal(one.widths, other.widths)

    def test_widths_lengths_and_targets_agree(self) -> None:
        lines = data.write_lines(marked(list(range(10)), ink=1), 200, np.random.default_rng(1))
        lengths = lines.target_lengths
        assert set(lengths) == set(range(data.FEWEST, data.MOST + 1))
        slack = lines.widths - data.SIZE * lengths
        assert (slack >= data.TIGHTEST * (lengths - 1)).all()
        assert (slack <= data.WIDEST * (lengths - 1) + 2 * data.MARGIN).all()
        for n, (width, length) in enumerate(zip(lines.widths, lengths, strict=True)):
            assert not lines.images[n, :, width:].any()
            assert (lines.targets[n, :length] > 0).all()
            assert not lines.targets[n, length:].any()

    def test_digits_overlap_and_stand_apart(self) -> None:
        lines = data.write_lines(marked([1], ink=1), 200, np.random.default_rng(2))
        inked = lines.images[:, 0].sum(axis=1)
        assert (inked < data.SIZE * lines.target_lengths).any()
        assert any("0" in "".join(str(int(c)) for c in row).strip("0") for row in lines.images[:, 0])

    def test_every_scan_is_used_equally_often(self) -> None:
        lines = data.write_lines(marked(list(range(10)), ink=1), 100, np.random.default_rng(3))
        counts = np.bincount([digit for n in range(100) for digit in lines.truth(n)])
        assert counts.max() - counts.min() <= 1

    def test_distortion_changes_scans_and_keeps_ink_in_range(self) -> None:
        rng = np.random.default_rng(6)
        digits = data.Digits(rng.random((10, 8, 8), dtype=np.float32), np.arange(10))
        lines = data.write_lines(digits, 20, rng, distort=True)
        assert lines.images.min() >= 0
        assert lines.images.max() <= 1
        assert not np.isin(lines.images[lines.images > 0], digits.images).any()

    def test_training_batches_are_trimmed_to_their_widest_line(self) -> None:
        batches = data.training_batches(marked([7], ink=1), 4, np.random.default_rng(0))
        for lines in islice(batches, 10):
            assert len(lines) == 4
            assert lines.images.shape == (4, data.SIZE, lines.widths.max())
            assert lines.targets.shape == (4, lines.target_lengths.max())


class TestReading:
    @pytest.mark.parametrize(
        ("labels", "digits"),
        [
            ([], []),
            ([0, 0, 0], []),
            ([1, 1, 1], [0]),
            ([0, 4, 4, 0, 4, 8, 8, 0], [3, 3, 7]),
            ([10, 1, 10], [9, 0, 9]),
        ],
    )
    def test_best_path_merges_repeats_and_drops_blanks(self, labels: list[int], digits: list[int]) -> None:
        log_probs = np.log(np.eye(11)[np.array(labels, dtype=int)] + 1e-9)
        assert reading.digits(log_probs) == digits

    def test_error_rates(self) -> None:
        compared = [edits([1, 2, 3, 4], [1, 2, 4]), edits([5, 6, 7, 8], [5, 6, 7, 8])]
        seen = reading.HeldOut(np.zeros((1, 2, 11), np.float32), np.array([1, 1]), compared)
        assert seen.cer == 1 / 8
        assert seen.line_accuracy == 1 / 2
        assert seen.right == [False, True]
        assert seen.read(0) == [1, 2, 4]


def test_a_missing_package_is_named_with_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sklearn" else "found")
    with pytest.raises(MissingExtraError, match=r"'sklearn': pip install .*\[demo\]'"):
        ctckit.demo.run(out=tmp_path)


STOPS_AT_TORCH = """
import sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            sys.exit("torch is loaded now")
import importlib.util
import ctckit.demo
importlib.util.find_spec = lambda name: "found"
sys.meta_path.insert(0, Stop())
ctckit.demo.run()
"""


def test_it_says_what_it_does_before_anything_slow() -> None:
    for package in ("torch", "sklearn", "rich", "jinja2", "matplotlib"):
        pytest.importorskip(package)
    done = subprocess.run([sys.executable, "-c", STOPS_AT_TORCH], capture_output=True, text=True, timeout=120)
    assert "torch is loaded now" in done.stderr
    assert re.search(r"Trains a recogniser .* minutes .*index\.html", done.stdout)


def test_a_terminal_shows_no_loss_before_there_is_one_and_one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("torch", "sklearn", "rich"):
        pytest.importorskip(package)
    from rich.console import Console

    from ctckit.demo import progress
    from ctckit.demo.train import Record, Test

    held_out = data.write_lines(data.load_digits()[1], 1, np.random.default_rng(0))
    terminal = Console(file=io.StringIO(), force_terminal=True, width=150, highlight=False)
    monkeypatch.setattr(progress.time, "perf_counter", lambda: 1000.0)
    record = Record(600)
    with progress.Display(terminal, 600, held_out, 1000.0 - 83) as display:
        display._bar.refresh()
        before = terminal.file.getvalue()
        record.losses.append(3.25)
        record.tests.append(
            Test(1, 3.25, reading.HeldOut(np.zeros((1, 1, 11), np.float32), np.array([1]), [edits([6], [6])]))
        )
        display.update(record)
        display._bar.refresh()
    shown = terminal.file.getvalue()
    assert "0/600" in before
    assert "01:23" in before
    assert not re.search("loss|nan", before)
    assert "loss 3.250" in shown
    assert re.search(r"step +1  01:23  loss", shown)


SECTIONS = ("curves", "inside", "aligned", "samples", "wrong", "time", "machine")


def check_page(path: Path) -> str:
    """The page, checked to have all its sections and to load nothing from elsewhere."""
    page = path.read_text(encoding="utf-8")
    assert len(page) < 2_000_000
    assert [name for name in SECTIONS if f'<h2 id="{name}"' not in page] == []
    links = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s>)]+)""", page)
    assert links
    inside = {link for link in links if link.startswith("#")}  # an SVG's references to its own parts
    assert [link for link in inside if f'id="{link[1:]}"' not in page] == []
    assert {link.split(",")[0] for link in set(links) - inside} == {"data:image/png;base64"}
    assert not re.search(r"https?:|<script|<link|@import", page)
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]  # no temporary file is left
    return page


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module `train`, with a fast run made shorter still."""
    for package in ("torch", "sklearn", "rich", "jinja2", "matplotlib"):
        pytest.importorskip(package)
    from ctckit.demo import train

    monkeypatch.setattr(train, "FAST", train.Budget(steps=12, held_out_lines=20, tests=2))
    return train


def test_a_run_from_end_to_end(training: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "report"
    result = ctckit.demo.run(out=out, fast=True, seed=3)
    assert result.report == out / "index.html"
    page = check_page(result.report)
    assert "too short to claim a goal" in page
    assert "12 of 12 training steps" in page
    drawn = re.split(r'<h2 id="(?:aligned|samples)"', page)[1]
    figures = re.findall(r"<h3>Written (\d+),.*?</h3>(.*?)</figure>", drawn, re.DOTALL)
    assert 1 <= len(figures) == drawn.count("<svg")
    for written, figure in figures:
        digits = re.findall(r"<text[^>]*>(\d)</text>", figure)
        assert all(digits.count(digit) >= written.count(digit) for digit in written)

    said = capsys.readouterr().out
    assert re.search(r"step +6 .*\n(.*\n)*step +12 ", said)
    for part in training.STEP_PARTS:
        assert part in said
    assert str(result.report) in said
    assert 0 <= result.line_accuracy <= 1
    assert not result.interrupted
    assert result.loss_share is not None
    assert 0 < result.loss_share < 1
    assert result.torch_ratio is not None

    again = ctckit.demo.run(out=out, fast=True, seed=3)  # replaces the report
    assert (again.cer, again.line_accuracy) == (result.cer, result.line_accuracy)


@pytest.mark.parametrize("steps", [0, 5])
def test_ctrl_c_still_writes_the_report(
    training: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    whole_step = training.train_step

    def step(*args: Any, **options: Any) -> None:
        if len(args[-1].losses) == steps:
            raise KeyboardInterrupt
        whole_step(*args, **options)

    monkeypatch.setattr(training, "train_step", step)
    result = ctckit.demo.run(out=tmp_path / "report", fast=True)
    assert result.interrupted
    assert (result.torch_ratio is None) == (steps == 0)
    assert f"Stopped by Ctrl-C after {steps} of 12 steps" in check_page(result.report)


def test_a_time_limit_ends_the_training(training: Any, tmp_path: Path) -> None:
    result = ctckit.demo.run(out=tmp_path / "report", fast=True, max_seconds=1e-6)
    assert "0 of 12 training steps" in check_page(result.report)
    assert not result.interrupted


def test_the_random_state_and_threads_of_torch_are_left_alone(training: Any, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    ctckit.demo.run(out=tmp_path / "report", fast=True)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_learning_rate_rises_and_comes_down(training: Any) -> None:
    rates = [training._rate(done) for done in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[0] < 0.1
    assert rates[-1] == pytest.approx(0.5)
    assert rates.index(max(rates)) == 15
