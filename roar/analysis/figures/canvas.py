"""What is derived from matplotlib's classes: a figure outside pyplot, and a renderer for pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from markupsafe import Markup, escape
from matplotlib.backend_bases import GraphicsContextBase, RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.path import Path

from roar.analysis.facts import REFERENCE
from roar.analysis.figures.palette import INK, PAPER, SOFT, THEME, Mark, text_size
from roar.analysis.paired import Floats

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties
    from matplotlib.text import Text
    from matplotlib.transforms import Transform

FONT = 9.0  # points, the style sheet's size of a chart's text
_LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "z"}
_ANCHORS = {"left": (0.0, ""), "center": (0.5, ' text-anchor="middle"'), "right": (1.0, ' text-anchor="end"')}


class Picture(Figure):
    """A figure of matplotlib that belongs to no pyplot state and draws itself as PNG in a notebook."""

    def __init__(self, width: float, height: float, layout: Literal["constrained", "none"],
                 render: Callable[[Figure, Literal["png"]], bytes]) -> None:
        super().__init__(figsize=(width, height), layout=None if layout == "none" else layout, facecolor=PAPER)
        FigureCanvasAgg(self)
        self._render = render

    def _repr_png_(self) -> bytes:
        return self._render(self, "png")


class PageRenderer(RendererBase):
    """Writes SVG elements in the order of drawing; unmarked lines of one style become one element."""

    def __init__(self, width: float, height: float) -> None:
        super().__init__()
        self.width, self.height = width, height
        self._parts: list[str] = []
        self._lines: dict[str, list[str]] = {}  # attributes -> paths that wait for the next marked group
        self._marks: list[Mark | None] = []
        self._kinds: list[str] = []  # of the artists that are being drawn
        self._open: Mark | None = None  # the series whose group is open in the output
        self._values: Iterator[str] = iter(())
        self._of_all = ""  # what a line says that has one value

    def body(self) -> Markup:
        self._enter(None)
        self._flush()
        return Markup("".join(self._parts))

    # -- groups

    def open_group(self, s: str, gid: str | None = None) -> None:
        mark = gid if isinstance(gid, Mark) else None
        self._marks.append(mark)
        self._kinds.append(s)
        if mark is not None:
            self._values, self._of_all = iter(mark.values), mark.values[0] if len(mark.values) == 1 else ""

    def close_group(self, s: str) -> None:
        self._kinds.pop()
        if self._marks.pop() is not None:
            self._values, self._of_all = iter(()), ""

    def _enter(self, mark: Mark | None) -> None:
        """Open the group of a series; what follows of the same series joins it."""
        if self._open == mark:
            return
        if self._open is not None:
            self._parts.append("</g>")
        self._open = mark
        if mark is not None:
            switch = f' data-estimator="{escape(mark.estimator)}"' if mark.estimator != REFERENCE else ""
            self._parts.append(f'<g class="series"{switch}>')

    def _write(self, element: str) -> None:
        self._flush()
        self._enter(next((mark for mark in reversed(self._marks) if mark is not None and mark.estimator), None))
        self._parts.append(element)

    def _flush(self) -> None:
        """Write the lines that wait; nothing that overlaps them has been written meanwhile."""
        if self._lines:
            self._enter(None)
            self._parts += [f'<path{attributes} d="{"".join(paths)}"/>' for attributes, paths in self._lines.items()]
            self._lines = {}

    # -- what matplotlib calls

    def draw_path(self, gc: GraphicsContextBase, path: Path, transform: Transform,
                  rgbFace: Any = None) -> None:
        style = _style(gc, rgbFace)
        each = rgbFace is not None or self._kinds[-1:] == ["QuadMesh"]  # a line's values are those of its points
        said = next(self._values, "") if each else self._of_all
        if style is None:
            return
        shape = transform.transform_path(path)
        if rgbFace is not None:
            shape = _clipped(shape, gc.get_clip_rectangle())
        words = self._path(shape)
        if not words:
            return
        if rgbFace is None and not said and not any(self._marks):
            self._lines.setdefault(style, []).append(words)
            return
        self._write(_titled("path", f'{style} d="{words}"', said))

    def draw_markers(self, gc: GraphicsContextBase, marker_path: Path, marker_trans: Transform, path: Path,
                     trans: Transform, rgbFace: Any = None) -> None:
        if self._kinds[-1:] != ["line2d"]:  # a collection of one shape
            RendererBase.draw_markers(self, gc, marker_path, marker_trans, path, trans, rgbFace)
            return
        corners = _array(marker_trans.transform(marker_path.vertices))
        codes = marker_path.codes
        kinds = set() if codes is None else set(_array(codes))
        closed = Path.CLOSEPOLY in kinds
        style = _style(gc, rgbFace if closed else None, "pt" if any(self._marks) else "")
        for x, y in _array(trans.transform(path.vertices)):
            said = next(self._values, "")
            if style is None or not np.isfinite([x, y]).all():
                continue
            if not any(self._marks):  # a tick
                self._lines.setdefault(style, []).append(self._path(Path(corners + np.array([x, y]), codes)))
            elif closed and Path.CURVE4 in kinds:
                self._write(_titled("circle", f'{style} cx="{_number(x)}" cy="{_number(self.height - y)}" '
                                              f'r="{_number(float(np.ptp(corners[:, 0])) / 2)}"', said))
            else:
                words = self._path(Path(corners + np.array([x, y]), codes))
                self._write(_titled("path", f'{style} d="{words}"', said))

    def draw_text(self, gc: GraphicsContextBase, x: float, y: float, s: str, prop: FontProperties, angle: float,
                  ismath: bool | str = False, mtext: Text | None = None) -> None:
        if not s.strip():
            return
        share, anchor = _ANCHORS[mtext.get_horizontalalignment() if mtext is not None else "left"]
        along = share * self.get_text_width_height_descent(s, prop, False)[0] if share else 0.0
        x, y = x + along * np.cos(np.radians(angle)), y - along * np.sin(np.radians(angle))
        color = to_hex(gc.get_rgb()[:3])
        style = _paint("f", color) if color != SOFT else ""
        attributes = f' class="{style}"' if style.startswith("f-") else f' style="{style}"' if style else ""
        size = prop.get_size_in_points()
        attributes += f' font-size="{size:g}"' if size != FONT else ""
        attributes += ' font-weight="bold"' if prop.get_weight() in ("bold", 700) else ""
        place = f' transform="translate({_number(x)},{_number(y)}) rotate({-angle:g})"' if angle else \
            f' x="{_number(x)}" y="{_number(y)}"'
        element = f"<text{attributes}{place}{anchor}>{escape(s.strip())}</text>"
        if any(self._marks):
            self._write(element)
        else:
            self._enter(None)
            self._parts.append(element)

    def get_text_width_height_descent(self, s: str, prop: FontProperties, ismath: bool | str
                                      ) -> tuple[float, float, float]:
        return text_size(s, prop.get_size_in_points(), prop.get_weight())

    def flipy(self) -> bool:
        return True

    def get_canvas_width_height(self) -> tuple[float, float]:
        return self.width, self.height

    def points_to_pixels(self, points: Any) -> Any:
        return points

    def _path(self, shape: Path) -> str:
        """The ``d`` of a path in the SVG's coordinates."""
        words: list[str] = []
        for vertices, code in shape.iter_segments(simplify=False, curves=True, remove_nans=True):
            pairs = [f"{_number(x)},{_number(self.height - y)}"
                     for x, y in zip(vertices[::2], vertices[1::2], strict=True)]
            letter = " " if code == Path.LINETO and words and words[-1][0] in "M " else _LETTERS[code]
            words.append(letter + ("" if code == Path.CLOSEPOLY else " ".join(pairs)))
        return "".join(words) if len(words) > 1 else ""


