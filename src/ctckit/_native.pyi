from typing import Any

import numpy as np
import numpy.typing as npt

def instruction_sets() -> list[str]: ...

class Prepared:
    def __init__(
        self,
        frames: npt.NDArray[np.int64],
        lengths: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int32],
        arcs: npt.NDArray[np.uint8],
        states: npt.NDArray[np.int32],
        jumps: npt.NDArray[np.int32] | None = None,
        tolls: npt.NDArray[np.float64] | None = None,
    ) -> None: ...
    @property
    def frames(self) -> npt.NDArray[np.int64]: ...
    @property
    def lengths(self) -> npt.NDArray[np.int64]: ...
    @property
    def labels(self) -> npt.NDArray[np.int32]: ...
    @property
    def arcs(self) -> npt.NDArray[np.uint8]: ...
    @property
    def states(self) -> npt.NDArray[np.int32]: ...
    @property
    def jumps(self) -> npt.NDArray[np.int32]: ...
    @property
    def tolls(self) -> npt.NDArray[np.float64] | None: ...

def prepare(
    frames: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    frames_max: int,
    classes: int,
    blank: int,
    arcs_by_role: npt.NDArray[np.uint8],
) -> Prepared | tuple[str, int]: ...
def mean_weights(prepared: Prepared, weights: npt.NDArray[np.float64]) -> None: ...
def weighted_loss(score: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], zero_infinity: bool) -> float: ...
def recycled(bytes: int) -> npt.NDArray[np.uint8]: ...
def sweep(
    scores: npt.NDArray[Any],
    from_logits: bool,
    prepared: Prepared,
    score: npt.NDArray[np.float64],
    grad: npt.NDArray[Any] | None,
    weights: npt.NDArray[np.float64] | None,
    occupancy: npt.NDArray[Any] | None,
    path: npt.NDArray[np.int32] | None,
    occupancy_along: npt.NDArray[np.float64] | None,
    isa: str,
    threads: int,
) -> None: ...
def best_path(
    scores: npt.NDArray[Any],
    from_logits: bool,
    prepared: Prepared,
    score: npt.NDArray[np.float64],
    path: npt.NDArray[np.int32],
    path_scores: npt.NDArray[np.float64] | None,
    visits: npt.NDArray[np.int32] | None,
    isa: str,
    threads: int,
) -> None: ...
