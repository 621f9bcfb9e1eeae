"""What HTML pages are made of: sections, charts within the page, a style sheet and a script.

A page needs nothing but itself: no network, no library. Templates are jinja2's; every value is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment


@dataclass(frozen=True)
class Section:
    """A section of the report's page.

    Attributes:
        id: its anchor, unique on the page.
        title: its heading.
        link: its name in the navigation, a word or two.
        html: what stands below the heading.
    """

    id: str
    title: str
    link: str
    html: Markup


def fill(package: str, template: str, **values: Any) -> Markup:
    """A template filled with values.

    Args:
        package: whose folder holds the template; ``macros.html.j2`` of this folder can be imported in it.
        template: its file name.
    """
    return Markup(_environment(package).get_template(template).render(**values))


def asset(name: str) -> Markup:
    """The text of a file of this folder: ``page.css`` or ``page.js``."""
    return Markup((resources.files(__name__) / name).read_text(encoding="utf-8"))


def rows_of(frames: Mapping[str, pd.DataFrame], name: str) -> pd.DataFrame | None:
    """A table of a report; None where it is missing or has no rows."""
    frame = frames.get(name)
    return None if frame is None or frame.empty else frame


@lru_cache
def _environment(package: str) -> Environment:
    import pandas as pd
    from jinja2 import ChoiceLoader, Environment, PackageLoader

    from roar.analysis.facts import UNTOUCHED, Facts
    from roar.analysis.figures.inline import swatch
    from roar.analysis.tables import signed

    environment = Environment(loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader(__name__, ".")]),
                              autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(signed=signed, swatch=swatch, facts=Facts.of, isna=pd.isna, UNTOUCHED=UNTOUCHED)
    environment.filters["true_minus"] = lambda text: re.sub(r"(?<!\w)-(?=\d)", "−", text)
    return environment
