"""The six estimators around one base attribution, from moments that they share.

With g the base attribution of an image x, e_j ~ N(0, s^2) and g_j = g(x + e_j) for j = 1 .. J, every member
of a family is a function of g, mean_j g_j and var_j g_j, value by value. So all six together cost 1 + J base
attributions. Around the plain gradient they are the methods of the papers named below; around other bases
they are those of Hooker et al. 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from roar.registry import ROAR, Paper

if TYPE_CHECKING:
    from torch import Tensor

SMOOTHGRAD = Paper("SmoothGrad: removing noise by adding noise",
                   "Smilkov, Thorat, Kim, Viégas, Wattenberg", 2017, "https://arxiv.org/abs/1706.03825")
VARGRAD = Paper("Local Explanation Methods for Deep Neural Networks Lack Sensitivity to Parameter Values",
                "Adebayo, Gilmer, Goodfellow, Kim", 2018, "https://arxiv.org/abs/1810.03307")


class Moments:
    """Mean and sum of squared deviations of a stream of tensors, by Welford's method.

    No two large sums are subtracted, so the variance is never negative and keeps float32's accuracy whatever
    the mean (Welford, Technometrics 4, 1962); memory does not grow with the number of values.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor
        self.deviation: Tensor

    def add(self, value: Tensor) -> None:
        self.count += 1
        if self.count == 1:
            self.mean, self.deviation = value.clone(), value.new_zeros(value.shape)
            return
        before = value - self.mean
        self.mean.add_(before, alpha=1 / self.count)
        self.deviation.addcmul_(before, value - self.mean)

    @property
    def variance(self) -> Tensor:
        """The population variance: the mean of squared deviations, over J and not J - 1."""
        return self.deviation.clamp(min=0) / self.count

    @property
    def mean_square(self) -> Tensor:
        """mean_j g_j^2 as the sum of two squares, which cannot cancel."""
        return self.mean.square() + self.variance


@dataclass(frozen=True)
class Member:
    """One of the six.

    Attributes:
        label: what the ensemble is called; ``base`` for the method itself.
        template: the estimator's name, of ``{base}`` and ``{suffix}``.
        alias: its short name; the method's own aliases go into ``{base}`` and, after a hyphen, ``{suffix}``.
        words: its description, around the method's.
        needs_base, needs_noise: whether its definition looks at g, and at the moments of the g_j.
        definition: ``(g, moments of the g_j) -> attributions [B, C, H, W]``; what it does not need may be None.
        paper: where it is from; ``None`` for the method's own.
    """

    label: str
    template: str
    alias: str
    words: str
    paper: Paper | None
    needs_base: bool
    needs_noise: bool
    definition: Callable[..., Tensor]

    def name_around(self, base: str, suffix: str) -> str:
        return self.template.format(base=base, suffix=suffix)

    def aliases_around(self, aliases: tuple[str, ...], suffix: str) -> tuple[str, ...]:
        """Short names around a method: of ``ig`` and SmoothGrad-Squared, ``sg-sq-ig``."""
        if "{base}" in self.alias:
            return tuple(self.alias.format(base=alias) for alias in aliases)
        if not suffix:
            return (self.alias.format(suffix=""),)
        return tuple(self.alias.format(suffix="-" + alias) for alias in aliases)


MEMBERS = (
    Member("base", "{base}", "{base}", "{method}", None, True, False,
           lambda base, moments: base),
    Member("magnitude", "{base}-magnitude", "{base}-sq", "square of: {method}", ROAR, True, False,
           lambda base, moments: base.square()),
    Member("smoothgrad", "smoothgrad{suffix}", "sg{suffix}", "mean under noise of: {method}", SMOOTHGRAD, False, True,
           lambda base, moments: moments.mean),
    Member("smoothgrad-magnitude", "smoothgrad-magnitude{suffix}", "sg-mag{suffix}",
           "squared mean under noise of: {method}", ROAR, False, True,
           lambda base, moments: moments.mean.square()),
    Member("smoothgrad-squared", "smoothgrad-squared{suffix}", "sg-sq{suffix}",
           "mean square under noise of: {method}", ROAR, False, True,
           lambda base, moments: moments.mean_square),
    Member("vargrad", "vargrad{suffix}", "var{suffix}", "variance under noise of: {method}", VARGRAD,
           False, True, lambda base, moments: moments.variance),
)
