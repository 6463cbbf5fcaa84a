"""The recogniser: a line image in, class scores per frame out. Imports torch and text/.

Small enough to train in half a minute on two cores, and of the usual build: convolutions see strokes and digits, a
recurrent layer sees their neighbours. Nothing in it knows where a digit begins; that it learns from the loss.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..text.reading import edits
from .data import SIZE, Ints, Lines
from .reading import HeldOut, digits

CLASSES = 11  # the blank and ten digits
STRIDE = 2  # image columns per frame
FEATURES = 96  # per frame


class LineReader(nn.Module):
    """Images (N, 8, W) to logits (T, N, 11), T = ⌈W / 2⌉."""

    def __init__(self) -> None:
        super().__init__()
        self.strokes = nn.Sequential(
            *_convolution(nn.Conv2d(1, 24, 3, padding=1, bias=False)),
            *_convolution(nn.Conv2d(24, 48, 3, stride=STRIDE, padding=1, bias=False)),
            *_convolution(nn.Conv2d(48, 48, 3, stride=(2, 1), padding=1, bias=False)),
        )
        # Five frames are ten columns: each frame sees one whole digit.
        self.digits = nn.Conv1d(48 * SIZE // 4, FEATURES, 5, padding=2, bias=False)
        self.norm = nn.BatchNorm1d(FEATURES)
        self.neighbours = nn.LSTM(FEATURES, FEATURES // 2, bidirectional=True)
        self.dropout = nn.Dropout(0.3)
        self.classes = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (T, N, 11) of `images` (N, 8, W)."""
        strokes = self.strokes(images.unsqueeze(1)).flatten(1, 2)
        digits = self.dropout(self.norm(self.digits(strokes)).relu()).permute(2, 0, 1)
        # The recurrent layer is a residual: that generalises better to unseen handwriting.
        seen = digits + self.neighbours(digits)[0]
        logits: Tensor = self.classes(self.dropout(seen))
        return logits


def frames(widths: Ints) -> Ints:
    """How many frames lines of `widths` columns have."""
    return -(-widths // STRIDE)


def read_lines(model: LineReader, lines: Lines) -> HeldOut:
    """Reads `lines` without learning from them."""
    model.eval()
    with torch.no_grad():
        log_probs = model(torch.from_numpy(lines.images)).log_softmax(-1).numpy()
    model.train()
    used = frames(lines.widths)
    compared = [edits(lines.truth(n), digits(log_probs[: used[n], n])) for n in range(len(lines))]
    return HeldOut(log_probs, used, compared)


def _convolution(layer: nn.Conv2d) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU(), nn.Dropout2d(0.1)]
