"""What is in a store, as pandas frames: the face of :func:`roar.open_store`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roar.errors import AnalysisError
from roar.store.status import read_status
from roar.store.store import Store
from roar.store.store import open_store as open_files

if TYPE_CHECKING:
    import pandas as pd


class Results:
    """The results of a store; every method reads what is there at that moment.

    Attributes:
        store: the store itself.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def location(self) -> str:
        """The path or URL of the store."""
        return self.store.location

    def results(self) -> pd.DataFrame:
        """One row per training; see :func:`roar.store.results.read_results` for the columns."""
        from roar.store.results import read_results

        return read_results(self.store.files)

    def table(self, name: str) -> pd.DataFrame:
        """Any table that ``roar report --table NAME`` knows, such as ``sanity`` or ``deletion-areas``.

        Raises:
            UnknownNameError: there is no such table; the message suggests the nearest.
            AnalysisError: the results do not allow it.
        """
        from roar.report.files import table

        return table(self.store, name)

    def curves(self) -> pd.DataFrame:
        """One row per cell: mean accuracy over seeds, its spread, n and 95 % interval."""
        from roar.analysis.curves import curves

        return curves(self._each())

    def leaderboard(self) -> pd.DataFrame:
        """One row per estimator: its area against each control, paired by seed, its rank with interval, and what its
        sanity checks say."""
        return self.table("leaderboard")

    def compare(self, a: str, b: str) -> pd.DataFrame:
        """Estimator ``a`` against ``b``, at each threshold and over all of them, in accuracy points."""
        from roar.analysis.contrasts import compare

        return compare(self._each(), a, b)

    def controls(self) -> pd.DataFrame:
        """One row per cell that has controls of shape and smoothness: what its accuracy says beyond them."""
        from roar.analysis.beyond import beyond_controls

        return beyond_controls(self._each())

    def faithfulness(self) -> pd.DataFrame:
        """One row per estimator: the area between its curve and random's, relative to all there is to lose."""
        from roar.analysis.faithfulness import faithfulness

        return faithfulness(self._each())

    def per_class(self) -> pd.DataFrame:
        """One row per cell and class of the images."""
        from roar.analysis.classes import per_class
        from roar.store.requests import class_names

        return per_class(self._each(), class_names(self.store))

    def deletion(self) -> pd.DataFrame:
        """One row per model, estimator and threshold: the explained network on degraded images, not retrained."""
        return self.table("deletion")

    def deletion_areas(self) -> pd.DataFrame:
        """One row per network, estimator, mode, fill and measure: the area of its deletion curve, and over random's."""
        return self.table("deletion-areas")

    def ranking_agreement(self) -> pd.DataFrame:
        """One row per pair of rankings, measure and threshold: how far they name the same pixels."""
        return self.table("ranking-agreement")

    def sanity(self) -> pd.DataFrame:
        """One row per estimator, randomized network, measure and threshold: does the estimator notice?"""
        return self.table("sanity")

    def _each(self) -> pd.DataFrame:
        """The results; trainings that several models share stand at each of them."""
        from roar.analysis.shared import with_shared

        return with_shared(self.results())

    def _repr_html_(self) -> str:
        """What a notebook shows: where the store is, how much is in it, and the leaderboard if there is one."""
        from html import escape

        state = read_status(self.store)
        artifacts = ", ".join(f"{done} {kind}" for kind, (done, _) in state.artifacts.items())
        counts = (f"{artifacts}; {state.done} of {state.planned} trainings done"
                  + (f", {len(state.failed)} failed" if state.failed else ""))
        try:
            board = self.leaderboard().round(1).to_html(index=False) if state.done else ""
        except AnalysisError as error:
            board = f"<p>{escape(str(error))}</p>"
        return f"<p><b>{escape(self.location)}</b>: {escape(counts)}</p>{board}"


def open_store(location: str) -> Results:
    """The results at a local path or a URL (``s3://bucket/prefix``).

    Raises:
        StoreError: what lies there is no store, is damaged, or is of another format.
    """
    return Results(open_files(location))
