"""The command line: what it prints and writes, its exit codes, and one line for each fault."""

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracles import log_softmax
from support.recogniser import ALPHABET, DATA, needs_data

pytest.importorskip("typer", reason="the command line needs typer")

from typer.main import get_command
from typer.testing import CliRunner

from ctckit import Decoder, LanguageModel, explain_search
from ctckit.cli import app

Run = Callable[..., subprocess.CompletedProcess[str]]
B = np.array([[-2.2892, -0.1069], [-1.6550, -0.2121]])


def new_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs the command as ``python -m ctckit``. Starting takes a second, so most tests use the fixture ``ctckit``."""
    return subprocess.run(
        [sys.executable, "-m", "ctckit", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=180,
        env={**os.environ, "PYTHONUTF8": "1"},
    )


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def test_version() -> None:
    done = new_process("--version")
    version = importlib.metadata.version("ctckit")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ctckit {version}\n", "")


@pytest.mark.parametrize("command", [[], ["align"], ["explain"], ["diagnose"], ["info"], ["demo"], ["lm"]])
def test_help_has_a_short_name(command: list[str]) -> None:
    short, long = (CliRunner().invoke(app, [*command, flag]) for flag in ("-h", "--help"))
    assert (short.exit_code, short.output) == (0, long.output)
    assert "Usage:" in short.output


@pytest.mark.parametrize("name", ["align", "decode", "explain", "diagnose", "demo", "lm"])
def test_help_cuts_no_name_in_a_narrow_terminal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    shown = CliRunner().invoke(app, [name, "-h"]).output
    assert "…" not in shown
    names = {flag for option in get_command(app).commands[name].params for flag in option.opts if flag[0] == "-"}
    assert len(names) > 2
    assert names - {word.rstrip(",") for word in shown.split()} == set()


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("bash", {"COMP_WORDS": "ctckit align --frame-", "COMP_CWORD": "2"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "ctckit align --frame-"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "ctckit align --frame-", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
    ids=["bash", "zsh", "fish"],
)
def test_shells_complete_options(shell: str, words: dict[str, str]) -> None:
    """The variables are those by which each shell asks for what may follow its line."""
    installed = "import sys; sys.argv = ['ctckit']; from ctckit.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", installed],
        capture_output=True,
        text=True,
        env={**os.environ, **words, "_CTCKIT_COMPLETE": f"complete_{shell}"},
        timeout=60,
    )
    assert "--frame-shift" in done.stdout


def test_the_installed_command_is_the_same() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="ctckit")
    from ctckit.cli.main import main

    assert command.load() is main


def test_a_word_in_the_terminal(ctckit: Run) -> None:
    for run in (ctckit, new_process):
        done = run("explain", "cat", "--frames", 6)
        assert (done.returncode, done.stderr) == (0, "")
        assert "paths: 84" in done.stdout
    assert "损失" in ctckit("explain", "cat", "--lang", "zh").stdout


def test_scores_from_a_file(tmp_path: Path, ctckit: Run) -> None:
    np.save(tmp_path / "x.npy", B)
    (tmp_path / "labels.txt").write_text("φ\n空\n", encoding="utf-8")
    done = ctckit("explain", "--log-probs", tmp_path / "x.npy", "--target", "空", "--labels", tmp_path / "labels.txt")
    assert (done.returncode, done.stderr) == (0, "")
    assert "= 0.0196190046" in done.stdout
    (tmp_path / "x.csv").write_text("-2.2892,-0.1069\n-1.6550,-0.2121\n")
    assert "= 0.0196190046" in ctckit("explain", "--log-probs", tmp_path / "x.csv", "--target", "1").stdout
    logits = ctckit("explain", "--log-probs", tmp_path / "x.csv", "--target", "1", "--logits").stdout
    assert re.search(r"= 0\.0195\d+", logits)


def test_labels_and_blank_of_an_explanation_are_those_of_align(tmp_path: Path, ctckit: Run) -> None:
    np.save(tmp_path / "x.npy", B[:, ::-1])
    (tmp_path / "vocab.json").write_text('{"a": 0, "<blank>": 1}')
    command = ("explain", "--log-probs", tmp_path / "x.npy", "--target", "A", "--labels", tmp_path / "vocab.json")
    done = ctckit(*command)
    assert (done.returncode, done.stderr) == (0, "")
    assert "= 0.0196190046" in done.stdout
    (tmp_path / "vocab.json").write_text('["a"]')
    few = ctckit(*command)
    assert (few.returncode, few.stdout) == (2, "")
    assert "the scores have C=2 classes and there are 1 labels" in few.stderr
    assert "pass --blank 1" in few.stderr


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        (5 * B + 3, [], "x.npy holds scores that are not normalised, such as logits: pass --logits"),
        (-B, [], "are negated log-probabilities, at least 0: expected log-probabilities; change their sign"),
        (-np.log([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]]), ["--logits"], "are negated log-probabilities, at least 0"),
        (np.exp(B), [], "are probabilities, each frame's add up to 1: expected their logarithms"),
    ],
)
def test_scores_of_another_kind_are_named(
    scores: np.ndarray, options: list[str], message: str, tmp_path: Path, ctckit: Run
) -> None:
    np.save(tmp_path / "x.npy", scores)
    done = ctckit("explain", "--log-probs", "x.npy", "--target", "1", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


@needs_data
def test_handwriting_is_explained(tmp_path: Path, ctckit: Run) -> None:
    (tmp_path / "80.txt").write_text("\n".join([*ALPHABET, "<blank>"]) + "\n")
    (tmp_path / "79.txt").write_text("\n".join(ALPHABET) + "\n")
    command = ("explain", "--log-probs", DATA / "iam_word_logits.npy", "--logits", "--target", "aircraft", "--labels")
    done = ctckit(*command, tmp_path / "80.txt")
    assert (done.returncode, done.stderr) == (0, "")
    assert "= 5.401757" in done.stdout
    assert "= 5.401757" in ctckit(*command, tmp_path / "79.txt", "--blank", 79).stdout
    assert "C=80 classes and there are 79 labels" in ctckit(*command, tmp_path / "79.txt").stderr


@pytest.mark.parametrize("name", ["page.html", "figure.svg", "figure.png", "figure.pdf"])
def test_files(name: str, tmp_path: Path, ctckit: Run) -> None:
    if not name.endswith("html"):
        pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    done = ctckit("explain", "cat", "-o", name)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"wrote {name}\n", "")
    assert (tmp_path / name).stat().st_size > 5000


@pytest.mark.parametrize(
    "picture", ["inputs", "rule1", "rule2", "rule3", "paths", "occupancy", "gradient", "alignment", "graph"]
)
def test_every_picture(picture: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    for out in (tmp_path / "x.svg", tmp_path / "x.html"):
        done = CliRunner().invoke(app, ["explain", "see", "--picture", picture, "-o", str(out)])
        assert done.exit_code == 0, done.output
        assert out.read_text(encoding="utf-8").count("<svg ") == 1


def test_a_search(tmp_path: Path, ctckit: Run) -> None:
    """Of two frames, and of a file's; as text, page and picture."""
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    example = ctckit("explain", "--search")
    assert (example.returncode, example.stderr) == (0, "")
    assert "Search: a, probability 0.640 = φa 0.240 + aφ 0.240 + aa 0.160" in example.stdout
    np.save(tmp_path / "x.npy", np.log([[0.3, 0.4, 0.3], [0.4, 0.3, 0.3], [0.3, 0.3, 0.4]]))
    (tmp_path / "labels.txt").write_text("φ\na\nb\n", encoding="utf-8")
    command = ("explain", "--search", "--log-probs", tmp_path / "x.npy", "--labels", tmp_path / "labels.txt")
    assert "Search: a, probability 0.210\n" in ctckit(*command).stdout
    assert "Search: ab, probability 0.232\n" in ctckit(*command, "--beam", 4).stdout
    assert "搜索：ab" in ctckit(*command, "--beam", 4, "--lang", "zh").stdout
    for name, options, pictures in (("x.html", [], 0), ("tree.html", ["--picture", "tree"], 1), ("x.svg", [], 1)):
        done = ctckit(*command, *options, "-o", name)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"wrote {name}\n", "")
        assert (tmp_path / name).read_text(encoding="utf-8").count("<svg ") == pictures


