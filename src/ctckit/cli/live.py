"""Text that appears while frames come in. Imports errors.py; annotate/, decoding/ and files/ when they are needed."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..errors import CTCError

if TYPE_CHECKING:
    from ..decoding import Stream

STDIN = Path("-")
# Nats. A beam is as wide at every frame: its last prefixes may be e^-100 of the best and differ from it in the first
# letter, so without a threshold nothing would be known before the end. In 116 printed lines (tests/support/printed.py),
# 25 and 40 changed no text; with a lexicon, 12 changed one and 8 six. With 25, a letter was known 2 frames after it was
# added (median), 8 with a lexicon, and 16 with a language model too. This is with recombination: without it, a prefix
# that differs early stays as long as it is not much worse.
THRESHOLD = 25.0
_PIECE = 1 << 16  # bytes that are read at a time, or fewer, as they come


class Printer:
    """Prints a text piece by piece: what can't change any more, and at the end the rest.

    Args:
        to: where it is printed.
        has_words: whether a text is printed word by word; else as it comes.
        is_needed: whether nothing is left to do if nobody reads it any more.
    """

    def __init__(self, to: TextIO, has_words: bool, is_needed: bool) -> None:
        self._to, self._has_words, self._is_needed = to, has_words, is_needed
        self._shown = ""

    def stable(self, text: str) -> None:
        """Shows what is new in the beginning of the text; its last word may go on."""
        self._show(text.rpartition(" ")[0] if self._has_words else text)

    def end(self, text: str) -> None:
        """Shows the rest of the whole text, and ends the line."""
        self._show(text)
        self._print("\n")

    def _show(self, text: str) -> None:
        if len(text) > len(self._shown):
            self._print(text[len(self._shown) :])
            self._shown = text

    def _print(self, text: str) -> None:
        try:
            print(text, end="", file=self._to, flush=True)
        except BrokenPipeError:
            if self._is_needed:
                raise


class Keyboard:
    """Ctrl-C ends the wait for bytes, as a pipe's end does, and nothing else: what has come in is shown whole.

    Attributes:
        pressed: whether it was.
    """

    def __init__(self) -> None:
        self.pressed = self._waiting = False

    def __enter__(self) -> Keyboard:
        self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def read(self, pipe: io.FileIO) -> bytes:
        """The bytes that have come in; none at the end."""
        try:
            self._waiting = True
            return b"" if self.pressed else pipe.read(_PIECE) or b""
        except KeyboardInterrupt:
            return b""
        finally:
            self._waiting = False

    def _press(self, *_: object) -> None:
        self.pressed = True
        if self._waiting:
            raise KeyboardInterrupt


def follow(stream: Stream, source: Path, classes: int, from_logits: bool, printer: Printer) -> bool:
    """Feeds a stream from a pipe until it ends or the keyboard stops it, and shows what is stable.

    Args:
        stream: takes the frames.
        source: the pipe, or STDIN.
        classes: C.
        from_logits: the scores are logits.
        printer: shows the text.

    Returns:
        Whether it was the keyboard.

    Raises:
        CTCError: what comes in are no such frames.
    """
    from ..annotate.recording import check_scores
    from ..files import read_frames

    name = "the standard input" if source == STDIN else str(source)
    with _opened(source) as pipe, Keyboard() as keyboard:
        try:
            for rows in read_frames(lambda: keyboard.read(pipe), classes, name):
                check_scores(rows, classes, from_logits, begun=stream.frames)
                stream.feed(rows)
                printer.stable(stream.stable().text)
        except CTCError:
            if not keyboard.pressed:  # else it was stopped within a frame
                raise
        return keyboard.pressed


@contextmanager
def _opened(source: Path) -> Iterator[io.FileIO]:
    if source == STDIN:
        yield io.FileIO(sys.stdin.fileno(), closefd=False)
        return
    from ..files import unreadable

    try:
        pipe = io.FileIO(source)
    except OSError as error:
        raise unreadable(source, error) from None
    with pipe:
        yield pipe
