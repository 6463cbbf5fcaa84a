"""The lines of docs/frameworks.md, run where they say: each changes the loss of a framework's own step, and only that.

If a framework is installed, its own loss is called, otherwise a small stand-in that calls torch in the same way; the
stand-ins name the file and the class that they stand for, as read in the versions of the page's table. Truth is the
same step by torch's loss.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ctckit.torch
from ctckit.torch.calls import Replacement

os.environ.setdefault("KERAS_BACKEND", "torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks'

PAGE = Path(__file__).parents[2] / "docs" / "frameworks.md"
SNIPPETS = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^##).)*?^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S))
N, T, C = 3, 12, 7
TARGETS, FRAMES, LENGTHS = torch.tensor([[1, 2, 2], [3, 4, 1], [5, 1, 1]]), (12, 10, 8), (3, 2, 1)
JOINED = torch.tensor([1, 2, 2, 3, 4, 5])
frames, lengths = torch.tensor(FRAMES), torch.tensor(LENGTHS)


def theirs(module: str, name: str, stand_in: Any) -> Any:
    """A framework's own class or function; the stand-in where it is not installed."""
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError:
        return stand_in


class Step:
    """One training step of a linear layer with a framework's loss; all that a snippet names is found on it."""

    def __init__(self, loss: Callable[[Tensor], Tensor]) -> None:
        self.loss_of = loss
        torch.manual_seed(1)
        self.network = nn.Linear(5, C)
        self.features = torch.randn(N, T, 5, generator=torch.Generator().manual_seed(0))
        self.loss = torch.empty(())

    def run(self, *_: object) -> None:
        """Scores are (N, T, C), as in all frameworks."""
        self.loss = self.loss_of(self.network(self.features))
        self.loss.backward()

    train = fit = run
    hparams = SimpleNamespace(epoch_counter=range(1))

    def __call__(self, images: object, words: object) -> dict[str, Tensor]:
        self.run()
        return {"loss": self.loss}

    @property
    def gradient(self) -> Tensor:
        assert self.network.weight.grad is not None
        return self.network.weight.grad


# --- each framework's loss, from scores (N, T, C) ---------------------------------------------------------------------


def transformers(scores: Tensor) -> Tensor:
    """Stands for transformers/loss/loss_ctc.py, ForCTCLoss, which the models' forward calls."""

    def loss(logits: Tensor, labels: Tensor, logit_lengths: Tensor, blank_token_id: int, reduction: str) -> Tensor:
        given = (labels != -100) & (labels != blank_token_id)
        log_probs = nn.functional.log_softmax(logits, dim=-1, dtype=torch.float32).transpose(0, 1)
        with torch.backends.cudnn.flags(enabled=False):
            tokens = labels.masked_select(given), logit_lengths, given.sum(-1)
            return nn.functional.ctc_loss(log_probs, *tokens, blank=blank_token_id, reduction=reduction)

    padded = TARGETS.masked_fill(torch.arange(3) >= lengths[:, None], -100)
    found: Tensor = theirs("transformers.loss.loss_ctc", "ForCTCLoss", loss)(scores, padded, frames, 0, "sum")
    return found


def speechbrain(scores: Tensor) -> Tensor:
    """Stands for speechbrain/nnet/losses.py, ctc_loss."""

    def loss(
        log_probs: Tensor, targets: Tensor, input_lens: Tensor, target_lens: Tensor, blank: int, how: str
    ) -> Tensor:
        counts = ((lens * most).round().int() for lens, most in ((input_lens, T), (target_lens, 3)))
        reduction = {"batchmean": "sum"}.get(how, how)
        found = F.ctc_loss(log_probs.transpose(0, 1), targets, *counts, blank, zero_infinity=True, reduction=reduction)
        return found / len(targets) if how == "batchmean" else found

    call = theirs("speechbrain.nnet.losses", "ctc_loss", loss)
    found: Tensor = call(scores.log_softmax(-1), TARGETS, frames / T, lengths / 3, 0, "batchmean")
    return found


class SumOverBatch(nn.Module):
    """Stands for the class CTC of espnet2/asr/ctc.py with ctc_type builtin; the layer before the loss is the test's."""

    def __init__(self) -> None:
        super().__init__()
        self.ctc_loss = nn.CTCLoss(reduction="none", zero_infinity=True)

    def loss_fn(self, th_pred: Tensor, th_target: Tensor, th_ilen: Tensor, th_olen: Tensor) -> Tensor:
        return self.ctc_loss(th_pred.log_softmax(2).float(), th_target, th_ilen, th_olen).sum() / th_pred.size(1)


