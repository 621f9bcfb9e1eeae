"""Columns that say which estimator and which network a row is about, and names that tell two settings apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from roar.store.rows import TEXT, Values

if TYPE_CHECKING:
    import pandas as pd

NETWORK = ("source", "model", "regularizer")  # columns that name an explained network
FACTS = {
    "family": "string",  # of the estimator; control, truth and matched-spectrum are families too
    "base": "string",  # the method that it is, or that it is an ensemble around
    "ensemble": "string",
    "control_of": "string",  # the estimator that it is a control of, by its name in the frame; empty for the others
    "architecture": "string",  # of the explained network
    "model_seed": "int64",
}
ROWS = {  # what these columns and the keys may hold
    **dict.fromkeys(["family", "base", "ensemble", "control_of", "architecture"], TEXT),
    **dict.fromkeys(["ranking", "control_of_ranking"], TEXT),
    "model_seed": Values("whole", high=2.0**62),
}
KEYS = ("ranking", "control_of_ranking")
NAMES = {"estimator": "ranking", "control_of": "control_of_ranking"}  # columns of names, and of what tells them apart


def told_apart(frame: pd.DataFrame, within: Sequence[str], names: Mapping[str, str] = NAMES) -> pd.DataFrame:
    """The frame with a short key behind every name that stands for several things: ``vargrad (3f2a19)``.

    Args:
        within: columns whose values share names; a name that stands for one thing within them stays as it is.
        names: columns of names of one kind, each with the column of the keys of what they stand for; an empty key is
            never shown.
    """
    import pandas as pd

    columns = [[*within, name, key] for name, key in names.items()]
    known = pd.concat([frame[own].set_axis([*within, "name", "key"], axis=1) for own in columns])
    known = known[known["key"] != ""].drop_duplicates()
    several = pd.MultiIndex.from_frame(known[known.duplicated([*within, "name"], keep=False)])
    marked = [pd.MultiIndex.from_frame(frame[own]).isin(several) for own in columns]
    return frame.assign(**{name: frame[name].where(~here, frame[name] + " (" + frame[key].str[:6] + ")")
                           for (name, key), here in zip(names.items(), marked, strict=True)})