def _array(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _clipped(shape: Path, clip: Any) -> Path:
    """A filled shape within the panel that it belongs to."""
    corners = _array(shape.vertices)
    if clip is None or not len(corners):
        return shape
    low, high = corners.min(axis=0), corners.max(axis=0)
    inside = (low >= _array(clip.min) - 1).all() and (high <= _array(clip.max) + 1).all()
    return shape if inside else shape.clip_to_bbox(clip)


def _style(gc: GraphicsContextBase, face: Any, kind: str = "") -> str | None:
    """The attributes of an element, ``pt`` for a point of a series; None where there is nothing to see."""
    edge = gc.get_rgb()
    filled = face is not None and not (len(face) == 4 and face[3] == 0)
    drawn = gc.get_linewidth() > 0 and edge[3] > 0
    paper = {place: there and _paint("", to_hex(color[:3])) == "-paper"
             for place, there, color in (("face", filled, face), ("edge", drawn, edge))}
    if not drawn and (not filled or paper["face"]):
        return None  # the background is the page's
    paints = [_paint(letter, to_hex(color[:3])) for letter, there, color in (("f", filled, face), ("s", drawn, edge))
              if there and not (kind == "pt" and letter == "s" and paper["edge"])]
    classes = [kind] if kind else []
    attributes = ""
    if kind == "pt":  # whose strokes are the style sheet's
        classes += ["open"] if not filled else ["hollow"] if paper["face"] else []
    elif drawn:
        dashes = gc.get_dashes()[1]
        attributes += f' stroke-width="{_number(gc.get_linewidth())}"' if gc.get_linewidth() != 1 else ""
        attributes += f' stroke-dasharray="{" ".join(map(_number, _array(dashes)))}"' if dashes is not None else ""
        attributes += ' stroke-linecap="round"' if gc.get_capstyle() == "round" else ""
    alpha = gc.get_alpha() if gc.get_forced_alpha() else face[3] if filled and len(face) == 4 else edge[3]
    attributes += f' opacity="{alpha:g}"' if alpha != 1 else ""
    classes += [paint for paint in paints if ":" not in paint]
    plain = ";".join(paint for paint in paints if ":" in paint)
    return (f' class="{" ".join(classes)}"' if classes else "") + (f' style="{plain}"' if plain else "") + attributes


def _paint(letter: str, color: str) -> str:
    """A class of the style sheet (``f-ink``), or a declaration where a color belongs to the data."""
    if color in THEME:
        return f"{letter}-{THEME[color]}"
    if color == "#000000":
        return f"{letter}-{THEME[INK]}"
    return f"{'fill' if letter == 'f' else 'stroke'}:{color}"


def _titled(tag: str, attributes: str, said: str) -> str:
    return f"<{tag}{attributes}><title>{escape(said)}</title></{tag}>" if said else f"<{tag}{attributes}/>"


def _number(value: float) -> str:
    """One digit after the point, less where it is zero."""
    words = f"{value:.1f}".removesuffix(".0")
    return "0" if words == "-0" else words