def espnet(scores: Tensor) -> Tensor:
    own = theirs("espnet2.asr.ctc", "CTC", None)
    module = own(odim=C, encoder_output_size=C, ctc_type="builtin") if own else SumOverBatch()
    found: Tensor = module.loss_fn(scores.transpose(0, 1), JOINED, frames, lengths)
    return found


class WithoutNaN(nn.Module):
    """Stands for the class CTC of funasr/models/ctc/ctc.py, which drops samples whose gradient is not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.ctc_loss = nn.CTCLoss(reduction="none")

    def loss_fn(self, th_pred: Tensor, th_target: Tensor, th_ilen: Tensor, th_olen: Tensor) -> Tensor:
        log_probs = th_pred.log_softmax(2)
        loss = self.ctc_loss(log_probs, th_target, th_ilen, th_olen)
        assert loss.grad_fn is not None
        kept = torch.isfinite(loss.grad_fn(torch.ones_like(loss)).sum([0, 2]))
        tokens = torch.cat([part for part, good in zip(th_target.split(th_olen.tolist()), kept, strict=True) if good])
        return self.ctc_loss(log_probs[:, kept, :], tokens, th_ilen[kept], th_olen[kept]).sum() / kept.sum()


def funasr(scores: Tensor) -> Tensor:
    """Its second sample has too few frames, and is to be dropped."""
    own = theirs("funasr.models.ctc.ctc", "CTC", None)
    module = own(odim=C, encoder_output_size=C) if own else WithoutNaN()
    found: Tensor = module.loss_fn(scores.transpose(0, 1), JOINED, torch.tensor([12, 1, 8]), lengths)
    return found


def wenet(scores: Tensor) -> Tensor:
    """Stands for wenet/transformer/ctc.py, CTC."""
    criterion = nn.CTCLoss(blank=0, reduction="sum")
    return criterion(scores.transpose(0, 1).log_softmax(2), TARGETS, frames, lengths) / N


class BlankLast(nn.CTCLoss):
    """Stands for nemo/collections/asr/losses/ctc.py, CTCLoss, whose super().forward is that of torch.nn.CTCLoss."""

    def __init__(self, num_classes: int, zero_infinity: bool) -> None:
        super().__init__(blank=num_classes, reduction="none", zero_infinity=zero_infinity)

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor) -> Tensor:
        return super().forward(log_probs.transpose(1, 0), targets, input_lengths, target_lengths).mean()


def nemo(scores: Tensor) -> Tensor:
    criterion = theirs("nemo.collections.asr.losses.ctc", "CTCLoss", BlankLast)(num_classes=C - 1, zero_infinity=True)
    given = {"log_probs": scores.log_softmax(-1), "targets": TARGETS}
    found: Tensor = criterion(**given, input_lengths=frames, target_lengths=lengths)
    return found


def icefall(scores: Tensor) -> Tensor:
    """Stands for egs/librispeech/ASR/zipformer/model.py, AsrModel.forward_ctc."""
    return F.ctc_loss(
        log_probs=scores.log_softmax(-1).permute(1, 0, 2),
        targets=JOINED.cpu(),
        input_lengths=frames.cpu(),
        target_lengths=lengths.cpu(),
        reduction="sum",
    )


def keras(scores: Tensor) -> Tensor:
    """Stands for keras/src/losses/losses.py, CTC, and keras/src/backend/torch/nn.py, ctc_loss."""

    def loss(y_true: Tensor, y_pred: Tensor) -> Tensor:
        logits = F.log_softmax(torch.transpose(y_pred, 1, 0), dim=-1)
        counts = torch.full((N,), T, dtype=torch.int32), (y_true != 0).sum(-1).int()
        return F.ctc_loss(logits, y_true, *counts, blank=0, reduction="none").mean()

    own = theirs("keras.losses", "CTC", None)
    padded = TARGETS.masked_fill(torch.arange(3) >= lengths[:, None], 0)
    found: Tensor = (own() if own else loss)(padded, scores)
    return found


def doctr(scores: Tensor) -> Tensor:
    """Stands for doctr/models/recognition/crnn/pytorch.py, CRNN.compute_loss."""
    counts = T * torch.ones(size=(N,), dtype=torch.int32), torch.tensor(LENGTHS, dtype=torch.int)
    return F.ctc_loss(F.log_softmax(scores.permute(1, 0, 2), dim=-1), TARGETS, *counts, C - 1, zero_infinity=True)


def kraken(scores: Tensor) -> Tensor:
    """Stands for kraken/lib/vgsl/model.py, where criterion is made, and kraken/train/vgsl.py, which calls it."""
    criterion = nn.CTCLoss(reduction="sum", zero_infinity=True)
    output = scores.transpose(1, 2).log_softmax(1)  # (N, C, T)
    return criterion(output.permute(2, 0, 1), JOINED, frames, lengths)


LOSSES = {
    "Hugging Face Trainer": transformers,
    "SpeechBrain": speechbrain,
    "ESPnet": espnet,
    "FunASR": funasr,
    "wenet": wenet,
    "NeMo": nemo,
    "icefall": icefall,
    "Keras": keras,
    "docTR": doctr,
    "kraken": kraken,
}
PROGRAMS = {"ESPnet": ("espnet2.bin.asr_train", "main"), "FunASR": ("funasr.bin.train_ds", "main_hydra")}
OTHERS = {"Lightning", "Programs that are started by a command"}


def test_every_snippet_has_a_test() -> None:
    assert set(SNIPPETS) == {*LOSSES, *OTHERS}


@pytest.mark.parametrize("name", LOSSES)
def test_the_lines_change_the_loss_and_nothing_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, step = Step(LOSSES[name]), Step(LOSSES[name])
    truth.run()
    if name in PROGRAMS:  # an import of the program finds this step; theirs() finds what the truth has imported
        module, function = PROGRAMS[name]
        parts = module.split(".")
        for n in range(len(parts)):
            monkeypatch.setitem(sys.modules, ".".join(parts[: n + 1]), ModuleType(parts[n]))
        monkeypatch.setattr(sys.modules[module], function, step.run, raising=False)
    names = dict.fromkeys(("trainer", "brain", "model", "asr_model"), step) | {"main": step.run}
    given = dict.fromkeys(("train_data", "valid_data", "data_module", "features", "labels", "images", "words"))
    before = Replacement.calls
    exec(SNIPPETS[name], {"ctckit": ctckit, **given, **names})
    assert Replacement.calls > before
    assert truth.loss.isfinite()
    torch.testing.assert_close(step.loss, truth.loss, rtol=1e-5, atol=0)
    torch.testing.assert_close(step.gradient, truth.gradient, rtol=0, atol=2e-5 * truth.gradient.abs().max().item())


def test_the_lines_for_lightning() -> None:
    pl = pytest.importorskip("lightning.pytorch", reason="Lightning is an extra")
    in_init, in_step = SNIPPETS["Lightning"].splitlines()
    truth = Step(lambda scores: F.ctc_loss(scores.log_softmax(-1).transpose(0, 1), TARGETS, FRAMES, LENGTHS))
    truth.run()

    class Module(pl.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = Step(wenet).network
            exec(in_init, {"ctckit": ctckit, "self": self})

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            batch_of = {"features": batch[0].transpose(0, 1), "targets": TARGETS, "frames": FRAMES}
            names = {"self": self, "target_lengths": LENGTHS, **batch_of}
            exec(in_step, names)
            self.loss: Tensor = names["loss"]
            return self.loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=1.0)

    module = Module()
    before = module.network.weight.detach().clone()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(truth.features), batch_size=N)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    pl.Trainer(accelerator="cpu", devices=1, max_steps=1, enable_model_summary=False, **quiet).fit(module, data)
    torch.testing.assert_close(module.loss.detach(), truth.loss.detach(), rtol=1e-5, atol=0)
    largest = truth.gradient.abs().max().item()
    torch.testing.assert_close(before - module.network.weight, truth.gradient, rtol=0, atol=2e-5 * largest)


PROGRAM = """
import sys

import torch
from model import loss  # a file beside the program


def main():
    print(sys.argv[1:], type(loss().grad_fn).__name__ != "CtcLossBackward0", round(loss().item(), 4))


if __name__ == "__main__":
    main()
"""
MODEL = """
import torch


def loss():
    scores = torch.zeros(4, 1, 3, requires_grad=True)
    return torch.nn.CTCLoss()(scores.log_softmax(-1), torch.tensor([[1, 2]]), (4,), (2,))
"""


def test_a_program_is_started_with_the_loss(tmp_path: Path) -> None:
    (tmp_path / "with_ctckit.py").write_text(SNIPPETS["Programs that are started by a command"])
    folder = tmp_path / "somebodys"
    folder.mkdir()
    (folder / "train.py").write_text(PROGRAM)
    (folder / "model.py").write_text(MODEL)
    command = [sys.executable, "with_ctckit.py", "somebodys/train.py", "--epochs", "3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    loss = F.ctc_loss(torch.zeros(4, 1, 3).log_softmax(-1), torch.tensor([[1, 2]]), (4,), (2,)).item()
    assert done.stdout == f"['--epochs', '3'] True {round(loss, 4)}\n"
