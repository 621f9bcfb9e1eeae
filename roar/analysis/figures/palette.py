"""Colors, the page's names for them, what artists stand for, and how wide text is.

The colors are Okabe and Ito's (https://jfly.uni-koeln.de/color/), told apart with any color vision, a shade
darker, so that text in them stands out from white by 4.5 to 1 (WCAG 2.2, criterion 1.4.3).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from types import MappingProxyType
from typing import Any

FAMILY_COLORS = {"gradient": "#0067a6", "integrated-gradients": "#bf4f00", "guided-backprop": "#007d5c",
                 "others": "#993388", "truth": "#7a5c00"}
CONTROL_COLORS = {"random": "#4d4d4d", "random-bernoulli": "#767676", "sobel": "#6b6b6b"}
INK, SOFT, RULE, GRID, PAPER = "#222222", "#555555", "#d5d9df", "#e6e6e6", "#ffffff"
THEME: dict[str, str] = {  # the page's name for each color, which it gives another shade in dark mode
    **{color: family for family, color in FAMILY_COLORS.items()},
    **dict.fromkeys(CONTROL_COLORS.values(), "controls"),
    INK: "ink", SOFT: "soft", RULE: "rule", GRID: "grid", PAPER: "paper"}


class Mark(str):
    """What an artist shows, for the page, as the artist's ``gid``; in files it is the id of the artist's group.

    Attributes:
        estimator: whose series the artist belongs to; empty where a legend cannot switch it off.
        values: in words what each point or cell of the artist says, in the order of drawing.
    """

    estimator: str
    values: tuple[str, ...]

    def __new__(cls, estimator: str, values: Sequence[str] = (), name: str = "") -> Mark:
        """A mark of a series; with ``name``, of something else that no legend switches off."""
        mark = super().__new__(cls, name or f"series:{estimator}")
        mark.estimator, mark.values = "" if name else estimator, tuple(values)
        return mark


@contextmanager
def plain_settings(settings: Mapping[str, Any] = MappingProxyType({})) -> Iterator[None]:
    """Draw with matplotlib's defaults and these settings over them, whatever a matplotlibrc or the environment says.

    A person's settings are for the figures of that person: with ``text.usetex``, or a backend that is not installed,
    a report would not be written. The backend is left alone, since figures are drawn without one.
    """
    asked = os.environ.pop("MPLBACKEND", None)  # an unknown one is an error of the import
    try:
        import matplotlib as mpl
    finally:
        if asked is not None:
            os.environ["MPLBACKEND"] = asked
    plain: dict[Any, Any] = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")}
    with mpl.rc_context(plain | dict(settings)):
        yield


def text_width(words: str, points: float = 9.0) -> float:
    """The width of a line of text in inches."""
    return text_size(words, points)[0] / 72


@lru_cache(maxsize=4096)
def text_size(words: str, points: float, weight: str | int = "normal") -> tuple[float, float, float]:
    """Width, height and descent of a line of text in points."""
    with plain_settings(), warnings.catch_warnings():
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import text_to_path

        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        width, height, descent = text_to_path.get_text_width_height_descent(
            words, FontProperties(size=points, weight=weight), False)
    return float(width), float(height), float(descent)
