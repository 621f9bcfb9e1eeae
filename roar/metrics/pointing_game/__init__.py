"""Pointing game: is the top pixel of a ranking informative?"""

from __future__ import annotations

from roar.metrics.base import Metric, Table
from roar.registry import Paper

METRIC = Metric(
    "pointing-game", "pointing-game",
    "Measure the share of test images whose top pixel is informative, where informative pixels are known.",
    Paper("Top-Down Neural Attention by Excitation Backprop", "Zhang, Bargal, Lin, Brandt, Shen, Sclaroff", 2018,
          "https://arxiv.org/abs/1608.00507"),
    measure="roar.metrics.pointing_game.game:pointing_game",
    tables=(Table("pointing-game", "roar.metrics.pointing_game.game:read_hits", "an estimator of a model", {
        "hits": "test images whose top pixel is informative, percent",
        "hits_low": "lower end of the 95 % Wilson interval of `hits` over test images, percent",
        "hits_high": "its upper end, percent",
        "hits_by_chance": "`hits` of a random pixel: the mean share of informative pixels, percent"}),),
    kept={"points.parquet": "roar.metrics.pointing_game.game:POINTS",
          "images.parquet": "roar.metrics.pointing_game.game:IMAGES"},
    sections=("estimators",),
    page="roar.metrics.pointing_game.page:section")
