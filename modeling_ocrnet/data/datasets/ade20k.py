"""ADE20K's scene parsing benchmark (SceneParse150): indoor and outdoor scenes, 150 classes."""

from __future__ import annotations

from pathlib import Path

from ..labels import LabelSet
from ..pairs import Pairs, find_folder, pairs_in_folders
from .base import PublishedDataset, folders_of_pairs

FOLDERS = {"train": "training", "val": "validation"}
IMAGES, MASKS = ({split: (f"{kind}/{x}",) for split, x in FOLDERS.items()} for kind in ("images", "annotations"))


def find_pairs(root: Path, split: str) -> Pairs:
    """All images of a split, sorted by name."""
    images = find_folder(root, *IMAGES[split])
    return pairs_in_folders(images, images.parents[1] / "annotations" / FOLDERS[split])


DATASET = PublishedDataset(
    title="ADE20K (SceneParse150)",
    labels=LabelSet.from_names(
        """wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth,
        door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug,
        field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column,
        signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path,
        stairs, runway, case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee
        table, toilet, flower, book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair,
        boat, bar, arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth,
        television receiver, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle,
        buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool,
        barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave,
        pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,
        ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag""",
        ids=range(1, 151),
        ignored={"other": 0},
    ),
    default_root="data/ADEChallengeData2016",
    images={"train": 20210, "val": 2000},
    find_pairs=find_pairs,
    downloads=("http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip (about 1 GB)",),
    size="1 GB",
    licence="annotations BSD 3-Clause, images for non-commercial research and education",
    tree=folders_of_pairs(IMAGES, MASKS),
)
