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
# Nats. A beam has the same width at every frame: its last prefixes may have e^-100 of the best one's probability and
# differ from it in the first letter, so without a threshold nothing would be stable before the end. In 116 printed
# lines (tests/support/printed.py), thresholds of 25 and 40 changed no text; with a lexicon, 12 changed one text and 8
# six. With 25, a letter was stable 2 frames after it was added (median), or 8 frames with a lexicon, or 16 with a
# language model too. These numbers are with recombination: without it, a prefix that differs early is kept as long as
# it is not much worse.
THRESHOLD = 25.0
_PIECE = 1 << 16  # at most this many bytes are read at a time


class Printer:
    """Prints a text piece by piece: the part that can't change any more, and at the end the rest.

    Args:
        to: where it is printed.
        has_words: whether the text is printed in whole words; else letter by letter.
        is_needed: whether the program has nothing else to do, and so ends, if the reader of the text has gone.
    """

    def __init__(self, to: TextIO, has_words: bool, is_needed: bool) -> None:
        self._to, self._has_words, self._is_needed = to, has_words, is_needed
        self._shown = ""

    def stable(self, text: str) -> None:
        """Prints what is new in the stable beginning of the text; its last word may be incomplete."""
        self._show(text.rpartition(" ")[0] if self._has_words else text)

    def end(self, text: str) -> None:
        """Prints the rest of the whole text, and ends the line."""
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
    """Makes Ctrl-C act like the end of the pipe: waiting for bytes stops, and what has come in is decoded to the end.

    Attributes:
        pressed: whether Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self.pressed = self._waiting = False

    def __enter__(self) -> Keyboard:
        self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def read(self, pipe: io.FileIO) -> bytes:
        """The bytes that have come in; empty at the end."""
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
    """Feeds a stream from a pipe until the pipe ends or Ctrl-C is pressed, and prints the stable text.

    Args:
        stream: takes the frames.
        source: the path of the pipe, or STDIN.
        classes: C, the number of classes.
        from_logits: whether the scores are logits.
        printer: prints the text.

    Returns:
        Whether Ctrl-C was pressed.

    Raises:
        CTCError: the bytes are not frames of C classes.
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
            if not keyboard.pressed:  # otherwise Ctrl-C was pressed within a frame
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