def test_a_search_with_a_language(tmp_path: Path, ctckit: Run) -> None:
    """The same files as for decode, read as decode reads them: the library finds the same with their content."""
    probs = [[0.1, 0.1, 0.5, 0.3], [0.1, 0.1, 0.3, 0.5], [0.1, 0.1, 0.5, 0.3]]
    np.save(tmp_path / "x.npy", np.log(probs))
    (tmp_path / "labels.txt").write_text("φ\n|\na\nb\n", encoding="utf-8")
    (tmp_path / "words.txt").write_text("ab\nbab\n")
    (tmp_path / "hot.txt").write_text("bab\nbb\t3\ncab\n")
    (tmp_path / "x.arpa").write_text(
        "\\data\\\nngram 1=5\n\n\\1-grams:\n-1 <unk>\n-99 <s>\n-1 </s>\n-2 ab\n-0.5 bab\n\n\\end\\\n"
    )
    command = ("explain", "--search", "--log-probs", "x.npy", "--labels", "labels.txt")

    def shown(*options: object) -> str:
        done = ctckit(*command, *options)
        assert done.returncode == 0, done.stderr
        assert ("cab" in done.stderr) == ("hot.txt" in options)  # there is no c
        return done.stdout.rstrip("\n")

    def expected(hotwords: dict[str, float] | None = None, **language: Any) -> str:
        decoder = Decoder(["φ", "|", "a", "b"], **language)
        return str(explain_search(np.log(probs), decoder, hotwords=hotwords))

    words = ["ab", "bab"]
    model = LanguageModel.read(tmp_path / "x.arpa")
    cases: list[tuple[list[object], str]] = [
        (["--lexicon", "words.txt"], expected(lexicon=words)),
        (["--lexicon", "words.txt", "--beta", 3], expected(lexicon=words, beta=3.0)),
        (["--hotwords", "hot.txt"], expected({"bab": 8.0, "bb": 3.0})),
        (["--hotwords", "hot.txt", "--hotword-weight", 2], expected({"bab": 2.0, "bb": 3.0})),
        (["--lm", "x.arpa", "--alpha", 2], expected(language_model=model, alpha=2.0)),
        (["--lm", "x.arpa", "--unknown-score", -4], expected(language_model=model, unknown_score=-4.0)),
    ]
    assert len({text for _, text in cases}) == len(cases)
    for options, text in cases:
        assert shown(*options) == text, options


