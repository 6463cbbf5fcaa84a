"""`make bench`: what changing the loss saves of a whole training step, with torch's loss and ours in the same run.

A step is forward, loss, backward and the optimizer. The networks are of usual kinds, on made-up input: a linear layer
on the features of a frozen speech encoder, small speech recognisers on letters (convolution and LSTM) and on word
pieces (convolutions and a transformer), and a CRNN that reads text lines, with 36 characters and 32 frames. The "loss
alone" is log_softmax, loss and their gradients.

Three losses take turns: torch's, ours in its place (``replace_torch_ctc``), and ours from logits. CPU time on one
thread. Writes bench/results/training_steps.csv and the tables of docs/frameworks.md and its Chinese twin.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from harness import (
    Contender,
    Row,
    TableWords,
    interleaved,
    milliseconds,
    parser,
    publish,
    published,
    ratio,
    seconds,
    show,
    write_results,
)
from torch import Tensor, nn

import ctckit
import ctckit.torch

timer = partial(seconds, clock=time.process_time)
Loss = Callable[..., Tensor]  # of logits (T, N, C), targets, frames, target lengths


class Speech(nn.Module):
    """Mel features (N, 80, frames) to logits (T, N, C); each convolution halves the frames."""

    def __init__(self, body: nn.Module, halvings: int, width: int, features: int, classes: int) -> None:
        super().__init__()
        sizes = [80] + [width] * halvings
        self.convolutions = nn.Sequential(
            *(each for a, b in pairwise(sizes) for each in (nn.Conv1d(a, b, 3, stride=2, padding=1), nn.ReLU()))
        )
        self.body, self.head = body, nn.Linear(features, classes)

    def forward(self, mel: Tensor) -> Tensor:
        found = self.body(self.convolutions(mel).permute(2, 0, 1))
        return self.head(found[0] if isinstance(found, tuple) else found)


class LineReader(nn.Module):
    """A CRNN: images (N, 1, 32, 128) to logits (32, N, C)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b, pool in ((1, 32, 2), (32, 64, 2), (64, 128, (2, 1)), (128, 128, (4, 1))):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(pool)]
        self.convolutions = nn.Sequential(*layers)
        self.lstm, self.head = nn.LSTM(128, 128, bidirectional=True), nn.Linear(256, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.lstm(self.convolutions(images).squeeze(2).permute(2, 0, 1))[0])


class Case(NamedTuple):
    """A network, its input, and the sizes of the loss."""

    network: Callable[[], nn.Module]
    input: tuple[int, ...]
    T: int
    C: int
    N: int
    S: int


def _letters() -> nn.Module:
    return Speech(nn.LSTM(128, 128, bidirectional=True), 1, 128, 256, 32)


def _pieces() -> nn.Module:
    layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0)
    return Speech(nn.TransformerEncoder(layer, 6, enable_nested_tensor=False), 2, 256, 256, 500)


CASES = {
    "speech, frozen": Case(lambda: nn.Linear(768, 32), (750, 8, 768), 750, 32, 8, 200),
    "speech, letters": Case(_letters, (8, 80, 1500), 750, 32, 8, 200),
    "speech, pieces": Case(_pieces, (8, 80, 1500), 375, 500, 8, 60),
    "text lines": Case(lambda: LineReader(37), (32, 1, 32, 128), 32, 37, 32, 8),
}


# --- the losses -------------------------------------------------------------------------------------------------------


def torchs(logits: Tensor, *rest: Tensor) -> Tensor:
    return nn.functional.ctc_loss(logits.log_softmax(-1), *rest)


def ours_in_its_place(logits: Tensor, *rest: Tensor) -> Tensor:
    with ctckit.torch.replace_torch_ctc():
        return torchs(logits, *rest)


def ours_from_logits(logits: Tensor, *rest: Tensor) -> Tensor:
    return ctckit.torch.ctc_loss(logits, *rest, from_logits=True)


LOSSES: dict[str, Loss] = {"torch": torchs, "in_place": ours_in_its_place, "from_logits": ours_from_logits}


# --- steps ------------------------------------------------------------------------------------------------------------


def batch(case: Case) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The input, and what the loss takes after the logits."""
    made = torch.Generator().manual_seed(0)
    targets = torch.randint(1, case.C, (case.N, case.S), generator=made)
    rest = targets, torch.full((case.N,), case.T), torch.full((case.N,), case.S)
    return torch.randn(case.input, generator=made), rest


def whole_step(case: Case, loss: Loss) -> Callable[[], Tensor]:
    """A training step with this loss; each loss trains a network of its own."""
    torch.manual_seed(0)
    network = case.network()
    optimizer, (given, rest) = torch.optim.AdamW(network.parameters()), batch(case)

    def step() -> Tensor:
        optimizer.zero_grad()
        value = loss(network(given), *rest)
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def loss_alone(case: Case, loss: Loss) -> Callable[[], Tensor]:
    """The loss and the gradient of its logits, those of the untrained network."""
    torch.manual_seed(0)
    given, rest = batch(case)
    logits = case.network()(given).detach().requires_grad_()

    def step() -> Tensor:
        logits.grad = None
        value = loss(logits, *rest)
        value.backward()
        return value.detach()

    return step


def digits(value: float) -> str:
    """Three digits that count."""
    return f"{float(f'{value:.3g}'):g}"


def measure(name: str, case: Case, rounds: int) -> list[Row]:
    rows: list[Row] = []
    for part, make in (("whole step", whole_step), ("loss alone", loss_alone)):
        steps = {each: Contender(make(case, loss)) for each, loss in LOSSES.items()}
        found = interleaved(steps, rounds, timer=timer)
        rows.append(
            {"model": name, "part": part, "T": case.T, "C": case.C, "N": case.N, "S": case.S}
            | {f"{each}_ms": digits(milliseconds(times)) for each, times in found.items()}
            | {f"{each}_ratio": digits(ratio(found["torch"], found[each])) for each in ("in_place", "from_logits")}
            | {"rounds": rounds}
        )
    return rows


def in_bold(cell: object) -> str:
    """Two digits that count."""
    value = float(str(cell))
    return f"**{value:.{0 if value >= 10 else 1}f}**"


def cells(rows: list[Row], words: Mapping[str, str]) -> list[list[object]]:
    """The published rows: model, sizes, and for both parts torch's time, ours in its place, and their ratio."""
    found: list[list[object]] = []
    for both in zip(rows[::2], rows[1::2], strict=True):
        times = [(f"{row['torch_ms']} → {row['in_place_ms']}", in_bold(row["in_place_ratio"])) for row in both]
        sizes = ", ".join(str(both[0][size]) for size in "TCNS")
        found.append([words[str(both[0]["model"])], sizes, *times[0], *times[1]])
    return found


def publish_table(table: TableWords, rows: list[Row]) -> None:
    publish("steps", table, cells(rows, table.words), left=2, torch=torch.__version__)


def main() -> None:
    arguments = parser(__doc__, 15, ", of each step and loss").parse_args()
    torch.set_num_threads(1)
    ctckit.set_num_threads(1)
    rows = [row for name, case in CASES.items() for row in measure(name, case, arguments.rounds)]
    show("training steps, ms", rows, left=("model", "part"))
    write_results("training_steps", rows, f"torch {torch.__version__}, one thread, CPU time")
    for table in published("steps"):
        publish_table(table, rows)


if __name__ == "__main__":
    main()
