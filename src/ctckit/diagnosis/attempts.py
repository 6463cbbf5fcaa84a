"""The batch tried with another blank or with other targets. May import evidence.py, batch.py and below.

Whether the network fits these better is decided by what it reads, which is cheap, and then by the loss; or, if it can't
be read, by the order of the tokens.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..text.reading import edit_distance
from .batch import Ints
from .evidence import Evidence, Sample, is_spelled

MILLION = math.log(1e6)  # nats of evidence that are enough on their own
ENOUGH = math.log(1e4)  # those that are enough together with the loss
THOUSAND = math.log(1e3)  # those that are enough together with the reading and the loss

_PART = 64  # samples that are tried first
_FEWER = 0.7  # the share of the errors that may remain
_LESS = 0.6  # the share of the loss, beyond the best path's, that may remain
_BUCKETS = 512  # of class counts, by which targets are first compared
_CANDIDATES = 3  # the nearest targets, which are then compared token by token
_ORDERS = 20  # random orders of tokens that are tried
_DEVIATIONS = 8  # standard deviations from these to the one that counts
_REORDERED = 16  # samples whose tokens are put in other orders, at most
_SCORES = 2**22  # of these samples together, unless there is but one


class Attempt(NamedTuple):
    """What comes of a batch with other targets or another blank.

    Attributes:
        loss: nats per token.
        before: nats per token as passed; NaN if nothing could be computed.
        errors: tokens that differ from the network's reading.
        tokens: of the targets.
        samples: how many were tried.
        shuffled: nats per token with each target's tokens in random order, if the order has decided; else None.
    """

    loss: float
    before: float
    errors: int
    tokens: int
    samples: int
    shuffled: float | None = None

    @property
    def numbers(self) -> dict[str, float | int | None]:
        """For a finding."""
        before = None if math.isnan(self.before) else self.before
        shuffled = {} if self.shuffled is None else {"shuffled": self.shuffled}
        return {"loss": self.loss, "before": before, "errors": self.errors, "tokens": self.tokens, **shuffled}


def attempt_by_reading(
    evidence: Evidence, targets: Mapping[int, Ints], blank: int, *, changed: int = 0
) -> Attempt | None:
    """What comes of other targets and another blank, if the network's reading puts that beyond doubt: None if not.

    The reading must differ from the targets in half of the tokens at most, and clearly less than before: by more
    tokens than chance could win. The loss must come down by 20 nats over the batch, and by two fifths of what it has
    beyond the best path's, which no text can be far below. If there was no loss before, a third of the tokens may
    differ. Of a large batch a part is tried first, since nearly all attempts come to nothing.

    Args:
        evidence: the batch as passed.
        targets: of the samples that are to be tried, by index.
        blank: the blank's class.
        changed: the number of tokens that the targets change, if other evidence for this change is beyond doubt. Then
            any fall of the loss will do, if it is two nats for each of these tokens.
    """
    part = dict(list(targets.items())[:: -(-len(targets) // _PART)]) if len(targets) > _PART else None
    if part is not None and _by_reading(evidence, part, blank, changed) is None:
        return None
    return _by_reading(evidence, targets, blank, changed)


def _by_reading(evidence: Evidence, targets: Mapping[int, Ints], blank: int, changed: int) -> Attempt | None:
    tried = _legal(evidence, targets, blank)
    if not tried or not _is_read_better(evidence, tried, targets, blank, changed):
        return None
    found, losses = _measured(evidence, tried, targets, blank)
    known = [sample for sample in tried if not math.isnan(sample.loss)]
    best = sum(sample.best for sample in known)
    before, after = sum(sample.loss for sample in known), sum(losses[sample.index] for sample in known)
    better = after + best < (1 if changed else _LESS) * (before + best) and before - after > max(20, 2 * changed)
    accepted = better if known else 3 * found.errors <= found.tokens
    return found if found.loss < math.inf and accepted else None


def _legal(evidence: Evidence, targets: Mapping[int, Ints], blank: int) -> list[Sample]:
    """The samples to be tried whose targets are tokens; none if these are not nearly all."""
    given = [sample for sample in evidence.readable if sample.index in targets]
    tried = [sample for sample in given if is_spelled(targets[sample.index], sample.classes, blank)]
    return tried if len(tried) >= 0.9 * len(targets) and any(len(targets[each.index]) for each in tried) else []


def _is_read_better(
    evidence: Evidence, tried: Sequence[Sample], targets: Mapping[int, Ints], blank: int, changed: int
) -> bool:
    tokens = sum(len(targets[sample.index]) for sample in tried)
    if 2 * sum(_fewest_errors(targets[sample.index], sample.read(blank)) for sample in tried) > tokens:
        return False
    errors = _misread(tried, targets, blank)
    before = sum(sample.tokens if math.isnan(sample.loss) else sample.errors for sample in tried)
    won = (before - errors) * per_token(evidence)
    return 2 * errors <= tokens and errors < (1 if changed else _FEWER) * before and won >= ENOUGH


def _misread(tried: Sequence[Sample], targets: Mapping[int, Ints], blank: int) -> int:
    return sum(edit_distance(targets[sample.index].tolist(), sample.read(blank)) for sample in tried)


def _measured(
    evidence: Evidence, tried: Sequence[Sample], targets: Mapping[int, Ints], blank: int
) -> tuple[Attempt, dict[int, float]]:
    """What comes of these samples, and the loss of each."""
    losses = {sample.index: evidence.loss_of(sample.index, targets[sample.index], blank) for sample in tried}
    known = [sample for sample in tried if not math.isnan(sample.loss)]
    tokens, of_known = sum(len(targets[sample.index]) for sample in tried), sum(sample.tokens for sample in known)
    before = sum(sample.loss for sample in known) / of_known if of_known else math.nan
    errors = _misread(tried, targets, blank)
    return Attempt(sum(losses.values()) / tokens, before, errors, tokens, len(tried)), losses


def attempt_by_order(evidence: Evidence, targets: Mapping[int, Ints], blank: int) -> Attempt | None:
    """The same for a network too rough to be read: what tells is the order of the targets' tokens.

    A network that has nothing to do with these targets finds the same tokens in random order as likely, whatever
    classes it prefers. So targets count if they are likelier than twenty random orders, by eight standard deviations
    and by 20 nats. As passed they must be hardly better than random orders, with less than a quarter of that. This
    can't judge a blank, since the order of tokens does not depend on it. Nor can it judge targets that were made to fit
    the reading: of all maps of classes, some fit by chance.
    """
    tried = _legal(evidence, targets, blank)
    judged = _reordered(tried, targets)
    if sum(_log_orders(targets[sample.index]) for sample in judged) < 2 * MILLION:
        return None
    known = [sample for sample in judged if not math.isnan(sample.loss)]
    won = sum(sample.loss - evidence.loss_of(sample.index, targets[sample.index], blank) for sample in known)
    if known and not won > 20:  # so it is where targets are right as passed, and mostly where the network knows nothing
        return None
    losses = {sample.index: _losses_by_order(evidence, sample.index, targets[sample.index], blank) for sample in judged}
    after, *others = np.sum(list(losses.values()), axis=0).tolist()
    ahead = float(np.mean(others) - after)
    if not np.isfinite(ahead) or ahead < max(20, _DEVIATIONS * float(np.std(others, ddof=1))):
        return None
    if known and won < 0.75 * sum(losses[each.index][1:].mean() - losses[each.index][0] for each in known):
        return None
    found, _ = _measured(evidence, tried, targets, blank)
    tokens = sum(len(targets[sample.index]) for sample in judged)
    return found._replace(shuffled=found.loss + ahead / tokens) if found.loss < math.inf else None


def _reordered(tried: Sequence[Sample], targets: Mapping[int, Ints]) -> list[Sample]:
    """Samples with frames enough for their tokens in any order, evenly spaced, and not too many."""
    roomy = [sample for sample in tried if 2 <= 2 * len(targets[sample.index]) <= sample.frames]
    size = max((sample.frames * sample.classes for sample in roomy), default=1)
    most = max(1, min(_REORDERED, _SCORES // size))
    return roomy[:: -(-len(roomy) // most)] if roomy else []


def _losses_by_order(evidence: Evidence, n: int, target: Ints, blank: int) -> npt.NDArray[np.float64]:
    """The loss of a target, and then with its tokens in random orders."""
    rng = np.random.default_rng(n)
    return np.array(evidence.losses_of(n, [target, *(rng.permutation(target) for _ in range(_ORDERS))], blank))


def _log_orders(target: Ints) -> float:
    """In how many orders these tokens can stand, as a logarithm."""
    _, counts = np.unique(target, return_counts=True)
    return math.lgamma(len(target) + 1) - sum(math.lgamma(count + 1) for count in counts.tolist())


def _fewest_errors(target: Ints, reading: Sequence[int]) -> int:
    """A bound on the edit distance from below: by how often each class occurs."""
    if abs(len(target) - len(reading)) * 2 > len(target):
        return abs(len(target) - len(reading))
    common = sum((Counter(target.tolist()) & Counter(reading)).values())
    return max(len(target), len(reading)) - common


def fitting_targets(evidence: Evidence, samples: Sequence[Sample]) -> dict[int, int]:
    """For samples that don't fit their own targets: the sample whose target the reading fits, by index.

    Targets are first compared by how often each class occurs in them, then token by token.
    """
    batch = evidence.batch
    others = [n for n, target in enumerate(batch.targets) if len(target)]
    counts = np.zeros((len(batch), _BUCKETS), np.int32)
    for n in others:
        counts[n] = np.bincount(batch.targets[n] % _BUCKETS, minlength=_BUCKETS)
    found = {}
    for sample in samples:
        reading = sample.reading
        own = np.bincount(np.array(reading, np.int64) % _BUCKETS, minlength=_BUCKETS)
        apart = np.abs(counts[others] - own).sum(axis=1)
        nearest = [others[i] for i in np.argsort(apart, kind="stable")[:_CANDIDATES]]
        errors = {m: edit_distance(batch.targets[m].tolist(), reading) for m in nearest}
        best = min(errors, key=lambda m: errors[m], default=sample.index)
        tokens = len(batch.targets[best])
        meant = (tokens - errors.get(best, tokens)) * per_token(evidence)
        if best != sample.index and 2 * errors[best] <= min(tokens, sample.errors) and meant > MILLION:
            found[sample.index] = best
    return found


def per_token(evidence: Evidence) -> float:
    """The evidence in a token that fits, in nats: how unlikely it is by chance. 0 with one class beside the blank."""
    return math.log(max(evidence.batch.classes - 1, 1))
