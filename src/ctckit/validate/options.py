"""Single numbers and choices among a call's arguments. May import catalogue/, faults.py and errors.py."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from numbers import Real
from typing import Literal, TypeVar

import numpy as np

from ..catalogue import LANGUAGES
from ..errors import CTCError
from ..faults import Fault

Reduction = Literal["none", "mean", "sum"]
Choice = TypeVar("Choice", bound=str)

REDUCTIONS: dict[str, Reduction] = {"none": "none", "mean": "mean", "sum": "sum"}
_WIDEST = 1 << 20  # prefixes of a beam
FLAGS: dict[object, bool] = {False: False, True: True}  # NumPy's booleans, and 0 and 1, are equal to these keys


def check_choice(name: str, value: Choice, choices: Sequence[Choice]) -> Choice:
    """Returns the value if it is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise CTCError(Fault("unknown-choice", name, (), value, list(choices)))
    return value


def check_reduction(reduction: str) -> Reduction:
    """Returns the reduction if there is one of that name."""
    if isinstance(reduction, str) and reduction in REDUCTIONS:
        return REDUCTIONS[reduction]
    raise CTCError(Fault("unknown-choice", "reduction", (), reduction, list(REDUCTIONS)))


def check_flag(name: str, value: object) -> bool:
    """Returns a flag as a bool if it is one: True or False, Python's or NumPy's, or 1 or 0.

    Example:
        >>> check_flag("zero_infinity", np.True_), check_flag("zero_infinity", 0)
        (True, False)
    """
    try:
        return FLAGS[value]
    except (KeyError, TypeError):  # something else, or something unhashable
        raise CTCError(Fault("not-a-flag", name, (), value, [True, False])) from None


def check_language(lang: str) -> str:
    """Returns the language if the catalogue has its words."""
    return check_choice("lang", lang, LANGUAGES)


def check_targets_or_lattices(lattices: object, **of_targets: object) -> None:
    """Checks that a call has targets or lattices, but not both.

    Args:
        lattices: as the caller passed them; None if not.
        of_targets: likewise the targets, under the name that the call has for them, and then all else that belongs to
            targets.
    """
    if lattices is None:
        name, targets = next(iter(of_targets.items()))
        if targets is None:
            raise CTCError(Fault("targets-missing", name))
        return
    for name, value in of_targets.items():
        if value is not None:
            raise CTCError(Fault("targets-and-lattices", name))


def check_integer(name: str, value: object, least: int, most: int | None = None) -> int:
    """Returns the value if it is an integer of at least `least`, and at most `most` if that is given."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise CTCError(Fault("integer-out-of-range", name, (), value, least))
    if most is not None and value > most:
        raise CTCError(Fault("integer-out-of-range", name, (), value, most, variant="most"))
    return int(value)


def check_number(
    name: str, value: object, *, least: float = -math.inf, most: float = math.inf, infinite: bool = False
) -> float:
    """Returns the value as a float if it is a finite number from `least` to `most`; or -inf, if that is allowed.

    Example:
        >>> check_number("unknown_score", -math.inf, infinite=True)
        -inf
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if (math.isfinite(number) and least <= number <= most) or (infinite and number == -math.inf):
        return number
    variant = "infinite" if infinite else "least" if least > -math.inf else ""
    if math.isfinite(number) and number > most:
        variant = "most"
    details = {"least": least, "most": most}
    raise CTCError(Fault("number-out-of-range", name, (), value, least, variant=variant, details=details))


def check_beam_width(beam_width: object, name: str = "beam_width") -> int:
    """Returns the number of prefixes if a search can hold as many."""
    return check_integer(name, beam_width, 1, _WIDEST)


def check_nbest(nbest: int, beam_width: int) -> int:
    """Returns the number of texts that are wanted, if a beam can hold as many."""
    nbest = check_integer("nbest", nbest, 1)
    if nbest > beam_width:
        raise CTCError(Fault("nbest-beyond-beam", "nbest", (), nbest, beam_width, "wider-beam"))
    return nbest


def check_extend(extend: int) -> int:
    """Returns the number of frames that spans may grow by, if it is one: an integer of at least 0."""
    if isinstance(extend, bool) or not isinstance(extend, (int, np.integer)) or extend < 0:
        raise CTCError(Fault("extend-out-of-range", "extend", (), extend, 0))
    return int(extend)


def check_frame_shift(seconds: float) -> float:
    """Returns the time from one frame to the next if it is one: a finite number above 0."""
    if not (_is_number(seconds) and 0 < seconds <= sys.float_info.max):
        raise CTCError(Fault("frame-shift-out-of-range", "frame_shift", (), seconds))
    return seconds


def check_offset(seconds: float) -> float:
    """Returns the time of the first frame if it is one: a finite number, at least 0."""
    if not (_is_number(seconds) and 0 <= seconds <= sys.float_info.max):
        raise CTCError(Fault("offset-out-of-range", "offset", (), seconds))
    return seconds


def check_cost(name: str, nats: float, most: float) -> float:
    """Returns a cost in nats if it is one: a number from 0 to `most`."""
    if not (_is_number(nats) and 0 <= nats <= most):
        raise CTCError(Fault("cost-out-of-range", name, (), nats, (0, most), details={"most": most}))
    return nats


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
