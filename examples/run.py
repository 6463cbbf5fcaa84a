"""Runs the notebooks of this folder and stores their outputs: `python examples/run.py`.

What would differ from run to run for no reason is left out: times, addresses, and all forms of a picture but SVG.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from ctckit.files import write_whole

FOLDER = Path(__file__).resolve().parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def executed(path: Path) -> nbformat.NotebookNode:
    """A notebook with the outputs that its code has now, run in a folder of its own.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=120, kernel_name="python3", record_timing=False, resources={"metadata": {"path": folder}}
        )
        client.execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        for output in cell.get("outputs", []):
            if "image/svg+xml" in output.get("data", {}):
                output.data = nbformat.from_dict({"image/svg+xml": output.data["image/svg+xml"]})
    return notebook


def main() -> None:
    """Runs all notebooks."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        write_whole(path, (nbformat.writes(executed(path)) + "\n").encode())
        print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
