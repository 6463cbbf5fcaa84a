"""What is a fault and what is not: one function a rule, each with the reason for its threshold.

A new finding is a new function in `RULES`. May import evidence.py, batch.py and report.py beside it, and what lies
below them. Nothing here may fire on a healthy batch, not on one from an untrained network either: the tests hold that
against real trainings, real outputs and random batches.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ..lattice import equal_neighbours, frames_needed
from .batch import Batch, Ints
from .evidence import (
    NORMALISED,
    Evidence,
    Sample,
    is_finite,
    is_spelled,
    loss_of,
    normalised,
    unusable,
)
from .report import Finding

Rule = Callable[[Evidence], Iterator[Finding]]


def not_finite(evidence: Evidence) -> Iterator[Finding]:
    """NaN, +inf, and frames that are -inf throughout. A single -inf is a legal probability of 0."""
    batch = evidence.batch
    for n in range(len(batch)):
        scores = batch.used(n)
        frames = np.flatnonzero(unusable(scores)).tolist()
        if not frames:
            continue
        row = scores[frames[0]]
        wrong = np.flatnonzero(~(row < np.inf))
        c = int(wrong[0]) if len(wrong) else 0
        value = float(row[c])
        what = f"is {value}" if len(wrong) else "is -inf, and so is all of its frame"
        yield Finding(
            "error",
            "not-finite",
            n,
            f"log_probs[{frames[0]}, {n}, {c}] {what}; "
            f"{len(frames)} of sample {n}'s {_count(len(scores), 'frame')} are like that.",
            "Look for what made it upstream: a learning rate too high, a division by zero, log of a softmax in half "
            "precision (use log_softmax), features of silence.",
            {"frame": frames[0], "class": c, "value": value, "frames": len(frames)},
        )


def not_log_probs(evidence: Evidence) -> Iterator[Finding]:
    """Frames whose probabilities don't sum to 1."""
    scale = evidence.scale
    off = np.abs(scale.deviation) > NORMALISED  # NaN, where nothing is judged, is not
    judged = int(np.isfinite(scale.deviation).sum())
    if scale.axis != 2 or not off.any():
        return
    size = np.where(off, np.abs(scale.deviation), 0)
    t, n = map(int, np.unravel_index(int(size.argmax()), size.shape))
    worst = float(scale.deviation[t, n])
    mends = {
        "log-probabilities": "Most frames are right: look at what happens to these after log_softmax.",
        "logits": "Pass logits.log_softmax(-1), or from_logits=True to ctckit.",
        "probabilities": "Replace softmax by log_softmax; the log of a softmax works too, but underflows.",
        "negated log-probabilities": "Drop the minus sign: the loss negates by itself.",
    }
    looks = "" if scale.kind == "log-probabilities" else f"; they look like {scale.kind}"
    yield Finding(
        "error",
        "not-log-probs",
        None,
        f"{int(off.sum())} of {judged} frames are no log-probabilities: the worst is frame {t} of sample {n}, whose "
        f"logsumexp is {worst:.4g} instead of 0{looks}.",
        mends[scale.kind],
        {"frames": int(off.sum()), "of": judged, "frame": t, "sample": n, "logsumexp": worst, "looks_like": scale.kind},
    )


def softmax_over_wrong_axis(evidence: Evidence) -> Iterator[Finding]:
    """Normalised, but along frames or along the batch."""
    scale = evidence.scale
    if scale.axis == 2:
        return
    name = ("frames, T", "batch, N")[scale.axis]
    mean = float(np.nanmean(scale.deviation))
    yield Finding(
        "error",
        "softmax-over-wrong-axis",
        None,
        f"log_probs sums to 1 along axis {scale.axis} (the {name}) instead of the classes: a frame's logsumexp is "
        f"{mean:.4g} in the mean instead of 0.",
        "Call log_softmax(-1) on the (T, N, C) logits.",
        {"axis": scale.axis, "logsumexp": mean, "looks_like": scale.kind},
    )


