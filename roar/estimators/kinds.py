"""The kinds of estimators, each a class that knows how to rank: all else asks an estimator and never what it is.

    Explainer    a base method of a network, or an ensemble around one
    Control      knows nothing of the network
    Oracle       is told which pixels are informative
    MatchedSpectrum    noise with the spectrum of an explainer's rankings
    Precomputed  (in ``methods/precomputed.py``) attributions that were made elsewhere
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from roar.errors import EstimatorError, SourceError, UsageError
from roar.estimators.batch import NO_TARGET, RankedImages, Task
from roar.estimators.ensembles import Member
from roar.estimators.family import family_scores, passes_per_image
from roar.estimators.method import Method
from roar.estimators.ranks import rank_scores, rank_type
from roar.estimators.units import pixels_ranked
from roar.estimators.untouched import untouched
from roar.experiment import EstimatorSettings
from roar.registry import Paper

if TYPE_CHECKING:
    from torch import Tensor

    # (images uint8 [N, C, H, W], indices [N], root seed, split, per channel) -> ranks [N, P], tied share
    RankWithout = Callable[[Tensor, np.ndarray, int, str, bool], tuple[np.ndarray, float]]
    # (informative bool [N, H, W], indices [N], root seed, split, channels that rank alone) -> ranks [N, P], tied share
    RankTruth = Callable[[np.ndarray, np.ndarray, int, str, int], tuple[np.ndarray, float]]
    # (spectrum [planes, H, W], indices [N], root seed, split) -> ranks [N, P], tied share
    RankSpectrum = Callable[[np.ndarray, np.ndarray, int, str], tuple[np.ndarray, float]]

CONTROL = "control"  # the family of the controls
TRUTH = "truth"  # the family of the oracles
MATCHED_SPECTRUM = "matched-spectrum"  # the family of random rankings as smooth as an estimator's
OWN = Paper("", "user-defined", 0, "")  # where code that is not roar's names no paper


@dataclass(frozen=True, eq=False)
class Estimator:
    """What a name stands for; it travels to the workers as it is.

    Attributes:
        family: estimators of one family share their base attributions; ``"control"`` for the controls, ``"truth"``
            for the oracles, ``"matched-spectrum"`` for the matched-spectrum controls.
        aliases: short names that people type.
        revision: of its definition, from 1 on; rankings of an earlier one are not used again.
        spelling: how it is asked for again from any directory; empty: by its name.
    """

    name: str
    family: str
    paper: Paper
    description: str
    aliases: tuple[str, ...] = ()
    revision: int = 1
    spelling: str = field(default="", kw_only=True)

    explains: ClassVar[bool] = False  # whether it explains a network, and would rank anew for another one
    shelf: ClassVar[str] = ""  # the folder of its rankings where all models share them
    reads_maps: ClassVar[bool] = False  # whether it reads what was made elsewhere

    def __post_init__(self) -> None:
        if not self.spelling:
            object.__setattr__(self, "spelling", self.name)

    def __str__(self) -> str:
        return self.name

    @property
    def base(self) -> str:
        """The name of the method that it is, or that it is an ensemble around."""
        return self.name

    @property
    def ensemble(self) -> str:
        """``base``, ``magnitude``, ``smoothgrad``, ``smoothgrad-magnitude``, ``smoothgrad-squared`` or ``vargrad``."""
        return "base"

    @property
    def control_of(self) -> str:
        """The name of the one estimator whose control it is; empty for others."""
        return ""

    @property
    def facts(self) -> dict[str, str]:
        """The columns of every table that say what it is."""
        return {"estimator": self.name, "family": self.family, "base": self.base, "ensemble": self.ensemble,
                "control_of": self.control_of}

    @property
    def sees_image(self) -> bool:
        """Whether the image decides its ranking, so that the shape of its mask may tell the class."""
        return False

    @property
    def stochastic(self) -> bool:
        """Whether random numbers decide its ranking, beyond the lots of tied pixels."""
        return False

    @property
    def of_model(self) -> str:
        """The one model whose attributions these are; empty where it ranks for every model."""
        return ""

    @property
    def files(self) -> tuple[str, ...]:
        """The files of code that it executes."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it before it runs."""
        return ()

    def identity(self, settings: EstimatorSettings) -> dict[str, Any]:
        """The settings that decide its ranking, and no others: a change of the rest keeps its ranking.

        To what explains no network only matters whether pixels or channel values are ranked.
        """
        return {**self._named, "per_channel": settings.unit == "channel"}

    @property
    def _named(self) -> dict[str, Any]:
        return {"estimator": self.name, **({"revision": self.revision} if self.revision > 1 else {})}

    def check_source(self, source: Any, splits: Sequence[str]) -> None:
        """Refuse a source that it cannot rank, before anything is made.

        Args:
            source: a ``roar.datasets.Source``.
            splits: that are to be ranked.

        Raises:
            UsageError: the source lacks what it needs.
        """

    def maps_loader(self, source: Any, split: str, streamed: bool) -> Callable[[], Any]:
        """The function whose result gives workers the maps at some positions: from memory, or from where they lie."""
        raise NotImplementedError

    def rank(self, task: Task) -> RankedImages:
        """The ranks of a batch by what explains no network.

        Raises:
            SourceError, EstimatorError: the batch lacks what it needs.
        """
        raise NotImplementedError

    def rank_family(self, members: Sequence[Any], task: Task) -> dict[str, RankedImages]:
        """The ranks of a batch by estimators of its kind and family, by their names."""
        return {member.name: member.rank(task) for member in members}

    def map_family(self, members: Sequence[Any], task: Task) -> dict[str, np.ndarray]:
        """What can be shown of each, float32 ``[N, H, W]``: without scores the share of pixels that it ranks lower."""
        return {member.name: member.map(task) for member in members}

    def map(self, task: Task) -> np.ndarray:
        """What can be shown of what explains no network; pixels are ranked, whatever the unit."""
        return self.shares(replace(task, settings=task.settings.model_copy(update={"unit": "sum"})))

    def shares(self, task: Task) -> np.ndarray:
        """The share of values that are ranked lower, float32 ``[N, H, W]``; the mean over channels that rank alone."""
        height, width = task.pictures.shape[2:]
        ranks = self.rank(task).ranks
        shares: np.ndarray = (1 - ranks / ranks.shape[1]).astype(np.float32).reshape(len(ranks), -1, height, width)
        mean: np.ndarray = shares.mean(1)
        return mean


