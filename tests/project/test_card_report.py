"""`make gpu-report` as far as it goes without a GPU: its stages, what it writes when one fails, and its bars.

This file's name has no "gpu" in it, since all tests with that word are run by the report itself.
"""

from __future__ import annotations

import csv
import importlib
import re
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.installed import HAS_TRITON, has_gpu

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.skipif(not HAS_TRITON, reason="the GPU backend needs triton")

BENCH = Path(__file__).parents[2] / "bench"
TABLES = {"tests", "steps", "kernels", "sweep", "alignment", "graphs"}


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module(name)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def report(monkeypatch: pytest.MonkeyPatch, out: Path, stages: list[Any], *options: str) -> str:
    """What the report prints to stderr, and its exit status, for these stages."""
    gpu_report = module("gpu_report", monkeypatch)
    monkeypatch.setattr(gpu_report, "STAGES", stages)
    monkeypatch.setattr(sys, "argv", ["gpu_report.py", "--dry", "--out", str(out), *options])
    try:
        gpu_report.main()
    except SystemExit as error:
        return str(error.code)
    return ""


def check_tables(out: Path, names: set[str]) -> None:
    """The tables of these names, and no others, with a row that is marked dry and says of no failure."""
    assert {path.stem for path in out.glob("*.csv")} == names
    for name in names:
        (row,) = rows_of(out / f"{name}.csv")
        assert row["card"] == "dry"
        assert "failed" not in row
    text = (out / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# GPU report: **dry**")
    assert all(f"\n## {name}\n" in text for name in ("Machine", "Stages", "Bars", *names))


@pytest.mark.long
def test_a_stage_in_the_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two that run the kernels once or twice; all others are in the next test."""
    stages = [stage for stage in module("gpu_report", monkeypatch).STAGES if stage.name in ("tests", "alignment")]
    assert report(monkeypatch, tmp_path, stages) == ""
    check_tables(tmp_path, {"tests", "alignment"})
    check_short_stages(tmp_path)


def check_short_stages(out: Path) -> None:
    assert rows_of(out / "tests.csv")[0] == {"card": "dry", "outcome": "passed", "number": "1"}
    assert float(rows_of(out / "alignment.csv")[0]["CPU / ours"]) > 0
    bars = (out / "report.md").read_text(encoding="utf-8").split("\n## Bars\n")[1].split("\n## ")[0]
    assert bars.count("| dry |") == len(bars.strip().splitlines()) - 2  # nothing is judged


@pytest.mark.long
def test_stages_in_the_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All but the sweep's, whose kernels take a while to compile."""
    stages = [stage for stage in module("gpu_report", monkeypatch).STAGES if stage.name != "sweep"]
    assert report(monkeypatch, tmp_path, stages) == ""
    check_tables(tmp_path, TABLES - {"sweep"})
    (step,), (kernels,) = rows_of(tmp_path / "steps.csv"), rows_of(tmp_path / "kernels.csv")
    assert 0 < float(step["ours error"]) < 2e-6
    assert float(step["torch's best / ours"]) > 0
    assert {"_lattice_kernel", "_rows_kernel", "_gradient_kernel"} <= kernels.keys()
    check_short_stages(tmp_path)


@pytest.mark.long
def test_the_sweeps_instructions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (sweep,) = [stage for stage in module("gpu_report", monkeypatch).STAGES if stage.name == "sweep"]
    assert report(monkeypatch, tmp_path, [sweep]) == ""
    check_tables(tmp_path, {"sweep"})
    (row,) = rows_of(tmp_path / "sweep.csv")
    assert row["pairs a thread"] == "1"
    assert 0 < int(row["instructions before"]) < int(row["instructions after"])


def test_a_dry_run_leaves_measured_tables_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpu_report = module("gpu_report", monkeypatch)
    results = tmp_path / "results"
    monkeypatch.setattr(gpu_report, "RESULTS", results)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    table = results / "gpu-nvidia-h100-80gb-hbm3" / "steps.csv"
    assert gpu_report.folder_for(None, "NVIDIA H100 80GB HBM3") == table.parent
    table.parent.mkdir(parents=True)
    table.write_text("measured")
    said = report(monkeypatch, table.parent, [])
    assert said == "a dry run writes nothing to bench/results/, where measured tables are"
    assert table.read_text() == "measured"
    assert not gpu_report.folder_for(None, "dry").is_relative_to(results)


FAILS = """
import sys
from pathlib import Path
out = Path(sys.argv[sys.argv.index("--out") + 1])
(out / "steps.csv").write_text("card,T,C,N,S,ours ms\\ndry,4,5,1,2,0.5\\n")
sys.exit("the third shape is wrong")
"""
HANGS = """
import subprocess, sys, time
print("waits", flush=True)
subprocess.run([sys.executable, "-c", "import time; time.sleep(100)"])
"""


def test_a_stage_that_fails_or_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The others go on; what it has measured is kept, and what an earlier run had measured is not."""
    gpu_report = module("gpu_report", monkeypatch)
    programs = {"fails": FAILS, "hangs": HANGS, "works": "print('done')"}
    for name, code in programs.items():
        (tmp_path / f"{name}.py").write_text(code)
    out = tmp_path / "out"
    out.mkdir()
    (out / "sweep.csv").write_text("card,pairs,ns a frame\nan earlier one,64,9\n")
    stages = [
        gpu_report.Stage("steps", str(tmp_path / "fails.py"), ("steps",), 60),
        gpu_report.Stage("sweep", str(tmp_path / "hangs.py"), ("sweep",), 1.5),
        gpu_report.Stage("graphs", str(tmp_path / "works.py"), (), 60),
    ]
    said = report(monkeypatch, out, stages)
    assert said == "steps failed: the third shape is wrong; sweep failed: stopped after 2 s"
    text = (out / "report.md").read_text(encoding="utf-8")
    stages_found = text.split("\n## Stages\n")[1].split("\n## ")[0]
    assert "| the third shape is wrong |" in stages_found
    assert "| sweep | 2 | stopped after 2 s |" in stages_found
    assert "| graphs | 0 | done |" in stages_found
    assert "| 4 | 5 | 1 | 2 | 0.5 |" in text
    assert "an earlier one" not in text
    assert not (out / "sweep.csv").exists()


def test_a_shape_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The other shapes are measured, and the table says what was wrong."""
    gpu_stage, gpu = module("gpu_stage", monkeypatch), module("gpu", monkeypatch)
    run = gpu_stage.Stage(gpu_stage.Dry.__new__(gpu_stage.Dry), tmp_path, 1)

    def measured(shape: Any) -> dict[str, object]:
        if shape.N == 2:
            raise gpu_stage.Wrong("the gradient | is off\nby 1")
        return {"ours ms": 1.5}

    failed = run.fill(run.table("steps"), [gpu.Shape(1, 2, n, 4) for n in (1, 2, 3)], measured)
    assert failed == ["Shape(T=1, C=2, N=2, S=4): Wrong: the gradient | is off\nby 1"]
    rows = rows_of(tmp_path / "steps.csv")
    assert [row["ours ms"] for row in rows] == ["1.5", "-", "1.5"]
    assert rows[1]["failed"].endswith("Wrong: the gradient | is off by 1")
    assert "the gradient / is off by 1 |" in module("gpu_report", monkeypatch).as_markdown(rows)


def bars(
    monkeypatch: pytest.MonkeyPatch, *, dry: bool = False, **tables: list[dict[str, str]]
) -> list[tuple[str, ...]]:
    judged = module("gpu_bars", monkeypatch).judged(tables, dry=dry)
    return [(row["bar"], row["shape"], row["measured"], row["met"]) for row in judged]


def step_row(shape: tuple[int, ...], ratio: str, error: str = "1e-07", memory: str = "3") -> dict[str, str]:
    sizes = dict(zip("TCNS", map(str, shape), strict=True))
    return {**sizes, "torch's best / ours": ratio, "ours error": error, "ours MiB": memory, "torch MiB": "4"}


@pytest.mark.parametrize(
    ("shape", "ratio", "met"),
    [
        ((50, 20, 4, 20), "1.19", "**not met**"),
        ((50, 20, 4, 20), "1.2", "met"),
        ((50, 20, 4, 20), "2.0", "met, and the aim"),
        ((500, 500, 64, 60), "2.99", "**not met**"),
        ((500, 500, 64, 60), "4.9", "met"),
        ((1500, 32, 64, 200), "5.9", "**not met**"),
        ((1500, 32, 64, 200), "10", "met, and the aim"),
        ((1500, 32, 64, 200), "-", "not measured"),
        ((1500, 32, 64, 200), "nan", "**not met**"),
    ],
)
def test_bars_of_a_step(shape: tuple[int, ...], ratio: str, met: str, monkeypatch: pytest.MonkeyPatch) -> None:
    named = f"({','.join(map(str, shape))})"
    assert bars(monkeypatch, steps=[step_row(shape, ratio)]) == [
        ("step: torch's best / ours", named, ratio, met),
        ("gradient error", named, "1e-07", "met"),
        ("memory / torch's", named, "0.75", "met"),
    ]
    assert bars(monkeypatch, dry=True, steps=[step_row(shape, ratio)])[0][3] == "dry"


def test_other_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [met for *_, met in bars(monkeypatch, steps=[step_row((50, 20, 4, 20), "9", "1.6e-06", "4.1")])] == [
        "met, and the aim",
        "**not met**",
        "**not met**",
    ]
    sweep = [{"pairs": pairs, "ns a frame": ns} for pairs, ns in (("64", "120"), ("128", "121"), ("256", "200.1"))]
    assert [met for *_, met in bars(monkeypatch, sweep=sweep)] == ["met, and the aim", "met", "**not met**"]
    long = {"T": "60000", "C": "64", "S": "8000", "torchaudio / ours": "39.9", "CPU / ours": "0.99"}
    short = {"T": "1500", "C": "32", "S": "200", "CPU / ours": "3"}
    assert [met for *_, met in bars(monkeypatch, alignment=[long, short])] == [
        "met",
        "**not met**",
        "not measured",
        "met",
    ]
    outcomes = [{"outcome": "passed", "number": "9"}, {"outcome": "failed", "number": "1"}]
    assert bars(monkeypatch, tests=outcomes) == [("tests that fail", "", "1", "**not met**")]
    assert bars(monkeypatch, tests=outcomes[:1])[0][3] == "met"


def test_slopes_and_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_stage, gpu_sweep = module("gpu_stage", monkeypatch), module("gpu_sweep", monkeypatch)
    launched = [("_rows_kernel", 3.0), ("_total_kernel", 1.0), ("void at::native::fill", 2.0), ("_rows_kernel", 5.0)]
    mean = gpu_stage.mean_launches(launched, rounds=2)
    assert mean.number == 2
    assert mean.of_ours() == {"_rows_kernel": 4.0, "_total_kernel": 0.5, "others": 1.0}
    assert mean.by_module() == {"rows": 4.0, "sums": 0.5, "others": 1.0}
    short, long = {"sums": 100.0, "rows": 3.0}, {"sums": 500.0, "rows": 4.0}
    assert gpu_sweep.slopes([short, long], (1000, 3000)) == {"sums": 200.0, "rows": 0.5}


class FakeProfile:
    """A profile that sees these events: names and microseconds on the device, and an operation on the host."""

    def __init__(self, seen: list[tuple[str, float]]) -> None:
        self.seen = seen

    def __enter__(self) -> FakeProfile:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def events(self) -> list[Any]:
        from torch.autograd import DeviceType

        def event(name: str, spent: float, where: Any) -> Any:
            return SimpleNamespace(name=name, device_type=where, time_range=SimpleNamespace(elapsed_us=lambda: spent))

        return [event("aten::mul", 9, DeviceType.CPU), *(event(*each, DeviceType.CUDA) for each in self.seen)]


class FakeEvent:
    """A CUDA event whose time is the number of events before it, in milliseconds."""

    recorded = 0

    def record(self) -> None:
        FakeEvent.recorded += 1
        self.time = FakeEvent.recorded

    def elapsed_time(self, end: FakeEvent) -> float:
        return end.time - self.time


@pytest.mark.parametrize("profiled", [True, False], ids=["profiler", "events"])
def test_times_of_kernels(profiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the profiler, which sees torch's kernels too; else by events around the launches of Triton's."""
    import torch
    from triton.runtime.jit import JITFunction

    gpu_stage = module("gpu_stage", monkeypatch)
    launch = lambda kernel: kernel.__name__  # noqa: E731
    monkeypatch.setattr(JITFunction, "run", launch)
    monkeypatch.setattr(gpu_stage, "_event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: None)
    seen = [("_rows_kernel", 4.0), ("fill", 1.0), ("_rows_kernel", 6.0), ("fill", 3.0)]
    monkeypatch.setattr(gpu_stage, "profile", lambda activities: FakeProfile(seen if profiled else []))
    card = gpu_stage.Card.__new__(gpu_stage.Card)
    found = card.launches(lambda: JITFunction.run(SimpleNamespace(__name__="_rows_kernel")), rounds=2)
    if profiled:
        assert found == ({"_rows_kernel": 5.0, "fill": 2.0}, 2)
    else:
        assert found == ({"_rows_kernel": 1000.0}, 1)
    assert JITFunction.run is launch


def test_the_suites_outcomes(monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester) -> None:
    gpu_tests, gpu_stage = module("gpu_tests", monkeypatch), module("gpu_stage", monkeypatch)
    pytester.makepyfile(
        test_good="def test_good(): pass",
        test_bad="import pytest\ndef test_bad(): assert 1 + 1 == 3, 'sums'\n@pytest.mark.skip\ndef test_no(): pass",
        test_broken="import what_nobody_has",
    )
    outcomes = gpu_tests.Outcomes(gpu_stage.Table(pytester.path / "tests.csv", "a card"))
    pytester.inline_run("--continue-on-collection-errors", plugins=[outcomes])
    outcomes.write()
    rows = rows_of(pytester.path / "tests.csv")
    assert [(row["outcome"], row["number"]) for row in rows] == [
        ("passed", "1"),
        ("skipped", "1"),
        ("failed", "1"),
        ("failed", "1"),
    ]
    broken, bad = rows[2:]
    assert broken["message"] == "ModuleNotFoundError: No module named 'what_nobody_has'"
    assert (bad["test"], bad["message"]) == ("test_bad.py::test_bad", "AssertionError: sums assert (1 + 1) == 3")


@pytest.mark.skipif(has_gpu(), reason="would run on the GPU")
@pytest.mark.parametrize("program", ["gpu", "gpu_report"])
def test_without_a_card(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [f"{program}.py"])
    with pytest.raises(SystemExit, match="needs a GPU that torch can use, and found none: nothing was measured"):
        module(program, monkeypatch).main()


def test_the_design_lists_what_only_a_card_runs(run_on_a_card: set[str]) -> None:
    """Of the tests that were collected, so of all where the whole suite is run."""
    design = (BENCH.parent / "docs" / "design.md").read_text(encoding="utf-8")
    table = re.search(r"Some tests run only on a card.*?\n\n(.*?)\n\n", design, re.S)
    assert table is not None
    listed = {name for line in table[1].splitlines() for name in re.findall(r"`(test_\w+)`", line.split("|")[1])}
    assert run_on_a_card - listed == set()
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (BENCH.parent / "tests").rglob("test_*.py"))
    assert [name for name in listed if f"def {name}(" not in tests] == []


def test_what_is_asked_before_a_step_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of bench/gpu.py that need no GPU: inputs, steps, errors, ratios."""
    import torch

    torch.use_deterministic_algorithms(False)  # with which torch's own CUDA loss has no gradient
    bench = module("gpu", monkeypatch)
    case = bench.Case(bench.Shape(T=6, C=5, N=2, S=2), "cuda" if has_gpu() else "cpu")
    errors = bench.gradient_errors(case, {**bench.OURS, "torch": bench.torchs})
    assert max(errors.values()) < 1e-5
    assert errors["kernels"] > 0
    bench.check_path(case)
    monkeypatch.setitem(bench.OURS, "ours", lambda case: bench.kernels(case) * 1.001)
    with pytest.raises(bench.Wrong, match="'ours' is off by"):
        bench.gradient_errors(case, bench.OURS)
    times = {"ours": [1.0, 2.0, 1.0], "torch": [4.0, 6.0, 9.0], "cudnn": [5.0, 4.0, 3.0]}
    assert bench.ratios(times) == {"torch / ours": 4.0, "cudnn / ours": 3.0, "torch's best / ours": 3.0}
