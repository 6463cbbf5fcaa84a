"""Spikes are late and short: times become earlier, and tokens go on over the blanks after them."""

from __future__ import annotations

import math

import pytest
from support.recordings import said

from ctckit import STAR, CTCError, Decoder, Segment, Vocabulary
from ctckit.annotate import decoded, utterance
from ctckit.annotate.spikes import stretched
from ctckit.text.scripts import Script

NAN = math.nan
LABELS = ["-", "|", "a", "b", "c"]
ALL = "ab ca b"


def piece(text: str, start: float, end: float, *parts: Segment) -> Segment:
    return Segment(text, start, end, -0.1, 0.9, parts)


def word(*tokens: tuple[float, float]) -> Segment:
    return piece("w", tokens[0][0], tokens[-1][1], *(piece("t", *times) for times in tokens))


def line(*words: Segment) -> Segment:
    return piece("l", words[0].start, words[-1].end, *words)


def ends(lines: list[Segment]) -> list[tuple[float, list[tuple[float, list[float]]]]]:
    """Of each line, each word and each token."""
    return [(each.end, [(w.end, [t.end for t in w.parts]) for w in each.parts]) for each in lines]


class TestStretched:
    LINES = (line(word((1.0, 1.1), (1.3, 1.4)), word((1.5, 1.6))), line(word((3.0, 3.1))))

    def test_until_the_next_token_begins_or_for_so_long(self) -> None:
        """Over 0.2 s of blanks in a word, over 0.1 s between words, over 1.4 s between lines, and over the end."""
        found = stretched(list(self.LINES), 0.25, end=3.2)
        assert ends(found) == [
            (pytest.approx(1.85), [(1.5, [1.3, 1.5]), (pytest.approx(1.85), [pytest.approx(1.85)])]),
            (3.2, [(3.2, [3.2])]),
        ]

    def test_only_ends_change(self) -> None:
        def rest(lines: list[Segment]) -> list[object]:
            kept = [*lines, *(w for each in lines for w in each.parts)]
            return [(each.text, each.start, each.score, each.confidence) for each in kept]

        assert rest(stretched(list(self.LINES), 0.25, end=3.2)) == rest(list(self.LINES))

    def test_none(self) -> None:
        assert stretched(list(self.LINES), 0.0, end=9.0) == list(self.LINES)

    def test_what_is_no_part_of_the_lines_ends_a_token(self) -> None:
        """Another word, which a star between words matches, begins at 1.65."""
        found = stretched(list(self.LINES), 0.25, end=9.0, others=[1.65])
        assert [each.end for each in found] == [1.65, pytest.approx(3.35)]

    def test_pieces_without_a_time_are_passed_over(self) -> None:
        missing = Segment("w", NAN, NAN, NAN, NAN, (Segment("t", NAN, NAN, NAN, NAN),))
        silent = Segment("…", NAN, NAN, NAN, NAN)
        lines = [line(word((1.0, 1.1)), missing, word((1.2, 1.3)), silent)._replace(end=1.3), silent]
        found = stretched(lines, 1.0, end=2.0)
        assert [found[0].end, *(each.end for each in found[0].parts)] == pytest.approx(
            [2.0, 1.2, NAN, 2.0, NAN], nan_ok=True
        )
        assert math.isnan(found[1].end)

    def test_lines_that_overlap_keep_their_own_frames(self) -> None:
        """Subtitles may overlap: the next token begins within this one, or together with it."""
        lines = [line(word((1.0, 1.4))), line(word((1.2, 1.3))), line(word((1.2, 1.3)))]
        assert [each.end for each in stretched(lines, 0.5, end=9.0)] == pytest.approx([1.4, 1.8, 1.8])


class TestAligned:
    """The text "ab ca b", of frames of 0.1 s: tokens begin in frames 2, 5, 10, 13 and 21 of 29."""

    SCORES = said(LABELS, "--a--b--|-c--a---||--b-------")

    def aligned(self, **options: float) -> list[Segment]:
        found = utterance.align(self.SCORES, ALL, Vocabulary(LABELS), 0.1, utterance.Options(**options))
        return list(found.lines[0].parts)

    def test_separators_do_not_end_a_word(self) -> None:
        """The blanks and separators after "ab" are the frames 6 to 9; 7 are after "ca"."""
        found = self.aligned(stretch=0.5)
        assert [w.end for w in found] == pytest.approx([1.0, 1.9, 2.7])
        assert [t.end for w in found for t in w.parts] == pytest.approx([0.5, 1.0, 1.3, 1.9, 2.7])

    def test_the_delay_comes_off_afterwards(self) -> None:
        """What is said may go on to the recording's end, which is the network's end and the delay."""
        found = self.aligned(stretch=0.5, delay=0.2)
        assert [w.end for w in found] == pytest.approx([0.8, 1.7, 2.5])
        assert [w.end for w in self.aligned(stretch=1.5, delay=0.2)] == pytest.approx([0.8, 1.9, 2.9])

    def test_extended_first(self) -> None:
        """`extend` moves both sides, by a frame here; `stretch` what is left of the right one."""
        found = self.aligned(stretch=0.2, extend=1)
        assert [w.start for w in found] == pytest.approx([0.1, 1.0, 2.0])
        assert [w.end for w in found] == pytest.approx([0.9, 1.7, 2.5])

    def test_other_words_between_those_of_the_text(self) -> None:
        """With a star between words, "b" is none of the text's: a word ends where it begins."""
        options = utterance.Options(star=True, stretch=0.9)
        scores = said(LABELS, "--a--|--bbb--|--c---", sure=0.9999)
        found = utterance.align(scores, "a c", Vocabulary(LABELS), 0.1, options)
        assert found.path[8:11].tolist() == [STAR] * 3
        assert [w.end for w in found.lines[0].parts] == pytest.approx([0.8, 2.0])

    def test_subtitles(self) -> None:
        """A word goes on to its subtitle's end at most."""
        script = Script("ab ca\nb", ((0.0, 1.6), (1.6, 2.5)))
        options = utterance.Options(cue_times=True, stretch=9.0)
        found = utterance.align(self.SCORES, script, Vocabulary(LABELS), 0.1, options)
        assert [each.end for each in found.lines] == pytest.approx([1.6, 2.5])

    def test_decoded(self) -> None:
        decoders = Decoder(Vocabulary(LABELS))
        options = decoded.Options(stretch=0.5)
        texts = decoded.searched(self.SCORES, decoders, options)
        found = decoded.timed(texts, len(self.SCORES), 0.1, options)
        assert [w.end for w in found.lines[0].parts] == pytest.approx([1.0, 1.9, 2.7])
        assert found.facts["stretch"] == 0.5

    def test_out_of_range(self) -> None:
        with pytest.raises(CTCError, match=r"stretch = -0\.1: expected"):
            utterance.Options(stretch=-0.1).check()
        with pytest.raises(CTCError, match=r"stretch = nan: expected"):
            decoded.Options(stretch=NAN).check(50, [])