def without_network(ranks: np.ndarray, tied_share: float) -> RankedImages:
    """The answer of what explains no class."""
    return RankedImages(ranks, np.full(len(ranks), NO_TARGET, np.int32), tied_share)


@dataclass(frozen=True, eq=False)
class Control(Estimator):
    """An estimator that knows nothing of the network; ``looks``: whether the image decides its ranks."""

    function: RankWithout = field(kw_only=True)
    looks: bool = field(kw_only=True)
    shelf: ClassVar[str] = "controls"

    @property
    def sees_image(self) -> bool:
        return self.looks

    @property
    def stochastic(self) -> bool:
        return not self.looks

    def rank(self, task: Task) -> RankedImages:
        return without_network(*self.function(task.pictures, task.indices, task.root_seed, task.split,
                                               task.per_channel))


@dataclass(frozen=True, eq=False)
class Oracle(Estimator):
    """An estimator that is told which pixels are informative, where the source knows; ``kind``: its name without q."""

    function: RankTruth = field(kw_only=True)
    kind: str = field(default="", kw_only=True)
    shelf: ClassVar[str] = "truth"

    @property
    def base(self) -> str:
        return self.kind or self.name

    @property
    def sees_image(self) -> bool:
        return True

    @property
    def stochastic(self) -> bool:
        return True

    def check_source(self, source: Any, splits: Sequence[str]) -> None:
        if any(getattr(source, split).truth is None for split in source.splits):
            raise UsageError(no_truth(self.name, f"'{source.name}'"))

    def rank(self, task: Task) -> RankedImages:
        truth = checked_truth(task.batch.truth, self.name, task.pictures.shape)
        return without_network(*self.function(truth, task.indices, task.root_seed, task.split, task.planes))


@dataclass(frozen=True, eq=False)
class MatchedSpectrum(Estimator):
    """A random ranking with the spatial spectrum of another estimator's."""

    of: Explainer = field(kw_only=True)
    function: RankSpectrum = field(kw_only=True)
    kind: str = field(kw_only=True)

    @property
    def base(self) -> str:
        return self.kind

    @property
    def control_of(self) -> str:
        return self.of.name

    @property
    def stochastic(self) -> bool:
        return True

    def check_source(self, source: Any, splits: Sequence[str]) -> None:
        if "train" not in source.splits:
            raise UsageError(f"'{self.name}' has the spectrum of a training split's rankings, and '{source.name}' has "
                             "a test split alone; leave it out, or take a source with both.")

    def rank(self, task: Task) -> RankedImages:
        spectrum = checked_spectrum(task.batch.inputs, self, task.planes, task.pictures.shape)
        return without_network(*self.function(spectrum, task.indices, task.root_seed, task.split))

    def map(self, task: Task) -> np.ndarray:
        return self.shares(task)  # its spectrum has the planes of the unit


