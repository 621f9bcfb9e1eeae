"""Agreement: how far two rankings of the same images name the same pixels."""

from __future__ import annotations

from roar.metrics.base import Metric, Table
from roar.registry import Paper

METRIC = Metric(
    "agreement", "agreement",
    "Compare the rankings of the test images: every pair of estimators, and networks of different seeds.",
    Paper("Quantifying the agreement of explanations by rank correlation and overlap of the top pixels",
          "Krishna, Han, Gu, Wu, Jabbari, Lakkaraju", 2022, "https://arxiv.org/abs/2202.01602"),
    measure="roar.metrics.agreement.tasks:agreement",
    tables=(Table("ranking-agreement", "roar.metrics.agreement.frames:read_ranking_agreement",
                  "a pair of rankings, a measure and a threshold, averaged over the test images", {
                      "other_tied_share": "`tied_share` of the other ranking",
                      **{f"other_{name}": f"`{name}` of the other ranking" for name in (
                          "family", "base", "ensemble", "control_of", "architecture", "model_seed")}}),),
    kept={"pairs.parquet": "roar.metrics.agreement.frames:PAIRS"},
    summary="roar.metrics.agreement.frames:summary",
    figures="roar.metrics.agreement.figures:figures",
    page="roar.metrics.agreement.page:section")
