"""Noisy linear imputation: the fill, and its solvers."""

from __future__ import annotations

from roar.datasets.fills.noisy_linear.imputation import noisy_linear

__all__ = ["noisy_linear"]
