from typing import Any

import numpy as np
import numpy.typing as npt

def instruction_sets() -> list[str]: ...
def first_bad_token(
    targets: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], classes: int, blank: int
) -> int: ...
def sweep(
    scores: npt.NDArray[Any],
    from_logits: bool,
    frames: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int32],
    arcs: npt.NDArray[np.uint8],
    states: npt.NDArray[np.int32],
    score: npt.NDArray[np.float64],
    grad: npt.NDArray[Any] | None,
    weights: npt.NDArray[np.float64] | None,
    occupancy: npt.NDArray[Any] | None,
    isa: str,
    threads: int,
) -> None: ...
