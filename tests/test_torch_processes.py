"""The loss inside DataLoader workers, and in several threads that each run backward."""

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from cases import draw

import ctckit
import ctckit.torch


def loss_and_gradient(seed: int) -> torch.Tensor:
    batch = draw(seed, 120, 8, 20, 20)
    x = torch.from_numpy(batch.scores).float().requires_grad_()
    lengths = tuple(batch.frames.tolist()), tuple(batch.lengths.tolist())
    loss = ctckit.torch.ctc_loss(x, torch.from_numpy(batch.targets), *lengths, from_logits=True)
    loss.backward()
    return torch.cat([loss.detach()[None], x.grad.flatten()])


class Losses(torch.utils.data.Dataset):
    """Item i is computed where it is fetched: in a worker."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, item: int) -> torch.Tensor:
        return loss_and_gradient(item)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="workers are forked on Linux")
def test_data_loader_workers() -> None:
    ctckit.set_num_threads(4)
    expected = [loss_and_gradient(item) for item in range(6)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside any thread
        loader = torch.utils.data.DataLoader(Losses(), batch_size=None, num_workers=2, timeout=120)
        found = list(loader)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def test_eight_threads_with_backward() -> None:
    expected = [loss_and_gradient(item) for item in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            found = list(pool.map(loss_and_gradient, range(8)))
            assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
