"""After a plain `pip install .` into an empty environment, without a compiler at run time, the command line works.

Set CTCKIT_INSTALL to a wheel to try that instead, as `make wheel` does.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[2]
LABELS = ["<blank>", "a", "c", "t"]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of an environment that has ctckit and what that brings along."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    folder = environment / ("Scripts" if os.name == "nt" else "bin")
    what = os.environ.get("CTCKIT_INSTALL", str(ROOT))
    subprocess.run([folder / "python", "-m", "pip", "install", "--quiet", what], check=True, timeout=1200)
    return folder


@pytest.fixture
def ctckit(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [programs / "ctckit", *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            env={**kept, "PATH": "", "PYTHONUTF8": "1"},
        )

    return command


def spoken(text: str) -> np.ndarray:
    """Sure log-probabilities, (T, C): each letter has two frames, with a blank before it."""
    classes = [label for letter in text for label in (0, LABELS.index(letter), LABELS.index(letter))]
    scores = np.where(np.arange(len(LABELS)) == np.array(classes)[:, None], 5.0, 0.0)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def test_explain(ctckit) -> None:
    done = ctckit("explain", "cat", "--frames", "6")
    assert (done.returncode, done.stderr) == (0, "")
    assert "paths: 84" in done.stdout


def test_diagnose(ctckit) -> None:
    scores = np.stack([spoken("cat"), spoken("act")], axis=1)
    lengths = {"input_lengths": [9, 9], "target_lengths": [3, 3]}
    np.savez("batch.npz", log_probs=scores, targets=[[2, 1, 3], [1, 2, 3]], **lengths)
    done = ctckit("diagnose", "batch.npz")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Healthy" in done.stdout


@pytest.mark.parametrize("ending", ["srt", "vtt"])
def test_align(ctckit, ending: str) -> None:
    np.save("emissions.npy", spoken("cat"))
    Path("labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    Path("transcript.txt").write_text("cat\n", encoding="utf-8")
    inputs = ("emissions.npy", "transcript.txt", "--labels", "labels.txt")
    done = ctckit("align", *inputs, "--frame-shift", "0.02", "-o", f"out.{ending}")
    assert (done.returncode, done.stderr) == (0, "")
    point = {"srt": ",", "vtt": "."}[ending]
    assert f"00:00:00{point}020 --> 00:00:00{point}180\ncat\n" in Path(f"out.{ending}").read_text(encoding="utf-8")


def test_a_hint_names_what_was_installed(ctckit) -> None:
    done = ctckit("explain", "--seed-page", "-o", "page.html")
    assert done.returncode == 2
    what = os.environ.get("CTCKIT_INSTALL")
    expected = (
        f"pip install '{ROOT}[torch]'" if what is None else f"pip install 'ctckit[torch] @ {Path(what).as_uri()}'"
    )
    assert expected in done.stderr
