"""Every error that roar raises on purpose.

    RoarError                     base: one sentence with the rule, the value and the remedy
      UsageError                  what was asked for cannot be (exit status 2)
        UnknownNameError          no such estimator, source, model, key, ...; names the nearest
        ExperimentError           an experiment file or a setting breaks a rule
      FailureError                what was asked for is fine but could not be done (exit status 1)
        ClusterError              a node of the cluster lacks what a task needs
        SourceError               images or labels are missing, broken or do not fit
        ModelError                a network or its weights do not fit the images, or are broken
        EstimatorError            an estimator broke its contract or gave scores that cannot be ranked
        TrainingError             a training diverged or ran out of memory
        StoreError                the store cannot be read or written
          DamagedArtifactError    an artifact's bytes are not those its manifest promises
        AnalysisError             the results at hand do not allow the table or figure asked for
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_CREDENTIALS = re.compile(r"(?<=://)[^/?#@\s'\"]*@|(?<=[?&])((?:access|secret)_key|session_token|token|password|"
                          r"sig(?:nature)?|x-amz-[a-z-]+)=[^&\s'\"]*&?", re.IGNORECASE)


def shown(text: object) -> str:
    """A text for a terminal or a page: on one line, without control characters and without the credentials of URLs.

    Names come from anywhere: from a store, from file names, from the code of others.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in without_credentials(str(text)))


def without_credentials(text: str) -> str:
    """A text whose URLs carry neither ``KEY:SECRET@`` nor keys and tokens in their queries.

    >>> without_credentials("s3://KEY:SECRET@bucket/prefix?region=x&secret_key=y")
    's3://bucket/prefix?region=x&'
    """
    return _CREDENTIALS.sub("", text)


class RoarError(Exception):
    """Base of all errors raised on purpose; ``str(error)`` is one sentence for a person, on one line."""

    exit_code = 1

    def __str__(self) -> str:
        return shown(super().__str__())


class UsageError(RoarError):
    """What was asked for cannot be."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not in a registry; the message suggests the nearest known ones.

    Args:
        kind: what the name stands for, e.g. ``"estimator"``.
        name: the name given.
        known: every name there is.
        hint: a further remedy, appended to the sentence.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        near = difflib.get_close_matches(name.lower(), self.known, n=3, cutoff=0.5)
        if near:
            remedy = "did you mean " + " or ".join(f"'{n}'" for n in near) + "?"
        else:
            remedy = "known: " + ", ".join(self.known) + "."
        article = "an" if kind[:1] in "aeiou" else "a"
        super().__init__(f"'{name}' is not {article} {kind}; {remedy}" + (f" {hint}" if hint else ""))

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, str, list[str]]]:
        return (type(self), (self.kind, self.name, self.known))


class ExperimentError(UsageError):
    """An experiment file or a setting breaks a rule."""


class FailureError(RoarError):
    """What was asked for is fine but could not be done."""


class ClusterError(FailureError):
    """A node of the cluster lacks what a task needs."""


class SourceError(FailureError):
    """Images or labels are missing, broken or do not fit."""


class ModelError(FailureError):
    """A network or its weights do not fit the images, or are broken."""


class EstimatorError(FailureError):
    """An estimator broke its contract or gave scores that cannot be ranked."""


class TrainingError(FailureError):
    """A training diverged or ran out of memory."""


class StoreError(FailureError):
    """The store cannot be read or written."""


class DamagedArtifactError(StoreError):
    """An artifact's bytes are not those its manifest promises."""


class AnalysisError(FailureError):
    """The results at hand do not allow the table or figure asked for."""