def swapped_square(evidence: Evidence) -> Iterator[Finding]:
    """Batch-first with as many samples as frames, which no shape gives away.

    Turned round, every sample must become likelier, and the batch be read well, at less than half a nat a token: that
    is a trained network's work, unless the targets together say so little that noise could spell them.
    """
    batch, samples = evidence.batch, evidence.samples
    frames, size, _ = batch.scores.shape
    if frames != size or size < 4 or len(samples) < size or evidence.scale.axis != 2:
        return
    turned = []
    for sample in samples:
        scores = batch.scores[sample.index, : sample.frames].astype(np.float64)
        if unusable(scores).any():
            return
        log_probs = normalised(scores, evidence.scale.kind)
        turned.append(loss_of(log_probs, sample.target, batch.blank))
    before, after = sum(sample.loss for sample in samples), sum(turned)
    tokens = sum(sample.tokens for sample in samples)
    better = all(new < sample.loss for new, sample in zip(turned, samples, strict=True))
    if better and after < 0.5 * tokens and _says_something(tokens, batch):
        yield Finding(
            "warning",
            "batch-first",
            None,
            f"T and N are both {size}, and every sample is likelier with the two swapped: the loss summed over the "
            f"batch is {before:.4g} nats as it is and {after:.4g} swapped.",
            "If the network gives (N, T, C), pass log_probs.transpose(0, 1), or batch_first=True to ctckit.torch.",
            {"loss": before, "swapped": after, "samples": size},
        )


def faulty_tokens(evidence: Evidence) -> Iterator[Finding]:
    """Blanks, and numbers that are no classes; at a target's end they are padding that its length counts."""
    batch = evidence.batch
    for n, target in enumerate(batch.targets):
        if is_spelled(target, batch):
            continue
        padding = _padding(target, batch)
        if padding:
            value, length = int(target[-1]), len(target)
            yield Finding(
                "error",
                "target-length-counts-padding",
                n,
                f"target_lengths[{n}] = {length}, but the last {padding} of these tokens are {value}"
                f"{', the blank' if value == batch.blank else ''}: padding.",
                f"Count the tokens before padding: here {length - padding}.",
                {"target_length": length, "padding": padding, "value": value, "tokens": length - padding},
            )
        inner = target[: len(target) - padding]
        yield from _blanks(inner, n, batch)
        yield from _no_classes(inner, n, batch)


def _padding(target: Ints, batch: Batch) -> int:
    """How many tokens at the end are padding for sure: blanks, negative numbers, or two and more of one non-class."""
    last = int(target[-1])
    run = len(target) - int(np.flatnonzero(np.append(last - 1, target) != last)[-1])
    if last == batch.blank or last < 0:
        return run
    return run if last >= batch.classes and run > 1 else 0


def _blanks(target: Ints, n: int, batch: Batch) -> Iterator[Finding]:
    where = np.flatnonzero(target == batch.blank).tolist()
    if not where:
        return
    tokens = np.concatenate(batch.targets)
    mend = "Take the blank out of the labels: the lattice adds its own."
    if batch.blank == 0 and tokens.max() == batch.classes - 2:
        mend = (
            f"All ids are in 0..{batch.classes - 2}: add 1 to each, or, if the network's last class is the blank, "
            f"pass blank={batch.classes - 1}."
        )
    yield Finding(
        "error",
        "blank-in-target",
        n,
        f"Sample {n}'s target holds the blank, {batch.blank}, {len(where)} times in {len(target)} tokens, first at "
        f"token {where[0]}.",
        mend,
        {"token": where[0], "count": len(where), "blank": batch.blank, "positions": where},
    )


def _no_classes(target: Ints, n: int, batch: Batch) -> Iterator[Finding]:
    where = np.flatnonzero((target < 0) | (target >= batch.classes)).tolist()
    if not where:
        return
    value = int(target[where[0]])
    yield Finding(
        "error",
        "token-out-of-range",
        n,
        f"Token {where[0]} of sample {n} is {value}, but there are C={batch.classes} classes (0..{batch.classes - 1}); "
        f"{len(where)} of its {len(target)} tokens are no classes.",
        "Negative numbers are padding: leave them out of target_lengths."
        if value < 0
        else "Make labels and network agree on the vocabulary; does it count the blank?",
        {"token": where[0], "value": value, "classes": batch.classes, "count": len(where)},
    )


