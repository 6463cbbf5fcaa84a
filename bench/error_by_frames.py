"""`python bench/error_by_frames.py`: how the error of float32 gradients grows with the length of an utterance.

torch's and ours, from the same logits. Errors are max|g - g64| / max|g64|, as in loss.py, the worst of a batch.

Writes bench/results/error_by_frames.csv, from which charts of the docs are drawn.
"""

from __future__ import annotations

import platform

import torch
from harness import write_results
from loss import Step, error, fused, result, truth
from peers import torch_loss
from rich.progress import track
from shapes import ERROR_BY_FRAMES, LossShape, loss_case


def measured(shape: LossShape, step: Step) -> float:
    """The gradient error of one step in float32."""
    case = loss_case(shape).leaf(torch.float32)
    exact = truth(case)
    torch.set_num_threads(1)
    return error(result(step, case).grad, exact.grad)


def main() -> None:
    rows = [
        {
            **shape._asdict(),
            "peaky": int(shape.peaky),
            "torch_grad_error": f"{measured(shape, torch_loss):.1e}",
            "ctckit_grad_error": f"{measured(shape, fused):.1e}",
        }
        for shape in track(ERROR_BY_FRAMES, "measuring", transient=True)
    ]
    write_results("error_by_frames", rows, f"torch {torch.__version__}; Python {platform.python_version()}")


if __name__ == "__main__":
    main()
