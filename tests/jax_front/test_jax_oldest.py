"""The tests of this folder with the oldest jax that the extra allows, in an environment of its own.

XLA's interface for calls of other code has a version; a call that says a newer one than jaxlib has breaks all of jax.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OLDEST = "0.5.3"


@pytest.mark.long
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="jaxlib 0.5.3 has wheels for Python 3.10 to 3.13 only")
def test_the_oldest_jax(tmp_path: Path) -> None:
    assert f"jax>={OLDEST}" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    needed = ["flatbuffers", "hypothesis", "optax", "pytest>=8", "pytest-timeout", f"jaxlib=={OLDEST}"]
    install = [python, "-m", "pip", "install", "--quiet", f"jax=={OLDEST}", *needed, f"{ROOT}[jax]"]
    subprocess.run(install, check=True, timeout=1200)
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=", "-m", "not long", "-k", "test_jax_"]
    done = subprocess.run(
        [python, "-m", "pytest", *options, "tests/jax_front"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