def padding_of_a_class(evidence: Evidence) -> Iterator[Finding]:
    """Padding that is a class of its own, given away by its place: at the ends of rows and nowhere else.

    Were it an ordinary token, all of its m uses in a row of S would stand at the end with chance 1 / binom(S, m). One
    a row may be an end-of-sentence token, so only rows with two or more count; and only targets of full width are
    asked, since counting padding makes them so. At one in a million for the whole batch, random targets keep silent.
    """
    batch = evidence.batch
    if batch.width is None or len(batch) < 3 or any(len(target) != batch.width for target in batch.targets):
        return
    ends = Counter(int(target[-1]) for target in batch.targets if len(target))
    for value, _ in ends.most_common():
        if value == batch.blank or not 0 <= value < batch.classes:
            continue  # that is for faulty_tokens
        counts = [int((target == value).sum()) for target in batch.targets]
        at_end = all(
            (target[len(target) - m :] == value).all() for target, m in zip(batch.targets, counts, strict=True)
        )
        padded = [m for m in counts if m > 1]
        chance = math.prod(1 / math.comb(batch.width, m) for m in padded)
        if at_end and len(set(padded)) > 1 and chance * len(ends) < 1e-6:
            yield Finding(
                "warning",
                "target-length-counts-padding",
                None,
                f"All target_lengths are {batch.width}, and class {value} stands only at the ends of targets, "
                f"{max(counts)} times in a row at most: it looks like padding.",
                "Count the tokens before padding.",
                {"target_length": batch.width, "value": value, "padding": counts},
            )


def infeasible(evidence: Evidence) -> Iterator[Finding]:
    """A target that needs more frames than there are."""
    batch = evidence.batch
    for n, target in enumerate(batch.targets):
        needed, frames = frames_needed(target), batch.frames[n]
        if needed <= frames:
            continue
        pairs = equal_neighbours(target)
        told = [f"{s - 1}-{s} ({target[s]})" for s in pairs]
        between = f" and {_count(len(pairs), 'blank')} between equal neighbours, {_listed(told)}" if pairs else ""
        yield Finding(
            "error",
            "infeasible",
            n,
            f"Sample {n} has {_count(frames, 'frame')} but needs {needed}: {_count(len(target), 'token')}{between}. "
            "Its loss is inf.",
            "Leave it out, downsample less, or check its lengths; zero_infinity=True makes it cost nothing and teach "
            "nothing.",
            {"needed": needed, "frames": frames, "tokens": len(target), "equal_pairs": [[s - 1, s] for s in pairs]},
        )


def impossible(evidence: Evidence) -> Iterator[Finding]:
    """Frames enough, and yet no path: all of them meet a probability of 0."""
    for sample in evidence.samples:
        if sample.loss < np.inf or frames_needed(sample.target) > sample.frames:
            continue
        never = sorted({int(c) for c in sample.target if np.isneginf(sample.log_probs[:, c]).all()})
        share = float(np.isneginf(sample.log_probs).mean())
        classes = f" Classes {_listed(map(str, never))} of its target are -inf at every frame." if never else ""
        yield Finding(
            "error",
            "impossible-target",
            sample.index,
            f"Sample {sample.index} has frames enough ({sample.frames}), but every path of its target meets a "
            f"probability of 0: {share:.1%} of its log_probs are -inf.{classes} Its loss is inf.",
            "Use log_softmax instead of the log of a softmax, which underflows; don't mask classes that targets use.",
            {"never": never, "share": share, "frames": sample.frames},
        )


def mean_is_lost(evidence: Evidence) -> Iterator[Finding]:
    """The samples that make the batch's mean inf or NaN, and what it is without them."""
    batch = evidence.batch
    short = [n for n, target in enumerate(batch.targets) if frames_needed(target) > batch.frames[n]]
    endless = sorted({*short, *(sample.index for sample in evidence.samples if sample.loss == np.inf)})
    undefined = [n for n in range(len(batch)) if not is_finite(batch, n) and n not in endless]
    value, guilty = ("nan", undefined) if undefined else ("inf", endless)  # NaN wins
    if not guilty:
        return
    without = evidence.statistics["loss"]
    told = f"; without, it is {without:.4g} nats" if without is not None else ""
    yield Finding(
        "error",
        f"mean-is-{value}",
        guilty[0] if len(guilty) == 1 else None,
        f"The mean loss is {value} because of {'sample' if len(guilty) == 1 else 'samples'} "
        f"{_listed(map(str, guilty))} of {len(batch)}{told}.",
        "Mend these samples: a step on this loss spoils every weight."
        if value == "nan"
        else "Mend or drop these samples: zero_infinity=True only hides them.",
        {"samples": guilty, "mean_of_the_rest": without},
    )