def test_the_seed_page(tmp_path: Path, ctckit: Run) -> None:
    for package in ("torch", "matplotlib"):
        pytest.importorskip(package, reason="the seed page needs torch and matplotlib")
    done = ctckit("explain", "--seed-page", "-o", "page.html")
    assert (done.returncode, done.stdout, done.stderr) == (0, "wrote page.html\n", "")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for number in ("0.01961900455208171", "0.01955", "−0.21214", "−1.76190", "39 tokens, loss 3.56275", "84", "120"):
        assert number in page
    assert page.count("<svg") >= 2 * 9  # every figure in both languages
    assert not re.search(r"""(?:src|href)\s*=\s*["']https?:|@import|url\(\s*["']?https?:""", page)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain"], "explain takes one of: a WORD, --log-probs with --target or --search, --search, or --seed-page"),
        (["explain", "cat", "--seed-page"], "explain takes one of"),
        (["explain", "cat", "-o", "x.jpg"], "pictures are saved as .svg, .png, .pdf or .html"),
        (["explain", "cat", "-o", "no/where.svg"], "can't be written: No such file or directory"),
        (["explain", "cat", "--lang", "fr"], "--lang 'fr' is unknown"),
        (["explain", "cat", "--frames", "-2"], "--frames -2: expected a number of frames"),
        (["explain", "--seed-page", "-o", "x.svg"], "the seed page is HTML"),
        (["explain", "--seed-page", "--target", "1"], "--target, --labels, --blank and --logits go with --log-probs"),
        (["explain", "--seed-page", "--frames", "3"], "--frames goes with a WORD"),
        (["explain", "--seed-page", "--picture", "inputs"], "--picture goes with --out"),
        (["explain", "cat", "--picture", "inputs"], "--picture goes with --out"),
        (["explain", "--log-probs", "missing.npy", "--target", "1"], "missing.npy"),
        (["explain", "--log-probs", "x.npy"], "--target is missing"),
        (["explain", "--log-probs", "x.npy", "--target", "cat"], "there are no --labels to read it by"),
        (["explain", "--log-probs", "x.npy", "--target", "5"], "targets[0] = 5 is not a class"),
        (["explain", "cat", "--search"], "explain takes one of"),
        (["explain", "--log-probs", "x.npy", "--target", "1", "--search"], "--target and --search are both given"),
        (["explain", "cat", "--beam", "5"], "--beam goes with --search"),
        (["explain", "--search", "--beam", "0"], "--beam 0: expected an integer of at least 1"),
        (["explain", "--search", "--picture", "inputs", "-o", "y.svg"], "a search has one picture, tree"),
        (["explain", "cat", "--picture", "tree", "-o", "y.svg"], "a search has one picture, tree"),
        (["explain", "--search", "--labels", "no.txt"], "go with --log-probs"),
        (["explain", "cat", "--alpha", "2"], "their weights go with --search, --log-probs and --labels"),
        (["explain", "--search", "--log-probs", "x.npy", "--lm", "x.arpa"], "their weights go with --search"),
        (["explain", "--search", "--hotwords", "x.txt"], "their weights go with --search, --log-probs and --labels"),
        (["diagnose", "missing.npz"], "missing.npz"),
        (["diagnose", "missing.npz", "--lang", "fr"], "--lang 'fr' is unknown"),
        (["diagnose", "x.npy"], "x.npy has the suffix '.npy'"),
        (["diagnose", "missing.npz", "--labels", "no.txt"], "no.txt"),
        (["demo", "--out", "x.npy"], "x.npy"),
    ],
)
def test_one_line_for_what_is_wrong(arguments: list[str], message: str, tmp_path: Path, ctckit: Run) -> None:
    np.save(tmp_path / "x.npy", B)
    done = ctckit(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("ctckit: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["x.npy"]


def test_diagnose(tmp_path: Path, ctckit: Run) -> None:
    log_probs = log_softmax(np.random.default_rng(0).normal(size=(30, 2, 6)) * 2).astype(np.float32)
    batch = {"log_probs": log_probs, "targets": [[1, 2, 3], [2, 2, 4]], "target_lengths": [3, 3]}
    np.savez(tmp_path / "good.npz", **batch, input_lengths=[30, 28])
    np.savez(tmp_path / "bad.npz", **batch, input_lengths=[30, 3])
    good = new_process("diagnose", tmp_path / "good.npz")
    assert (good.returncode, good.stderr) == (0, "")
    assert ctckit("diagnose", tmp_path / "good.npz").stdout == good.stdout
    both = ctckit("diagnose", tmp_path / "good.npz", tmp_path / "bad.npz")
    assert both.returncode == 1
    assert "infeasible" in both.stdout
    read = json.loads(ctckit("diagnose", "--json", tmp_path / "good.npz", tmp_path / "bad.npz").stdout)
    assert [name.endswith("bad.npz") for name in read] == [False, True]
    assert "infeasible" in json.dumps(read[str(tmp_path / "bad.npz")])
    del batch["log_probs"]
    np.savez(tmp_path / "raw.npz", **batch, emissions=log_probs + 7, input_lengths=[30, 28])
    assert "not-log-probs" in ctckit("diagnose", tmp_path / "raw.npz").stdout
    assert ctckit("diagnose", tmp_path / "raw.npz", "--logits").returncode == 0
    np.savez(tmp_path / "logits.npz", **batch, logits=log_probs + 7, input_lengths=[30, 28])
    assert ctckit("diagnose", tmp_path / "logits.npz").returncode == 0
    assert ctckit("diagnose", tmp_path / "good.npz", "--logits").returncode == 0
    assert "不正常：" in ctckit("diagnose", tmp_path / "raw.npz", "--lang", "zh").stdout


def test_diagnose_takes_what_the_loss_takes(tmp_path: Path, ctckit: Run) -> None:
    from support.planted import trained

    batch = trained()
    batch["targets"][1] = [7, 2, 9, 9, 1, 8]
    turned = batch["log_probs"].swapaxes(0, 1)
    np.savez(tmp_path / "turned.npz", **batch | {"log_probs": turned})
    (tmp_path / "labels.txt").write_text("\n".join("-abcdefghijk"), encoding="utf-8")
    done = ctckit("diagnose", "turned.npz", "--batch-first", "--labels", "labels.txt")
    assert (done.returncode, done.stderr) == (1, "")
    assert "the target is 'gbiiah'" in " ".join(done.stdout.split())
    assert "batch-first" not in done.stdout
    (tmp_path / "fewer.txt").write_text("\n".join("-abcdefghij"), encoding="utf-8")
    done = ctckit("diagnose", "turned.npz", "--batch-first", "--labels", "fewer.txt")
    assert (done.returncode, done.stdout) == (2, "")
    assert "labels has 11 entries: expected 12" in done.stderr
    assert ctckit("diagnose", "turned.npz", "--nonsense").returncode == 2
    assert ctckit("info", "--nonsense").returncode == 2


def test_only_the_command_line_knows_flags() -> None:
    """No string of the library names a flag: its messages name parameters."""
    import typer

    from ctckit import cli

    commands = typer.main.get_command(cli.app).commands.values()  # type: ignore[attr-defined]
    flags = {flag for command in commands for option in command.params for flag in option.opts if flag[:2] == "--"}
    assert {"--out", "--extend", "--threads", "--logits"} < flags
    package = Path(cli.__file__).parents[1]
    named = [
        (path.name, node.lineno, node.value)
        for path in package.rglob("*.py")
        if path.parent.name != "cli"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if flags & set(re.findall(r"(?<![-\w])--[a-z][a-z-]*", node.value))
    ]
    assert named == []


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("extend = -1: expected at least 0", "--extend -1: expected at least 0"),
        ("x.npy: blank = 99 is not a class", "x.npy: --blank 99 is not a class"),
        ("pass from_logits=True for logits", "pass --logits for logits"),
        ("from_logits = True and extend=2", "--logits and --extend 2"),
        ("C=3 classes, targets[0] = 5, options.extend = 1", "C=3 classes, targets[0] = 5, options.extend = 1"),
    ],
)
def test_flags_for_parameters(message: str, expected: str) -> None:
    from ctckit.cli.command import with_flags

    assert with_flags(message, {"extend": "--extend", "blank": "--blank", "from_logits": "--logits"}) == expected
