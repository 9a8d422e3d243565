"""The recipe's sampler: which images come how often, and where crops lie."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import Literal

from ..common.errors import UserError
from ..data.unicode_names import nfc

# fields that only some samplers take
_TAKEN_BY = {
    "class_share": ("class_uniform",),
    "tile": ("class_uniform",),
    "max_repeats": ("class_uniform", "repeat_factor"),
    "classes": ("class_uniform", "repeat_factor"),
    "threshold": ("repeat_factor",),
}
LEAST_SHARE = 0.01  # an epoch holds a sample for each class: a smaller share would make it endless
LEAST_TILE = 16  # smaller ones only make work


@dataclass
class SamplerRecipe:
    """How samples are drawn."""

    name: Literal["shuffle", "class_uniform", "repeat_factor"] = "shuffle"
    """What to draw. shuffle: every image once in an epoch. class_uniform: some crops around each class alike.
    repeat_factor: images with rare classes several times."""
    class_share: float = 0.5
    """Share of the samples that are drawn for the classes in turn (class_uniform only)."""
    tile: int | None = None
    """Side of the tiles in which classes are looked for, in pixels of the mask (class_uniform only; null: as much as a
    crop's shorter edge covers)."""
    max_repeats: int = 10
    """How often one tile (class_uniform) or one image (repeat_factor) may come in an epoch."""
    classes: list[str] | None = None
    """Names of the classes to draw for (null: all)."""
    threshold: float = 0.01
    """Images are repeated for classes in fewer than this share of them (repeat_factor only)."""

    def check(self, streaming: bool) -> None:
        """Check that the fields fit together.

        Args:
            streaming: whether the data are a stream.

        Raises:
            UserError: names the field.
        """
        if streaming and self.name != "shuffle":
            raise UserError(
                f"sampler.name is {self.name}, but a stream (data.streaming) comes in its own order: "
                "leave one of them out"
            )
        for field in fields(self):
            users = _TAKEN_BY.get(field.name, (self.name,))
            if self.name not in users and getattr(self, field.name) != field.default:
                raise UserError(
                    f"sampler.{field.name} is for sampler.name {' or '.join(users)}, not for {self.name}: leave it out"
                )
        if not LEAST_SHARE <= self.class_share <= 1:
            raise UserError(f"sampler.class_share must be from {LEAST_SHARE} to 1, got {self.class_share}")
        if self.tile is not None and self.tile < LEAST_TILE:
            raise UserError(f"sampler.tile must be {LEAST_TILE} pixels or more, got {self.tile}")
        if self.classes is not None:
            if not self.classes:
                raise UserError("sampler.classes names no class: leave it out for all of them")
            name, count = Counter(map(nfc, self.classes)).most_common(1)[0]
            if count > 1:
                raise UserError(f"sampler.classes names {name!r} {count} times: name it once")
