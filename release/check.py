"""Builds what would be published, in dist/, and checks it: `make wheel`.

The checks are those of the release workflow, for this machine's Python and system only.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
# Of the source archive: with the guide's pictures and the tests' data it would be several times as large.
MOST_BYTES = 900 << 10
# Its only files beside src/ctckit and native/.
BESIDE = {"CHANGELOG.md", "CMakeLists.txt", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}


def run(title: str, *command: object) -> None:
    """Runs a check with this Python's tools; ends the program if it fails."""
    print(f"\n--- {title}", flush=True)
    if subprocess.run([sys.executable, "-m", *map(str, command)], cwd=ROOT).returncode:
        sys.exit(f"failed: {title}")


def check_source(archive: Path) -> None:
    """Ends the program if the archive is too large or has files that no build needs."""
    with tarfile.open(archive) as opened:
        names = [name.partition("/")[2] for name in opened.getnames()]
    strange = [name for name in names if name not in BESIDE and not name.startswith(("src/ctckit/", "native/"))]
    size = archive.stat().st_size
    print(f"{archive.name}: {size >> 10} KiB, {len(names)} files")
    if strange:
        sys.exit(f"no build needs these: {', '.join(strange)}: see sdist.exclude in pyproject.toml")
    if size > MOST_BYTES:
        sys.exit(f"expected at most {MOST_BYTES >> 10} KiB: see sdist.exclude in pyproject.toml")


def main() -> None:
    """All checks, the quick ones first."""
    for old in DIST.glob("ctckit-*"):
        old.unlink()
    run("build the source archive", "build", "--sdist", "--outdir", DIST)
    (source,) = DIST.glob("*.tar.gz")
    check_source(source)
    run("build a wheel from it", "pip", "wheel", "--no-deps", "--wheel-dir", DIST, source)
    (wheel,) = DIST.glob("*.whl")
    run("what an index shows", "twine", "check", "--strict", source, wheel)
    run("the wheel's files", "check_wheel_contents", wheel)
    if "-abi3-" in wheel.name:
        run("the stable ABI", "abi3audit", "--strict", wheel)
    if sys.platform == "linux":
        run("the system's libraries", "auditwheel", "show", wheel)
        run("the wheel for other systems", "auditwheel", "repair", "--wheel-dir", DIST / "repaired", wheel)
    print(f"\n{wheel}: {wheel.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
