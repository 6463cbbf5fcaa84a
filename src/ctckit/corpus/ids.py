"""Ids of rows, and the files that are named after them. May import errors.py."""

from __future__ import annotations

import re

from ..errors import CTCError

_NO_NAME = re.compile(r'[/\\:*?"<>|]')
# Windows takes these names for devices, even with an ending after a dot: no file can have them.
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[1-9¹²³]) *(\..*)?", re.IGNORECASE)


def file_name(id: str) -> str:
    """The name of a row's files, without their endings: its id, with ``_`` for characters that file names can't have.

    Example:
        >>> file_name("swbd/sw2001:A_0012")
        'swbd_sw2001_A_0012'
    """
    return _NO_NAME.sub("_", id)


def checked_id(id: object) -> str:
    """The id, if files can be named after it on all systems.

    Raises:
        CTCError: it is not a string, or some system does not allow a file of that name.
    """
    if not isinstance(id, str) or not id:
        raise CTCError(f"id is {id!r}: expected a string that names the row's files")
    wrong = re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", id)
    if wrong:
        raise CTCError(f"id {id!r} has {wrong[0]!r}: it names files: expected no control characters")
    if id[0] == "." or id[-1] in ". ":
        raise CTCError(f"id {id!r} begins with a dot, or ends with one or with a space: it names files")
    if _DEVICES.fullmatch(file_name(id)):
        raise CTCError(f"id {id!r} is a device on Windows: it names files, expected another name")
    if len(id.encode()) > 200:
        raise CTCError(f"id {id[:20]!r}… has {len(id.encode())} bytes: it names files, expected at most 200")
    return id
