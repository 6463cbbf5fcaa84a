"""The hint to install an extra fits the way in which ctckit was installed."""

import json
import shlex
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from ctckit import installation
from ctckit.errors import MissingExtraError
from ctckit.installation import install_command


class Installed:
    """A distribution whose installer wrote this into direct_url.json."""

    def __init__(self, origin: dict[str, Any] | None) -> None:
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        return json.dumps(self.origin) if name == "direct_url.json" and self.origin else None


@pytest.fixture
def came_from(monkeypatch: pytest.MonkeyPatch) -> Any:
    def came(origin: dict[str, Any] | None) -> None:
        monkeypatch.setattr(installation, "distribution", lambda name: Installed(origin))

    return came


def test_from_an_index(came_from: Any) -> None:
    came_from(None)
    assert install_command("plot") == "pip install 'ctckit[plot]'"
    assert str(MissingExtraError("A picture", "plot", "matplotlib")) == (
        "A picture needs the package 'matplotlib': pip install 'ctckit[plot]'"
    )


def test_from_sources_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installation, "distribution", absent)
    assert install_command("plot") == "in a checkout of ctckit, pip install '.[plot]'"


@pytest.mark.parametrize(("dir_info", "option"), [({}, ""), ({"editable": True}, "-e ")], ids=["plain", "editable"])
def test_from_a_checkout(
    came_from: Any, dir_info: dict[str, bool], option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "my code"
    checkout.mkdir()
    came_from({"url": checkout.as_uri(), "dir_info": dir_info})
    monkeypatch.chdir(checkout)
    assert install_command("plot") == f"pip install {option}'.[plot]'"
    monkeypatch.chdir(tmp_path)
    assert install_command("plot") == f"pip install {option}'{checkout}[plot]'"
    checkout.rmdir()
    assert install_command("plot") == "in a checkout of ctckit, pip install '.[plot]'"


def test_a_folder_with_an_apostrophe_is_quoted_for_the_shell(came_from: Any, tmp_path: Path) -> None:
    checkout = tmp_path / "o'brien"
    checkout.mkdir()
    came_from({"url": checkout.as_uri(), "dir_info": {}})
    assert shlex.split(install_command("plot")) == ["pip", "install", f"{checkout}[plot]"]


def test_from_a_wheel_and_from_a_repository(came_from: Any, tmp_path: Path) -> None:
    wheel = tmp_path / "ctckit-1-py3-none-any.whl"
    wheel.touch()
    came_from({"url": wheel.as_uri(), "archive_info": {}})
    assert install_command("plot") == f"pip install 'ctckit[plot] @ {wheel.as_uri()}'"
    came_from({"url": "https://example.org/ctckit.git", "vcs_info": {"vcs": "git", "commit_id": "0a1b"}})
    assert install_command("plot") == "pip install 'ctckit[plot] @ git+https://example.org/ctckit.git@0a1b'"
