"""Two processes that train one model: DistributedDataParallel gives the gradient of a single process."""

import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from support.batches import draw
from torch import Tensor

import ctckit
import ctckit.torch
from ctckit.torch import global_mean

RANKS, SECONDS = 2, 120

BATCH = draw(5, 30, 6, 8, 6)
# Samples of rank 0 and rank 1.
EQUAL, UNEQUAL = (slice(0, 3), slice(3, 6)), (slice(0, 1), slice(1, 6))

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()), reason="this torch was built without gloo"
)


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(8, 10, dtype=torch.float64), torch.nn.Tanh(), torch.nn.Linear(10, 8, dtype=torch.float64)
    )


def losses_of(network: torch.nn.Module, part: slice, reduction: str) -> Tensor:
    targets, frames, lengths = (torch.from_numpy(x)[part] for x in BATCH.arguments[:3])
    logits = network(torch.from_numpy(BATCH.scores)[:, part])
    return ctckit.torch.ctc_loss(logits, targets, frames, lengths, reduction=reduction, from_logits=True)


def step(network: torch.nn.Module, part: slice, way: str) -> tuple[Tensor, Tensor]:
    """The loss, and all gradients end to end; `way` is a reduction, or which global mean."""
    network.zero_grad()
    if way in ("none", "sum", "mean"):
        loss = losses_of(network, part, way)
    else:
        lengths = torch.from_numpy(BATCH.lengths)[part] if way == "global, by length" else None
        loss = global_mean(losses_of(network, part, "none"), lengths)
    loss.backward()
    return loss.detach(), torch.cat([weight.grad.flatten() for weight in network.parameters()])


WAYS = ["mean", "sum", "global", "global, by length"]


def train(rank: int, folder: str) -> None:
    """One of the processes: every way of reducing, on equal and on unequal parts."""
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS, timeout=timedelta(seconds=SECONDS))
    try:
        network = torch.nn.parallel.DistributedDataParallel(model())
        found = {
            (name, way): step(network, parts[rank], way)
            for name, parts in (("equal", EQUAL), ("unequal", UNEQUAL))
            for way in WAYS
        }
        alone = dist.new_group([rank], use_local_synchronization=True)
        losses = torch.tensor([1.0, 2.0, 6.0])[rank:]
        found["a group of one"] = global_mean(losses, group=alone)
        # The last rank has no data left but takes part in the reduction.
        empty = torch.tensor([1.0, 2.0, 6.0])[: 3 - 3 * rank].requires_grad_()
        found["an empty rank"] = global_mean(empty).detach()
        torch.save(found, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[object, object]]:
    """Each rank's results. The processes are ended after a while, so that nothing can hang."""
    folder: Path = tmp_path_factory.mktemp("ranks")
    context = torch.multiprocessing.spawn(train, (str(folder),), nprocs=RANKS, join=False)
    end = time.monotonic() + SECONDS
    try:
        while not context.join(timeout=1):
            assert time.monotonic() < end, "the processes did not end in time"
    finally:
        for process in context.processes:
            process.kill()
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


CLOSE = {"rtol": 1e-12, "atol": 1e-14}


@pytest.mark.parametrize("parts", ["equal", "unequal"])
def test_global_mean_is_the_single_process(found, parts: str) -> None:
    """By length it is the mean of reduction="mean"; without, that of the losses as they are."""
    network = model()
    _, by_length = step(network, slice(None), "mean")
    network.zero_grad()
    loss = losses_of(network, slice(None), "none").mean()
    loss.backward()
    plain = torch.cat([weight.grad.flatten() for weight in network.parameters()])
    for rank in range(RANKS):
        torch.testing.assert_close(found[rank][parts, "global, by length"][1], by_length, **CLOSE)
        torch.testing.assert_close(found[rank][parts, "global"][1], plain, **CLOSE)
    torch.testing.assert_close(sum(each[parts, "global"][0] for each in found) / RANKS, loss.detach(), **CLOSE)


def test_mean_is_the_mean_of_means(found) -> None:
    """As the docstring says: right for equal parts, and for unequal ones something else."""
    network = model()
    whole = step(network, slice(None), "mean")[1]
    torch.testing.assert_close(found[0]["equal", "mean"][1], whole, **CLOSE)
    of_parts = torch.stack([step(network, part, "mean")[1] for part in UNEQUAL])
    torch.testing.assert_close(found[0]["unequal", "mean"][1], of_parts.mean(0), **CLOSE)
    assert (found[0]["unequal", "mean"][1] - whole).abs().max() > 1e-3


@pytest.mark.parametrize("parts", ["equal", "unequal"])
def test_sum_is_divided_by_the_ranks(found, parts: str) -> None:
    whole = step(model(), slice(None), "sum")[1]
    torch.testing.assert_close(found[1][parts, "sum"][1] * RANKS, whole, **CLOSE)


def test_group(found) -> None:
    """Only the group's ranks count."""
    assert [each["a group of one"].item() for each in found] == [3.0, 4.0]


def test_a_rank_without_samples(found) -> None:
    assert [each["an empty rank"].item() for each in found] == [6.0, 0.0]


def test_alone() -> None:
    """Without a process group it is the mean, and the gradient is its."""
    losses = torch.tensor([6.0, 2.0, 1.0], dtype=torch.float64, requires_grad=True)
    assert global_mean(losses).item() == 3.0
    mean = global_mean(losses, [3, 1, 0])
    assert mean.item() == pytest.approx(5 / 3, rel=1e-15)
    mean.backward()
    torch.testing.assert_close(losses.grad, torch.tensor([1 / 9, 1 / 3, 1 / 3], dtype=torch.float64))


def test_same_as_the_reductions() -> None:
    network = model()
    torch.testing.assert_close(step(network, slice(None), "global, by length"), step(network, slice(None), "mean"))


def test_no_samples_at_all() -> None:
    losses = torch.zeros(0, requires_grad=True)
    loss = global_mean(losses)
    loss.backward()
    assert loss.item() == 0


def test_an_infeasible_sample() -> None:
    """Its loss is infinite, and so is the mean; its gradient is still 0, and that of the others what it is."""
    x = torch.zeros(4, 2, 3, requires_grad=True)
    losses = ctckit.torch.ctc_loss(x, torch.tensor([[1, 2, 1], [1, 1, 1]]), (4, 4), (3, 3), reduction="none")
    loss = global_mean(losses)
    loss.backward()
    assert loss == torch.inf
    assert x.grad.isfinite().all()
    assert x.grad[:, 0].any()
    assert not x.grad[:, 1].any()


@pytest.mark.parametrize("losses", [torch.tensor(1.0), torch.zeros(2, 3)], ids=["scalar", "matrix"])
def test_losses_that_are_reduced_already(losses: Tensor) -> None:
    with pytest.raises(ctckit.CTCError, match=r"losses has shape .*expected \(N,\).*reduction='none'"):
        global_mean(losses)


@pytest.mark.parametrize("lengths", [5, [3, 1], [[3, 1, 2]], torch.ones(4)], ids=str)
def test_lengths_of_other_samples(lengths) -> None:
    with pytest.raises(ctckit.CTCError, match=r"target_lengths has shape .*expected \(3,\).*N=3 losses"):
        global_mean(torch.zeros(3), lengths)
