"""`make sanitize`: builds the extension with AddressSanitizer and UndefinedBehaviorSanitizer and runs its tests.

Not a test module but a script. It runs the tests that reach every part of the kernels, then random batches of every
form, then the extension's own functions with arguments that validate/ would refuse.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "sanitize"
TESTS = [
    "test_prepare.py",
    "test_lattices.py",
    "test_native_lattices.py",
    "test_half_precision.py",
    "test_brute_force.py",
    "test_path_counts.py",
    "test_ends.py",
    "test_against_reference.py",
    "test_hard_numbers.py",
    "test_feasibility.py",
    "test_determinism.py",
    "test_layouts.py",
    "test_properties.py",
    "test_threads.py",
    "test_messages.py",
    "test_best_path.py",
    "test_align.py",
    "test_native_search.py",
    "test_streamed_search.py",
    "test_compiled_graphs.py",
    "test_golden_searches.py",
    "test_every_text.py",
    "test_model.py",
    "test_prefix_model.py",
]
LONG = ["test_model.py"]  # whose long tests are run too: 100,000 damaged files
# Tests that fork or time their threads are slowed or confused by the sanitizer's own threads and shadow memory; the
# other backends are Python, which the sanitizer does not check.
LEFT_OUT = "not fork and not gil and not default_number_of_threads and not [reference and not [portable and not [triton"
FUZZ_ROUNDS = 1500


def main() -> None:
    """Builds, then runs tests and fuzzing in processes that have the sanitizer loaded first."""
    if "--fuzz" in sys.argv:
        return fuzz(int(sys.argv[-1]))
    compiler = os.environ.get("CXX", "g++")
    runtimes = [Path(found) for name in ("libasan.so", "libstdc++.so.6") if (found := runtime(compiler, name))]
    if not runtimes or "asan" not in runtimes[0].name:
        sys.exit(f"sanitize: {compiler} has no AddressSanitizer runtime")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    cmake = [sys.executable, "-m", "cmake"]
    configure = [*cmake, "-S", str(ROOT), "-B", str(BUILD), *generator, "-DCTCKIT_SANITIZE=ON"]
    run([*configure, f"-DPython_EXECUTABLE={sys.executable}", f"-DCMAKE_CXX_COMPILER={compiler}"])
    run([*cmake, "--build", str(BUILD), "--parallel"])
    (module,) = BUILD.glob("_ext*.so")
    environment = os.environ | {
        "CTCKIT_NATIVE": str(module),
        "LD_PRELOAD": " ".join(map(str, runtimes)),  # the C++ library too, so that its exceptions can be intercepted
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",  # Python itself never frees all its memory
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }

    def found(name: str) -> str:
        (path,) = (ROOT / "tests").rglob(name)
        return str(path)

    pytest = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "--capture=sys"]
    # Standard error is not redirected: a sanitizer reports there before it ends the process.
    run([*pytest, "-k", LEFT_OUT, *map(found, TESTS)], environment)
    run([*pytest, "-m", "long", "--timeout", "3600", *map(found, LONG)], environment)
    run([sys.executable, __file__, "--fuzz", str(FUZZ_ROUNDS)], environment)
    print("sanitize: no errors")


def runtime(compiler: str, name: str) -> str | None:
    """The path of one of the compiler's runtime libraries, or None if it has none."""
    found = subprocess.run(
        [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return found if os.path.isabs(found) else None


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Runs a command, and ends with its status if that is not 0."""
    done = subprocess.run(command, cwd=ROOT, env=environment)
    if done.returncode:
        sys.exit(done.returncode)


def fuzz(rounds: int) -> None:
    """Random batches for the public calls, and random arguments for the extension's own functions."""
    import numpy as np

    import conftest  # noqa: F401 - loads the sanitized module
    from ctckit.native import _ext

    assert _ext.__file__ == os.environ.get("CTCKIT_NATIVE", _ext.__file__)
    for seed in range(rounds):
        print(f"\rfuzz: seed {seed}", end="", flush=True)  # so that the last seed is shown if the process dies
        fuzz_batch(np.random.default_rng(seed))
        fuzz_extension(np.random.default_rng(seed))
        fuzz_search(np.random.default_rng(seed))
    print()


def fuzz_batch(rng: Any) -> None:
    """One batch: any sizes, dtype, strides and special values. The result must be a loss or a CTCError."""
    import numpy as np
    from support.batches import FRAMEWORK_FREE, draw
    from support.layouts import LAYOUTS

    import ctckit
    from ctckit.kernels import native

    classes = int(rng.integers(1, 40)) if rng.random() < 0.9 else int(rng.integers(300, 3000))
    frames = int(rng.integers(0, 60)) if rng.random() < 0.95 else int(rng.integers(700, 2500))
    longest = int(rng.integers(0, 60)) if classes > 1 else 0
    blank = int(rng.integers(0, classes))
    size = int(rng.integers(1, 6))
    spread = float(rng.choice([0, 1, 30, 1000, 1e6]))
    batch = draw(int(rng.integers(2**32)), frames, size, classes, longest, blank=blank, spread=spread)
    for value in (-np.inf, np.nan, np.inf, 1e30, -1e30):
        if rng.random() < 0.1:
            batch.scores[rng.random(batch.scores.shape) < 0.02] = value
    batch.targets[np.arange(longest) >= batch.lengths[:, None]] = rng.integers(-(2**31), 2**31)
    with np.errstate(over="ignore"):
        scores = batch.scores.astype(rng.choice(FRAMEWORK_FREE))
    if scores.size and rng.random() < 0.5:
        scores = LAYOUTS[rng.integers(len(LAYOUTS))](scores)
    native.use_instruction_set(str(rng.choice(native.instruction_sets())))
    ctckit.set_num_threads(int(rng.integers(1, 5)))
    from_logits = bool(rng.random() < 0.5)
    reduction = str(rng.choice(["none", "sum", "mean"]))
    with np.errstate(all="ignore"):
        plain = ctckit.ctc_loss(scores, *batch.arguments, reduction, from_logits=from_logits)
        loss, grad = ctckit.ctc_loss_and_grad(scores, *batch.arguments, reduction, from_logits=from_logits)
        ctckit.posteriors(scores, *batch.arguments, from_logits=from_logits)
        for alignment in ctckit.forced_align(
            scores,
            *batch.arguments,
            from_logits=from_logits,
            optional=rng.integers(0, 3, batch.targets.shape) if rng.random() < 0.5 else None,
            on_infeasible="mark",
        ):
            assert alignment.confidence.shape == alignment.target.shape
    assert np.array_equal(plain, loss, equal_nan=True)
    assert grad.shape == scores.shape


def fuzz_extension(rng: Any) -> None:
    """Arrays with random values or of wrong sizes: no memory outside them may be read or written."""
    import numpy as np

    from ctckit import native

    sizes = [int(x) for x in rng.integers(1, 20, 4)]
    frames, size, _, states = sizes
    wild, along = rng.random(2) < 0.5
    lattices, shared = random_lattices(rng, wild, *sizes), random_inputs(rng, *sizes)
    outputs = random_outputs(rng, wild, along, *sizes, len(lattices["long_arcs"]))
    if wild and rng.random() < 0.5:  # one array of another size
        group = (lattices, shared, outputs)[int(rng.integers(0, 3))]
        name = str(rng.choice([name for name, value in group.items() if isinstance(value, np.ndarray)] or ["none"]))
        if name in group and group[name].shape[-1]:
            group[name] = group[name][..., : group[name].shape[-1] - 1].copy()
    paths = {
        "states": np.empty((size, frames), np.int32),
        "frame_scores": np.empty((size, frames)),
        "visits": np.empty((size, states, 2), np.int32),
    }
    try:
        batch = native.LatticeBatch(**lattices)
        native.best_path(lattices=batch, **shared, **paths)
        native.sums(lattices=batch, index=None, ends=0, **shared, **outputs)
        native.sums(lattices=batch, **random_many(rng, wild, shared, outputs, *sizes))
        fuzz_ends(rng, shared)
    except (ValueError, TypeError):
        assert wild
    fuzz_layout(rng)


def costs(rng: Any, *shape: int) -> Any:
    """Nats of every size and sign."""
    import numpy as np

    return rng.choice([0, 1, -3, 40, -1e4, 1e8, np.inf], shape, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05])


def random_lattices(rng: Any, wild: bool, frames: int, size: int, classes: int, states: int) -> dict[str, Any]:
    """Arguments of a LatticeBatch; wild ones need not be valid."""
    import numpy as np

    over = 2 if wild else 0
    num_states = rng.integers(1 - over, states + 1 + over, size).astype(np.int32)
    far = rng.integers(0, states, (int(rng.integers(0, 6)), 3)).astype(np.int32)
    far[:, 0] %= size
    if not wild:
        far = far[(far[:, 1] < far[:, 2]) & (far[:, 2] < num_states[far[:, 0]])]
        far = far[np.lexsort((far[:, 2], far[:, 0]))]
    arcs = rng.integers(0, 256, (size, states)) | rng.choice([0, 3], (size, states))
    labels = rng.integers(-over, classes + over, (size, states))
    if rng.random() < 0.5:  # shaped as CTC's, except for some bits of odd states
        labels[:, ::2] = labels[:, :1]
        arcs[:] = 3
        arcs[:, 1::2] ^= rng.integers(0, 32, arcs[:, 1::2].shape) & ~2
        arcs[:, :2] |= 8
    return {
        "frames": rng.integers(-over, frames + 1 + over, size),
        "num_tokens": rng.integers(0, states, size),
        "labels": labels.astype(np.int32),
        "arcs": arcs.astype(np.uint8),
        "num_states": num_states,
        "long_arcs": far,
        "entry_costs": costs(rng, size, states) if rng.random() < 0.5 else None,
        "tokens": rng.integers(-1, states, (size, states)).astype(np.int32) if rng.random() < 0.5 else None,
        "long_arc_scores": -costs(rng, len(far)) if rng.random() < 0.5 else None,
    }


def random_inputs(rng: Any, frames: int, size: int, classes: int, states: int) -> dict[str, Any]:
    """The arguments of both sums and best paths."""
    import numpy as np

    from ctckit import native

    return {
        "scores": (rng.normal(size=(frames, size, classes)) * rng.choice([1, 100])).astype(np.float32),
        "from_logits": bool(rng.random() < 0.5),
        "score": np.empty(size),
        "status": np.empty(size, np.uint8),
        "class_scores": -costs(rng, classes) if rng.random() < 0.5 else None,
        "state_scores": -costs(rng, size, states) if rng.random() < 0.5 else None,
        "isa": str(rng.choice(native.instruction_sets())),
        "threads": int(rng.integers(-1, 5)),
    }


def random_outputs(
    rng: Any, wild: bool, along: bool, frames: int, size: int, classes: int, states: int, arcs: int
) -> dict[str, Any]:
    """Some outputs of sums; unless wild, occupancies along a path come alone."""
    import numpy as np

    alone = along and not wild
    shapes = {
        "class_scores_grad": (size, classes),
        "state_scores_grad": (size, states),
        "entry_costs_grad": (size, states),
        "long_arc_scores_grad": (arcs,),
    }
    outputs: dict[str, Any] = {name: np.empty(shape) for name, shape in shapes.items()}
    outputs["grad"] = np.empty((frames, size, classes), np.float32)
    outputs["occupancy"] = np.empty((frames, size, states), np.float32)
    outputs = {name: None if alone or rng.random() < 0.4 else array for name, array in outputs.items()}
    return outputs | {
        "adds_softmax": bool(rng.random() < 0.5),
        "readable": bool(rng.random() < 0.2),
        "weights": rng.normal(size=size) if rng.random() < 0.7 else None,
        "along": rng.integers(-2, states + 2, (size, frames)).astype(np.int32) if along else None,
        "occupancy_along": np.empty((size, frames)) if along else None,
    }


def random_many(rng: Any, wild: bool, shared: dict[str, Any], outputs: dict[str, Any], *sizes: int) -> dict[str, Any]:
    """Arguments of sums for the same lattices, which read the scores of several heads, or of utterances by an index."""
    import numpy as np

    frames, size, classes, states = sizes
    over = int(wild)
    heads = int(rng.integers(1, 4)) if rng.random() < 0.5 else 0
    utterances = size if heads else int(rng.integers(1, size + 3))
    shape = (heads, frames, size, classes) if heads else (frames, utterances, classes)
    samples = size * max(heads, 1)
    of_samples = {"class_scores_grad": classes, "state_scores_grad": states, "entry_costs_grad": states}
    return {
        **shared,
        **outputs,
        "scores": (rng.normal(size=shape) * rng.choice([1, 100])).astype(np.float32),
        "score": np.empty(samples),
        "status": np.empty(samples, np.uint8),
        "weights": rng.normal(size=samples) if rng.random() < 0.7 else None,
        "index": None if heads else rng.integers(-over, utterances + over, size),
        "ends": 0,
        "grad": np.empty(shape, np.float32) if rng.random() < 0.8 else None,
        **{name: np.empty((samples, n)) if rng.random() < 0.6 else None for name, n in of_samples.items()},
        **dict.fromkeys(("occupancy", "along", "occupancy_along", "long_arc_scores_grad")),
    }


def fuzz_ends(rng: Any, shared: dict[str, Any]) -> None:
    """The same for paths that fill any run of frames of CTC's own lattices."""
    import numpy as np

    from ctckit import native
    from ctckit.lattice.ctc import ARCS_BY_ROLE

    frames, size, classes = shared["scores"].shape
    longest = int(rng.integers(0, frames + 3)) if classes > 1 else 0
    targets, lengths = rng.integers(1, max(classes, 2), (size, longest)), rng.integers(0, longest + 1, size)
    made = native.lay_out(rng.integers(0, frames + 1, size), targets, lengths, frames, classes, 0, ARCS_BY_ROLE)
    outputs = dict.fromkeys(
        ("occupancy", "along", "occupancy_along", "state_scores_grad", "class_scores_grad", "entry_costs_grad")
    )
    native.sums(
        lattices=made,
        **shared | {"state_scores": None},
        **outputs,
        long_arc_scores_grad=None,
        grad=np.empty_like(shared["scores"]) if rng.random() < 0.8 else None,
        adds_softmax=bool(rng.random() < 0.5),
        weights=rng.normal(size=size) if rng.random() < 0.7 else None,
        index=None,
        ends=int(rng.integers(1, 4)),
        readable=False,
    )


def fuzz_layout(rng: Any) -> None:
    """The same for the layout of lattices."""
    import numpy as np

    from ctckit import native

    size, longest = (int(x) for x in rng.integers(1, 10, 2))
    targets = rng.integers(-1, 6, (size, longest) if rng.random() < 0.5 else size * longest)
    lengths = rng.integers(-1, longest + 2, size) if rng.random() < 0.5 else np.full(size, longest)
    frames, arcs = rng.integers(-1, 20, size), rng.integers(0, 256, 5).astype(np.uint8)
    made = native.lay_out(frames, targets, lengths, 20, int(rng.integers(1, 7)), int(rng.integers(0, 6)), arcs)
    if isinstance(made, tuple):
        assert made[0] in ("input_lengths", "target_lengths", "sum", "token")
    else:
        assert made.num_states.max() <= made.labels.shape[1]
        assert made.tokens.max() < max(made.num_tokens.max(), 1)


def fuzz_search(rng: Any) -> None:
    """Any graph, valid or damaged, any scores and options; in one call, as a stream, and from a damaged state."""
    import numpy as np
    from support.searches import FORMS, damaged, draw

    from ctckit.kernels import native as kernels
    from ctckit.kernels.search import native

    case = draw(int(rng.integers(2**32)), str(rng.choice(FORMS)))
    graph = damaged(rng, case.graph) if rng.random() < 0.5 else case.graph
    scores = case.log_probs.astype(rng.choice(["float64", "float32", "float16", "uint16"]))
    for value in (-np.inf, np.nan, np.inf, 1e30, -1e30, -1000):
        if rng.random() < 0.1 and scores.dtype.kind == "f":
            with np.errstate(over="ignore"):
                scores[rng.random(scores.shape) < 0.02] = value
    kernels.use_instruction_set(str(rng.choice(kernels.instruction_sets())))
    options: dict[str, Any] = {
        "recombine": case.recombine,
        "from_logits": bool(rng.random() < 0.5),
        "beam_threshold": float(rng.choice([np.inf, 3.0])),
        "tokens_per_frame": int(rng.choice([0, 2])),
    }
    try:
        search = native.Search(graph, case.beam_width, **options)
    except ValueError:
        assert graph is not case.graph
        return
    state, chunk = b"", int(rng.integers(1, 9))
    for t in range(0, len(scores), chunk):
        search.feed(scores[t : t + chunk])
        state = search._search.save()
        if rng.random() < 0.2:
            search.take_stem()
            search.texts(3, finished=bool(rng.random() < 0.5))
    texts = search.texts(10**9)
    assert all(len(text.tokens) <= len(scores) for text in texts)
    batch = np.stack([scores, scores[::-1], scores], axis=1)  # one search takes them one after the other
    first, _, third = native.search(batch, np.full(3, len(scores)), graph, case.beam_width, 3, threads=1, **options)
    assert [text.score for text in first.texts] == [text.score for text in third.texts]
    wrong = np.frombuffer(state, np.uint8).copy()
    if graph.model is None and len(wrong):  # a model trusts its states
        wrong[rng.integers(0, len(wrong), 3)] = rng.integers(0, 256, 3)
        try:
            search._search.restore(wrong.tobytes())
            search.feed(scores)
            search.texts(10**9)
            search.take_stem()
        except ValueError:
            pass


if __name__ == "__main__":
    main()
