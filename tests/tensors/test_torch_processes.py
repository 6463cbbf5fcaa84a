"""The loss inside DataLoader workers, and in several threads that each run backward."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from support.batches import draw
from support.installed import needs_linux

import ctckit
import ctckit.torch
from ctckit.kernels import native


def loss_and_gradient(seed: int) -> torch.Tensor:
    batch = draw(seed, 120, 8, 20, 20)
    x = torch.from_numpy(batch.scores).float().requires_grad_()
    lengths = tuple(batch.frames.tolist()), tuple(batch.lengths.tolist())
    loss = ctckit.torch.ctc_loss(x, torch.from_numpy(batch.targets), *lengths, from_logits=True)
    loss.backward()
    return torch.cat([loss.detach()[None], x.grad.flatten()])


class Gradients(torch.utils.data.Dataset):
    """Item i is a gradient, handed to the parent in the memory that it was written to, or in a copy of that."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, item: int) -> torch.Tensor:
        x = torch.randn(20, 3, 5, generator=torch.Generator().manual_seed(item)).requires_grad_()
        ctckit.torch.ctc_loss(x, torch.ones((3, 4), dtype=torch.long), (20,) * 3, (4,) * 3).backward()
        return x.grad


class Losses(torch.utils.data.Dataset):
    """Item i is computed where it is fetched: in a worker."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, item: int) -> torch.Tensor:
        return loss_and_gradient(item)


@needs_linux
@pytest.mark.parametrize("data", [Losses(), Gradients()], ids=["losses", "gradients"])
@pytest.mark.parametrize("recycled", [native.RECYCLED, 1], ids=["", "recycled"])
def test_data_loader_workers(data: torch.utils.data.Dataset, recycled: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "RECYCLED", recycled)
    ctckit.set_num_threads(4)
    expected = [data[item] for item in range(6)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside any thread
        loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=2, timeout=120)
        found = list(loader)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize("recycled", [native.RECYCLED, 1], ids=["", "recycled"])
def test_eight_threads_with_backward(recycled: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "RECYCLED", recycled)
    expected = [loss_and_gradient(item) for item in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            found = list(pool.map(loss_and_gradient, range(8)))
            assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
