"""Other people's software with our loss in the place of torch's: one training step of their own code.

Each project is optional; the tests of those that are not installed are skipped by name. The developers' extra has two,
which always run. Truth is the same step in float64, or by torch's loss where a project computes in float32 whatever its
input is.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ctckit.torch import replace_torch_ctc

os.environ.setdefault("KERAS_BACKEND", "torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs

Step = Callable[[torch.dtype], tuple[Tensor, list[Tensor]]]
T, N, C = 12, 3, 7
TARGETS, FRAMES, LENGTHS = torch.tensor([[1, 2, 2], [3, 4, 0], [5, 0, 0]]), (12, 10, 8), (3, 2, 1)


def features(dtype: torch.dtype, size: int = 5) -> Tensor:
    return torch.randn(N, T, size, generator=torch.Generator().manual_seed(0)).to(dtype)


def layer(dtype: torch.dtype, size: int = 5) -> torch.nn.Linear:
    torch.manual_seed(1)
    return torch.nn.Linear(size, C).to(dtype)


def gradients(loss: Tensor, module: torch.nn.Module) -> tuple[Tensor, list[Tensor]]:
    loss.backward()
    return loss.detach(), [weight.grad for weight in module.parameters() if weight.grad is not None]


def transformers(dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    convolutions = {"conv_dim": (8, 8), "conv_stride": (4, 2), "conv_kernel": (8, 3), "num_feat_extract_layers": 2}
    positions = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    layers = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "mask_time_prob": 0.0, "layerdrop": 0.0}
    dropouts = {f"{name}_dropout": 0.0 for name in ("hidden", "attention", "activation", "feat_proj", "final")}
    config = Wav2Vec2Config(vocab_size=C, **size, **convolutions, **positions, **layers, **dropouts)
    model = Wav2Vec2ForCTC(config).to(dtype).train()
    audio = torch.randn(N, 320, generator=torch.Generator().manual_seed(1)).to(dtype)
    labels = TARGETS.masked_fill(TARGETS == 0, -100)
    return gradients(model(audio, labels=labels).loss, model)


def lightning(dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    from lightning import pytorch as pl

    class Model(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.criterion = layer(dtype), torch.nn.CTCLoss()

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            log_probs = self.layer(batch[0]).log_softmax(-1).transpose(0, 1)
            self.loss = self.criterion(log_probs, TARGETS, FRAMES, LENGTHS)
            return self.loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=1.0)

    model, before = Model(), [weight.detach().clone() for weight in layer(dtype).parameters()]
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(features(dtype)), batch_size=N)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "barebones": False}
    trainer = pl.Trainer(accelerator="cpu", devices=1, max_steps=1, enable_model_summary=False, **quiet)
    trainer.fit(model, data)
    return model.loss.detach(), [old - new.detach() for old, new in zip(before, model.parameters(), strict=True)]


def speechbrain(dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    from speechbrain.nnet.losses import ctc_loss

    network = layer(dtype)
    lengths = [torch.tensor(counts) / most for counts, most in ((FRAMES, T), (LENGTHS, TARGETS.shape[1]))]
    return gradients(ctc_loss(network(features(dtype)).log_softmax(-1), TARGETS, *lengths, blank_index=0), network)


def keras(dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    """Labels come as floats, which torch's own loss refuses: truth is torch's, given integers."""
    network = layer(dtype)
    scores = network(features(dtype))
    if dtype == torch.float64:
        log_probs = scores.log_softmax(-1).transpose(0, 1)
        losses = torch.nn.functional.ctc_loss(log_probs, TARGETS, (T,) * N, LENGTHS, reduction="none")
        return gradients(losses.mean(), network)
    import keras

    return gradients(keras.losses.CTC()(TARGETS.float(), scores), network)


def espnet2(dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    from espnet2.asr.ctc import CTC

    torch.manual_seed(1)
    found = []
    for kind in ("builtin", "builtin2"):
        module = CTC(odim=C, encoder_output_size=5, dropout_rate=0.0, ctc_type=kind).to(dtype)
        with torch.no_grad():
            for weight, start in zip(module.parameters(), layer(dtype).parameters(), strict=True):
                weight.copy_(start)
        found.append(gradients(module(features(dtype), torch.tensor(FRAMES), TARGETS, torch.tensor(LENGTHS)), module))
    return torch.stack([loss for loss, _ in found]), [each for _, several in found for each in several]


def doctr(dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    from doctr.models.recognition import crnn_mobilenet_v3_small

    torch.manual_seed(0)
    model = crnn_mobilenet_v3_small(pretrained=False, pretrained_backbone=False, vocab="abcdef").to(dtype).train()
    pictures = torch.rand(2, 3, 32, 128, generator=torch.Generator().manual_seed(0)).to(dtype)
    return gradients(model(pictures, ["abc", "fee"])["loss"], model.linear)


PROJECTS: dict[str, Step] = {
    step.__name__: step for step in (transformers, lightning, speechbrain, keras, espnet2, doctr)
}
INSTALLED = [name for name in PROJECTS if importlib.util.find_spec(name)]


def test_at_least_two_run() -> None:
    assert len(INSTALLED) >= 2, f"of {[*PROJECTS]} only these are installed: {INSTALLED}"


@pytest.mark.parametrize("name", PROJECTS)
def test_a_training_step(name: str) -> None:
    if name not in INSTALLED:
        pytest.skip(f"{name} is not installed")
    loss, truth = PROJECTS[name](torch.float64)
    with warnings.catch_warnings(), replace_torch_ctc() as replaced:
        found_loss, found = PROJECTS[name](torch.float32)
    assert replaced.calls
    assert loss.isfinite().all()
    torch.testing.assert_close(found_loss.double(), loss.double(), rtol=1e-5, atol=0)
    assert len(found) == len(truth) > 0
    largest = max(gradient.abs().max().item() for gradient in truth)
    for ours, exact in zip(found, truth, strict=True):
        torch.testing.assert_close(ours.double(), exact.double(), rtol=0, atol=2e-5 * largest)
