"""How an estimator looks, everywhere: one colour and marker per family, one line style per ensemble.

The colours are Okabe and Ito's (https://jfly.uni-koeln.de/color/), told apart with any colour vision, a shade
darker, so that text in them stands out from white by 4.5 to 1 (WCAG 2.2, criterion 1.4.3); markers
and line styles say the same again, so that a picture printed in grey loses nothing.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from roar.analysis.names import Parts, parts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAMILY_COLOURS = {"gradient": "#0067A6", "integrated-gradients": "#BF4F00", "guided-backprop": "#007D5C",
                  "others": "#993388", "truth": "#7A5C00"}
FAMILY_MARKERS = {"gradient": "o", "integrated-gradients": "s", "guided-backprop": "^", "others": "D", "truth": "v"}
DASHES: dict[str, tuple[float, ...]] = {  # on, off, ... in line widths; () is a full line
    "base": (), "magnitude": (7, 2), "smoothgrad": (4, 1.5), "smoothgrad-magnitude": (4, 1.5, 1, 1.5),
    "smoothgrad-squared": (2, 1), "vargrad": (1, 1)}
ORACLE_DASHES: dict[str, tuple[float, ...]] = {"oracle": (), "oracle-noisy": (2, 1), "oracle-inverted": (7, 2)}
CONTROL_LOOKS: dict[str, tuple[str, str, tuple[float, ...]]] = {
    "random": ("#4d4d4d", "x", ()), "random-bernoulli": ("#767676", "+", (1, 1)), "sobel": ("#6b6b6b", "P", (5, 2))}
REFERENCE_COLOUR = "#222222"

RC: dict[Any, Any] = {
    "font.family": "sans-serif", "font.size": 9.0, "axes.titlesize": 9.5, "axes.labelsize": 9.0,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6, "axes.axisbelow": True, "legend.frameon": False,
    "svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "roar", "figure.dpi": 100, "savefig.dpi": 200}


@dataclass(frozen=True)
class Look:
    """How one estimator is drawn; ``dashes`` in line widths, empty for a full line."""

    colour: str
    marker: str
    dashes: tuple[float, ...]
    width: float

    def line(self) -> dict[str, Any]:
        """The keyword arguments of ``Axes.plot``."""
        return {"color": self.colour, "marker": self.marker, "linewidth": self.width, "markersize": 4,
                "linestyle": (0, self.dashes) if self.dashes else "-",
                "markeredgecolor": "white" if self.marker not in "x+" else self.colour,
                "markeredgewidth": 0.5 if self.marker not in "x+" else 1.2}


def look(estimator: str) -> Look:
    """How an estimator is drawn."""
    p: Parts = parts(estimator)
    if p.is_control:
        return Look(*CONTROL_LOOKS[p.base], 2.0)
    dashes = ORACLE_DASHES[p.base.partition("(")[0]] if p.family == "truth" else DASHES[p.ensemble]
    return Look(FAMILY_COLOURS[p.family], FAMILY_MARKERS[p.family], dashes, 1.5)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches, outside pyplot, drawn by Agg and laid out by matplotlib."""
    from roar.analysis.figures.canvas import Picture

    return Picture(width, height)


def render(figure: Figure, kind: Literal["svg", "png", "pdf"] = "svg") -> bytes:
    """A figure as the bytes of a file, the same every time: SVG and PDF keep their text as text."""
    import matplotlib as mpl

    stream = io.BytesIO()
    metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
    with mpl.rc_context(RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)  # an emoji in a class's name
        figure.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()


def spread(positions: list[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels, at least ``gap`` apart and within ``low .. high``, near ``positions``.

    The least-squares solution under the order of the labels (pool adjacent violators). Where all of them do
    not fit, the gap shrinks until they do.
    """
    n = len(positions)
    if n == 0:
        return []
    gap = min(gap, (high - low) / max(n - 1, 1))
    ranked = sorted(range(n), key=lambda i: positions[i])
    blocks: list[list[float]] = []  # [mean of the shifted positions, number of labels]
    for k, i in enumerate(ranked):
        blocks.append([positions[i] - k * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            mean, count = blocks.pop()
            total = blocks[-1][1] + count
            blocks[-1] = [(blocks[-1][0] * blocks[-1][1] + mean * count) / total, total]
    flat = [mean for mean, count in blocks for _ in range(int(count))]
    top = high - (n - 1) * gap
    placed = [0.0] * n
    for k, i in enumerate(ranked):
        placed[i] = min(max(flat[k], low), top) + k * gap
    return placed
