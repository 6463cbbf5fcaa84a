"""Guide and notebooks: both languages in step, every example runs, every picture is what the code draws now.

test_site.py tests the site that is built from the guide.
"""

import doctest
import gzip
import importlib.metadata
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.backoff import FORMS, made_up
from support.heard import RECORDING, WORDS
from support.pictures import texts

import ctckit
from ctckit.catalogue import words

nbformat = pytest.importorskip("nbformat", reason="the guide and the notebooks are built with developers' tools")

ROOT = Path(__file__).resolve().parents[2]
DOCS, EXAMPLES = ROOT / "docs", ROOT / "examples"
PAGES = sorted(path for path in DOCS.glob("*.md") if not path.name.endswith(".zh.md") and path.name != "design.md")
NOTEBOOKS = (EXAMPLES / "ctc_loss.ipynb", EXAMPLES / "ctc_loss.zh.ipynb")
PICTURES = {"inputs", "rule-skip", "rule-moves", "rule-repeat", "paths", "computation"}


def in_chinese(path: Path) -> Path:
    return path.with_name(f"{path.stem}.zh{path.suffix}")


def prose_and_code(text: str) -> tuple[str, list[str]]:
    """The text outside of fences and indented blocks, and the blocks."""
    code: list[str] = []

    def taken(block: re.Match[str]) -> str:
        code.append(block[0].strip("\n"))
        return "\n"

    return re.sub(r"^```[\s\S]*?^```$|(?:^    .+\n)+", taken, text, flags=re.MULTILINE), code


def skeleton(text: str) -> dict[str, list[str]]:
    """What must be the same in every language."""
    prose, code = prose_and_code(text)
    return {
        "headings": re.findall(r"^(#+) ", prose, re.MULTILINE),
        "code": code,
        "pictures": [name.replace(".zh.", ".") for name in pictures(prose)],
        "table rows": re.findall(r"^\| *(`[^|]*`) *\|", prose, re.MULTILINE),
    }


def pictures(text: str) -> list[str]:
    """Pictures with a description."""
    return re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", prose_and_code(text)[0], re.MULTILINE)


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", DOCS / "reference/index.md", *PAGES],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_pages_are_in_step(page: Path) -> None:
    english, chinese = page.read_text(encoding="utf-8"), in_chinese(page).read_text(encoding="utf-8")
    assert skeleton(english)["headings"]
    assert skeleton(chinese) == skeleton(english)
    if page in PAGES:
        assert not set(headings(chinese)) & set(headings(english)), "left untranslated"


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "README.zh.md"], ids=lambda path: path.stem)
def test_pictures_of_the_readme_are_there(page: Path) -> None:
    shown = pictures(page.read_text(encoding="utf-8"))
    assert shown
    assert [name for name in shown if not (ROOT / name).is_file()] == []


def test_the_guide_is_whole() -> None:
    assert {page.stem for page in PAGES} == {
        "index",
        "install",
        "ctc",
        "lattice",
        "variants",
        "training",
        "recognisers",
        "alignment",
        "language",
        "decoding",
        "explain",
        "diagnosis",
        "symptoms",
        "numbers",
        "frameworks",
        "from-torch",
        "from-torchaudio",
        "from-optax",
        "from-ctc-segmentation",
        "from-whisperx",
    }
    assert sum(len(skeleton(page.read_text(encoding="utf-8"))["pictures"]) for page in PAGES) > 8


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_examples_of_the_guide_run(page: Path) -> None:
    """On the English pages; the Chinese ones have the same examples."""
    examples = doctest.DocTestParser().get_doctest(page.read_text(encoding="utf-8"), {}, page.name, str(page), 0)
    assert examples.examples
    told = io.StringIO()
    doctest.DocTestRunner(verbose=False).run(examples, out=told.write)
    assert told.getvalue() == ""