@dataclass(frozen=True, eq=False)
class Explainer(Estimator):
    """A base method, or an ensemble around one."""

    method: Method = field(kw_only=True)
    member: Member = field(kw_only=True)
    explains: ClassVar[bool] = True

    @property
    def base(self) -> str:
        return self.method.name

    @property
    def ensemble(self) -> str:
        return self.member.label

    @property
    def sees_image(self) -> bool:
        return True

    @property
    def stochastic(self) -> bool:
        return self.member.needs_noise or self.method.stochastic

    @property
    def files(self) -> tuple[str, ...]:
        return self.method.files

    @property
    def notes(self) -> tuple[str, ...]:
        return self.method.notes

    def identity(self, settings: EstimatorSettings) -> dict[str, Any]:
        found = {**self._named, "unit": settings.unit, "target": settings.target}
        if self.member.needs_noise:
            found |= {"samples": settings.samples, "noise": settings.noise}
        return found | self.method.identity(settings)

    def passes(self, members: Sequence[Explainer], settings: EstimatorSettings) -> int:
        """Forward and backward passes that a family takes for one image."""
        return passes_per_image(self.method, _members(members), settings)

    def rank_family(self, members: Sequence[Explainer], task: Task) -> dict[str, RankedImages]:
        """The ranks of estimators that share one base, a few images at a time."""
        import torch

        assert task.targets is not None
        count, rows = len(task.pictures), task.rows
        pixels = pixels_ranked(task.pictures.shape, task.per_channel)
        ranks = {member.name: np.empty((count, pixels), rank_type(pixels)) for member in members}
        tied = dict.fromkeys(ranks, 0)
        try:
            with untouched(task.network, self.family):
                if count:
                    self.method.check(task)
                for block in blocks(count, rows):
                    for name, scores in family_scores(task, self.method, _members(members), block):
                        ranks[name][block], shared = rank_scores(scores, task.indices[block], task.lots)
                        tied[name] += shared
        except torch.OutOfMemoryError:
            raise EstimatorError(f"'{self.family}' ran out of memory on {task.targets.device} with {rows} images in a "
                                 "pass; set a smaller compute.memory_budget.") from None
        explained = task.targets.cpu().numpy().astype(np.int32)
        return {name: RankedImages(ranks[name], explained, tied[name] / max(1, count * pixels)) for name in ranks}

    def map_family(self, members: Sequence[Explainer], task: Task) -> dict[str, np.ndarray]:
        """The scores themselves; channel values that rank alone are added up."""
        height, width = task.pictures.shape[2:]
        with untouched(task.network, self.family):
            return {name: scores.view(len(scores), -1, height, width).sum(1).cpu().numpy() for name, scores
                    in family_scores(task, self.method, _members(members), slice(0, len(task.pictures)))}


def _members(members: Sequence[Explainer]) -> Mapping[str, Member]:
    return {member.name: member.member for member in members}


def blocks(count: int, rows: int) -> Iterator[slice]:
    """Slices of at most ``rows`` images that are as equal as can be."""
    number = -(-count // rows)
    edges = [count * block // number for block in range(number + 1)] if number else []
    return (slice(first, last) for first, last in pairwise(edges))


def checked_truth(truth: np.ndarray | None, name: str, shape: Sequence[int]) -> np.ndarray:
    """The informative pixels of images ``[N, C, H, W]`` as an oracle needs them, bool ``[N, H, W]``.

    Raises:
        SourceError: there are none, or they are not one mark for every pixel.
    """
    wanted = (shape[0], *shape[2:])
    if truth is None:
        raise SourceError(no_truth(name))
    if truth.shape != wanted or truth.dtype != np.bool_:
        raise SourceError(f"The informative pixels are bool {list(wanted)}, as the images are, not {truth.dtype} "
                          f"{list(truth.shape)}; let Split.truth give one mark for every pixel.")
    return truth


def no_truth(name: str, source: str = "these images") -> str:
    """The sentence for a source that does not know its informative pixels."""
    return (f"'{name}' needs a source that knows which pixels are informative, which {source} is not; take one such as "
            "planted or hooker-toy.")


def checked_spectrum(spectra: Mapping[str, np.ndarray], control: MatchedSpectrum, planes: int,
                     shape: Sequence[int]) -> np.ndarray:
    """The spectrum of a matched-spectrum control for images ``[N, C, H, W]``.

    Raises:
        EstimatorError: it is not given or is not of the images' size.
    """
    spectrum = spectra.get(control.name)
    if spectrum is None or spectrum.shape != (planes, *shape[2:]):
        given = "none" if spectrum is None else str(list(spectrum.shape))
        raise EstimatorError(f"'{control.name}' needs the spectrum of '{control.of}', {[planes, *shape[2:]]}, and "
                             f"{given} was given; rank '{control.of}' first and give its mean_periodogram.")
    return spectrum
