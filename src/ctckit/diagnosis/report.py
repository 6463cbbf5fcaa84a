"""What a diagnosis says and how it is shown: as text, as HTML, as a dictionary. Imports the standard library only.

Findings carry their numbers, so that a person can judge them and a program can act on them.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # worst first

_WIDTH = 100
_SHOWN = 3  # findings of one code that are written out; a batch of 64 may hold the same fault 64 times


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a batch, or worth knowing about it.

    Attributes:
        severity: "error" if the loss can't be right, "warning" if training probably won't go well, "note" if it is
            only worth knowing.
        code: a stable name in kebab-case, for programs.
        sample: the sample, or None if it is about the whole batch.
        message: one sentence with the evidence in numbers.
        mend: one sentence, what to do.
        evidence: the same numbers for programs; plain Python numbers, strings and lists.
    """

    severity: Severity
    code: str
    sample: int | None
    message: str
    mend: str
    evidence: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "severity": self.severity,
            "code": self.code,
            "sample": self.sample,
            "message": self.message,
            "mend": self.mend,
            "evidence": _plain(self.evidence),
        }


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`ctckit.diagnose` found.

    Attributes:
        findings: worst first.
        statistics: of the batch; nats, frames and shares between 0 and 1. What could not be computed is None.
    """

    findings: tuple[Finding, ...]
    statistics: dict[str, Any]

    @property
    def healthy(self) -> bool:
        """Whether there are neither errors nor warnings; notes may well be there."""
        return all(finding.severity == "note" for finding in self.findings)

    @property
    def headline(self) -> str:
        """One line: how many findings of what severity, in what batch."""
        counts = {severity: sum(f.severity == severity for f in self.findings) for severity in SEVERITIES}
        told = [f"{count} {severity}{'s' * (count > 1)}" for severity, count in counts.items() if count]
        if self.healthy:
            told = ["no errors, no warnings", *told]
        size = "N={samples} samples, T={frames} frames, C={classes} classes, blank={blank}".format(**self.statistics)
        return f"{'Healthy' if self.healthy else 'Not healthy'}: {', '.join(told)} ({size})"

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON: numbers that JSON lacks are the strings "inf", "-inf" and "nan"."""
        return {
            "healthy": self.healthy,
            "findings": [finding.as_dict() for finding in self.findings],
            "statistics": _plain(self.statistics),
        }

    def __str__(self) -> str:
        lines = [self.headline]
        for finding, more in _grouped(self.findings):
            lines += ["", f"{finding.severity}: {finding.code}"]
            lines += textwrap.wrap(finding.message, _WIDTH, initial_indent="  ", subsequent_indent="  ")
            lines += textwrap.wrap(finding.mend, _WIDTH, initial_indent="  → ", subsequent_indent="    ")
            if more:
                lines += textwrap.wrap(_likewise(more), _WIDTH, initial_indent="  ", subsequent_indent="  ")
        return "\n".join([*lines, "", *_table(self.statistics)])

    def _repr_html_(self) -> str:
        items = []
        for finding, more in _grouped(self.findings):
            likewise = f"<br><small>{html.escape(_likewise(more))}</small>" if more else ""
            items.append(
                f'<li style="margin:.6em 0;padding-left:.7em;border-left:4px solid {_COLORS[finding.severity]}">'
                f"<b>{finding.severity}</b> <code>{html.escape(finding.code)}</code><br>"
                f"{html.escape(finding.message)}<br>→ {html.escape(finding.mend)}{likewise}</li>"
            )
        rows = [
            f"<tr><th scope=row style='text-align:left'>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
            for name, text in _rows(self.statistics)
        ]
        return (
            f'<div class="ctckit-diagnosis"><p><b>{html.escape(self.headline)}</b></p>'
            f'<ul style="list-style:none;padding:0">{"".join(items)}</ul><table>{"".join(rows)}</table></div>'
        )


_COLORS = {"error": "#c92a2a", "warning": "#e67700", "note": "#1971c2"}  # legible on light and on dark ground

_NAMES = {
    "loss": ("loss", "{:.4g} nats a token, mean over the samples whose loss is finite"),
    "infeasible": ("infeasible samples", "{}"),
    "blank_share": ("blank share", "{:.3f} of frames have the blank as their likeliest class"),
    "confidence": ("confidence", "{:.3f} mean probability of the likeliest class"),
    "entropy": ("entropy", "{:.3f} nats a frame"),
    "spike_width": ("spike width", "{:.2f} frames a token read"),
    "token_mass": ("token mass", "{:.3f} frames' worth of tokens given out for each token in the targets"),
    "error_rate": ("error rate", "{:.3f} of tokens, best path against targets"),
}


def _rows(statistics: Mapping[str, Any]) -> list[tuple[str, str]]:
    known = [(label, form, statistics[key]) for key, (label, form) in _NAMES.items()]
    return [(label, form.format(value)) for label, form, value in known if value is not None]


def _table(statistics: Mapping[str, Any]) -> list[str]:
    rows = _rows(statistics)
    width = max((len(label) for label, _ in rows), default=0)
    return [f"{label:<{width}}  {text}" for label, text in rows]


def _grouped(findings: Sequence[Finding]) -> list[tuple[Finding, list[Finding]]]:
    """Findings to write out; the last of each kind with those of its kind that are left out."""
    shown: list[tuple[Finding, list[Finding]]] = []
    for _, group in groupby(findings, key=lambda finding: (finding.severity, finding.code)):
        same = list(group)
        shown += [(finding, []) for finding in same[: _SHOWN - 1]]
        shown += [(same[_SHOWN - 1], same[_SHOWN:])] if len(same) >= _SHOWN else []
    return shown


def _likewise(more: Sequence[Finding]) -> str:
    named = ", ".join(str(finding.sample) for finding in more[:20])
    return f"Likewise {len(more)} more: samples {named}{', …' if len(more) > 20 else ''}."


def _plain(value: Any) -> Any:
    """Values as JSON has them."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
