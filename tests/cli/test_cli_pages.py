"""``ctckit align`` and ``decode`` with ``--picture out.html``: a page that plays the words of one recording."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("typer", reason="the command line needs typer")

from support.corpora import write_labels
from support.installed import needs
from support.recordings import SHIFT, spoken

pytestmark = needs("soundfile", "soxr", "matplotlib")
Run = Callable[..., subprocess.CompletedProcess[str]]
TEXT = "the quick brown fox"
SCORES, TIMES = spoken(TEXT)
OPTIONS = ("--labels", "labels.txt", "--frame-shift", SHIFT, "--audio", "fox é.wav", "--picture", "out.html")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Scores, their text, and a stereo recording of another rate."""
    import soundfile

    np.save(tmp_path / "fox é.npy", SCORES)
    (tmp_path / "fox.txt").write_text(TEXT, encoding="utf-8")
    write_labels(tmp_path)
    noise = np.random.default_rng(0).normal(0, 0.1, (round(SHIFT * len(SCORES) * 44100), 2))
    soundfile.write(tmp_path / "fox é.wav", noise, 44100)
    return tmp_path


def data(path: Path) -> dict[str, Any]:
    """What the page's script reads."""
    page = path.read_text(encoding="utf-8")
    (found,) = re.findall(r'data-kind="recording"><script type="application/json">(.*?)</script>', page)
    return dict(json.loads(found))


@pytest.mark.parametrize("command", [("align", "fox é.npy", "fox.txt"), ("decode", "fox é.npy")])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_page(command: tuple[str, ...], lang: str, folder: Path, ctckit: Run) -> None:
    done = ctckit(*command, *OPTIONS, "--lang", lang, "--delay", 0.04)
    assert (done.returncode, done.stdout.count("wrote out.html") + done.stderr.count("wrote out.html")) == (0, 1)
    found = data(folder / "out.html")
    assert (found["name"], found["text"]) == ("fox é.npy", TEXT)
    wanted = [[t - min(0.04, t / 2) for t in word] for word in TIMES]
    assert [word[1:3] for word in found["words"]] == [pytest.approx(word) for word in wanted]
    assert found["strip"]["highest"] == 8
    page = (folder / "out.html").read_text(encoding="utf-8")
    assert f'<html lang="{lang}">' in page
    assert "0.04" in page


def test_without_the_sound_there_is_nothing_to_play(folder: Path, ctckit: Run) -> None:
    done = ctckit("decode", "fox é.npy", *OPTIONS[:4], *OPTIONS[6:])
    assert done.returncode == 0
    found = data(folder / "out.html")
    assert (found["sound"], found["strip"], len(found["words"])) == (None, None, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--audio", "none.wav"), "none.wav can't be read: No such file or directory"),
        (("--audio", "fox.txt"), "fox.txt is not a readable recording"),
        (("--frame-shift", 0.2), "the recording has "),
        (("--image", "fox.txt"), "--audio fox é.wav and --image fox.txt: expected one of them"),
    ],
)
def test_nothing_is_half_written(options: tuple[object, ...], message: str, folder: Path, ctckit: Run) -> None:
    done = ctckit("align", "fox é.npy", "fox.txt", *OPTIONS, "-o", "out.json", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (folder / "out.html").exists()
    assert not (folder / "out.json").exists()