def test_commands_of_the_guide_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    testing = pytest.importorskip("typer.testing", reason="the command line needs typer")
    from ctckit.cli import app

    monkeypatch.chdir(tmp_path)
    np.save("log_probs.npy", np.log(np.full((6, 5), 0.2)))
    Path("labels.txt").write_text("φ\nc\na\nt\n|\n", encoding="utf-8")
    healthy = ctckit.explain(3 * np.eye(4)[[0, 1, 0, 2, 0, 3]], [1, 2, 3], from_logits=True).log_probs
    np.savez("batch.npz", log_probs=healthy[:, None], targets=[[1, 2, 3]], input_lengths=[6], target_lengths=[3])
    Path("transcript.txt").write_text("cat", encoding="utf-8")
    for name in ("talk-1", "talk-2"):
        np.save(f"{name}.npy", np.log(np.full((6, 5), 0.2)))
        Path(f"{name}.txt").write_text("cat", encoding="utf-8")
    guide = (DOCS / "alignment.md").read_text(encoding="utf-8")
    corpus = re.findall(r"^```json\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    Path("corpus.jsonl").write_text(corpus[0].replace("The cat sat.", "cat"), encoding="utf-8")
    Path("3gram.arpa").write_text(made_up(0, FORMS["trigrams"]).replace("w1", "cat"), encoding="utf-8")
    Path("texts.txt").write_text("w1 w2\n", encoding="utf-8")
    Path("marks.ctm").write_text("log_probs 1 0.02 0.02 c\nlog_probs 1 0.06 0.02 t\n", encoding="utf-8")
    Path("lexicon.txt").write_text("cat\nact\n", encoding="utf-8")
    Path("hotwords.txt").write_text("cat act\t5\n", encoding="utf-8")
    _write_files_of_other_tools()
    _write_recordings()
    blocks = [block for page in PAGES for block in prose_and_code(page.read_text(encoding="utf-8"))[1]]
    commands = [line for block in blocks if block.startswith("```sh") for line in block.splitlines()[1:-1]]
    assert len(commands) > 4
    for command in filter(_recogniser_is_there, commands):
        before, _, last = command.rpartition(" | ")
        program, *arguments = shlex.split(last)
        done = testing.CliRunner().invoke(app, arguments, input=RECORDING.read_bytes() if before else None)
        assert (program, done.exit_code) == ("ctckit", 0), f"{command}\n{done.output}"


def _recogniser_is_there(command: str) -> bool:
    """Whether the packages of a command's recogniser are installed; drawn lines are read elsewhere."""
    needed = ["hama", "soundfile", "soxr"] if "--recogniser hama" in command else []
    needed += ["pocketsphinx"] if "pocketsphinx" in command else []
    return "--recogniser pp-ocr" not in command and all(map(importlib.util.find_spec, needed))


def _write_recordings() -> None:
    """Writes what the guide's commands hear: one recording, folders with texts, rows of JSON, a shard, a wav.scp."""
    shutil.copy(RECORDING, "talk-1.flac")
    for name in ("speech", "recordings/a", "recordings/2026-11/b"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(RECORDING, f"{name}.flac")
        Path(f"{name}.txt").write_text(WORDS, encoding="utf-8")
    shutil.copytree("recordings", "texts", ignore=shutil.ignore_patterns("*.flac"))
    Path("text.txt").write_text(WORDS, encoding="utf-8")
    Path("wav.scp").write_text("talk1 speech.flac\n")
    rows = re.search(r"^```json\n(.*?)^```$", (DOCS / "recognisers.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert rows is not None
    Path("recordings.jsonl").write_text(rows[1])
    with tarfile.open("recordings.tar", "w") as shard:
        shard.add("speech.flac")
    if importlib.util.find_spec("soundfile") is not None:
        import soundfile

        speech, rate = soundfile.read(RECORDING)
        soundfile.write("day.wav", np.pad(speech, (int(61.5 * rate), 0)), rate)


def _write_files_of_other_tools() -> None:
    """Writes what the guide's commands take: files as NeMo, lhotse, Kaldi, webdataset and Hugging Face have them."""
    kaldiio = pytest.importorskip("kaldiio", reason="Kaldi's archives are an extra")
    torch = pytest.importorskip("torch", reason="it writes .pt")
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("yaml", reason="YAML is an extra")
    scores = np.log(np.full((6, 4), 0.25, np.float32))
    Path("scores").mkdir()
    np.save("scores/talk1.npy", scores)
    Path("manifest.json").write_text('{"audio_filepath": "clips/talk1.wav", "duration": 3.2, "text": "cat"}\n')
    Path("model_config.yaml").write_text("model:\n  decoder:\n    vocabulary: [c, a, t]\n")
    cut = {"id": "talk1", "start": 1.0, "supervisions": [{"start": 0.0, "text": "cat"}], "type": "MonoCut"}
    Path("cuts.jsonl.gz").write_bytes(gzip.compress(json.dumps(cut).encode()))
    Path("tokens.txt").write_text("<blk> 0\nc 1\na 2\nt 3\n")
    kaldiio.save_ark("logprobs.ark", {"talk1": scores}, scp="logprobs.scp")
    assert Path("logprobs.scp").read_text() == "talk1 logprobs.ark:6\n"
    Path("text").write_text("talk1 cat\n")
    with tarfile.open("shard.tar", "w") as shard:
        shard.add("scores/talk1.npy", "talk1.npy")
        shard.add("text", "talk1.txt")
    parquet.write_table(pyarrow.table({"id": ["talk1"], "log_probs": [scores.tolist()]}), "shard.parquet")
    torch.save(torch.zeros(1, 6, 4), "logits.pt")
    Path("vocab.json").write_text('{"<pad>": 0, "c": 1, "a": 2, "t": 3}')
    Path("subtitles.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\ncat\n")


def test_extras_of_the_install_page_exist() -> None:
    extras = importlib.metadata.metadata("ctckit").get_all("Provides-Extra")
    page = (DOCS / "install.md").read_text(encoding="utf-8")
    named = [row.strip("`") for row in skeleton(page)["table rows"]]
    named += [extra for group in re.findall(r"pip install '\.\[([\w,]+)\]'", page) for extra in group.split(",")]
    assert len(named) > 4
    assert not set(named) - set(extras)


def test_the_guide_has_every_finding() -> None:
    """The tables list exactly the codes that the diagnosis can give."""
    checks = "".join((ROOT / f"src/ctckit/validate/{name}.py").read_text() for name in ("form", "values"))
    codes = {key.partition("/")[0] for key in words("findings", "en")} - {"hint", "report"}
    codes |= {code for code in (key.partition("/")[0] for key in words("faults", "en")) if f'"{code}"' in checks}
    codes -= {"where"}
    assert len(codes) > 30
    rows = skeleton((DOCS / "diagnosis.md").read_text(encoding="utf-8"))["table rows"]
    assert {row.strip("`") for row in rows} == codes
    assert len(rows) == len(codes)


def planted(page: Path) -> list[tuple[str, str]]:
    """Each code of the diagnosis's tables, with the example that plants it."""
    return re.findall(r"^\| `([a-z-]+)` \|.*\| `([^`]+)` \|$", page.read_text(encoding="utf-8"), re.MULTILINE)


PLANTED = planted(DOCS / "diagnosis.md")


@pytest.mark.parametrize(("code", "example"), PLANTED, ids=[code for code, _ in PLANTED])
def test_every_example_of_a_finding_plants_it(code: str, example: str) -> None:
    page = (DOCS / "diagnosis.md").read_text(encoding="utf-8")
    blocks = doctest.DocTestParser().get_examples(page)
    first = next(
        i for i, block in enumerate(blocks) if "default_rng" in block.source and block.source.startswith("rng")
    )
    names: dict[str, Any] = {"np": np, "ctckit": ctckit}
    if "torch" in example:
        names["torch"] = pytest.importorskip("torch")
    for block in blocks[first : first + 7]:
        exec(block.source, names)
    arguments = ("log_probs", "targets", "input_lengths", "target_lengths", "blank")
    assert ctckit.diagnose(*(names[name] for name in arguments)).healthy
    exec(example, names)
    found = ctckit.diagnose(*(names[name] for name in arguments))
    assert code in [finding.code for finding in found.findings]


def test_both_languages_plant_the_same() -> None:
    rows = skeleton((DOCS / "diagnosis.md").read_text(encoding="utf-8"))["table rows"]
    assert [f"`{code}`" for code, _ in PLANTED] == rows
    assert planted(DOCS / "diagnosis.zh.md") == PLANTED


def test_glossary() -> None:
    """The design's glossary has exactly the public names of all fronts."""
    torch_front = pytest.importorskip("ctckit.torch", reason="the glossary has the names of the torch front")
    glossary = (DOCS / "design.md").read_text(encoding="utf-8").partition("\n## Glossary\n")[2]
    blocks = [block.splitlines() for block in glossary.split("\n\n") if block.lstrip().startswith("|")]
    tables = {rows[0].split("|")[1].strip(" `"): rows[2:] for rows in blocks}
    jax_front = pytest.importorskip("ctckit.jax", reason="the glossary has the names of the JAX front")
    for module in (ctckit, torch_front, jax_front):
        names = [name for row in tables[module.__name__] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
        assert sorted(names) == sorted(module.__all__)


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_committed_pictures_are_what_the_code_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compares their texts, including numbers; python docs/draw.py updates them."""
    monkeypatch.syspath_prepend(str(DOCS))
    from draw import FOLDERS, drawings

    drawn = dict(drawings(*FOLDERS))
    for name, picture in drawn.items():
        committed, now = texts((DOCS / f"{name}.svg").read_text(encoding="utf-8")), texts(picture.svg())
        if "/guide/" in name:  # charts: which ticks have numbers is matplotlib's choice
            committed, now = (
                [text for text in side if not re.fullmatch(r"[−.\d]+", text)] for side in (committed, now)
            )
        assert committed == now != [], name
    files = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.glob("images/*/*")}
    assert files == set(drawn), "a picture that nothing draws"


def test_seed_and_other_have_small_pngs_too() -> None:
    for folder in ("seed", "other"):
        pngs = {path.stem: path.read_bytes() for path in (DOCS / "images" / folder).glob("*.png")}
        assert set(pngs) == PICTURES | {f"{name}.zh" for name in PICTURES}
        for name, png in pngs.items():
            assert png.startswith(b"\x89PNG"), name
            assert len(png) < 150_000, name


def test_golden_numbers_stand_in_the_committed_pictures() -> None:
    shown = {path.stem: texts(path.read_text(encoding="utf-8")) for path in (DOCS / "images/seed").glob("*.svg")}
    assert set(shown) == PICTURES | {f"{name}.zh" for name in PICTURES}
    for ending in ("", ".zh"):
        assert {"−2.5501", "−2.9660", "[4, 4, 1, 3, 4, 1, 2]"} <= set(shown["inputs" + ending])
        assert {"φcatφφ", "ccccat"} <= set(shown["paths" + ending])
        assert any("84" in text for text in shown["paths" + ending])
        assert {"−2.28920", "−0.10690", "−0.21214", "−1.76190", "φ1", "11", "1φ"} <= set(shown["computation" + ending])
        assert any(text.endswith("= 0.0196190046") for text in shown["computation" + ending])


# --- notebooks --------------------------------------------------------------------------------------------------------


def same_code(source: str) -> list[str]:
    """Code without its comments, its docstrings and its language."""
    tokens = tokenize.generate_tokens(io.StringIO(source.replace('lang="zh"', 'lang="en"')).readline)
    return [
        token.string
        for token in tokens
        if token.type not in (tokenize.COMMENT, tokenize.NL) and not token.string.startswith('"""')
    ]


def printed(cell: nbformat.NotebookNode) -> str:
    """A code cell's text, without its pictures."""
    return "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)


def drawn_pictures(cell: nbformat.NotebookNode) -> int:
    return sum("image/svg+xml" in output.get("data", {}) for output in cell.get("outputs", []))


def pages(cell: nbformat.NotebookNode) -> int:
    """How many interactive pages a code cell shows."""
    return sum("<iframe" in output.get("data", {}).get("text/html", "") for output in cell.outputs)


def test_notebooks_are_in_step() -> None:
    english, chinese = (nbformat.read(path, as_version=4) for path in NOTEBOOKS)
    assert [cell.cell_type for cell in english.cells] == [cell.cell_type for cell in chinese.cells]
    for one, other in zip(english.cells, chinese.cells, strict=True):
        if one.cell_type == "code":
            assert same_code(one.source) == same_code(other.source)
            assert drawn_pictures(one) == drawn_pictures(other)
        else:
            assert skeleton(one.source + "\n") == skeleton(other.source + "\n")
            assert not set(headings(one.source)) & set(headings(other.source))


RUN = """
import sys
from pathlib import Path
import nbformat
from run import executed
sys.stdout.write(nbformat.writes(executed(Path(sys.argv[1]))))
"""


def executed(path: Path) -> nbformat.NotebookNode:
    """A notebook, executed now, in a process with an event loop of its own."""
    utf8 = {**os.environ, "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path)], cwd=EXAMPLES, env=utf8, capture_output=True, timeout=240
    )
    assert done.returncode == 0, done.stderr.decode()
    return nbformat.reads(done.stdout.decode(), as_version=4)


@pytest.mark.parametrize(
    "path",
    [NOTEBOOKS[0], pytest.param(NOTEBOOKS[1], marks=pytest.mark.long)],  # both have the same code
    ids=lambda path: path.stem,
)
def test_notebook_gives_what_it_shows(path: Path) -> None:
    """The same text; of pictures only their number."""
    stored = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in stored] == list(range(1, len(stored) + 1)), "run all of it, in order"
    again = [cell for cell in executed(path).cells if cell.cell_type == "code"]
    assert [printed(cell) for cell in again] == [printed(cell) for cell in stored]
    assert [drawn_pictures(cell) for cell in again] == [drawn_pictures(cell) for cell in stored]
    assert sum(map(drawn_pictures, stored)) >= 9
    assert [sum(map(pages, cells)) for cells in (again, stored)] == [1, 1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_shows_the_golden_numbers(path: Path) -> None:
    text = "\n".join(printed(cell) for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    for number in (
        "1.6899",
        "11.8293",
        "8 120 -13.81764",
        "84 28",
        "0.01961900455208171",
        "0.0195572",
        "39 3.56276 3.56276",
        "inf",
    ):
        assert number in text
    for gradient in ("[[0.01775, -0.01775], [0.01598, -0.01598]]", "[[-0.0836  -0.9164 ]\n [-0.17512 -0.82488]]"):
        assert gradient in text
