"""Sources of labelled images, the statistics of their channels, and degradation."""

from __future__ import annotations

from roar.datasets.source import Source, SourceKind, Split, open_source, source_kinds
from roar.datasets.statistics import Normalisation, channel_mean, normalisation

__all__ = ["Normalisation", "Source", "SourceKind", "Split", "channel_mean", "normalisation", "open_source",
           "source_kinds"]
