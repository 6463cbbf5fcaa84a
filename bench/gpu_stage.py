"""What the stages of `make gpu-report` share: a card, or its stand-in; arguments; tables; what is timed on a card.

A stage is a benchmark that writes tables to a folder. It measures on a card (:class:`Card`). With --dry it only shows
that it runs (:class:`Dry`): on small shapes, in Triton's interpreter, where no number of time or memory means anything.

May import torch, Triton and ctckit, nothing of harness.py, which needs rich: a machine with a GPU often has only torch,
NumPy and pytest.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import importlib.util
import os
import pkgutil
import re
import statistics
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

ROOT = Path(__file__).resolve().parent.parent
DRY = "dry"

Step = Callable[[], object]
Row = dict[str, object]
Shape = TypeVar("Shape", bound=tuple[int, ...])


class Wrong(Exception):
    """A result is wrong, so its time would mean nothing."""


def kernels_of_ours() -> dict[str, str]:
    """The module of each kernel in ctckit/kernels/triton/, by the kernel's name."""
    import ctckit.kernels.triton as package

    found = {}
    for place in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{place.name}")
        kernels = {name: value for name, value in vars(module).items() if name.endswith("_kernel")}
        found |= {name: place.name for name, value in kernels.items() if value.fn.__module__ == module.__name__}
    return found


class Launches(NamedTuple):
    """The kernels of a step.

    Attributes:
        microseconds: by the name of the kernel.
        number: of launches, copies and fills by torch among them.
    """

    microseconds: dict[str, float]
    number: float

    def of_ours(self) -> dict[str, float]:
        """Microseconds of our kernels, by name; those of all others, such as torch's, together."""
        names, found = kernels_of_ours(), Counter[str]()
        for kernel, spent in self.microseconds.items():  # Triton may add to a kernel's name
            found[next((name for name in names if kernel.startswith(name)), "others")] += spent
        return dict(found)

    def by_module(self) -> dict[str, float]:
        """Microseconds of our kernels, by the module of ctckit/kernels/triton/ that they are in."""
        modules, found = kernels_of_ours(), Counter[str]()
        for name, spent in self.of_ours().items():
            found[modules.get(name, name)] += spent
        return dict(found)


class Card:
    """A GPU that torch can use: measures on it."""

    dry = False
    device = "cuda"

    def __init__(self) -> None:
        self.name = torch.cuda.get_device_name()

    def wait(self) -> None:
        torch.cuda.synchronize()

    def milliseconds(self, step: Step) -> float:
        """From the first kernel's start to the last one's end, and the host's time if the device waits for it."""
        start, end = _event(), _event()
        self.wait()
        start.record()
        step()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)

    def peak_mebibytes(self, step: Step) -> float:
        """The most memory of a step, beyond its input."""
        self.wait()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        self.wait()
        return (torch.cuda.max_memory_allocated() - before) / 2**20

    def check_silence(self, step: Step) -> None:
        """A step never waits for the device.

        Raises:
            Wrong: it does.
        """
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            step()
        except RuntimeError as error:
            raise Wrong(f"a step of ours waits for the device: {error}") from error
        finally:
            torch.cuda.set_sync_debug_mode(before)

    def launches(self, step: Step, rounds: int = 10) -> Launches:
        """The kernels of a step and their times: by the profiler, or by events if it sees none."""
        step()
        self.wait()
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            for _ in range(rounds):
                step()
            self.wait()
        spent = [(x.name, x.time_range.elapsed_us()) for x in profiled.events() if x.device_type == DeviceType.CUDA]
        return mean_launches(spent or [pair for _ in range(rounds) for pair in self._by_events(step)], rounds)

    def _by_events(self, step: Step) -> list[tuple[str, float]]:
        """Events around each launch of a Triton kernel. torch's own are not seen."""
        from triton.runtime.jit import JITFunction

        run, marks = JITFunction.run, []

        def between_events(kernel: Any, *args: Any, **kwargs: Any) -> Any:
            start, end = _event(), _event()
            start.record()
            found = run(kernel, *args, **kwargs)
            end.record()
            marks.append((kernel.__name__, start, end))
            return found

        JITFunction.run = between_events
        try:
            torch.cuda._sleep(20_000_000)  # the device starts after the host has launched all, and waits for nothing
            step()
            self.wait()
        finally:
            JITFunction.run = run
        return [(name, start.elapsed_time(end) * 1e3) for name, start, end in marks]

    def copy_bandwidth(self) -> float:
        """Bytes read and written per second by a copy of 1 GiB."""
        source = torch.rand(2**28, device=self.device)
        target = torch.empty_like(source)
        times = [self.milliseconds(lambda: target.copy_(source)) for _ in range(20)]
        return 2 * source.nbytes / (statistics.median(times) / 1e3)

    def release(self) -> None:
        """Gives memory back that torch keeps for later."""
        torch.cuda.empty_cache()


