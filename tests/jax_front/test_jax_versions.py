"""The tests of this folder with the oldest jax that the extra allows, and with each Python's newest jax.

Each has an environment of its own. XLA's interface for calls of other code has a version; a call that says a newer one
than jaxlib has breaks all of jax.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OLDEST = "0.5.3"
HERE = "{}.{}".format(*sys.version_info)
VERSIONS = sorted({HERE, "3.10", "3.12", "3.13"})  # those between have the same jax


def interpreter(version: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Python of this version."""
    if version == HERE:
        return sys.executable
    monkeypatch.setenv("PYENV_VERSION", version)  # pyenv has a program for each version; this one is to run
    found = shutil.which(f"python{version}")
    if found is None or subprocess.run([found, "--version"], capture_output=True, check=False).returncode:
        pytest.skip(f"there is no python{version} on this machine")
    return found


@pytest.mark.long
@pytest.mark.parametrize(("version", "oldest"), [(HERE, True), *((version, False) for version in VERSIONS)])
def test_an_environment_of_its_own(version: str, oldest: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if oldest and sys.version_info >= (3, 14):
        pytest.skip(f"jaxlib {OLDEST} has wheels for Python 3.10 to 3.13 only")
    assert f'"jax>={OLDEST}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    environment = tmp_path / "environment"
    subprocess.run([interpreter(version, monkeypatch), "-m", "venv", environment], check=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    needed = ["flatbuffers", "hypothesis", "optax", "pytest>=8", "pytest-timeout", f"{ROOT}[jax]"]
    needed += [f"jax=={OLDEST}", f"jaxlib=={OLDEST}"] if oldest else []
    if not oldest and version in ("3.12", "3.13"):  # the GPU kernels are lowered, which needs no GPU
        needed += ["jax-triton>=0.4", "jax-cuda12-plugin"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *needed], check=True, timeout=1200)
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=", "-m", "not long"]
    done = subprocess.run(
        [python, "-m", "pytest", *options, "tests/jax_front"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
