"""What optax calls the arguments of a loss, for errors about a call that has them.

The checks are those of all frontends, and speak of lengths where optax's callers give paddings. So what they find is
renamed, wherever it is found. May import faults.py and errors.py.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import CTCError

_NAMES = {
    "targets": "labels",
    "input_lengths": "logit_paddings",
    "target_lengths": "label_paddings",
    "blank": "blank_id",
}
_HINTS = {"count-before-padding": "mark-as-padding", "usual-order": "order-of-optax"}


def as_optax_calls_it(error: CTCError) -> CTCError:
    """The same error in the words of optax's callers."""
    fault = error.fault
    if fault is None:
        return error
    details = {
        name: _NAMES.get(value, value) if isinstance(value, str) else value for name, value in fault.details.items()
    }
    if "counted" in details:  # by a padding that is 0
        details["counted"] = f"label_paddings{[*fault.position]} = 0"
    argument, hint = _NAMES.get(fault.argument, fault.argument), _HINTS.get(fault.hint, fault.hint)
    return CTCError(replace(fault, argument=argument, hint=hint, details=details, names=_NAMES))
