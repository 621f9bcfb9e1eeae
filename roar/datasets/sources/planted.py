"""Images whose class is written into known pixels, and into no others.

Each image has a natural-looking background (noise with equal energy in every octave, as photographs have: 1/f)
and small square patches with a pattern. The informative patches spell the class: with two patches and four
classes, one says whether the class is below 2 and the other whether it is even, so all of them are needed. Each
is there several times over (``redundancy``), and one copy is enough. Distractors look alike and are drawn without
regard to the class. So are the background and the places. What is right to find is thus known for every image.

Everything is drawn from counters: an image depends on the options, its split and its index alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from roar.datasets.registry import source_kind
from roar.datasets.source import Request, WholeSource, WholeSplit
from roar.datasets.sources.options import check_range, parse_options
from roar.errors import UsageError
from roar.seeds.streams import derive, random_order

DEFAULTS = {"size": 16, "classes": 4, "channels": 3, "patch": 3, "patches": 2, "redundancy": 1, "distractors": 2,
            "difficulty": 0.5, "fixed": 0, "train": 2_000, "test": 500, "seed": 0}
LIMITS = {"size": (4, 1_024), "classes": (2, 1_000), "patch": (2, 64), "patches": (1, 10), "redundancy": (1, 100),
          "distractors": (0, 1_000), "difficulty": (0, 1), "fixed": (0, 1), "train": (1, 10**7), "test": (1, 10**7),
          "seed": (0, 2**63 - 1), "channels": (1, 3)}
GRAY = 128
CONTRAST = 100  # of a pattern at difficulty 0, in 8-bit units to either side of gray
SPREAD = 45  # standard deviation of the background in 8-bit units, about
BLOCK = 64  # images made at a time


@source_kind("planted", "made images whose class lies in known pixels, e.g. planted:size=16,classes=4; offline",
             "OPTIONS", argument_required=False)
def open_planted(argument: str, request: Request) -> WholeSource:
    """Open ``planted:NAME=NUMBER,...``. The options are:

    size, channels, train, test: pixels of a side, channels (1 or 3) and how many images; classes: how many.
    patch: pixels of a patch's side; patches: into how many pieces the class is divided, all of them needed.
    redundancy: copies of each piece; distractors: patches that mean nothing.
    difficulty: 0, patterns alone in their patches, to 1, drowned in the background.
    fixed: 1 puts the patches into the same places in every image. seed: another set of images.

    Raises:
        UnknownNameError, UsageError: an option does not exist, is out of range, or the patches do not fit.
    """
    options = parse_options("planted", argument, DEFAULTS)
    for name, (low, high) in LIMITS.items():
        check_range("planted", options, name, low, high)
    if request.image_size not in (None, options["size"]):
        raise UsageError(f"The images of 'planted' are made in their size, {options['size']}, not scaled to "
                         f"{request.image_size}; write planted:size={request.image_size}.")
    if options["channels"] == 2:
        raise UsageError("The option 'channels' of 'planted' is 1 or 3, not 2; correct it.")
    recipe = _Recipe(**options)
    wanted, places = len(recipe.shown(0, 0, "train")), (recipe.size // recipe.patch) ** 2
    if wanted > places:
        raise UsageError(f"{wanted} patches of {recipe.patch}x{recipe.patch} pixels do not fit into 'planted' images "
                         f"of {recipe.size}x{recipe.size}, which hold {places}; ask for fewer or for larger images.")
    if 2 ** (recipe.patches - 1) >= recipe.classes:
        raise UsageError(f"{recipe.classes} classes of 'planted' cannot be divided into {recipe.patches} pieces that "
                         "all matter; ask for fewer patches or more classes.")
    recipe.patterns()
    splits = [WholeSplit(recipe.labels(split), _Images(recipe, split), _Digest(recipe, split), _Truth(recipe, split))
              for split in ("train", "test")]
    return WholeSource("planted", tuple(f"class {label}" for label in range(recipe.classes)), recipe.channels,
                       recipe.size, recipe.size, splits[0], splits[1])


@dataclass(frozen=True)
class _Recipe:
    """The options, and what follows from them."""

    size: int
    classes: int
    channels: int
    patch: int
    patches: int
    redundancy: int
    distractors: int
    difficulty: float
    fixed: int
    train: int
    test: int
    seed: int

    @property
    def base(self) -> int:
        """How many values each piece of the class has: the smallest whose power reaches the classes."""
        return next(base for base in range(2, self.classes + 1) if base**self.patches >= self.classes)

    def labels(self, split: str) -> np.ndarray:
        """Balanced and in random order, int64 ``[N]``."""
        count = getattr(self, split)
        return random_order(derive(self.seed, "planted labels", split), 0, count).astype(np.int64) % self.classes

    def shown(self, index: int, label: int, split: str) -> list[int]:
        """The patterns of an image: the informative ones, each piece ``redundancy`` times, then distractors."""
        pieces = [label // self.base**piece % self.base + piece * self.base for piece in range(self.patches)]
        meaningful = self.patches * self.base
        key = [derive(self.seed, "planted distractors", split), index]
        words = np.random.Philox(key=np.array(key, dtype=np.uint64)).random_raw(self.distractors)
        return [*pieces * self.redundancy, *(meaningful + words % np.uint64(meaningful)).tolist()]

    def corners(self, index: int, split: str) -> np.ndarray:
        """The upper left pixel of each patch of an image, int64 ``[patches, 2]``; patches never overlap."""
        across = self.size // self.patch
        place = 0 if self.fixed else index
        seed = derive(self.seed, "planted places", "" if self.fixed else split)
        cells = random_order(seed, place, across**2)[:self.patches * self.redundancy + self.distractors]
        return np.stack([cells // across, cells % across], axis=1) * self.patch + self.size % self.patch // 2

    def patterns(self) -> np.ndarray:
        """Of -1 and 1, ``[2 * patches * base, patch, patch]``: those that mean something, then as many that do not.

        Of many random ones, each in turn the one that is least like those before it.

        Raises:
            UsageError: there are not as many that differ.
        """
        count, area = 2 * self.patches * self.base, self.patch**2
        seed = derive(self.seed, "planted patterns")
        orders = np.stack([random_order(seed, i, area) for i in range(min(20_000, 50 * count))])
        candidates = np.where(orders < (area + 1) // 2, 1, -1)
        chosen = [0]
        likeness = np.abs(candidates @ candidates[0])
        while len(chosen) < count:
            if likeness.min() == area:
                raise UsageError(f"{count} patterns are more than patches of {self.patch}x{self.patch} pixels of "
                                 "'planted' can hold; ask for larger patches or fewer classes.")
            chosen.append(int(likeness.argmin()))
            likeness = np.maximum(likeness, np.abs(candidates @ candidates[chosen[-1]]))
        patterns: np.ndarray = candidates[chosen].reshape(count, self.patch, self.patch)
        return patterns

    def backgrounds(self, indices: np.ndarray, split: str) -> np.ndarray:
        """float64 ``[n, C, H, W]`` around 0: noise on grids of 1, 2, 4, ... pixels, largely common to all channels.

        With each octave 1.2 times as strong as the finer one, and smoothed, the power falls as 1 / f^2.
        """
        octaves = max(1, self.size.bit_length() - 1)
        sides = [-(-self.size // 2**octave) + 2 for octave in range(octaves)]
        planes = self.channels + 1
        count = planes * sum(side**2 for side in sides)
        seed = derive(self.seed, "planted background", split)
        words = np.stack([np.random.Philox(key=np.array([seed, index], dtype=np.uint64)).random_raw(-(-count // 8))
                          for index in indices.tolist()])
        noise = words.astype("<u8").view(np.uint8).astype(np.float64) - 127.5
        total = np.zeros((len(indices), planes, self.size, self.size))
        for octave, side in enumerate(sides):
            grid = noise[:, :planes * side**2].reshape(-1, planes, side, side)
            noise = noise[:, planes * side**2:]
            for _ in range(octave):
                grid = _doubled(_doubled(grid, 2), 3)
            total += 1.2**octave * grid[:, :, :self.size, :self.size]
        scale = SPREAD / (60 * sum(1.44**octave for octave in range(octaves)) ** 0.5)
        mixed: np.ndarray = (total[:, :1] + total[:, 1:] / 2) * scale
        return mixed


def _doubled(grid: np.ndarray, axis: int) -> np.ndarray:
    """Linear interpolation halfway between neighbors along an axis."""
    last = grid.shape[axis] - 1
    low, high = (np.take(grid, range(start, last + start), axis=axis) for start in (0, 1))
    pairs = np.stack([low, (low + high) / 2], axis=axis + 1)
    doubled: np.ndarray = pairs.reshape([*grid.shape[:axis], 2 * last, *grid.shape[axis + 1:]])
    return doubled


@dataclass(frozen=True, eq=False)
class _Images:
    """uint8 ``[n, C, H, W]``; a label shows in the informative patches and nowhere else."""

    recipe: _Recipe
    split: str

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        recipe = self.recipe
        labels, patterns = recipe.labels(self.split), recipe.patterns()
        images = np.empty((len(positions), recipe.channels, recipe.size, recipe.size), dtype=np.uint8)
        for start in range(0, len(positions), BLOCK):
            indices = np.asarray(positions[start:start + BLOCK])
            block = recipe.backgrounds(indices, self.split)
            for image, index in zip(block, indices.tolist(), strict=True):
                shown = recipe.shown(index, int(labels[index]), self.split)
                for number, (row, column) in zip(shown, recipe.corners(index, self.split), strict=True):
                    patch = image[:, row:row + recipe.patch, column:column + recipe.patch]
                    patch *= recipe.difficulty
                    patch += (1 - recipe.difficulty) * CONTRAST * patterns[number]
            images[start:start + BLOCK] = np.rint(block + GRAY).clip(0, 255)
        return images


@dataclass(frozen=True, eq=False)
class _Truth:
    recipe: _Recipe
    split: str

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        recipe = self.recipe
        truth = np.zeros((len(positions), recipe.size, recipe.size), dtype=bool)
        for slot, position in enumerate(np.asarray(positions).tolist()):
            for row, column in recipe.corners(position, self.split)[:recipe.patches * recipe.redundancy]:
                truth[slot, row:row + recipe.patch, column:column + recipe.patch] = True
        return truth


@dataclass(frozen=True, eq=False)
class _Digest:
    recipe: _Recipe
    split: str

    def __call__(self, positions: np.ndarray) -> bytes:
        text = json.dumps(["planted", vars(self.recipe), self.split], sort_keys=True)
        return hashlib.sha256(text.encode()).digest()
