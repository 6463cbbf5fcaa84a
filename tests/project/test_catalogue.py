"""Everything a person reads is there in every language, with the same blanks to fill in."""

import json
import re
from importlib.resources import files

import pytest

import ctckit.catalogue
from ctckit.catalogue import LANGUAGES, words

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
            blanks = [sorted(set(re.findall(r"\{(\w+)\}", text))) for text in (text, english[key])]
            assert blanks[0] == blanks[1], key
            tags = [sorted(re.findall(r"</?(\w+)", text)) for text in (text, english[key])]
            assert tags[0] == tags[1], key


@pytest.mark.parametrize("part", PARTS)
def test_chinese_is_chinese(part: str) -> None:
    for key, text in words(part, "zh").items():
        english = words(part, "en")[key]
        # Without what is no prose: blanks to fill in, tags, names of arguments, formulas.
        prose = re.sub(r"\{\w+\}|<[^>]*>|\w*_\w*|loss = .*", "", english)
        if re.search(r"[a-z]{4,}", prose):
            assert text != english, key
    assert re.search("[一-鿿]", json.dumps(dict(words(part, "zh")), ensure_ascii=False))
