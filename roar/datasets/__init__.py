"""Sources of labeled images, the statistics of their channels, and degradation."""

from __future__ import annotations

from roar.datasets.adapters.arrays import arrays
from roar.datasets.registry import SOURCES, SourceKind, anywhere, open_source, source, source_kinds
from roar.datasets.source import Source, Split
from roar.datasets.statistics import Normalization, channel_mean, normalization

__all__ = ["SOURCES", "Normalization", "Source", "SourceKind", "Split", "anywhere", "arrays", "channel_mean",
           "normalization", "open_source", "source", "source_kinds"]
