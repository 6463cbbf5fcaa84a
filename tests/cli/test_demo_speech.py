"""The demo of speech: where its recordings come from, its lines, and its page."""

from __future__ import annotations

import importlib.util
import json
import re
import wave
from pathlib import Path

import numpy as np
import pytest
from support import ppocr
from support.heard import RECORDING, STARTS
from support.installed import needs, needs_linux

from ctckit import CTCError
from ctckit.demo import lines, recordings, speech
from ctckit.errors import MissingExtraError

DATA = "usr/share/pocketsphinx/test/data"
SAID = "<s> he was not </s> (a-1)\n<s> an ill disposed young man </s> (a-2)\n"
APT = """#!/bin/sh
echo "apt-get $*" >> {log}
echo deb > pocketsphinx-testdata_1_all.deb
"""
DPKG = """#!/bin/sh
echo "dpkg $1" >> {log}
mkdir -p "$3/{data}/librivox" "$3/usr/share/doc/pocketsphinx-testdata"
printf '\\001\\000\\002\\000' > "$3/{data}/goforward.raw"
printf '%s' '{said}' > "$3/{data}/librivox/transcription"
printf 'Format: 1\\n\\nFiles: *\\nLicense: BSD-2\\n One.\\n .\\n Two.\\n\\nFiles: doc/x\\nOther.\\n' \
> "$3/usr/share/doc/pocketsphinx-testdata/copyright"
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for apt-get and dpkg, which log their calls; returns their folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in (("apt-get", APT), ("dpkg", DPKG)):
        text = script.replace("{log}", str(tmp_path / "log")).replace("{data}", DATA).replace("{said}", SAID)
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@needs_linux
class TestRecordings:
    def test_the_package_is_downloaded_once_and_unpacked(self, tools: Path, tmp_path: Path) -> None:
        work = tmp_path / "out"
        for _ in range(2):
            found = recordings.find_recordings(work)
        log = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
        assert log == ["apt-get download pocketsphinx-testdata", "dpkg -x"]
        data = work / "pocketsphinx-testdata" / DATA / "librivox"
        assert [text for _, text in found.rows] == [
            "go forward ten meters",
            "he was not",
            "an ill disposed young man",
        ]
        assert [path for path, _ in found.rows[1:]] == [data / "a-1.wav", data / "a-2.wav"]
        assert (found.licence, found.missing) == ("License: BSD-2\nOne.\n\nTwo.", "")
        with wave.open(str(found.rows[0].path)) as file:
            assert file.getparams()[:4] == (1, 2, 16000, 2)
            assert file.readframes(2) == b"\1\0\2\0"
        assert [file.name for file in work.iterdir()] == ["pocketsphinx-testdata"]

    def test_a_failed_download_is_told_and_leaves_nothing(self, tools: Path, tmp_path: Path) -> None:
        (tools / "apt-get").write_text("#!/bin/sh\necho 'W: hm' >&2\necho 'E: no such host' >&2\nexit 100\n")
        found = recordings.find_recordings(tmp_path / "out")
        assert found.missing.startswith("`apt-get download pocketsphinx-testdata` failed: E: no such host; is there a")
        assert found.rows == [(RECORDING, "go forward ten meters")]
        assert "Redistribution and use" in found.licence
        assert list((tmp_path / "out").iterdir()) == []

    @pytest.mark.parametrize("tool", ["apt-get", "dpkg"])
    def test_other_systems(self, tool: str, tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tools))
        (tools / tool).unlink()
        found = recordings.find_recordings(tmp_path / "out")
        assert found.missing == (
            f"pocketsphinx-testdata is a package of Debian and Ubuntu, and there is no {tool} here"
        )

    def test_no_recording_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        monkeypatch.setattr(recordings, "_TESTS", tmp_path)
        with pytest.raises(
            CTCError, match=r"there is no apt-get here; .*goforward\.flac, which would do, is missing too"
        ):
            recordings.find_recordings(tmp_path / "out")


@needs("PIL", "matplotlib")
class TestPage:
    def test_it_is_the_same_each_time(self) -> None:
        one, other = lines.draw_page(), lines.draw_page()
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert any("it was the worst of times" in text for text in one.texts)
        assert one.pixels.shape[0] == 84 * len(one.texts)
        assert (one.pixels.min(), one.pixels.max()) == (0, 255)

    def test_without_a_chinese_font(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lines, "CJK_FONTS", ("No Such Font",))
        drawn = lines.draw_page()
        assert not drawn.complete
        assert len(drawn.texts) == 2
        assert all(text.isascii() for text in drawn.texts)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "soxr" else "found")
    with pytest.raises(MissingExtraError, match=r"'soxr': pip install .*\[demo-speech\]'"):
        speech.run(out=tmp_path)


@needs("hama", "soundfile", "soxr", "matplotlib")
def test_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a machine without Debian's tools."""
    monkeypatch.setenv("PATH", "")
    page = speech.run(out=tmp_path, lang="zh").read_text(encoding="utf-8")
    said = capsys.readouterr().out
    assert "there is no apt-get here\nThe demo goes on with one recording of ctckit's tests." in said
    assert f"wrote {tmp_path / 'index.html'}" in said
    assert re.search(r"text +seconds +words +confidence +read otherwise\n", said)
    assert re.search(r"go forward ten meters +2\.80 +4 +\d\.\d\d +1 of 19", said)
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]
    found = re.findall(r'data-kind="recording"><script type="application/json">(.*?)</script>', page)
    heard, *read = map(json.loads, found)
    assert [word[0] for word in heard["words"]] == ["go", "forward", "ten", "meters"]
    np.testing.assert_allclose([word[1] for word in heard["words"]], STARTS, atol=0.1)
    assert heard["sound"]
    assert '<html lang="zh">' in page
    assert "License: BSD-2" in page
    assert len(page) < 3_000_000
    assert ("Lines of print are left out" in said) == bool(ppocr.MISSING)
    if not ppocr.MISSING:
        ishmael = next(line for line in read if line["text"].startswith("Call me"))
        assert all(written == seen for written, seen in ishmael["compared"])
        starts = [token[1] for token in ishmael["tokens"]]
        assert starts == sorted(starts)
        assert starts[0] == pytest.approx(20, abs=20)  # the margin
