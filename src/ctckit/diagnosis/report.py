"""What a diagnosis says and how it is shown: as text, as HTML, as a dictionary.

Findings carry their numbers, so that a person can judge them and a program can act on them; words come last, from the
catalogue. May import names.py beside it, and catalogue/, faults.py and validate/.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from typing import Any, Literal

from ..catalogue import fill, words
from ..catalogue.columns import cells, wrapped
from ..faults import Fault
from ..validate import check_language
from .names import Names

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # worst first

_WIDTH = 100  # columns of a line
_SHOWN = 3  # findings of one code that are written out; a batch of 64 may hold the same fault 64 times
_NAMED = 20  # of the samples with the other findings
_ROWS = (
    "loss",
    "infeasible",
    "blank_share",
    "confidence",
    "entropy",
    "path_entropy",
    "spike_width",
    "token_mass",
    "error_rate",
)
_LONGEST = 60  # characters of a text that are shown
# Which numbers of the evidence are classes, lists of classes, and maps from class to class.
_CLASSES = ("likeliest", "value", "token", "other", "told")
_LISTS = ("never", "masked")
_COLORS = {"error": "#c92a2a", "warning": "#e67700", "note": "#1971c2"}  # legible on light and on dark ground


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a batch, or worth knowing about it.

    Attributes:
        severity: "error" if the loss can't be right, "warning" if training probably won't go well, "note" if it is
            only worth knowing.
        code: a stable name in kebab-case, for programs.
        sample: the sample, or None if it is about the whole batch.
        evidence: the numbers; plain Python numbers, strings and lists.
        variant: which of the code's wordings in the catalogue's part ``findings``; empty for the usual one.
        hint: key of the words that say how to fix it.
        fault: what the loss's own check says, if that finds the same; its words are the finding's.
        names: the classes' names, if they are known.
    """

    severity: Severity
    code: str
    sample: int | None
    evidence: dict[str, Any] = field(default_factory=dict)
    variant: str = ""
    hint: str = ""
    fault: Fault | None = None
    names: Names | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, fault: Fault) -> Finding:
        """A fault of the call, as a finding."""
        return cls("error", fault.code, fault.sample, dict(fault.details), fault=fault)

    @property
    def message(self) -> str:
        """What is wrong, with the numbers, in English."""
        return self.sentences("en")[0]

    @property
    def fix(self) -> str:
        """What to do about it, in English."""
        return self.sentences("en")[1]

    def sentences(self, lang: str = "en") -> tuple[str, str]:
        """Message and fix in a language of the catalogue, "en" or "zh"."""
        known = words("findings", lang)
        if self.fault is not None:
            message, fix = self.fault.sentences(lang)
            more = "/loss" if self.evidence.get("loss") is not None else ""
            then = fill(known.get(f"hint/then/{self.code}{more}", ""), lang, self.evidence)
            return message, f"{fix} {then}" if then and lang == "en" else fix + then
        data = {"scores": "log_probs", "sample": self.sample, **self._named(), "n": self.sample}
        key = f"{self.code}/{self.variant}" if self.variant else self.code
        message = fill(known[key], lang, data)
        if "reading_text" in data:
            message += (" " if lang == "en" else "") + fill(known["report/texts"], lang, data)
        return message, fill(known[f"hint/{self.hint or self.code}"], lang, data)

    def _named(self) -> dict[str, Any]:
        """The evidence as it is said: classes with their names, and maps as lists of pairs."""
        data, names = dict(self.evidence), self.names
        of = names.of if names is not None else str
        for key in _CLASSES:
            if isinstance(data.get(key), int):
                data[key] = of(data[key])
        for key in _LISTS:
            if key in data:
                data[key] = [of(label) for label in data[key]]
        if "map" in data:
            data["pairs"] = [f"{of(int(a))} → {of(b)}" for a, b in data["map"].items()]
        if "fits" in data:
            data["pairs"] = [f"{n} → {m}" for n, m in data["fits"].items()]
        if names is not None and "reading" in data and "target" in data:
            for key in ("reading", "target"):
                text = names.text(data[key])
                data[f"{key}_text"] = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
        return data

    def as_dict(self, lang: str = "en") -> dict[str, Any]:
        """All of it, ready for JSON."""
        message, fix = self.sentences(lang)
        return {
            "severity": self.severity,
            "code": self.code,
            "sample": self.sample,
            "message": message,
            "fix": fix,
            "evidence": _plain(self.evidence),
        }


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What :func:`ctckit.diagnose` found.

    Attributes:
        findings: worst first.
        statistics: of the batch; nats, frames and shares between 0 and 1. What could not be computed is None.
        lang: the language in which it is shown, if no other is asked for.
    """

    findings: tuple[Finding, ...]
    statistics: dict[str, Any]
    lang: str = "en"

    @property
    def healthy(self) -> bool:
        """Whether there are no errors and no warnings; there may be notes."""
        return all(finding.severity == "note" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON: numbers that JSON lacks are the strings "inf", "-inf" and "nan"."""
        return {
            "healthy": self.healthy,
            "findings": [finding.as_dict(self.lang) for finding in self.findings],
            "statistics": _plain(self.statistics),
        }

    def text(self, lang: str | None = None) -> str:
        """The report in a language of the catalogue, "en" or "zh"; by default in the diagnosis's own."""
        lang = check_language(self.lang if lang is None else lang)
        known = words("findings", lang)
        colon = {"en": ": ", "zh": "："}[lang]
        lines = [self._headline(lang)]
        for finding, more in _grouped(self.findings):
            message, fix = finding.sentences(lang)
            lines += ["", f"{known[f'report/{finding.severity}']}{colon}{finding.code}"]
            lines += wrapped(message, _WIDTH, "  ", "  ")
            lines += wrapped(fix, _WIDTH, "  → ", "    ")
            if more:
                lines += wrapped(_likewise(more, lang), _WIDTH, "  ", "  ")
        rows = list(self._rows(lang))
        label_width = max((cells(label) for label, _ in rows), default=0)
        return "\n".join([*lines, "", *(label + " " * (label_width - cells(label) + 2) + text for label, text in rows)])

    def html(self, lang: str | None = None) -> str:
        """The report as a fragment of HTML, as notebooks show it."""
        lang = check_language(self.lang if lang is None else lang)
        known = words("findings", lang)
        items = []
        for finding, more in _grouped(self.findings):
            message, fix = finding.sentences(lang)
            likewise = f"<br><small>{escape(_likewise(more, lang))}</small>" if more else ""
            items.append(
                f'<li style="margin:.6em 0;padding-left:.7em;border-left:4px solid {_COLORS[finding.severity]}">'
                f"<b>{known[f'report/{finding.severity}']}</b> <code>{escape(finding.code)}</code><br>"
                f"{escape(message)}<br>→ {escape(fix)}{likewise}</li>"
            )
        rows = [
            f"<tr><th scope=row style='text-align:left'>{escape(name)}</th><td>{escape(text)}</td></tr>"
            for name, text in self._rows(lang)
        ]
        return (
            f'<div class="ctckit-diagnosis"><p><b>{escape(self._headline(lang))}</b></p>'
            f'<ul style="list-style:none;padding:0">{"".join(items)}</ul><table>{"".join(rows)}</table></div>'
        )

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.html()

    def _headline(self, lang: str) -> str:
        known = words("findings", lang)
        counts = {severity: sum(f.severity == severity for f in self.findings) for severity in SEVERITIES}
        parts = [fill(known[f"report/count/{name}"], lang, {"count": count}) for name, count in counts.items() if count]
        if self.healthy:
            parts.insert(0, known["report/none"])
        counted = {"counts": {"en": ", ", "zh": "，"}[lang].join(parts)}
        line = fill(known["report/healthy" if self.healthy else "report/unhealthy"], lang, counted)
        known_size = self.statistics["samples"] is not None
        return line + (fill(known["report/size"], lang, self.statistics) if known_size else "")

    def _rows(self, lang: str) -> Iterator[tuple[str, str]]:
        """Name and value of each statistic that could be computed."""
        known = words("findings", lang)
        for name in _ROWS:
            value = self.statistics[name]
            if value is not None:
                yield known[f"report/{name}"], fill(known[f"report/{name}/value"], lang, {"value": value})


def _grouped(findings: Sequence[Finding]) -> Iterator[tuple[Finding, list[Finding]]]:
    """The findings to write out; the last of a kind with the rest of its kind, of which only the samples are named."""
    for _, group in groupby(findings, key=lambda finding: (finding.severity, finding.code)):
        same = list(group)
        for finding in same[: _SHOWN - 1]:
            yield finding, []
        if len(same) >= _SHOWN:
            yield same[_SHOWN - 1], same[_SHOWN:]


def _likewise(more: Sequence[Finding], lang: str) -> str:
    comma = {"en": ", ", "zh": "、"}[lang]
    named = comma.join([*(str(finding.sample) for finding in more[:_NAMED]), *(["…"] if len(more) > _NAMED else [])])
    return fill(words("findings", lang)["report/likewise"], lang, {"count": len(more), "samples": named})


def _plain(value: Any) -> Any:
    """Values as JSON has them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
