"""What all tests share: backends, outputs full of NaN before every call, settings restored afterwards, the command."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# `make sanitize` runs these tests on an extension module of its own, built with AddressSanitizer.
if path := os.environ.get("CTCKIT_NATIVE"):
    spec = importlib.util.spec_from_file_location("ctckit.native._ext", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ctckit.native._ext"] = module
    spec.loader.exec_module(module)

from support.backends import BACKENDS, IMPLEMENTATIONS, KERNELS, NATIVE, Backend
from support.browser import Windows, chromium
from support.installed import HAS_TORCH, HAS_TRITON, MOST_INTERPRETED, has_gpu
from support.pages import Open
from support.poison import poisoned_memory

from ctckit.kernels import native

OPTIONS = {"only", "most"}  # of the marker "interpreter"; all others are names of parameters
ON_A_CARD = pytest.StashKey[set[str]]()  # the names of the tests that only a GPU runs, all or with some parameters
INTERPRETED = HAS_TRITON and not has_gpu()
if INTERPRETED:  # read when triton is imported, by whichever module
    os.environ["TRITON_INTERPRET"] = "1"

# The package works without torch; then the tests of the torch frontend are left out.
collect_ignore_glob = [] if HAS_TORCH else ["*/test_torch_*.py", "*/test_golden.py"]


def pytest_report_header() -> list[str]:
    torch = "tested" if HAS_TORCH else f"not installed, so these are left out: {collect_ignore_glob}"
    triton = "interpreted" if INTERPRETED else "tested on a GPU" if HAS_TRITON else "not installed"
    return [f"torch: {torch}", f"triton: {triton}"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "interpreter(only=True, most={}, **values): where Triton's kernels are interpreted, which takes 2 ms a frame, "
        "this test takes only these values of its parameters; in make test-long, those in the dictionary 'most', or "
        "all. With only=False it is left to the other backends and to GPUs",
    )
    config.addinivalue_line("markers", "slow: each of its cases takes seconds, so `make test` takes three of them")
    config.addinivalue_line("markers", "gpu: runs only where a GPU is; docs/design.md says why")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects the tests of Triton that would take too long in its interpreter, and skips those that need a GPU.

    Of a test with many cases, some are long.
    """
    for item in _beyond_a_sample(items):
        item.add_marker(pytest.mark.long)
    config.stash[ON_A_CARD] = {
        item.name.split("[")[0] for item in items if item.get_closest_marker("gpu") or _never_interpreted(item)
    }
    left_out = [item for item in items if INTERPRETED and _takes_too_long(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    if not has_gpu():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a GPU; docs/design.md says why"))


def _beyond_a_sample(items: list[pytest.Item]) -> list[pytest.Item]:
    """The cases that `make test` leaves to `make test-long`: of each test, all but a quarter, or a few if that is more.

    Which ones follows from their names. Golden values and the checks of the project's own files are all tested; of its
    site, which is read in a browser, a few are.
    """
    cases = defaultdict(list)
    for item in items:
        in_browser = "browser" in getattr(item, "fixturenames", ()) or "test_site" in item.nodeid
        slow = in_browser or "triton" in item.nodeid or item.get_closest_marker("slow") is not None
        if slow or not ("/project/" in item.nodeid or "golden" in item.nodeid):
            cases[item.nodeid.split("[")[0], slow].append(item)
    beyond = []
    for (_, slow), found in cases.items():
        found.sort(key=lambda item: zlib.crc32(item.nodeid.encode()))
        beyond += found[max(len(found) // 4, 3 if slow else 8) :]
    return beyond


def _takes_too_long(item: pytest.Item) -> bool:
    """Whether the interpreter does not run a test of Triton in this run."""
    few = {name: values for name, values in _interpreted(item).items() if name not in OPTIONS}
    return _never_interpreted(item) or (not MOST_INTERPRETED and _is_among_others(item, few))


def _never_interpreted(item: pytest.Item) -> bool:
    options = _interpreted(item)
    return not options.get("only", True) or _is_among_others(item, options.get("most", {}))


def _interpreted(item: pytest.Item) -> dict[str, Any]:
    """What the marker "interpreter" says of a test of Triton."""
    marker = item.get_closest_marker("interpreter")
    return {} if marker is None or "triton" not in item.name else marker.kwargs


def _is_among_others(item: pytest.Item, values: dict[str, Any]) -> bool:
    """Whether a parameter of a test is not one of these values."""
    return any(item.callspec.params[name] not in some for name, some in values.items())


# The same examples in every run, so that every failure can be repeated. No deadline: machines vary.
settings.register_profile("ctckit", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("ctckit")


@pytest.fixture(scope="session", autouse=True)
def poisoned_outputs() -> Iterator[None]:
    """Every output is NaN before the kernels see it."""
    with poisoned_memory():
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_interpreter(request: pytest.FixtureRequest) -> None:
    """Triton's interpreter takes less than half of its time then."""
    if INTERPRETED and any("triton" in item.nodeid for item in request.session.items):
        from support.interpreter import hasten

        hasten()


@pytest.fixture(autouse=True)
def settings_restored() -> Iterator[None]:
    """Tests may switch instruction sets and set threads."""
    kernels, threads = native.instruction_set(), native._threads
    yield
    native.use_instruction_set(kernels)
    native._threads = threads


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, started once for a module's tests."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def windows(browser: Any) -> Windows:
    return Windows(browser)


@pytest.fixture
def new_tab(windows: Windows) -> Iterator[Open]:
    """Opens a tab with the options of a context of playwright's. It is closed after the test."""
    try:
        yield windows.tab
    finally:
        windows.close_tabs()


@pytest.fixture
def opened(new_tab: Open, tmp_path: Path) -> Iterator[Open]:
    """Opens a page from a file. At the end no error must be logged and nothing but the file requested."""
    faults: list[str] = []
    asked: list[str] = []
    files: list[str] = []

    def visit(text: str, **options: Any) -> Any:
        file = tmp_path / f"page{len(files)}.html"
        file.write_bytes(text.encode())
        files.append(file.as_uri())
        tab = new_tab(**options)
        tab.on("console", lambda message: faults.append(message.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(files[-1])
        return tab

    yield visit
    assert not faults
    assert sorted(asked) == sorted(files)


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name, scope="module")
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each implementation in turn: the reference, and the kernels of each instruction set."""
    return request.param


@pytest.fixture(params=IMPLEMENTATIONS, ids=lambda pair: f"{pair[0].name} {pair[1]}", scope="module")
def implementation(request: pytest.FixtureRequest) -> tuple[Backend, str]:
    """Each backend, in each dtype that it treats differently."""
    return request.param


@pytest.fixture(params=KERNELS, ids=lambda backend: backend.name, scope="module")
def kernels(request: pytest.FixtureRequest) -> Backend:
    """The native kernels of each instruction set in turn, and Triton's."""
    return request.param


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name, scope="module")
def pathfinder(request: pytest.FixtureRequest) -> Backend:
    """Each backend that finds the best path."""
    return request.param


@pytest.fixture(params=NATIVE, ids=lambda backend: backend.name)
def instruction_set(request: pytest.FixtureRequest) -> str:
    """Switches the public API to the kernels of each instruction set in turn."""
    native.use_instruction_set(request.param.name)
    return request.param.name


@pytest.fixture
def run_on_a_card(request: pytest.FixtureRequest) -> set[str]:
    """The names of the collected tests that only a GPU runs, all or with some parameters."""
    return request.config.stash[ON_A_CARD]


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Runs a function on the GPU backend; fails if it reads a tensor's value, which on a GPU waits for the device."""
    import torch

    from ctckit.kernels.triton import best, gradient, lattice, pairs, rows, sums

    def on_a_gpu(work: Callable[[], Any]) -> None:
        work()  # compiles
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode(before)

    names = ("item", "cpu", "tolist", "numpy", "nonzero", "__bool__", "__int__", "__float__", "__index__")
    kept = {name: getattr(torch.Tensor, name) for name in names}

    class Guard:
        """Inside a launch the interpreter itself reads the tensors; outside of it nothing may."""

        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: Any) -> Any:
            def launch(*args: Any, **kwargs: Any) -> Any:
                with pytest.MonkeyPatch.context() as inside:
                    for name, value in kept.items():
                        inside.setattr(torch.Tensor, name, value)
                    return self.kernel[grid](*args, **kwargs)

            return launch

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a tensor's value was asked for")

    def interpreted(work: Callable[[], Any]) -> None:
        with monkeypatch.context() as patch:
            for module in (lattice, pairs, rows, sums, gradient, best):
                for name in [name for name in vars(module) if name.endswith("_kernel")]:
                    patch.setattr(module, name, Guard(getattr(module, name)))
            for name in names:
                patch.setattr(torch.Tensor, name, refuse)
            with pytest.raises(AssertionError, match="asked for"):
                bool(torch.ones(1) > 0)
            work()

    return on_a_gpu if has_gpu() else interpreted


@pytest.fixture
def ctckit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command in the test's folder, like a shell but without a new process."""
    from ctckit.cli.main import main

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["ctckit", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        code = left.value.code
        if isinstance(code, str):
            return subprocess.CompletedProcess(arguments, 1, out, f"{err}{code}\n")
        return subprocess.CompletedProcess(arguments, code or 0, out, err)

    return run
