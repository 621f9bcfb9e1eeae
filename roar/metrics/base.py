"""What a metric is: one folder with one descriptor, over which command line, status, report and Python API iterate.

A descriptor names its functions as ``module:function`` below its folder, so that the list of metrics loads neither
torch nor pandas; a metric of a file may give the functions themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from roar.registry import Paper, load
from roar.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from roar.pipeline.session import Session
    from roar.store.rows import Rows
    from roar.store.store import Store

Function = str | Callable[..., Any]  # ``module:function``, or the function


@dataclass(frozen=True)
class Table:
    """A table of a metric, read from the store.

    Attributes:
        name: of ``roar report --table NAME``, ``study.table(NAME)`` and ``reports/NAME.csv``.
        read: ``module:function`` from a store to the frame, which is empty where nothing was measured.
        description: what a row is.
        columns: the meaning of each column that only this table has, with its unit.
    """

    name: str
    read: Function
    description: str
    columns: Mapping[str, str] = field(default_factory=dict)

    def frame(self, store: Store) -> pd.DataFrame:
        """The table as it is in the store."""
        frame: pd.DataFrame = load(self.read)(store)
        return frame


@dataclass(frozen=True)
class Metric:
    """A way to judge estimators, or to compare their rankings.

    Attributes:
        name: of its folder in ``roar/metrics`` and, below ``metrics/``, in the store.
        command: its subcommand, and the stage of a request.
        description: one sentence for ``roar --help`` and ``roar list metrics``.
        paper: that it comes from.
        measure: ``module:function`` from a session to the folders of what it measured, made where they are missing.
        tables: what it gives; the first is the one that its command prints. ROAR's are those of
            :mod:`roar.analysis.frames`, made of the results.
        kept: what its tables in the store may hold, by file name: :class:`roar.store.rows.Rows`, or ``module:name``.
        summary: ``module:function`` from rows of the first table to the rows that its command prints.
        sections: of the experiment file that it reads, besides those that every command takes.
        settings: its own section of the experiment file, under the name of its command.
        figures: ``module:function`` from every table of a report, by name, to functions that draw, by file name.
        page: ``module:function`` from every table of a report, by name, ROAR's results among them, to the metric's
            :class:`roar.analysis.page.Section` of the report's page, or None where there is nothing to show.
        leaderboard: ``module:function`` from the leaderboard and every table of a report to the leaderboard with what
            the metric has to say of each estimator; its column ``remark`` stands below an estimator's name.
    """

    name: str
    command: str
    description: str
    paper: Paper
    measure: Function
    tables: tuple[Table, ...] = ()
    kept: Mapping[str, str | Rows] = field(default_factory=dict)
    summary: Function | None = None
    sections: tuple[str, ...] = ("estimators", "degrade")
    settings: type[Settings] | None = None
    figures: Function | None = None
    page: Function | None = None
    leaderboard: Function | None = None

    def run(self, session: Session) -> Any:
        """Measure what the session asks for and is missing; returns the folders of all of it."""
        from roar.pipeline.session import asked_for, keep_plan

        def measured(session: Session) -> Any:
            made = load(self.measure)(session)
            if self.tables:
                keep_plan(session, self.command, made)
            return made

        return asked_for(self.command)(measured)(session)

    def frames(self, store: Store) -> dict[str, pd.DataFrame]:
        """Every table of the metric by its name."""
        return {table.name: table.frame(store) for table in self.tables}