def input_length_short(evidence: Evidence) -> Iterator[Finding]:
    """Frames beyond the length that carry the target.

    Judged by the loss: with all T frames the target must be read well, at less than half a nat a token, and with the
    frames given be ten nats worse, so 20,000 times less likely. Noise in the padding makes targets less likely, but for
    those that say little.
    """
    batch = evidence.batch
    most = len(batch.scores)
    for sample in evidence.samples:
        n = sample.index
        scores = batch.scores[:, n].astype(np.float64)
        if sample.frames == most or sample.loss < 10 or unusable(scores).any():
            continue
        if not _says_something(sample.tokens, batch):
            continue
        log_probs = normalised(scores, evidence.scale.kind)
        whole = loss_of(log_probs, sample.target, batch.blank)
        if whole < 0.5 * sample.tokens and sample.loss - whole > 10:
            peaks = log_probs.argmax(axis=1)
            last = int(np.flatnonzero(peaks != batch.blank)[-1]) + 1
            yield Finding(
                "warning",
                "input-length-short",
                n,
                f"input_lengths[{n}] = {sample.frames}, but sample {n}'s tokens go on to frame {last} of {most}: its "
                f"loss is {sample.loss:.4g} nats, and {whole:.4g} with all frames.",
                "Count frames after the network's downsampling once, not twice.",
                {"input_length": sample.frames, "last_signal": last, "loss": sample.loss, "loss_of_all": whole},
            )


def frames_unused(evidence: Evidence) -> Iterator[Finding]:
    """Half of the frames and more beyond every length, yet as lively as the rest: only a note, since it may be so."""
    batch = evidence.batch
    most, longest = len(batch.scores), max(batch.frames, default=0)
    if evidence.scale.axis != 2 or longest < 2 or longest > most // 2:
        return
    scores = batch.scores.astype(np.float64)
    with np.errstate(invalid="ignore"):
        moves = np.abs(np.diff(scores, axis=0)).mean(axis=(1, 2))
    inside, beyond = float(moves[: longest - 1].mean()), float(moves[longest:].mean())
    if beyond > inside / 2:
        yield Finding(
            "note",
            "frames-unused",
            None,
            f"The longest of input_lengths is {longest} of T={most} frames, and the frames beyond change as much from "
            f"one to the next ({beyond:.3g} nats a class) as those before ({inside:.3g}).",
            "If that is no padding, the lengths were divided by the network's stride once too often.",
            {"longest": longest, "frames": most, "change_beyond": beyond, "change_before": inside},
        )


def all_blank(evidence: Evidence) -> Iterator[Finding]:
    """Every frame says blank. Usual early in training, and a collapse if hardly any probability is left to tokens.

    The loss's gradient by the blank's logits, summed over frames, is the expected number of token frames given the
    target (S at least) minus the mass that the network gives to tokens. So training balances that mass near S, in the
    early all-blank phase too; below a tenth of S something has pushed the network there. One or two tokens may just be
    misread.
    """
    statistics = evidence.statistics
    share, mass = statistics["blank_share"], statistics["token_mass"]
    if mass is None or share < 1 or sum(sample.tokens for sample in evidence.samples) < 3:
        return
    numbers = {"token_mass": mass, "blank_share": share, "confidence": statistics["confidence"]}
    if mass < 0.1:
        yield Finding(
            "warning",
            "all-blank-collapse",
            None,
            f"The blank is the likeliest class of every frame, and all frames together give tokens only {mass:.2g} "
            "frames' worth of probability for each token in the targets.",
            "Lower the learning rate or warm it up; check that blank= is the blank's class, that the input is not "
            "constant, and that the gradient is not lost.",
            numbers,
        )
    else:
        yield Finding(
            "note",
            "all-blank",
            None,
            f"The blank is the likeliest class of every frame, while tokens still get {mass:.2g} frames' worth of "
            "probability for each token in the targets.",
            "Usual in the first hundreds of steps: go on training, and look again if it stays.",
            numbers,
        )


