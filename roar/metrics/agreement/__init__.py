"""Agreement: how far two rankings of the same images name the same pixels."""

from __future__ import annotations

from roar.metrics.base import Metric, Table
from roar.registry import Paper

METRIC = Metric(
    "agreement", "agreement",
    "Compare the rankings of the test images: every pair of estimators, networks of different seeds, and other noise.",
    Paper("Quantifying the agreement of explanations by rank correlation and overlap of the top pixels",
          "Krishna, Han, Gu, Wu, Jabbari, Lakkaraju", 2022, "https://arxiv.org/abs/2202.01602"),
    measure="roar.metrics.agreement.tasks:agreement",
    tables=(Table("ranking-agreement", "roar.metrics.agreement.frames:read_ranking_agreement",
                  "a pair of rankings, a measure and a threshold, averaged over the test images", {
                      "other_tied_share": "`tied_share` of the other ranking",
                      **{f"other_{name}": f"`{name}` of the other ranking" for name in (
                          "family", "base", "ensemble", "control_of", "architecture", "model_seed")},
                      "noise_seed": "of the ranking: of all that its estimator draws",
                      "other_noise_seed": "of the other ranking",
                      "samples": "J, the noise samples of an ensemble, where `across` is `noise`; else 0",
                      "samples_needed": "J at which the two rankings would have the correlation 0.9"}),
            Table("self-agreement", "roar.metrics.agreement.noise:read_self_agreement",
                  "an estimator of a model that was ranked under several noise seeds", {
                      "self_agreement": "mean Spearman correlation of its rankings under two noise seeds",
                      "ci_low": "lower end of the 95 % t interval over test images, mean over the pairs of noise seeds",
                      "ci_high": "its upper end",
                      "noise_seeds": "rankings that were compared",
                      "samples": "J, the noise samples of an ensemble; 0 where there are none",
                      "samples_needed": "J at which it would be 0.9, by the Spearman-Brown formula image by image"})),
    kept={"pairs.parquet": "roar.metrics.agreement.frames:PAIRS"},
    summary="roar.metrics.agreement.frames:summary",
    figures="roar.metrics.agreement.figures:figures",
    page="roar.metrics.agreement.page:section",
    leaderboard="roar.metrics.agreement.noise:join")
