"""Real recordings for ``ctckit demo-speech``: six sentences of Debian's package pocketsphinx-testdata.

The package is downloaded and unpacked, not installed. Where that is impossible, one recording of the tests takes its
place. Runs apt-get and dpkg; may import errors.py and files/.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import wave
from pathlib import Path
from typing import NamedTuple

from ..errors import CTCError
from ..files import read_text

PACKAGE = "pocketsphinx-testdata"
COMMAND = "go forward ten meters"
_DATA = Path("usr/share/pocketsphinx/test/data")
_COPYRIGHT = Path(f"usr/share/doc/{PACKAGE}/copyright")
_TESTS = Path(__file__).resolve().parents[3] / "tests" / "data"  # of a clone
_SECONDS = 120  # that a download may take
_RATE = 16000  # of goforward.raw, which has no header


class Recording(NamedTuple):
    """A file of sound, and what is said in it."""

    path: Path
    text: str


class Recordings(NamedTuple):
    """What there is to hear.

    Attributes:
        rows: the recordings with their texts.
        licence: of the recordings.
        missing: a sentence on why they are not all here; empty if they are.
    """

    rows: list[Recording]
    licence: str
    missing: str = ""


def find_recordings(folder: Path) -> Recordings:
    """The package's recordings, downloaded into a folder unless they are there; or the one of the tests.

    Raises:
        CTCError: there is none of them.
    """
    unpacked = folder / PACKAGE
    try:
        if not unpacked.is_dir():
            _fetch(folder, unpacked)
        return _of_package(unpacked)
    except CTCError as error:
        return _of_tests(str(error))


def _fetch(folder: Path, unpacked: Path) -> None:
    """Downloads the package and unpacks it, whole or not at all."""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise CTCError(f"{PACKAGE} is a package of Debian and Ubuntu, and there is no {tool} here")
    work = folder / f"{PACKAGE}.tmp"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        _run(["apt-get", "download", PACKAGE], work)
        (archive,) = work.glob("*.deb")
        _run(["dpkg", "-x", archive.name, "."], work)
        archive.unlink()
        work.rename(unpacked)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise CTCError(f"`{' '.join(command)}` took more than {_SECONDS} s: is there a network?") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise CTCError(f"`{' '.join(command)}` failed: {said}; is there a network, and has `apt-get update` been run?")


def _of_package(unpacked: Path) -> Recordings:
    """A command that was spoken into a microphone, and five sentences of an audiobook."""
    data = unpacked / _DATA
    command = unpacked / "goforward.wav"
    if not command.exists():
        _add_header(data / "goforward.raw", command)
    said = re.findall(r"<s> (.*?) </s> \((.*?)\)", read_text(data / "librivox" / "transcription"))
    read = [Recording(data / "librivox" / f"{name}.wav", text) for text, name in said]
    # The package's own stanza of the file, without those of its documentation's tools.
    licence = read_text(unpacked / _COPYRIGHT).partition("Files: *\n")[2].partition("\nFiles:")[0]
    lines = [line.removeprefix(" ").removeprefix(".") for line in licence.strip().splitlines()]  # as Debian folds them
    return Recordings([Recording(command, COMMAND), *read], "\n".join(lines))


def _add_header(raw: Path, path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(raw.read_bytes())


def _of_tests(why: str) -> Recordings:
    file = _TESTS / "goforward.flac"
    if not file.exists():
        raise CTCError(f"{why}; {file}, which would do, is missing too: run the demo in a clone of ctckit")
    return Recordings([Recording(file, COMMAND)], read_text(_TESTS / "LICENSE.pocketsphinx").strip(), why)
