"""Labels in the forms that people have them in, written here by hand or by the tool that the form is of."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ctckit import CTCError, Vocabulary
from ctckit.errors import MissingExtraError
from ctckit.files import read_labels

SCORES = ["0", "0", "-0", "-1", "-2.5", "-2.5", "-3e-1", "-9"]
LABELS = ["<blk>", " ", "a", "b", "▁the", "字", "1", "no"]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def tokenizer(vocab: Any, added: list[dict[str, Any]] | None = None) -> str:
    return json.dumps({"version": "1.0", "added_tokens": added, "model": {"type": "BPE", "vocab": vocab}})


FORMS = {
    "one a line": "\n".join(LABELS) + "\n",
    "vocab.json": json.dumps({name: c for c, name in reversed(list(enumerate(LABELS)))}),
    "vocab.json, indented": json.dumps({name: c for c, name in enumerate(LABELS)}, indent=2, ensure_ascii=False),
    "classes as strings": json.dumps({name: str(c) for c, name in enumerate(LABELS)}),
    "a list as JSON": json.dumps(LABELS, indent=1),
    "tokens.txt": "".join(f"{name} {c}\n" for c, name in enumerate(LABELS)),
    "tokens.txt, not in order": "".join(f"{name}\t{c}\r\n" for c, name in reversed(list(enumerate(LABELS)))),
    "k2's symbols of graphs": "".join(f"{name} {c}\n" for c, name in enumerate([*LABELS, "#0", "#1"])),
    "SentencePiece's .vocab": "".join(f"{name}\t{score}\n" for name, score in zip(LABELS, SCORES, strict=True)),
    "YAML": "# labels\n" + "".join(f"- {json.dumps(name)}\n" for name in LABELS),
    "YAML, bare": "- <blk>\n- ' '\n- a\n- b\n- ▁the\n- 字\n- 1\n- no\n",
    "tokenizer.json": tokenizer({name: c for c, name in enumerate(LABELS)}),
    "tokenizer.json of pieces with scores": tokenizer([[name, -c / 2] for c, name in enumerate(LABELS)], []),
    "tokenizer.json with added tokens": tokenizer(
        {name: c for c, name in enumerate(LABELS) if c not in (0, 7)},
        [{"id": 7, "content": "no", "special": False}, {"id": 0, "content": "<blk>", "special": True}],
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["labels.txt", "labels", "labels.json", "x.vocab"])
def test_every_form_whatever_its_name(form: str, name: str, tmp_path: Path) -> None:
    if "YAML" in form:
        pytest.importorskip("yaml", reason="YAML is an extra")
    assert read_labels(written(tmp_path, name, FORMS[form])) == LABELS
    assert read_labels(written(tmp_path, name, "\ufeff" + FORMS[form])) == LABELS


def test_forms_of_their_own_tools(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="transformers brings it")
    vocab = {"<unk>": 0, "h": 1, "i": 2, "hi": 3}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, [("h", "i")], unk_token="<unk>"))
    made.add_special_tokens(["<pad>"])
    made.save(str(tmp_path / "tokenizer.json"))
    assert read_labels(tmp_path / "tokenizer.json") == ["<unk>", "h", "i", "hi", "<pad>"]
    yaml = pytest.importorskip("yaml", reason="YAML is an extra")
    for flow in (True, False):
        text = yaml.safe_dump(LABELS, default_flow_style=flow, allow_unicode=True)
        assert read_labels(written(tmp_path, "labels.yaml", text)) == LABELS
    assert read_labels(written(tmp_path, "x.yml", yaml.safe_dump({"a": 1, "no": 0}))) == ["no", "a"]


@pytest.mark.parametrize(
    "labels", [["φ", " ", "1", "2"], ["0", "1"], ["{", '"', "}"], ["<blk>", "a 1"], ["-", "--", "[]"]]
)
def test_labels_like_other_forms(labels: list[str], tmp_path: Path) -> None:
    assert read_labels(written(tmp_path, "labels.txt", "\n".join(labels))) == labels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 0, "b": 2}', "has 2 labels and none for class 1: expected one for each class from 0 to 2"),
        ('{"a": 0, "b": 0}', "'a' and 'b' are both class 0: expected each class once"),
        ('{"a": 0, "a": 1}', "has 'a' twice: expected each label once"),
        ('{"a": 0.5}', "'a' has '0.5': expected its class, such as 5"),
        ('{"a": -1}', "'a' has '-1': expected its class"),
        ('{"eng": {"a": 1}}', "has 1 labels and none for class 0"),
        ('{"eng": {"a": 0}, "fra": {"b": 0}}', "has the labels of 2 languages (eng, fra): expected those of one"),
        ('{"eng": {"a": 0}, "b": 0}', "'eng' has \"{'a': 0}\": expected its class"),
        ('{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}', "has only placeholders in id2label, as LABEL_0"),
        ('{"id2label": {"0": "a", "2": "b"}}', "has 2 labels and none for class 1"),
        ('{"labels": ["a"], "x": {"vocabulary": ["b"]}}', "has other labels in labels than in x.vocabulary: expected"),
        ('{"model": {"decoder": {"vocabulary": ["a", "a"]}}}', "model.decoder.vocabulary, entries 1 and 2 are both"),
        ('{"a": 0, "b"', "begins as JSON and is none: "),
        ('["a", "b", "a"]', "entries 1 and 3 are both 'a'"),
        ('["a", 5]', "entry 2 is '5': expected a label, a string"),
        ("[]", "holds a list: expected labels, as a list or as a dictionary of classes"),
        ("a 0\nb 2\n", "has 2 labels and none for class 1"),
        ("a 5\n", "has 1 labels and none for class 0"),
        ("| 94802\nE 51860\nT 94802\n", "fairseq's dict.txt"),
        ('{"model": {"vocab": 5}}', "is a tokenizer without pieces: expected model.vocab"),
        ('{"model": {"vocab": {"a": 0}}, "added_tokens": [5]}', "has '5' in added_tokens: expected its id and content"),
        ("a\t-1\nb\t-2\na\t-3\n", "lines 1 and 3 are both 'a'"),
    ],
)
def test_faults(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(CTCError) as raised:
        read_labels(written(tmp_path, "labels.txt", text))
    assert message in str(raised.value)
    assert "labels.txt" in str(raised.value)


def test_yaml_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'pyyaml': pip install .*\[files\]'"):
        read_labels(written(tmp_path, "labels.yaml", "- a\n"))
    assert read_labels(written(tmp_path, "labels.txt", "- a\n-\n-- b\n")) == ["- a", "-", "-- b"]


NEMO = """\
name: QuartzNet
model:
  sample_rate: 16000
  labels: &labels [" ", "a", "b", "'", "no"]
  train_ds: {manifest_filepath: "???", labels: "${model.labels}"}
  decoder:
    _target_: nemo.collections.asr.modules.ConvASRDecoder
    num_classes: 5
    vocabulary: *labels
