"""Statistics and drawing of results. Frames in, frames out; no torch, no Ray.

    facts         what columns say of an estimator: family, ensemble, place in every table
    curves        one row per cell: mean, spread, interval over seeds
    shared        jobs that several models share, given to each of them
    beside        controls of shape and of smoothness, apart from the estimators they belong to
    classes       the same per class
    grid          a panel's accuracies as an array [estimator, threshold, seed]; areas between curves
    paired        intervals, tests and corrections of differences that are paired by seed
    contrasts     estimators against controls and each other
    beyond        what accuracies say beyond shape and smoothness
    faithfulness  the area between a curve and random's, relative to all there is to lose
    ranks         the order, its uncertainty, critical differences
    stability     the same order at other thresholds, in the other mode, for other models?
    leaderboard   all of it in one row per estimator
    regularizers  does a regularizer make a network easier to explain?
    tables        tables for a terminal or a pipe
    frames        every table by name, what its columns mean, file formats
    gallery       degraded images
    figures       functions from a frame to a matplotlib figure

>>> from roar.analysis.facts import Facts
>>> Facts("vargrad-ig (3f2a19)", "integrated-gradients", "integrated-gradients", "vargrad").paper_name
'VAR-IG'
"""

from __future__ import annotations
