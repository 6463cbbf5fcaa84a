"""Folders as other tools write them, with made-up recordings of `TEXTS`; each function returns the words' times."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from .corpora import manifest
from .recordings import LABELS, SHIFT, spoken

Times = list[tuple[float, float]]

TEXTS = ["the quick brown fox", "jumps over", "a lazy dog"]


def nemo_folder(folder: Path) -> list[Times]:
    """NeMo's manifest.json, its model_config.yaml, whose labels lack the blank, and scores/, a file per recording."""
    pytest.importorskip("yaml", reason="YAML is an extra")
    (folder / "scores").mkdir()
    rows, truth = [], []
    for seed, text in enumerate(TEXTS):
        scores, times = spoken(text, seed)
        np.save(folder / "scores" / f"utt{seed}.npy", np.roll(scores, -1, axis=1))  # the blank is the last class
        duration = round(len(scores) * SHIFT, 2)
        rows.append({"audio_filepath": f"clips/utt{seed}.wav", "duration": duration, "text": text})
        truth.append(times)
    rows[1]["offset"], rows[2]["offset"] = 12.5, None
    manifest(folder, rows, "manifest.json")
    (folder / "model_config.yaml").write_text(f"model:\n  labels: {json.dumps(LABELS[1:])}\n  optim: {{name: adam}}\n")
    return truth


def kaldi_folder(folder: Path, ids: list[str]) -> list[Times]:
    """Kaldi's text, and logprobs.ark with its logprobs.scp."""
    kaldiio = pytest.importorskip("kaldiio", reason="Kaldi's archives are an extra")
    made = [spoken(text, seed) for seed, text in enumerate(TEXTS)]
    (folder / "text").write_text("".join(f"{id} {text}\n" for id, text in zip(ids, TEXTS, strict=True)))
    with kaldiio.WriteHelper(f"ark,scp:{folder / 'logprobs.ark'},{folder / 'logprobs.scp'}") as write:
        for id, (scores, _) in zip(ids, made, strict=True):
            write(id, scores)
    return [times for _, times in made]


def lhotse_folder(folder: Path, ending: str = ".jsonl") -> list[Times]:
    """lhotse's cuts, ten seconds apart in their recording. Their supervisions are in no order, and each is a line."""
    rows, truth = [], []
    for seed, text in enumerate(TEXTS):
        scores, times = spoken(text, seed)
        np.save(folder / f"rec-1-{seed}.npy", scores)
        first, rest = text.split(" ", 1)
        supervisions = [
            {"id": "s2", "recording_id": "rec-1", "start": times[1][0], "duration": 1.0, "channel": 0, "text": rest},
            {"id": "s1", "recording_id": "rec-1", "start": 0, "duration": 0.3, "channel": 0, "text": first},
            {"id": "s3", "recording_id": "rec-1", "start": 0.1, "duration": 0.1, "channel": 0, "text": None},
        ]
        recording = {"id": "rec-1", "sources": [], "sampling_rate": 16000, "num_samples": 10**6, "duration": 62.5}
        cut = {"id": f"rec-1-{seed}", "start": 10.0 * seed, "duration": len(scores) * SHIFT, "channel": 0}
        rows.append({**cut, "supervisions": supervisions, "recording": recording, "type": "MonoCut"})
        truth.append([(start + 10.0 * seed, end + 10.0 * seed) for start, end in times])
    manifest(folder, rows, f"cuts{ending}")
    if ending.endswith("gz"):
        (folder / f"cuts{ending}").write_bytes(gzip.compress((folder / f"cuts{ending}").read_bytes()))
    return truth


def hugging_face_folder(folder: Path) -> Times:
    """A model's logits.pt as torch saves them, (1, T, C), and the vocab.json of its tokenizer."""
    torch = pytest.importorskip("torch", reason="it writes .pt")
    names = ["[PAD]", "|", *LABELS[2:], "[UNK]"]
    scores, times = spoken(TEXTS[0])
    logits = np.pad(3 + scores, ((0, 0), (0, 1)), constant_values=-30)
    torch.save(torch.from_numpy(logits)[None], folder / "logits.pt")
    (folder / "vocab.json").write_text(json.dumps({name: c for c, name in reversed(list(enumerate(names)))}))
    return times