"""


def test_configurations(tmp_path: Path) -> None:
    """Hugging Face lists labels by class, NeMo without the blank, MMS by language."""
    hub = {"model_type": "wav2vec2", "id2label": {"1": "a", "0": "<pad>", "2": "|"}, "label2id": {"a": 1}}
    assert read_labels(written(tmp_path, "config.json", json.dumps(hub))) == ["<pad>", "a", "|"]
    assert read_labels(written(tmp_path, "vocab.json", '{"eng": {"|": 1, "<pad>": 0, "a": 2}}')) == ["<pad>", "|", "a"]
    decoder = {"decoder": {"vocabulary": ["▁a", "b"]}, "joint": {"vocabulary": ["▁a", "b"]}}
    assert read_labels(written(tmp_path, "config.json", json.dumps(decoder))) == ["▁a", "b", "<blank>"]
    pytest.importorskip("yaml", reason="YAML is an extra")
    path = written(tmp_path, "model_config.yaml", NEMO)
    assert read_labels(path) == [" ", "a", "b", "'", "no", "<blank>"]
    assert Vocabulary(read_labels(path)).blank == 5


def test_broken_yaml(tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="YAML is an extra")
    with pytest.raises(CTCError, match="is not YAML: "):
        read_labels(written(tmp_path, "labels.yaml", "- [a\n"))


def test_a_vocabulary_of_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, "tokens.txt", "<blk> 0\n▁a 1\n▁c 2\nat 3\n")
    vocabulary = Vocabulary(read_labels(path))
    assert [vocabulary.labels[token] for token in vocabulary.transcribe("a cat").tokens] == ["▁a", "▁c", "at"]
