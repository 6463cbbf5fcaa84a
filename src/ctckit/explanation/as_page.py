"""What is shown as a page: in a notebook, and as a file. Imports errors.py and files/."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, ClassVar

from ..errors import CTCError
from ..files import write_whole

if TYPE_CHECKING:
    from pathlib import Path as FilePath


class AsPage:
    """What has a page. The class that holds the numbers says how the page is made."""

    _kind: ClassVar[str]  # for messages: "an explanation"
    _picture: ClassVar[str]  # code that gives a picture of it

    def _page(self) -> str:
        """The page, as HTML."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """The page in an iframe, for notebooks."""
        source = html.escape(self._page(), quote=True)
        return f'<iframe srcdoc="{source}" style="width:100%;height:44rem;border:0" title="{self!r}"></iframe>'

    def save(self, path: str | FilePath) -> None:
        """Writes the interactive page as one HTML file. A picture is saved by its own ``save``.

        Raises:
            CTCError: the name does not end in .html.
        """
        if not str(path).lower().endswith((".html", ".htm")):
            raise CTCError(
                f"{path}: {self._kind} is saved as a page, .html; a picture of it is saved by its own save(), for "
                f"instance {self._picture}.save('x.svg')"
            )
        write_whole(path, self._page().encode())
