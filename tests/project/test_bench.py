"""The benchmarks' own rules: tables in every language, and when a build counts as slower."""

import importlib
import json
import random
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TABLES = json.loads((ROOT / "bench" / "tables.json").read_text(encoding="utf-8"))

pytest.importorskip("torch", reason="the benchmarks compare with torch")


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("compare")


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_published_in_both_languages(name: str) -> None:
    english, chinese = TABLES[name]
    for table in (english, chinese):
        text = (ROOT / table["file"]).read_text(encoding="utf-8")
        assert f"| {' | '.join(table['heading'])} |\n" in text
    assert chinese["file"] == english["file"].replace(".md", ".zh.md")
    assert len(english["heading"]) == len(chinese["heading"])
    assert english.get("words", {}).keys() == chinese.get("words", {}).keys()


@pytest.mark.parametrize(
    ("factor", "noise", "slower", "settled"),
    [(1.0, 0.01, False, True), (1.1, 0.05, True, True), (1.0, 0.0, False, True), (1.03, 0.1, None, False)],
)
def test_when_a_build_is_slower(
    compare: ModuleType, factor: float, noise: float, slower: bool | None, settled: bool
) -> None:
    rng = random.Random(0)
    old = [rng.uniform(1, 1 + noise) for _ in range(61)]
    measured = compare.Measured(old, [factor * rng.uniform(1, 1 + noise) for _ in range(61)])
    low, high = measured.interval
    assert low <= measured.ratio <= high
    assert measured.is_settled == settled
    assert slower is None or measured.is_slower == slower


def test_outliers_do_not_make_a_build_slower(compare: ModuleType) -> None:
    outliers = compare.Measured([1.0] * 60, [0.9] * 50 + [9.0] * 10)
    assert not outliers.is_slower
