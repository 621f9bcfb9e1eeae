"""Sanity checks: does an estimator notice that the network it explains has lost what it learned?"""

from __future__ import annotations

from roar.metrics.base import Metric, Table
from roar.metrics.sanity.settings import SanitySettings
from roar.registry import Paper

METRIC = Metric(
    "sanity", "sanity",
    "Check whether rankings change when the network is randomized layer by layer or trained on shuffled labels.",
    Paper("Sanity Checks for Saliency Maps", "Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim", 2018,
          "https://arxiv.org/abs/1810.03292"),
    measure="roar.metrics.sanity.tasks:sanity",
    tables=(Table("sanity", "roar.metrics.sanity.frames:read_sanity",
                  "an estimator, a randomized network, a measure and a threshold, averaged over the test images", {
                      "kind": "how the network was randomized: `cascading` (layers re-initialized from the output on), "
                              "`independent` (those of one step), `labels` (trained on shuffled ones)",
                      "step": "of the randomization, from 1 on, which is next to the output",
                      "steps": "of the randomization in all; the last one of `cascading` has all layers re-initialized",
                      "layers": "re-initialized in this step, besides those of the steps before in `cascading`",
                      "train_accuracy": "of the network on its shuffled training labels, in [0, 1]"}),),
    kept={"averages.parquet": "roar.metrics.sanity.frames:AVERAGES"},
    summary="roar.metrics.sanity.frames:summary",
    settings=SanitySettings,
    figures="roar.metrics.sanity.figures:figures",
    page="roar.metrics.sanity.page:section",
    leaderboard="roar.metrics.sanity.verdict:join")
