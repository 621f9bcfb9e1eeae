"""``[sanity]``: how the explained networks are randomized."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from roar.settings import Flag, Settings

Randomization = Literal["cascading", "independent", "labels"]  # layers from the output on, or one; shuffled labels

FITTED_ON = 256  # the first test images, on which the batch norms of a randomized network are fitted


class SanitySettings(Settings):
    """``[sanity]``: how the explained networks are randomized (Adebayo et al. 2018)."""

    kinds: Annotated[tuple[Randomization, ...], Flag(
        "--randomize", "cascading (layers from the output on), independent (one at a time), labels (trained on "
                       "shuffled ones).")] = ("cascading", "independent", "labels")
    steps: Annotated[int, Field(ge=1, le=10_000), Flag(
        "--steps", "Randomize the layers in at most so many steps of about equal size.")] = 8

    @field_validator("kinds")
    @classmethod
    def _each_once(cls, kinds: tuple[Randomization, ...]) -> tuple[Randomization, ...]:
        if not kinds:
            raise ValueError("name one kind or more of cascading, independent and labels")
        return tuple(dict.fromkeys(kinds))
