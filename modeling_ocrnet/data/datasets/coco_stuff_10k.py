"""COCO-Stuff 10k, version 1.1: photographs of everyday scenes, 171 classes of things and stuff, masks as .mat files."""

from __future__ import annotations

from pathlib import Path

from ..labels import LabelSet
from ..pairs import Pairs, find_folder, pairs_in_list
from .base import PublishedDataset, TreeEntry

CLASSES = """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
    stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack,
    umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove,
    skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple,
    sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining
    table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink,
    refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush, banner, blanket, branch,
    bridge, building-other, bush, cabinet, cage, cardboard, carpet, ceiling-other, ceiling-tile, cloth, clothes,
    clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff, fence, floor-marble, floor-other,
    floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit, furniture-other, grass, gravel,
    ground-other, hill, house, leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper,
    pavement, pillow, plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof,
    rug, salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw,
    structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other,
    wall-panel, wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind, window-other, wood"""
# their ids; the eleven ids left out belong to categories that no image has
IDS = [k for k in range(1, 183) if k not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)]
LISTS = {"train": "train.txt", "val": "test.txt"}  # the dataset's test list is the split val


def find_pairs(root: Path, split: str) -> Pairs:
    """The images in a split's list."""
    images = find_folder(root, "images")
    base = images.parent
    return pairs_in_list(base / "imageLists" / LISTS[split], images, base / "annotations", mask_suffix=".mat")


DATASET = PublishedDataset(
    title="COCO-Stuff 10k, version 1.1",
    labels=LabelSet.from_names(CLASSES, ids=IDS, ignored={"unlabeled": 0}),
    default_root="data/coco_stuff10k",
    images={"train": 9000, "val": 1000},
    find_pairs=find_pairs,
    downloads=("http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/cocostuff-10k-v1.1.zip (2 GB)",),
    size="2 GB",
    licence="annotations CC BY 4.0, images under Flickr's terms of use",
    tree=(
        TreeEntry(("images",), "*.jpg"),
        TreeEntry(("annotations",), "*.mat with the same names"),
        *(TreeEntry((f"imageLists/{file}",), "one name per line", (split,)) for split, file in LISTS.items()),
    ),
    hint="the masks are .mat files: pip install 'modeling-ocrnet[mat]'",
)