class Dry:
    """A stand-in for a card: Triton's interpreter and tensors on the CPU. Times are the CPU's; all else is made up."""

    dry = True
    device = "cpu"
    name = DRY

    def __init__(self, *, interpreted: bool = True) -> None:
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of NaN and infinity, where a card has none
        os.environ["TRITON_INTERPRET"] = str(int(interpreted))  # read when Triton is imported
        from ctckit.torch import align, dispatch

        dispatch.backend_of = align.backend_of = lambda scores: "triton"

    def wait(self) -> None:
        pass

    def milliseconds(self, step: Step) -> float:
        begin = time.perf_counter()
        step()
        return (time.perf_counter() - begin) * 1e3

    def peak_mebibytes(self, step: Step) -> float:
        return 1.0

    def check_silence(self, step: Step) -> None:
        step()

    def launches(self, step: Step, rounds: int = 1) -> Launches:
        step()
        return Launches(dict.fromkeys(kernels_of_ours(), 1.0), 1)

    def copy_bandwidth(self) -> float:
        return 1e9

    def release(self) -> None:
        pass


Device = Card | Dry


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)


def mean_launches(spent: list[tuple[str, float]], rounds: int) -> Launches:
    """The mean step of several, from the name and the microseconds of each launch."""
    total: Counter[str] = Counter()
    for name, microseconds in spent:
        total[name] += microseconds
    return Launches({name: each / rounds for name, each in total.items()}, len(spent) / rounds)


def nothing_measured(file: str) -> str | None:
    """Why a stage cannot run on a card here, or None."""
    if not torch.cuda.is_available():
        return f"{file} needs a GPU that torch can use, and found none: nothing was measured"
    if importlib.util.find_spec("triton") is None:
        return f"{file} needs the package 'triton', which comes with torch for CUDA: nothing was measured"
    return None


def folder_of(card: str) -> str:
    """The folder of a card's tables in bench/results/."""
    return "gpu-" + re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")


class Table:
    """Rows in a CSV file, which is complete after each of them."""

    def __init__(self, path: Path, card: str) -> None:
        self.path, self.card = path, card
        self.rows: list[Row] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)

    def add(self, row: Row) -> None:
        self.rows.append({"card": self.card, **row})
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        self.write()

    def write(self) -> None:
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with self.path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, restval="-")
            writer.writeheader()
            writer.writerows(self.rows)


class Stage(NamedTuple):
    """What a stage is run with: on what, into which folder, how many timed rounds."""

    device: Device
    out: Path
    rounds: int

    def table(self, name: str) -> Table:
        return Table(self.out / f"{name}.csv", self.device.name)

    def cases(self, shapes: Iterable[Shape], dry: Iterable[Shape]) -> Iterable[Shape]:
        return dry if self.device.dry else shapes

    def fill(self, table: Table, shapes: Iterable[Any], measure: Callable[[Any], Row]) -> list[str]:
        """A row for each shape. One that fails says why, and the others go on; returns what failed."""
        failed = []
        for shape in shapes:
            try:
                row = measure(shape)
            except Exception as error:
                traceback.print_exc()
                failed.append(f"{shape}: {type(error).__name__}: {error}")
                row = {"failed": " ".join(failed[-1].split())[:300]}
            table.add({**shape._asdict(), **row})
            self.device.release()
        return failed


def finish(failed: list[str]) -> None:
    """Exits with an error if anything has failed."""
    if failed:
        sys.exit(failed[0])


def stage(about: str | None, file: str, rounds: int, *, interpreted: bool = True) -> Stage:
    """From the command line. Without a card and without --dry it says so and exits."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"timed rounds (default {rounds})")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "out" / "gpu", help="the folder of the tables")
    parser.add_argument("--dry", action="store_true", help="small shapes in Triton's interpreter; needs no GPU")
    given = parser.parse_args()
    if given.dry:
        return Stage(Dry(interpreted=interpreted), given.out, 1)
    if reason := nothing_measured(file):
        sys.exit(reason)
    return Stage(Card(), given.out, given.rounds)
