"""What the pages on coming from another package say of it, checked with that package where it is installed."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"


def names_of(page: str) -> dict[str, Any]:
    """The variables after the page's examples."""
    names: dict[str, Any] = {}
    for example in doctest.DocTestParser().get_examples((DOCS / page).read_text("utf-8")):
        if not example.exc_msg:
            exec(compile(example.source, page, "single"), names)
    return names


def test_optax_gives_the_same_loss_and_hides_what_does_not_fit() -> None:
    jax = pytest.importorskip("jax", reason="the extra jax has it")
    optax = pytest.importorskip("optax", reason="optax is not among the developers' tools")
    page = names_of("from-optax.md")
    paddings, labels, label_paddings = page["logit_paddings"], page["labels"], page["label_paddings"]
    scores, given = np.asarray(page["logits"]).swapaxes(0, 1), (labels, label_paddings)
    ours, gradient = page["ctckit"].ctc_loss_and_grad(
        scores, labels, page["frames"], page["lengths"], reduction="none", from_logits=True
    )
    np.testing.assert_allclose(page["ctc_loss"](page["logits"], paddings, *given), ours, rtol=1e-6)
    np.testing.assert_allclose(optax.ctc_loss(page["logits"], paddings, *given), ours, rtol=1e-5)
    theirs = jax.grad(lambda logits: optax.ctc_loss(logits, paddings, *given).sum())(page["logits"])
    np.testing.assert_allclose(np.asarray(theirs).swapaxes(0, 1), gradient, atol=1e-5)
    short = np.array([[0] * 6, [0, 0, 1, 1, 1, 1]])
    assert 99_000 < optax.ctc_loss(page["logits"], short, *given)[1] < 101_000
    hidden = jax.grad(lambda logits: optax.ctc_loss(logits, short, *given)[1])(page["logits"])
    assert np.abs(hidden).max() > 0.1
    beyond = optax.ctc_loss(page["logits"], paddings, np.array([[1, 9, 3], [2, 2, 0]]), label_paddings)
    assert beyond[0] < ours[0]


def test_ctc_segmentation_finds_the_same_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Ends to within a frame; its second line begins midway between both."""
    peer = pytest.importorskip("ctc_segmentation", reason="ctc-segmentation comes with the benchmarks")
    page = names_of("from-ctc-segmentation.md")
    space = {"space": "|", "replace_spaces_with_blanks": True}
    config = peer.CtcSegmentationParameters(char_list=page["char_list"], index_duration=0.02, **space)
    ground_truth, begins = peer.prepare_text(config, page["text"])
    timings, probabilities, _ = peer.ctc_segmentation(config, page["lpz"].astype(np.float32), ground_truth)
    found = peer.determine_utterance_segments(config, begins, probabilities, timings, page["text"])
    first, second = page["transcript"].segments(page["alignment"], frame_shift=0.02)
    assert [found[0][0], found[0][1], found[1][1]] == pytest.approx([first.start, first.end, second.end], abs=0.021)
    assert first.end - 0.021 < found[1][0] < second.start
