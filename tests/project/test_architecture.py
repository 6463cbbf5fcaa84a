"""What keeps the code what its documents say: no framework by accident, one home of the rule, papers in step."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ctckit
from ctckit.kernels import native

ROOT = Path(__file__).resolve().parents[2]
FRAMEWORKS = ["torch", "jax", "tensorflow", "matplotlib", "rich", "typer", "sklearn", "jinja2", "scipy", "pandas"]


def run(code: str) -> subprocess.CompletedProcess[str]:
    """In a fresh interpreter, since this one has imported everything already."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_importing_ctckit_imports_no_framework() -> None:
    done = run(f"import sys, ctckit; print([name for name in {FRAMEWORKS} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_using_ctckit_imports_no_framework() -> None:
    done = run(
        "import sys, ctckit, numpy as np\n"
        "x = np.zeros((4, 3))\n"
        "ctckit.ctc_loss(x, [1], 4, 1), ctckit.ctc_loss_and_grad(x, [1], 4, 1), ctckit.posteriors(x, [1], 4, 1)\n"
        f"print([name for name in {FRAMEWORKS} if name in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [
        ("ctckit.torch", "torch", "torch"),
        ("ctckit.cli", "typer", "cli"),
        ("ctckit.cli", "rich", "cli"),
        ("ctckit.corpus", "filelock", "cli"),
    ],
)
def test_a_missing_framework_is_named_with_its_extra(module: str, missing: str, extra: str) -> None:
    if missing == "rich":
        pytest.importorskip("typer", reason="typer would be named first")
    done = run(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] == {missing!r}:\n"
        f"            raise ModuleNotFoundError('No module named {missing}', name={missing!r})\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"import {module}"
    )
    assert done.returncode != 0
    assert f"needs the package '{missing}': pip install 'ctckit[{extra}]'" in done.stderr


def test_public_names() -> None:
    for name in ctckit.__all__:
        assert getattr(ctckit, name).__doc__, name
    assert issubclass(ctckit.CTCError, ValueError)
    assert ctckit.__version__ == importlib.metadata.version("ctckit")
    assert (ROOT / "src" / "ctckit" / "py.typed").exists()


def sources() -> list[Path]:
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "native").rglob("*.h"), *(ROOT / "native").rglob("*.cpp")]
    assert len(files) > 10
    return files


def test_the_skip_rule_has_one_home() -> None:
    """SKIP is given in lattice.py alone. Neighbouring tokens are compared there, and where its table is laid out: by
    the extension, and on a GPU.

    (That the layout follows the table, and kernels the bits, is shown by test_prepare and test_brute_force, on random
    tables and lattices of random arcs.)
    """
    neighbours = re.compile(
        r"(labels?|target|token)\w*(\[[^\]]*\]|\[.*?\])\s*[!=]=\s*\w*(labels?|target|token)\w*\["
        r"|(labels?|target|token)\w*\s*[!=]=\s*\w*(previous|before|last)"
    )
    homes = {path for path in sources() if any(neighbours.search(line) for line in path.read_text().splitlines())}
    assert {str(path.relative_to(ROOT)) for path in homes} == {
        "src/ctckit/lattice.py",
        "src/ctckit/kernels/triton/lattice.py",
        "native/layout.cpp",
    }
    given = re.compile(r"\|\s*Arc\.SKIP|\|=\s*\w*skip", re.IGNORECASE)
    assert {path.name for path in sources() if given.search(path.read_text())} == {"lattice.py"}


def test_no_finite_stand_in_for_minus_infinity() -> None:
    stand_in = re.compile(r"-\s*1(\.0*)?e\+?\d{1,2}\b|finfo\([^)]*\)\.min|FLT_MAX|DBL_MAX|numeric_limits<\w+>::lowest")
    assert stand_in.search("x = -1e5")
    assert stand_in.search("np.finfo(x.dtype).min")
    for path in sources():
        assert not stand_in.search(path.read_text()), path.name


def test_assert_is_no_validation() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        assert not re.search(r"^\s*assert\b", path.read_text(), re.MULTILINE), path.name


ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh.md"


def test_readmes_are_in_step() -> None:
    """The same headings, by level and order, and the same code."""

    def skeleton(path: Path) -> tuple[list[int], list[str]]:
        parts = re.split(r"^```.*?$(.*?)^```$", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        text, code = "\n".join(parts[::2]), parts[1::2]
        return [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)], [block.strip() for block in code]

    headings, code = skeleton(ENGLISH)
    assert headings
    assert code
    assert skeleton(CHINESE) == (headings, code)


def test_info() -> None:
    testing = pytest.importorskip("typer.testing", reason="the command line needs typer")
    from ctckit.cli import app

    done = testing.CliRunner().invoke(app, ["info"])
    assert done.exit_code == 0, done.output
    assert ctckit.__version__ in done.output
    assert native.instruction_set() in done.output
    for name in native.instruction_sets():
        assert name in done.output
    assert re.search(rf"threads\s+{ctckit.get_num_threads()}\b", done.output)
    assert re.search(r"ctckit\.torch\s+(not )?importable", done.output)


def test_help_names_the_subcommands() -> None:
    testing = pytest.importorskip("typer.testing", reason="the command line needs typer")
    from ctckit.cli import app

    done = testing.CliRunner().invoke(app, ["--help"])
    assert done.exit_code == 0
    assert "info" in done.output
    assert "demo" in done.output
