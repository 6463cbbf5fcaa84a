"""Batches for diagnosis: like a trained network's, like an untrained one's, and healthy ones of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracles import collapse

import ctckit
from ctckit.diagnosis import Diagnosis
from ctckit.kernels.reference import log_softmax

from .batches import draw_targets

Arguments = dict[str, Any]


def path_of(target: list[int], frames: int, blank: int, rng: np.random.Generator) -> list[int]:
    """A path of that many frames: each token once, blanks where needed and in all remaining frames."""
    path: list[int] = []
    for token in target:
        path += [blank, token] if path and path[-1] == token else [token]
    while len(path) < frames:
        path.insert(int(rng.integers(len(path) + 1)), blank)
    assert collapse(path, blank) == tuple(target)
    return path


def trained(
    seed: int = 0,
    size: int = 4,
    frames: int = 40,
    classes: int = 12,
    tokens: int = 6,
    blank: int = 0,
    height: float = 9.0,
    wrong: float = 0.0,
) -> Arguments:
    """A batch like a trained network's: peaks of about e**height along each sample's path.

    A share `wrong` of its tokens is misread.
    """
    rng = np.random.default_rng(seed)
    targets = draw_targets(rng, (size, tokens), classes, blank)
    logits = rng.normal(size=(frames, size, classes))
    for n in range(size):
        said = targets[n]
        if wrong:
            said = np.where(rng.random(tokens) < wrong, draw_targets(rng, (tokens,), classes, blank), said)
        path = path_of(said.tolist(), frames, blank, rng)
        logits[np.arange(frames), n, path] += height
    return {
        "log_probs": log_softmax(logits),
        "targets": targets,
        "input_lengths": np.full(size, frames),
        "target_lengths": np.full(size, tokens),
        "blank": blank,
    }


def untrained(seed: int = 0, **shape: Any) -> Arguments:
    return trained(seed, **shape, height=0.0)


def alarms(diagnosis: Diagnosis) -> list[tuple[str, int | None]]:
    """Code and sample of each finding that calls for action."""
    return [(finding.code, finding.sample) for finding in diagnosis.findings if finding.severity != "note"]


KINDS = ("untrained", "wide", "biased", "peaky", "misread", "blanks", "soft")
_SPREAD = {"untrained": (0.01, 0.1, 1.0), "wide": (2.0, 4.0), "biased": (0.3,), "blanks": (0.1,)}


def draw_healthy(seed: int, most: int = 1_500_000) -> tuple[str, Arguments]:
    """A healthy batch with at most this many scores, and its kind.

    Two to 20,000 classes, one to 512 samples, one to 400 frames; targets as long as their frames allow, or shorter;
    classes that are used alike or by Zipf's law, as pieces of words are; lengths and dtypes of every kind. "misread":
    three tokens of ten are; "blanks": the phase of blanks early in training; "biased": an untrained network that
    prefers some classes; "soft": a network that is not sure.
    """
    rng = np.random.default_rng([12, seed])
    frames, size, classes = _draw_shape(rng, most)
    kind = str(rng.choice(KINDS))
    blank = int(rng.choice([0, classes - 1]))
    logits = rng.normal(size=(frames, size, classes)) * rng.choice(_SPREAD.get(kind, (1.0,)))
    if kind == "biased":
        logits += rng.normal(size=classes)
    if kind == "blanks":
        logits[..., blank] += np.log((classes - 1) * 0.85 / 0.15)
    input_lengths = np.full(size, frames) if rng.random() < 0.5 else rng.integers(max(1, frames // 2), frames + 1, size)
    targets = _draw_texts(rng, input_lengths, classes, blank)
    if kind in ("peaky", "misread", "soft"):
        _raise_paths(rng, kind, logits, targets, input_lengths, blank)
    lengths = np.array([len(target) for target in targets])
    padded = np.full((size, max(1, lengths.max())), rng.choice([0, blank, -1, -100, classes - 1]))
    for n, target in enumerate(targets):
        padded[n, : len(target)] = target
    return kind, {
        "log_probs": log_softmax(logits).astype(rng.choice(["float16", "float32", "float64"])),
        "targets": padded,
        "input_lengths": input_lengths,
        "target_lengths": lengths,
        "blank": blank,
    }


def _draw_shape(rng: np.random.Generator, most: int) -> tuple[int, int, int]:
    classes = int(rng.choice([2, 3, 5, 9, 30, 90, 1000, 5000, 20000]))
    size, frames = int(rng.choice([1, 1, 2, 4, 8, 16, 64, 512])), int(rng.choice([1, 2, 3, 6, 10, 30, 80, 200, 400]))
    while classes * size * frames > most:
        if size > 1 and (frames <= 3 or rng.random() < 0.5):
            size = max(1, size // 4)
        else:
            frames = max(1, frames // 2)
    return frames, size, classes


def _draw_texts(
    rng: np.random.Generator, input_lengths: np.ndarray[Any, Any], classes: int, blank: int
) -> list[np.ndarray[Any, Any]]:
    share = 1 / np.arange(1, classes) if rng.random() < 0.5 else np.ones(classes - 1)
    tokens = rng.permutation([c for c in range(classes) if c != blank])
    full, most = rng.random() < 0.25, rng.choice([0.2, 0.4, 0.8])
    texts = []
    for frames in input_lengths.tolist():
        length = frames if full else int(rng.integers(0, max(1, int(frames * most)) + 1))
        text = tokens[rng.choice(classes - 1, size=length, p=share / share.sum())]
        while ctckit.frames_needed(text) > frames:
            text = text[:-1]
        texts.append(text)
    return texts


def _raise_paths(
    rng: np.random.Generator,
    kind: str,
    logits: np.ndarray[Any, Any],
    targets: list[np.ndarray[Any, Any]],
    input_lengths: np.ndarray[Any, Any],
    blank: int,
) -> None:
    classes = logits.shape[2]
    for n, (target, frames) in enumerate(zip(targets, input_lengths.tolist(), strict=True)):
        said = target
        if kind == "misread" and classes > 2:
            others = (rng.integers(0, classes - 1, len(target)) + blank + 1) % classes
            said = np.where(rng.random(len(target)) < 0.3, others, target)
            said = said if ctckit.frames_needed(said) <= frames else target
        path = path_of(said.tolist(), frames, blank, rng)
        height = np.log(classes) + (1 if kind == "soft" else rng.choice([3, 6, 12, 30])) + 3 * rng.random(frames)
        logits[np.arange(frames), n, path] += height
