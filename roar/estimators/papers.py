"""The paper that an estimator comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """A reference that ``roar list estimators`` and the report show."""

    title: str
    authors: str
    year: int
    url: str


ROAR = Paper("A Benchmark for Interpretability Methods in Deep Neural Networks",
             "Hooker, Erhan, Kindermans, Kim", 2019, "https://arxiv.org/abs/1806.10758")