def constant_frames(evidence: Evidence) -> Iterator[Finding]:
    """The same output at every frame.

    A thousandth of a nat is less than an untrained network's output varies with its input. One constant reading may
    still be right (silence, or one token held): then the sample is no fault.
    """
    for sample in evidence.samples:
        if sample.frames < 3 or sample.log_probs.shape[1] < 2 or sample.errors == 0:
            continue
        low, high = sample.log_probs.min(axis=0), sample.log_probs.max(axis=0)
        moved = float(np.subtract(high, low, where=high > low, out=np.zeros_like(high)).max())
        if moved < 1e-3:
            label = int(sample.greedy[0])
            yield Finding(
                "warning",
                "constant-frames",
                sample.index,
                f"All {sample.frames} frames of sample {sample.index} say the same: no class moves by more than "
                f"{moved:.2g} nats, and {label}{' (the blank)' if label == sample.blank else ''} is always the "
                "likeliest.",
                "See whether the input reaches the network: empty features, dead activations, a mean over time.",
                {"frames": sample.frames, "largest_change": moved, "likeliest": label},
            )


def unlikely_target(evidence: Evidence) -> Iterator[Finding]:
    """A network that is sure of another text.

    Sure: its best path keeps 0.8 of the probability at each frame (the geometric mean). Another text: it reads half to
    three times as many tokens as the target has, so it neither rests on early training's blanks nor follows noise, and
    0.7 of the tokens differ: texts of one language that have nothing to do with each other differ in some 0.8, and a
    recogniser's errors rarely reach half. Much less likely: by 20 nats, some 10**9 times, and by 4 nats for each token
    that differs; less is a plain misreading. And what is read must say something.
    """
    for sample in evidence.samples:
        if sample.loss == np.inf or not sample.tokens / 2 <= len(sample.reading) <= 3 * sample.tokens:
            continue
        if not _says_something(len(sample.reading), evidence.batch):
            continue
        sure = float(np.exp(sample.best / sample.frames))
        gap = sample.loss + sample.best
        wrong = sample.errors / max(sample.tokens, len(sample.reading))
        if sure > 0.8 and wrong >= 0.7 and gap > max(20, 4 * sample.errors) and _looks_trained(sample):
            yield Finding(
                "warning",
                "unlikely-target",
                sample.index,
                f"Sample {sample.index}'s target is {gap:.4g} nats less likely than the best path, which is sure "
                f"({sure:.2f} a frame) and reads another text: {sample.errors} tokens differ ({sample.tokens} in the "
                f"target, {len(sample.reading)} read).",
                "Compare transcript and input: it may belong to another sample.",
                {
                    "gap": gap,
                    "confidence": sure,
                    "errors": sample.errors,
                    "tokens": sample.tokens,
                    "reading": sample.reading,
                    "target": sample.target.tolist(),
                },
            )


def _says_something(tokens: int, batch: Batch) -> bool:
    """Whether a text of so many tokens has at least a million alternatives; a shorter one noise may spell too."""
    return tokens * math.log(max(batch.classes - 1, 1)) > math.log(1e6)


def _looks_trained(sample: Sample) -> bool:
    """Trained outputs hold a class for some frames or rest on the blank; noise changes it nearly every frame."""
    return 2 * len(sample.reading) <= sample.frames


def peaky(evidence: Evidence) -> Iterator[Finding]:
    """Sure, mostly blank, and tokens of hardly more than a frame: how CTC networks usually end up, so only a note."""
    numbers = {key: evidence.statistics[key] for key in ("blank_share", "spike_width", "entropy", "confidence")}
    if numbers["spike_width"] is None:
        return
    if numbers["confidence"] > 0.8 and numbers["blank_share"] > 0.5 and numbers["spike_width"] < 2:
        yield Finding(
            "note",
            "peaky",
            None,
            "The output is peaky: {blank_share:.0%} of frames are blank, a token lasts {spike_width:.2f} frames, and a "
            "frame's entropy is {entropy:.3f} nats.".format(**numbers),
            "Good for reading; don't take a spike's place or width for where a token begins and ends.",
            numbers,
        )


RULES: tuple[Rule, ...] = (
    not_log_probs,
    softmax_over_wrong_axis,
    swapped_square,
    not_finite,
    faulty_tokens,
    padding_of_a_class,
    infeasible,
    impossible,
    mean_is_lost,
    all_blank,
    input_length_short,
    constant_frames,
    unlikely_target,
    frames_unused,
    peaky,
)


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _listed(parts: Iterable[str]) -> str:
    """Up to eight things, and how many more."""
    parts = list(parts)
    return ", ".join(parts[:8]) + (f" and {len(parts) - 8} more" if len(parts) > 8 else "")
