"""The pieces that all of the page's charts are made of: scales, ticks, markers, text.

Colours are left to the page's style sheet (classes ``f-gradient``, ...), so that they follow light and dark
mode. Every text goes through markupsafe.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup

from roar.analysis.figures.style import look
from roar.analysis.names import REFERENCE, parts

CHARACTER = 6.4  # width of a character of the 11 px labels, with room to spare
_MARKERS = {
    "o": "M-3.2,0a3.2,3.2 0 1,0 6.4,0a3.2,3.2 0 1,0 -6.4,0z", "s": "M-3,-3h6v6h-6z", "^": "M0,-3.8L3.6,2.8H-3.6z",
    "v": "M0,3.8L3.6,-2.8H-3.6z",
    "D": "M0,-4L4,0L0,4L-4,0z", "x": "M-3,-3L3,3M-3,3L3,-3", "+": "M0,-3.6V3.6M-3.6,0H3.6",
    "P": "M-1.3,-3.6h2.6v2.3h2.3v2.6h-2.3v2.3h-2.6v-2.3h-2.3v-2.6h2.3z"}


@dataclass(frozen=True)
class Scale:
    """A straight line from values to pixels; ``low`` lies at ``start``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def nice_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers within ``low .. high``, about so many.

    >>> nice_ticks(43.0, 95.0)
    [50.0, 60.0, 70.0, 80.0, 90.0]
    """
    raw = (high - low) / max(about, 1)
    power = 10.0 ** floor(log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    return [round(i * step, 10) for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def thinned(values: list[float], scale: Scale, gap: float) -> list[float]:
    """Those values that lie at least ``gap`` pixels apart, from the left."""
    kept: list[float] = []
    for value in values:
        if not kept or abs(scale(value) - scale(kept[-1])) >= gap:
            kept.append(value)
    return kept


def series_class(estimator: str) -> str:
    """The style sheet's classes for an estimator's colour."""
    return "f-reference" if estimator == REFERENCE else f"f-{parts(estimator).family}"


def dash_array(estimator: str, width: float = 1.8) -> str:
    """The value of ``stroke-dasharray``; ``none`` for a full line."""
    if estimator == REFERENCE:
        return "7 4"
    return " ".join(f"{width * part:g}" for part in look(estimator).dashes) or "none"


def marker(estimator: str, x: float, y: float, tip: str) -> Markup:
    """An estimator's mark at a place, with what is to be said of it."""
    kind = look(estimator).marker
    stroked = " open" if kind in "x+" else ""
    return Markup('<path class="pt{}" transform="translate({:.1f},{:.1f})" d="{}"><title>{}</title></path>').format(
        stroked, x, y, _MARKERS[kind], tip)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)


def text(x: float, y: float, words: object, kind: str = "tick", anchor: str = "start") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, words)


def points(pairs: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pairs)


def joined(pieces: Iterable[Markup]) -> Markup:
    return Markup("").join(pieces)


def chart(width: float, height: float, label: str, body: Iterable[Markup], kind: str = "") -> Markup:
    """An SVG of the page; ``label`` says to those who do not see it what it shows."""
    return Markup('<svg class="chart {}" viewBox="0 0 {:g} {:g}" role="img" aria-label="{}" tabindex="0">{}</svg>'
                  ).format(kind, width, height, label, joined(body))


def swatch(estimator: str) -> Markup:
    """A short piece of an estimator's line, for legends."""
    return Markup('<svg class="swatch {}" viewBox="0 0 34 12" aria-hidden="true"><line class="line" x1="1" y1="6" '
                  'x2="33" y2="6" stroke-dasharray="{}"/>{}</svg>').format(
        series_class(estimator), dash_array(estimator),
        Markup("") if estimator == REFERENCE else Markup('<path class="pt{}" transform="translate(17,6)" d="{}"/>'
        ).format(" open" if look(estimator).marker in "x+" else "", _MARKERS[look(estimator).marker]))


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign and a true minus.

    >>> signed(-1.25, 2)
    '−1.25'
    """
    return f"{value:+.{digits}f}".replace("-", "−")

