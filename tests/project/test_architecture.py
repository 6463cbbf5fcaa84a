"""What keeps the code what its documents say: no framework by accident, one home of the rule, no long files."""

import ast
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from oracles import Graph, enumerate_graph

import ctckit
from ctckit.kernels import native

ROOT = Path(__file__).resolve().parents[2]
FRAMEWORKS = ["torch", "jax", "tensorflow", "matplotlib", "rich", "typer", "sklearn", "jinja2", "scipy", "pandas"]


def run(code: str) -> subprocess.CompletedProcess[str]:
    """In a fresh interpreter, since this one has imported everything already."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)


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
        ("ctckit.torch.lightning", "lightning", "lightning"),
        ("ctckit.jax", "jax", "jax"),
    ],
)
def test_a_missing_framework_is_named_with_its_extra(module: str, missing: str, extra: str) -> None:
    if missing == "lightning":
        pytest.importorskip("torch", reason="torch would be named first")
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
    assert re.search(rf"needs the package '{missing}.*': pip install .*\[{extra}\]'", done.stderr)


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


CHANGED_RULE = """
import json, sys
from importlib.util import find_spec
import numpy as np
from ctckit.lattice import ARCS_BY_ROLE, Arc
ARCS_BY_ROLE[2] |= Arc.SKIP  # a token equal to the one before it needs no blank between them
sys.path.insert(0, "tests")
import conftest  # sets up Triton's interpreter
from support.interpreter import hasten
if conftest.INTERPRETED:
    hasten()
import ctckit
from support.backends import BACKENDS
from support.batches import Batch, problem_of

scores = np.random.default_rng(0).normal(size=(4, 2, 3))
scores -= np.log(np.exp(scores).sum(axis=2, keepdims=True))
batch = Batch(scores, np.array([[1, 1, 2], [2, 2, 2]]), np.array([4, 3]), np.array([3, 3]))
problem = problem_of(batch, "float64", from_logits=False)
found = {backend.name: backend.total(problem) for backend in BACKENDS}
found["posteriors"] = ctckit.posteriors(scores, *batch.arguments).score
found["loss"] = -ctckit.ctc_loss(scores, *batch.arguments, reduction="none")
found["explain"] = [-ctckit.explain(*batch.sample(n)).loss for n in range(2)]
if find_spec("jax"):
    import jax, ctckit.jax
    jax.config.update("jax_enable_x64", True)
    for backend in ("ffi", "scan"):
        given = scores.swapaxes(0, 1), *batch.arguments[:3]
        loss = ctckit.jax.ctc_loss(*given, reduction="none", from_logits=False, backend=backend)
        found["jax " + backend] = (-loss).tolist()
best = [alignment.score for alignment in ctckit.forced_align(scores, *batch.arguments)]
samples = [(scores.tolist(), target) for scores, target in map(batch.sample, range(2))]
print(json.dumps({"found": {k: list(v) for k, v in found.items()}, "best": best, "samples": samples}))
"""


def test_the_rule_of_ctc_has_one_home() -> None:
    """After a change of its one table, every backend and every public call computes the changed rule."""
    done = run(CHANGED_RULE)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    truth, best = [], []
    for scores, target in result["samples"]:
        labels = [0, *(label for token in target for label in (token, 0))]
        odd = [k % 2 == 1 and k > 1 for k in range(len(labels))]
        moves = [(k - back, k, 0.0) for k in range(1, len(labels)) for back in ((1, 2) if odd[k] else (1,))]
        changed = Graph([True] * len(labels), moves, (0, 1), (len(labels) - 2, len(labels) - 1), [0.0] * len(labels))
        summed = enumerate_graph(np.array(scores)[:, labels], changed)
        truth.append(summed.score)
        best.append(summed.best)
    assert np.isfinite(truth).all()  # three equal tokens in three frames: CTC itself has no path
    for name, found in result["found"].items():
        np.testing.assert_allclose(found, truth, rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(result["best"], best, rtol=1e-12)


KERNELS = [
    *(ROOT / "native").rglob("*.h"),
    *(ROOT / "native").rglob("*.cpp"),
    *(ROOT / "src/ctckit/kernels").rglob("*.py"),
]


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
def test_no_file_of_kernels_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600


def test_a_long_class_says_why() -> None:
    """In its docstring's first line: ``…; long, since …``."""
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.end_lineno - node.lineno >= 300:
                first = (ast.get_docstring(node) or "").split("\n")[0]
                assert "long, since" in first, f"{path.name}: {node.name}"


def test_a_long_class_of_the_extension_says_why() -> None:
    """In the line above it."""
    for path in (path for path in KERNELS if path.suffix != ".py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        begins = [i for i, line in enumerate(lines) if re.match(r"(class|struct) \w+[^;]*$", line)]
        for begin in begins:
            end = next(i for i in range(begin, len(lines)) if lines[i].startswith("}"))
            comment = next((line for line in reversed(lines[:begin]) if not line.startswith("template")), "")
            assert end - begin < 300 or "long, since" in comment, f"{path.name}: {lines[begin]}"


def test_layers_make_few_exceptions() -> None:
    """At most one ignored import, for the extension module."""
    configuration = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    ignored = re.findall(r"ignore_imports = \[(.*?)\]", configuration, re.DOTALL)
    assert sum(part.count("->") for part in ignored) <= 1


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


def test_info_says_how_to_install_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    testing = pytest.importorskip("typer.testing", reason="the command line needs typer")
    from ctckit.cli import app

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert re.search(r"not importable: .*pip install .*\[torch\]'", testing.CliRunner().invoke(app, ["info"]).output)


def test_help_names_the_subcommands() -> None:
    testing = pytest.importorskip("typer.testing", reason="the command line needs typer")
    from ctckit.cli import app

    done = testing.CliRunner().invoke(app, ["--help"])
    assert done.exit_code == 0
    assert "info" in done.output
    assert "demo" in done.output


def imported(path: Path) -> set[str]:
    """The modules of ctckit that a file imports, without the package's name; only a package's own are found."""
    package = path.relative_to(ROOT / "src").parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {".".join([*package[1 : len(package) - node.level + 1], name]) for name in names}
    return found


MODULES = [path for path in (ROOT / "src" / "ctckit").rglob("*.py") if path.name != "__main__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src" / "ctckit")))
def test_a_module_names_what_it_imports(path: Path) -> None:
    """In its docstring, where that names all of it: packages and modules, beside errors.py and those in its folder."""
    header = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    may = " ".join(re.findall(r"(?:May import|may import|Imports) .*?\.(?=\s|$)", header, re.DOTALL))
    folder = path.relative_to(ROOT / "src" / "ctckit").parent.parts
    names_all = may and not re.search(r"below|everything|every layer|may import\.|modules beside it", may)
    for module in imported(path) if names_all else ():
        parts = module.split(".")
        beside = folder and tuple(parts[: len(folder)]) == folder
        assert beside or module == "errors" or any(re.search(rf"\b{part}\b", may) for part in parts), module
