"""The built-in regularizers and their formulas."""

from __future__ import annotations

from roar.models.regularizers import DECAY, DROPOUT, NONE, RECIPE, REGULARIZERS, SMOOTHING, Kind

for _kind in (
    Kind(RECIPE, (), 0, "weight decay and label smoothing as in the recipe; the default", ""),
    Kind(NONE, (), 0, "no weight decay, no label smoothing, no dropout", ""),
    Kind(DROPOUT, ("p",), 1, "an input of the layer that `roar list models --verbose` names is 0 with chance p",
         "Srivastava et al. 2014"),
    Kind("l2", ("lambda",), 1e6, "loss + lambda/2 sum w^2, whose gradient is lambda w", "Krogh and Hertz 1991"),
    Kind(DECAY, ("lambda",), 1e6, "w - rate lambda w before each step, apart from the loss",
         "Loshchilov and Hutter 2017"),
    Kind("l1", ("lambda",), 1e6, "loss + lambda sum |w|", "Tibshirani 1996"),
    Kind("elastic", ("l1", "l2"), 1e6, "loss + l1 sum |w| + l2/2 sum w^2", "Zou and Hastie 2005"),
    Kind("input-gradient", ("lambda",), 1e6, "loss + lambda mean_i ||d loss_i / d x_i||^2, x normalized",
         "Drucker and LeCun 1992"),
    Kind("group-lasso", ("lambda",), 1e6, "loss + lambda sum_f sqrt(size of f) ||w_f||, f a convolution's filter",
         "Yuan and Lin 2006, Wen et al. 2016"),
    Kind(SMOOTHING, ("e",), 1, "the target is 1 - e for the class and e / K spread over all K",
         "Szegedy et al. 2016"),
):
    REGULARIZERS.add(_kind.name, _kind)
