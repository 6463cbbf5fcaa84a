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
        """The page in a frame of its own, for notebooks: neither can touch the other, and it can be made taller."""
        source, title = html.escape(self._page(), quote=True), html.escape(repr(self), quote=True)
        style = "width:100%;height:46rem;border:0;resize:vertical"
        return f'<iframe sandbox="allow-scripts" srcdoc="{source}" style="{style}" title="{title}"></iframe>'

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
