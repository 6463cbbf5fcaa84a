"""Validation of a call's arguments, once, at the public call: whatever is wrong becomes one clear `CTCError`.

- form.py: shapes and dtypes, of anything array-like on any device; reads no value.
- values.py: lengths, tokens, on the host.
- decoding.py: what decoding asks of scores besides.
- options.py: single numbers and choices.
- answers.py: what a caller's language model says.

`check_form` raises the first fault and `form_faults` lists all, by the same rules; likewise `value_faults`. The kernels
check values faster; values.py explains what they find. To add a fault: yield it in one of these files, put its words
into ``catalogue/faults.*.json``, and a call that has it into ``tests/support/messages.py``.

May import catalogue/, faults.py, errors.py, bfloat16.py and native/.
"""

from ..faults import Fault
from .answers import check_answer
from .decoding import check_classes, check_not_probabilities
from .form import (
    FLOATS,
    Form,
    as_array,
    as_integers,
    check_blank,
    check_form,
    check_lattice_form,
    checked_arrays,
    dtype_name,
    form_faults,
    tensor_without_values,
)
from .index import check_indexed_form
from .options import (
    FLAGS,
    REDUCTIONS,
    Reduction,
    check_beam_width,
    check_choice,
    check_cost,
    check_extend,
    check_flag,
    check_frame_shift,
    check_integer,
    check_language,
    check_nbest,
    check_number,
    check_offset,
    check_reduction,
    check_targets_or_lattices,
)
from .values import check_values, split_targets, value_faults

__all__ = [
    "FLAGS",
    "FLOATS",
    "REDUCTIONS",
    "Fault",
    "Form",
    "Reduction",
    "as_array",
    "as_integers",
    "check_answer",
    "check_beam_width",
    "check_blank",
    "check_choice",
    "check_classes",
    "check_cost",
    "check_extend",
    "check_flag",
    "check_form",
    "check_frame_shift",
    "check_indexed_form",
    "check_integer",
    "check_language",
    "check_lattice_form",
    "check_nbest",
    "check_not_probabilities",
    "check_number",
    "check_offset",
    "check_reduction",
    "check_targets_or_lattices",
    "check_values",
    "checked_arrays",
    "dtype_name",
    "form_faults",
    "split_targets",
    "tensor_without_values",
    "value_faults",
]
