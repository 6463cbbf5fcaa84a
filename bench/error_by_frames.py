"""How far float32 gradients are from float64 as utterances get longer: torch's and ours, from the same logits.

The docs draw their error curves from what this writes, bench/results/error_by_frames.csv. Errors are max|g - g64| /
max|g64|, as in loss.py; of the samples of a batch the worst counts. Targets grow with the frames, an eighth of them, as
a recogniser's do.
"""

from __future__ import annotations

import platform

import torch
from loss import Shape, Step, error, fused, make_case, peer, run, truth
from report import write_results
from rich.progress import track

FRAMES = (50, 100, 200, 300, 500, 750, 1000, 1500, 2000, 2500, 3000)
CLASSES, SAMPLES = 32, 8
FRAMES_A_TOKEN = 8


def measured(shape: Shape, step: Step) -> float:
    """The gradient error of one step in float32."""
    case = make_case(shape).leaf(torch.float32)
    run(step, case, 1)
    return error(case.logits.grad, truth(case)[1])


def main() -> None:
    shapes = [Shape(T, CLASSES, SAMPLES, T // FRAMES_A_TOKEN, peaky) for peaky in (False, True) for T in FRAMES]
    rows = [
        {
            **shape._asdict(),
            "peaky": int(shape.peaky),
            "torch_grad_error": f"{measured(shape, peer):.1e}",
            "ctckit_grad_error": f"{measured(shape, fused):.1e}",
        }
        for shape in track(shapes, "measuring", transient=True)
    ]
    write_results("error_by_frames", rows, f"torch {torch.__version__}; Python {platform.python_version()}")


if __name__ == "__main__":
    main()
