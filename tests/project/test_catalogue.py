"""The catalogue is complete in every language, with the same placeholders."""

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

import ctckit
import ctckit.catalogue
from ctckit.catalogue import LANGUAGES, fill, words

FOLDER = files(ctckit.catalogue)
PARTS = sorted({file.name.split(".")[0] for file in FOLDER.iterdir() if file.name.endswith(".json")})


def test_parts() -> None:
    assert {"explanation", "page", "seed_page"} <= set(PARTS)
    names = {file.name for file in FOLDER.iterdir() if file.name.endswith(".json")}
    assert names == {f"{part}.{lang}.json" for part in PARTS for lang in LANGUAGES}


@pytest.mark.parametrize("part", PARTS)
def test_languages_are_complete(part: str) -> None:
    english = words(part, "en")
    for lang in LANGUAGES:
        other = words(part, lang)
        assert list(other) == list(english)
        for key, text in other.items():
            assert text.strip(), key
            blanks = [sorted(set(re.findall(r"\{(\w+)[^}]*\}", text))) for text in (text, english[key])]
            assert blanks[0] == blanks[1], key
            tags = [sorted(re.findall(r"</?(\w+)", text)) for text in (text, english[key])]
            assert tags[0] == tags[1], key


@pytest.mark.parametrize("part", PARTS)
def test_chinese_is_chinese(part: str) -> None:
    for key, text in words(part, "zh").items():
        english = words(part, "en")[key]
        # Without placeholders, tags, names of arguments and formulas, which are the same in all languages.
        prose = re.sub(r"\{\w+[^}]*\}|<[^>]*>|\w*_\w*|loss = .*", "", english)
        if re.search(r"[a-z]{4,}", prose):
            assert text != english, key
    assert re.search("[一-鿿]", json.dumps(dict(words(part, "zh")), ensure_ascii=False))


SOURCES = "".join(path.read_text(encoding="utf-8") for path in Path(ctckit.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize(("part", "name"), [("faults", "Fault"), ("findings", "Finding")])
def test_codes_have_words_and_words_have_codes(part: str, name: str) -> None:
    """Each code that the sources give is in the catalogue, and the catalogue holds no others."""
    severity = r'"(?:error|warning|note)",\s*' if name == "Finding" else ""
    # A code, or one of two that depend on a condition.
    given = re.findall(rf'\b{name}\(\s*{severity}"([a-z0-9-]+)"(?: if .*? else "([a-z0-9-]+)")?', SOURCES)
    codes = {code for pair in given for code in pair if code}
    if name == "Fault":
        codes |= set(re.findall(r'code="([a-z0-9-]+)"', SOURCES))
        codes |= set(re.findall(r'_of_sample\(\s*"([a-z0-9-]+)"', SOURCES))
    worded = {key.split("/")[0] for key in words(part, "en")} - {"hint", "where", "report"}
    assert codes == worded
    assert len(codes) > 12


def test_hints_have_words_and_words_have_uses() -> None:
    hints = {key.removeprefix("hint/") for key in words("faults", "en") if key.startswith("hint/")}
    quoted = set(re.findall(r'"([a-z0-9-]+)"', SOURCES))
    assert hints <= quoted
    for hint in re.findall(r'hint="([a-z0-9-]+)"', SOURCES):
        assert hint in hints or f"hint/{hint}" in words("findings", "en"), hint


def test_filling_in() -> None:
    assert fill("{n} {n:frame|frames}", "en", {"n": 1}) == "1 frame"
    assert fill("{n:,} {n:frame|frames}", "en", {"n": 2000}) == "2,000 frames"
    assert fill("{names:quoted}", "zh", {"names": ["a", "b"]}) == "'a', 'b'"
    assert fill("{names:or}", "en", {"names": ["a", "b", "c"]}) == "a, b or c"
    assert fill("{names:or}", "zh", {"names": ["a", "b", "c"]}) == "a、b 或 c"
    assert fill("{some}", "zh", {"some": [*range(10)]}) == "0、1、2、3、4、5、6、7 等，另有 2 个"
    assert fill("{flag} {span} {shape} {flag!r}", "en", {"flag": True, "span": range(5), "shape": (2,)}) == (
        "True 0..4 (2,) True"
    )
