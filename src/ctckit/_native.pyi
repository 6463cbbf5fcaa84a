from typing import Any

import numpy as np
import numpy.typing as npt

def instruction_sets() -> list[str]: ...

class LatticeBatch:
    def __init__(
        self,
        frames: npt.NDArray[np.int64],
        num_tokens: npt.NDArray[np.int64],
        labels: npt.NDArray[np.int32],
        arcs: npt.NDArray[np.uint8],
        num_states: npt.NDArray[np.int32],
        long_arcs: npt.NDArray[np.int32] | None,
        entry_costs: npt.NDArray[np.float64] | None,
        tokens: npt.NDArray[np.int32],
        long_arc_scores: npt.NDArray[np.float64],
    ) -> None: ...
    @property
    def frames(self) -> npt.NDArray[np.int64]: ...
    @property
    def num_tokens(self) -> npt.NDArray[np.int64]: ...
    @property
    def labels(self) -> npt.NDArray[np.int32]: ...
    @property
    def arcs(self) -> npt.NDArray[np.uint8]: ...
    @property
    def tokens(self) -> npt.NDArray[np.int32]: ...
    @property
    def num_states(self) -> npt.NDArray[np.int32]: ...
    @property
    def long_arcs(self) -> npt.NDArray[np.int32]: ...
    @property
    def long_arc_scores(self) -> npt.NDArray[np.float64]: ...
    @property
    def entry_costs(self) -> npt.NDArray[np.float64] | None: ...

def lay_out(
    frames: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    frames_max: int,
    classes: int,
    blank: int,
    arcs_by_role: npt.NDArray[np.uint8],
) -> LatticeBatch | tuple[str, int]: ...
def mean_weights(prepared: LatticeBatch, weights: npt.NDArray[np.float64]) -> None: ...
def weighted_loss(score: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], zero_infinity: bool) -> float: ...
def recycled(bytes: int) -> npt.NDArray[np.uint8]: ...
def sweep(
    scores: npt.NDArray[Any],
    from_logits: bool,
    prepared: LatticeBatch,
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
    prepared: LatticeBatch,
    score: npt.NDArray[np.float64],
    path: npt.NDArray[np.int32],
    path_scores: npt.NDArray[np.float64] | None,
    visits: npt.NDArray[np.int32] | None,
    isa: str,
    threads: int,
) -> None: ...
