"""From a recipe's sampler to the order of samples."""

from __future__ import annotations

import logging

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from datasets import Dataset, IterableDataset

from .. import data
from ..common.errors import UserError
from ..common.names import first_names
from ..data.class_names import ids_of_classes
from ..data.class_tiles import ClassTiles, Tiling
from ..data.class_tiles_cache import find_class_tiles
from ..data.sampling import ClassUniform, Order, RepeatFactor, repeat_factors
from .recipe import Recipe
from .recipe_sampler import SamplerRecipe

logger = logging.getLogger("modeling_ocrnet.training")


def chosen_classes(options: SamplerRecipe, labels: data.LabelSet) -> tuple[int, ...] | None:
    """The train ids of `sampler.classes`; `None` for all.

    Raises:
        UserError: for a name that the data don't have.
    """
    if options.classes is None:
        return None
    return ids_of_classes(options.classes, labels, "sampler.classes")


def build_order(
    recipe: Recipe, accelerator: Accelerator, labels: data.LabelSet, train: Dataset | IterableDataset
) -> Order | None:
    """The order that the recipe's sampler describes; `None` for the default. One process of a machine reads the masks.

    Raises:
        UserError: if the sampler names classes that no mask holds, or a mask can't be read.
    """
    options = recipe.sampler
    if options.name == "shuffle" or not isinstance(train, Dataset):
        return None
    chosen = chosen_classes(options, labels)
    tiling = Tiling()  # whole masks
    if options.name == "class_uniform":
        crop, scale = recipe.data.crop_size, recipe.data.scale
        tiling = Tiling(options.tile) if options.tile else Tiling(None, (crop[0], crop[1]), (scale[0], scale[1]))
    with accelerator.local_main_process_first():
        tiles = find_class_tiles(train, tiling, tolerate=recipe.data.on_error == "skip")
    if broadcast_object_list([tiles.digest])[0] != tiles.digest:
        raise UserError("processes find classes in different places, because some can't read all masks: start again")
    absent = _absent(tiles, labels, chosen)
    order: ClassUniform | RepeatFactor
    if options.name == "class_uniform":
        order = ClassUniform(tiles, len(train), recipe.seed, options.class_share, options.max_repeats, chosen)
        said = f"{sum(order.drawn.values())} of {order.length} samples of an epoch are drawn for classes"
        if capped := [labels.names[i] for i, x in order.drawn.items() if 0 < x < order.quota]:
            said += f"; fewer than {order.quota}, by sampler.max_repeats, for {first_names(capped)}"
    else:
        factors = repeat_factors(tiles, len(train), options.threshold, options.max_repeats, chosen)
        order = RepeatFactor(factors, recipe.seed, tiles.digest)
        said = f"{int((factors > 1).sum())} of {len(train)} images are repeated, up to {factors.max():.1f} times"
    if accelerator.is_main_process:
        logger.info("%s: %s", options.name, said)
        if order.length == len(train) and isinstance(order, RepeatFactor):
            share = f"{options.threshold:.2g} of the images"
            logger.warning("each class to repeat for is in at least %s: raise sampler.threshold", share)
        if absent:
            logger.warning("no mask of %s holds %s: nothing is drawn for it", recipe.data.split, first_names(absent))
    return order


def _absent(tiles: ClassTiles, labels: data.LabelSet, chosen: tuple[int, ...] | None) -> list[str]:
    """The names of the classes to draw for that no mask holds.

    Raises:
        UserError: if these are all.
    """
    wanted = range(tiles.classes) if chosen is None else chosen
    absent = [labels.names[i] for i in wanted if not tiles.counts[i]]
    if len(absent) == len(wanted):
        raise UserError(f"no mask holds a class that the sampler draws for ({first_names(absent)}): name others")
    return absent
