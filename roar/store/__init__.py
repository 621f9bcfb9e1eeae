"""The store: where artifacts live, what their keys are made of, and when they are done.

    STORE/
      store.json                                                  format, identity of the store
      models/<source>/<model>/      weights.safetensors, history.parquet, manifest.json
      rankings/<source>/<model>/<estimator>/<split>/   part-00000.parquet ..., manifest.json
      degraded/<source>/<model>/<estimator>/<cell>/    train-*.parquet, test-*.parquet, manifest.json
      metrics/<metric>/<source>/<model>/<name>/        tables as Parquet, manifest.json
      results/<job>.json, <job>.failed.json                       one row per job
      results/compacted/<hash>.jsonl                              many rows
      plans/<plan>.json, plans/copies/<plan>.json                 what was asked for
      reports/                                                    tables, figures

An artifact is a folder; it is done when its manifest is there, which is written last. A name ends in a short
hash of everything that determines the content, so two different things never share a path.
"""

from __future__ import annotations

from roar.store.store import Store, open_store

__all__ = ["Store", "open_store"]
