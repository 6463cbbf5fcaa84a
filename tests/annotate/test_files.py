"""Files for the command line: every format gives the same numbers, and each possible fault is named."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ctckit
from ctckit.errors import MissingExtraError
from ctckit.files import StoredBatch, read_batch, read_labels, read_log_probs, write_whole

SCORES = np.log(np.array([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]], np.float32))
BATCH: dict[str, Any] = {
    "log_probs": np.stack([SCORES, SCORES], axis=1),
    "targets": np.array([[1, 2], [2, 0]]),
    "input_lengths": np.array([2, 2]),
    "target_lengths": np.array([2, 1]),
}


def write_npy(path: Path) -> None:
    np.save(path, SCORES)


def write_npz(path: Path) -> None:
    np.savez(path, log_probs=SCORES)


def write_csv(path: Path) -> None:
    np.savetxt(path, SCORES, delimiter=",")


def write_tsv(path: Path) -> None:
    np.savetxt(path, SCORES, delimiter="\t")


def write_txt(path: Path) -> None:
    np.savetxt(path, SCORES, delimiter="  ")


def write_pt(path: Path) -> None:
    torch = pytest.importorskip("torch", reason=".pt files are torch's")
    torch.save(torch.from_numpy(SCORES), path)


def write_safetensors(path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy", reason=".safetensors files need safetensors")
    numpy.save_file({"log_probs": SCORES}, path)


def write_tensors(path: Path, tensors: dict[str, Any]) -> None:
    pytest.importorskip("safetensors.torch", reason=".safetensors files need safetensors").save_file(tensors, path)


def random_bfloat16(shape: tuple[int, ...]) -> Any:
    """A tensor with -inf, 0 and a subnormal number in it."""
    torch = pytest.importorskip("torch", reason="bfloat16 is written from torch")
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(1)).mul(100).bfloat16()
    tensor.view(-1)[:3] = torch.tensor([-torch.inf, 0.0, 1e-39])
    return tensor


WRITERS = {
    ".npy": write_npy,
    ".npz": write_npz,
    ".csv": write_csv,
    ".tsv": write_tsv,
    ".txt": write_txt,
    ".pt": write_pt,
    ".pth": write_pt,
    ".safetensors": write_safetensors,
}


def refused(read: Any, path: Path, *parts: str) -> None:
    with pytest.raises(ctckit.CTCError) as raised:
        read(path)
    assert str(raised.value).startswith(str(path))
    for part in parts:
        assert part in str(raised.value)


class TestLogProbs:
    @pytest.mark.parametrize("suffix", WRITERS)
    def test_every_format(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"scores{suffix}"
        WRITERS[suffix](path)
        for given in (path, str(path)):
            found = read_log_probs(given)
            assert found.shape == (2, 3)
            np.testing.assert_allclose(found, SCORES, rtol=1e-15 if suffix in (".csv", ".tsv", ".txt") else 0)

    def test_upper_case_suffix(self, tmp_path: Path) -> None:
        write_csv(tmp_path / "SCORES.CSV")
        np.testing.assert_allclose(read_log_probs(tmp_path / "SCORES.CSV"), SCORES)

    def test_a_spreadsheets_csv(self, tmp_path: Path) -> None:
        """Byte order mark, decimal commas between semicolons, Windows line ends, an empty line, minus infinity."""
        path = tmp_path / "x.csv"
        path.write_bytes("\ufeff-0,5;-inf\r\n\r\n-1,25;-3e-2\r\n".encode())
        assert read_log_probs(path).tolist() == [[-0.5, -np.inf], [-1.25, -0.03]]

    def test_bfloat16_tensors(self, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch", reason=".pt files are torch's")
        path = tmp_path / "x.pt"
        torch.save({"scores": torch.tensor([[0.5, -2.0]]).bfloat16(), "comment": "of epoch 3"}, path)
        assert read_log_probs(path).tolist() == [[0.5, -2.0]]

    @pytest.mark.parametrize("shape", [(2, 3), (50, 7), (4, 2, 5)])
    def test_bfloat16_safetensors(self, shape: tuple[int, ...], tmp_path: Path) -> None:
        """The values are those that torch converts."""
        scores = random_bfloat16(shape)
        write_tensors(tmp_path / "x.safetensors", {"x": scores})
        found = read_log_probs(tmp_path / "x.safetensors")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, scores.float().numpy())

    def test_bfloat16_safetensors_among_other_arrays(self, tmp_path: Path) -> None:
        """The arrays before it and after it do not move its values."""
        torch = pytest.importorskip("torch", reason="bfloat16 is written from torch")
        scores = random_bfloat16((4, 2, 5))
        lengths = {"input_lengths": torch.tensor([4, 4]), "target_lengths": torch.tensor([1, 1])}
        others = {"a": torch.ones(3).bfloat16(), "targets": torch.ones(2, 1).long(), **lengths}
        write_tensors(tmp_path / "x.safetensors", {"log_probs": scores, **others})
        np.testing.assert_array_equal(read_batch(tmp_path / "x.safetensors").scores, scores.float().numpy())

    def test_other_dtypes_of_safetensors(self, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch", reason="they are written from torch")
        write_tensors(tmp_path / "x.safetensors", {"x": torch.zeros(2, 2).to(torch.float8_e4m3fn)})
        refused(read_log_probs, tmp_path / "x.safetensors", "'x' has dtype F8", "float32")

    def test_whole_numbers_become_floats(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.zeros((2, 3), int))
        assert read_log_probs(tmp_path / "x.npy").dtype == np.float64

    def test_several_arrays(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "x.npz", one=SCORES, other=SCORES)
        refused(read_log_probs, tmp_path / "x.npz", "2 arrays ('one', 'other')", "expected one")

    @pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3, 4), (0, 3)])
    def test_shapes(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        np.save(tmp_path / "x.npy", np.zeros(shape))
        refused(read_log_probs, tmp_path / "x.npy", f"an array of shape {shape}", "(T, C)")

    @pytest.mark.parametrize("dtype", ["complex128", "bool", "<U3"])
    def test_dtypes(self, tmp_path: Path, dtype: str) -> None:
        np.save(tmp_path / "x.npy", np.zeros((2, 2), dtype))
        refused(read_log_probs, tmp_path / "x.npy", f"of dtype {dtype}", "expected floats")

    @pytest.mark.parametrize(
        ("name", "text", "parts"),
        [
            ("x.csv", "1,2,3\n4,5\n", ["line 2 has 2 numbers", "expected 3, as on line 1"]),
            ("x.csv", "\n1,2\n\n4,5,6\n", ["line 4 has 3 numbers", "expected 2, as on line 2"]),
            ("x.csv", "1,2\n3,x\n", ["line 2, column 2: 'x' is not a number"]),
            ("x.csv", "blank,a\n1,2\n", ["line 1, column 1: 'blank' is not a number", "remove the heading"]),
            ("x.csv", "1,,2\n", ["line 1, column 2: '' is not a number"]),
            ("x.tsv", "1\t2\n3\tnull\n", ["line 2, column 2: 'null' is not a number"]),
            ("x.txt", "1 2\n3 4 5\n", ["line 2 has 3 numbers"]),
            ("x.csv", "\n\n", ["holds no numbers"]),
        ],
    )
    def test_text(self, tmp_path: Path, name: str, text: str, parts: list[str]) -> None:
        (tmp_path / name).write_text(text)
        refused(read_log_probs, tmp_path / name, *parts)

    def test_text_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_bytes(b"1,2\n\xff\n")
        refused(read_log_probs, tmp_path / "x.csv", "not UTF-8 text: byte 4 is 0xff")


class TestDamage:
    @pytest.mark.parametrize("suffix", WRITERS)
    def test_missing(self, tmp_path: Path, suffix: str) -> None:
        refused(read_log_probs, tmp_path / f"x{suffix}", "can't be read", "No such file")

    @pytest.mark.parametrize("suffix", WRITERS)
    def test_a_folder(self, tmp_path: Path, suffix: str) -> None:
        (tmp_path / f"x{suffix}").mkdir()
        refused(read_log_probs, tmp_path / f"x{suffix}", "is a folder")

    @pytest.mark.parametrize("suffix", WRITERS)
    def test_empty(self, tmp_path: Path, suffix: str) -> None:
        (tmp_path / f"x{suffix}").touch()
        refused(read_log_probs, tmp_path / f"x{suffix}", "is empty")

    @pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".safetensors"])
    @pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
    def test_truncated(self, tmp_path: Path, suffix: str, share: float) -> None:
        path = tmp_path / f"x{suffix}"
        WRITERS[suffix](path)
        whole = path.read_bytes()
        path.write_bytes(whole[: max(1, int(share * len(whole)))])
        refused(read_log_probs, path, f"not a readable {suffix} file", "is it complete")

    @pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".safetensors"])
    @pytest.mark.parametrize("content", [b"just some text, long enough to be a header\n" * 4, bytes(range(256)) * 4])
    def test_another_format(self, tmp_path: Path, suffix: str, content: bytes) -> None:
        path = tmp_path / f"x{suffix}"
        if suffix == ".pt":
            pytest.importorskip("torch", reason=".pt files are torch's")
        if suffix == ".safetensors":
            pytest.importorskip("safetensors", reason=".safetensors files need their package")
        path.write_bytes(content)
        refused(read_log_probs, path, f"not a readable {suffix} file")

    @pytest.mark.parametrize("name", ["x.wav", "x", "x.npy.gz"])
    def test_suffix(self, tmp_path: Path, name: str) -> None:
        refused(read_log_probs, tmp_path / name, "has the suffix", ".npy", ".csv", ".safetensors")

    def test_objects_are_never_unpickled(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> Any:
                return (tmp_path / "sprung").touch, ()

        np.save(tmp_path / "x.npy", np.array([[Trap()]], object))
        refused(read_log_probs, tmp_path / "x.npy", "pickled Python objects", "plain numbers")
        np.savez(tmp_path / "x.npz", x=np.array([[Trap()]], object))
        refused(read_log_probs, tmp_path / "x.npz", "pickled Python objects")
        (tmp_path / "y.npy").write_bytes(pickle.dumps(Trap()))
        refused(read_log_probs, tmp_path / "y.npy", "not a readable .npy file")
        assert not (tmp_path / "sprung").exists()

    def test_objects_in_torchs_files(self, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch", reason=".pt files are torch's")
        torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pt")
        refused(read_log_probs, tmp_path / "x.pt", "pickled Python objects")
        torch.save([torch.zeros(2, 2)], tmp_path / "y.pt")
        refused(read_log_probs, tmp_path / "y.pt", "holds a list", "expected a tensor")

    @pytest.mark.parametrize(("suffix", "package"), [(".pt", "torch"), (".safetensors", "safetensors")])
    def test_missing_packages(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, package: str) -> None:
        path = tmp_path / f"x{suffix}"
        path.write_bytes(b"whatever")
        monkeypatch.setitem(__import__("sys").modules, package, None)
        with pytest.raises(MissingExtraError, match=f"'{package}': pip install .*\\["):
            read_log_probs(path)


class TestLabels:
    def test_labels(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.txt"
        path.write_bytes("φ\n \na\n字\n\u2028\n".encode())
        assert read_labels(path) == ["φ", " ", "a", "字", "\u2028"]
        path.write_bytes("\ufeffφ\r\n \r\nab".encode())
        assert read_labels(path) == ["φ", " ", "ab"]

    @pytest.mark.parametrize(
        ("content", "parts"),
        [
            (b"a\nb\nc\nb\n", ["lines 2 and 4 are both 'b'"]),
            (b"a\n\nb\n", ["line 2 is empty", "a label on every line"]),
            (b"a\nb\n\n", ["line 3 is empty"]),
            (b"a\n\xe9\n", ["not UTF-8 text: byte 2 is 0xe9"]),
            (b"", ["is empty"]),
        ],
    )
    def test_faults(self, tmp_path: Path, content: bytes, parts: list[str]) -> None:
        path = tmp_path / "labels.txt"
        path.write_bytes(content)
        refused(read_labels, path, *parts)

    def test_missing(self, tmp_path: Path) -> None:
        refused(read_labels, tmp_path / "labels.txt", "can't be read")


def save_batch(path: Path, arrays: dict[str, Any]) -> None:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".pt":
        torch = pytest.importorskip("torch", reason=".pt files are torch's")
        torch.save({name: torch.as_tensor(value) for name, value in arrays.items()}, path)
    else:
        numpy = pytest.importorskip("safetensors.numpy", reason=".safetensors files need safetensors")
        numpy.save_file({name: np.asarray(value) for name, value in arrays.items()}, path)


BATCH_SUFFIXES = [".npz", ".pt", ".safetensors"]


class TestBatch:
    @pytest.mark.parametrize("suffix", BATCH_SUFFIXES)
    def test_every_format(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"batch{suffix}"
        save_batch(path, BATCH)
        found = read_batch(path)
        assert found.blank is None
        for stored, value in zip(found[:4], BATCH.values(), strict=True):
            np.testing.assert_array_equal(stored, value)
        save_batch(path, BATCH | {"blank": np.array(2), "epoch": np.array([3])})
        assert read_batch(path).blank == 2

    def test_plain_numbers_in_torchs_files(self, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch", reason=".pt files are torch's")
        path = tmp_path / "batch.pt"
        torch.save(
            {"log_probs": torch.zeros(2, 2, 3), "targets": [[1, 2], [2, 0]], "input_lengths": (2, 2)}
            | {"target_lengths": [2, 1], "blank": 0, "name": "a batch"},
            path,
        )
        found = read_batch(path)
        assert isinstance(found, StoredBatch)
        assert (found.targets.tolist(), found.input_lengths.tolist(), found.blank) == ([[1, 2], [2, 0]], [2, 2], 0)

    @pytest.mark.parametrize("suffix", BATCH_SUFFIXES)
    def test_missing_arrays(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"batch{suffix}"
        save_batch(path, {name: BATCH[name] for name in ("log_probs", "input_lengths")})
        refused(read_batch, path, "lacks 'targets', 'target_lengths'", "it has 'input_lengths', 'log_probs'")

    @pytest.mark.parametrize("suffix", BATCH_SUFFIXES)
    @pytest.mark.parametrize(
        ("there", "said", "counts", "from_logits"),
        [
            (["log_probs"], False, "log_probs", False),
            (["log_probs"], True, "log_probs", True),
            (["logits"], False, "logits", True),
            (["logits"], True, "logits", True),
            (["emissions"], False, "emissions", False),
            (["emissions"], True, "emissions", True),
            (["logits", "emissions", "log_probs"], False, "log_probs", False),
            (["logits", "emissions", "log_probs"], True, "logits", True),
            (["emissions", "logits"], False, "logits", True),
        ],
    )
    def test_names_of_scores(
        self, tmp_path: Path, suffix: str, there: list[str], said: bool, counts: str, from_logits: bool
    ) -> None:
        path = tmp_path / f"batch{suffix}"
        rest = {name: BATCH[name] for name in ("targets", "input_lengths", "target_lengths")}
        scores = {name: BATCH["log_probs"] + i for i, name in enumerate(there)}
        save_batch(path, rest | scores)
        found = read_batch(path, from_logits=said)
        np.testing.assert_array_equal(found.scores, scores[counts])
        assert found.from_logits is from_logits

    def test_a_single_tensor(self, tmp_path: Path) -> None:
        write_pt(tmp_path / "x.pt")
        refused(read_batch, tmp_path / "x.pt", "lacks 'log_probs', 'targets'", "no names")

    def test_blank(self, tmp_path: Path) -> None:
        save_batch(tmp_path / "x.npz", BATCH | {"blank": np.array([0.5])})
        refused(read_batch, tmp_path / "x.npz", "blank has shape (1,) and dtype float64", "one integer")

    @pytest.mark.parametrize("name", ["x.npy", "x.csv"])
    def test_formats_of_one_array(self, tmp_path: Path, name: str) -> None:
        WRITERS[name[1:]](tmp_path / name)
        refused(read_batch, tmp_path / name, "has the suffix", ".npz, .pt, .pth, .safetensors")

    def test_ragged_lists(self, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch", reason=".pt files are torch's")
        torch.save({"targets": [[1, 2], [2]]}, tmp_path / "x.pt")
        refused(read_batch, tmp_path / "x.pt", "'targets' is not a rectangular list")


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_one_header_is_parsed_at_a_time(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.zeros((4, 3))
    (np.save if suffix == "npy" else np.savez)(tmp_path / f"x.{suffix}", scores)
    parsing: list[int] = []
    most: list[int] = []
    load = np.load

    def slow(*arguments: Any, **options: Any) -> Any:
        parsing.append(1)
        most.append(len(parsing))
        time.sleep(0.01)
        parsing.pop()
        return load(*arguments, **options)

    monkeypatch.setattr(np, "load", slow)
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(read_log_probs, [tmp_path / f"x.{suffix}"] * 8))
    assert all(np.array_equal(one, scores) for one in read)
    assert max(most) == 1


@pytest.mark.parametrize("labels", [["φ", " ", "1", "2"], ["0", "1"], ["{", '"', "}"], ["<blk>", "a 1"]])
def test_labels_like_tables(labels: list[str], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(labels), encoding="utf-8")
    assert read_labels(tmp_path / "labels.txt") == labels


@pytest.mark.skipif(os.name != "posix", reason="a umask is POSIX's")
def test_files_get_the_permissions_of_new_files_whatever_other_threads_write(tmp_path: Path) -> None:
    """If writing a file changed the process's umask, even for a moment, another thread's file would come out 0666."""
    code = (
        "import os, sys, time\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from pathlib import Path\n"
        "from ctckit.files import write_whole\n"
        "os.umask(0o077)\n"
        "umask = os.umask\n"
        "os.umask = lambda mask: (umask(mask), time.sleep(1e-4))[0]  # let other threads run in between\n"
        "sys.setswitchinterval(1e-6)\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    list(pool.map(lambda i: write_whole(Path(sys.argv[1]) / str(i), b'x'), range(400)))\n"
        "assert umask(0) == 0o077\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert len(modes) == 400  # no temporary files are left
    assert set(modes.values()) == {0o600}


def test_write_whole_names_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("no/x", "a\0b", "folder"):
        with pytest.raises(ctckit.CTCError, match="can't be written"):
            write_whole(tmp_path / name, b"x")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]
    for data in (b"1", b"2"):
        write_whole(tmp_path / "folder" / "x", data)
    assert [(file.name, file.read_bytes()) for file in (tmp_path / "folder").iterdir()] == [("x", b"2")]
