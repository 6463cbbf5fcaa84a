from typing import Any

import numpy as np
import numpy.typing as npt

def instruction_sets() -> list[str]: ...
def find_fault(
    frames: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    frames_max: int,
    classes: int,
    blank: int,
) -> tuple[str, int] | None: ...
def expand(
    targets: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    blank: int,
    roles: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int32],
    arcs: npt.NDArray[np.uint8],
    states: npt.NDArray[np.int32],
) -> None: ...
def mean_weights(lengths: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]) -> None: ...
def weighted_loss(score: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], zero_infinity: bool) -> float: ...
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
