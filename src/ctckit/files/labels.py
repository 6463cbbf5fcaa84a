"""The forms that people keep a recogniser's labels in: one a line, tables, JSON, YAML, files of tokenizers and configs.

The form follows from the content, not from the file's name. May import disk.py and errors.py; PyYAML is imported when
there is YAML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ..errors import CTCError, MissingExtraError
from .disk import check_file, read_text

_ROW = re.compile(r"(.*?)(?:\t|(?<=.) +|^ )(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)")  # a name, white space and a number
_YAML_ITEM = re.compile(r"-( .*)?")
_JSON_BEGINS = re.compile(r'\s*(?:\{\s*"[^"\n]+"\s*:|\[\s*["\[])')
_CONFIG_KEYS = ("labels", "vocabulary")  # under which NeMo's configurations list them
_PLACEHOLDER = re.compile(r"LABEL_\d+")
_DISAMBIGUATION = re.compile(r"#\d+")  # k2's and Kaldi's symbols of graphs, after the classes


def read_labels(path: str | Path) -> list[str]:
    """The classes' labels, the first for class 0: UTF-8 text, in one of the forms that `parse_labels` names.

    The simplest is one label a line, which may be a single space. Line ends may be those of Unix or Windows.

    Raises:
        CTCError: for a file that can't be read, an empty label, a label or a class that is there twice, or a class
            without a label.
        MissingExtraError: it is YAML, and PyYAML is not installed.
    """
    path = Path(path)
    check_file(path)
    return parse_labels(read_text(path), str(path))


def parse_labels(text: str, name: str) -> list[str]:
    r"""The label of each class, from the content of a file.

    Args:
        text: a label a line, in class order; lines of label and class (k2's ``tokens.txt``) or of piece and score
            (SentencePiece's ``.vocab``); a list or a dictionary of classes, as JSON or YAML, or such a dictionary for
            one language; a ``tokenizer.json``; a configuration with ``id2label`` (Hugging Face), or with a list
            ``labels`` or ``vocabulary`` (NeMo, whose blank comes after them).
        name: what messages call it.

    Raises:
        CTCError: a label is missing, or there twice, or the form is another.
        MissingExtraError: it is YAML, and PyYAML is not installed.

    Example:
        >>> parse_labels('{"a": 1, "<blank>": 0}', "vocab.json")
        ['<blank>', 'a']
    """
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    found = _of_json(text, name) or _of_yaml(text, lines, name) or _of_table(lines, name)
    if found is not None:
        return found
    return _unique(lines, name, "line")


def _of_json(text: str, name: str) -> list[str] | None:
    try:
        content = json.loads(text, object_pairs_hook=_pairs_once(name))
    except (ValueError, RecursionError) as error:
        if _JSON_BEGINS.match(text):
            raise CTCError(f"{name} begins as JSON and is none: {error}; was it written completely?") from None
        return None
    return _of_data(content, name) if isinstance(content, (dict, list)) else None


def _pairs_once(name: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise CTCError(f"{name} has {key!r} twice: expected each label once")
            seen.add(key)
        return dict(pairs)

    return check


def _of_yaml(text: str, lines: list[str], name: str) -> list[str] | None:
    used = [line for line in lines if line.strip() and not line.startswith("#")]
    items = [line for line in used if _YAML_ITEM.fullmatch(line)]
    if not (name.lower().endswith((".yaml", ".yml")) or (len(items) == len(used) > 1 and any(" " in x for x in items))):
        return None
    try:
        import yaml
    except ImportError:
        raise MissingExtraError("Reading labels in YAML", "files", "pyyaml") from None
    try:
        content = yaml.load(text, yaml.BaseLoader)  # all values are strings: no is not False
    except yaml.YAMLError as error:
        raise CTCError(f"{name} is not YAML: {' '.join(str(error).split())}") from None
    return _of_data(content, name)


def _of_data(content: Any, name: str) -> list[str]:
    """Of a list, a dictionary of classes, or a file that has one of these somewhere."""
    if isinstance(content, Mapping):
        return _of_mapping(content, name)
    if isinstance(content, list) and content:
        return _unique(content, name, "entry")
    raise CTCError(f"{name} holds a {type(content).__name__}: expected labels, as a list or as a dictionary of classes")


def _of_mapping(content: Mapping[str, Any], name: str) -> list[str]:
    if isinstance(content.get("id2label"), Mapping):
        return _of_id2label(content["id2label"], name)
    lists = dict(_lists(content))
    if lists:
        return _of_config(lists, name)
    if isinstance(content.get("model"), Mapping):
        return _of_tokenizer(content, name)
    if content and all(isinstance(value, Mapping) for value in content.values()):
        return _of_language(content, name)
    return _in_order([(str(label), c) for label, c in content.items()], name)


def _of_id2label(labels: Mapping[str, Any], name: str) -> list[str]:
    """Hugging Face's config.json: labels by class, which transformers makes up where nobody gave any."""
    if all(isinstance(label, str) and _PLACEHOLDER.fullmatch(label) for label in labels.values()):
        raise CTCError(
            f"{name} has only placeholders in id2label, as LABEL_0: expected the labels; they are probably in "
            "vocab.json, which the tokenizer has"
        )
    return _in_order([(str(label), c) for c, label in labels.items()], name)


def _of_language(content: Mapping[str, Any], name: str) -> list[str]:
    """MMS's vocab.json: a dictionary of classes for each language."""
    if len(content) > 1:
        languages = ", ".join(sorted(content)[:8]) + (", …" if len(content) > 8 else "")
        raise CTCError(
            f"{name} has the labels of {len(content)} languages ({languages}): expected those of one; save these as a "
            "file of their own"
        )
    (language,) = content.values()
    return _of_data(language, name)


def _lists(content: Any, place: str = "") -> Iterator[tuple[str, list[Any]]]:
    """The lists that a configuration calls labels or vocabulary, however deep, by their place."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key in _CONFIG_KEYS and isinstance(value, list) and value:
                yield f"{place}{key}", value
            yield from _lists(value, f"{place}{key}.")


def _of_config(lists: Mapping[str, list[Any]], name: str) -> list[str]:
    """NeMo's: labels without the blank, which is the last class. It may have the same list at several places."""
    (first, labels), *others = lists.items()
    for place, other in others:
        if other != labels:
            raise CTCError(f"{name} has other labels in {first} than in {place}: expected one list; save it as a file")
    return [*_unique(labels, f"{name}, {first}", "entry"), "<blank>"]


def _of_tokenizer(content: Mapping[str, Any], name: str) -> list[str]:
    """Hugging Face's tokenizer.json: pieces by class, or a list of pieces with scores, and tokens that were added."""
    vocab = content["model"].get("vocab")
    if isinstance(vocab, Mapping):
        classes = dict(vocab)
    elif isinstance(vocab, list) and all(isinstance(entry, list) and len(entry) == 2 for entry in vocab):
        classes = {piece: c for c, (piece, _) in enumerate(vocab)}
    else:
        raise CTCError(f"{name} is a tokenizer without pieces: expected model.vocab, a dictionary or a list")
    for token in content.get("added_tokens") or []:
        if not isinstance(token, Mapping) or not {"id", "content"} <= token.keys():
            raise CTCError(f"{name} has {str(token)[:40]!r} in added_tokens: expected its id and content")
        classes[token["content"]] = token["id"]
    return _in_order(list(classes.items()), name)


def _of_table(lines: list[str], name: str) -> list[str] | None:
    """Lines that all end with a number: classes, if these are there once each, or scores of pieces."""
    rows = [_ROW.fullmatch(line) for line in lines]
    if not all(rows):
        return None
    names = [row[1] if row[1].strip() else row[1][:1] for row in rows if row]
    numbers = [row[2] for row in rows if row]
    if all(number.isdecimal() for number in numbers) and len(set(map(int, numbers))) == len(numbers):
        classes = list(zip(names, map(int, numbers), strict=True))
        return _in_order([row for row in classes if not _DISAMBIGUATION.fullmatch(row[0])] or classes, name)
    if any("\t" not in line for line in lines):
        raise CTCError(
            f"{name} has numbers after its labels that are not classes, on line 1 {lines[0][:40]!r}: expected each "
            "class once; counts, as in fairseq's dict.txt, say nothing of the classes before them"
        )
    return _unique(names, name, "line")


def _in_order(pairs: Iterable[tuple[str, Any]], name: str) -> list[str]:
    """Labels by class; each class from 0 on must be there once."""
    labels: dict[int, str] = {}
    for label, number in pairs:
        c = int(number) if isinstance(number, str) and number.isdecimal() else number
        if isinstance(c, bool) or not isinstance(c, int) or c < 0:
            raise CTCError(f"{name}: {label!r} has {str(number)[:40]!r}: expected its class, such as 5")
        if c in labels:
            raise CTCError(f"{name}: {labels[c]!r} and {label!r} are both class {c}: expected each class once")
        labels[c] = label
    missing = next((c for c in range(len(labels)) if c not in labels), None)
    if missing is not None:
        raise CTCError(
            f"{name} has {len(labels)} labels and none for class {missing}: expected one for each class from 0 to "
            f"{max(labels)}"
        )
    return [labels[c] for c in range(len(labels))]


def _unique(labels: Iterable[Any], name: str, place: Literal["line", "entry"]) -> list[str]:
    """Labels in class order, each there once."""
    plural = {"line": "lines", "entry": "entries"}[place]
    seen: dict[str, int] = {}
    for number, label in enumerate(labels, start=1):
        if not isinstance(label, str):
            raise CTCError(f"{name}, {place} {number} is {str(label)[:40]!r}: expected a label, a string")
        if not label:
            raise CTCError(
                f"{name}, {place} {number} is empty: expected a label on every line; write the blank's as φ or <blank>"
            )
        if label in seen:
            raise CTCError(f"{name}, {plural} {seen[label]} and {number} are both {label!r}: expected each label once")
        seen[label] = number
    return list(seen)
