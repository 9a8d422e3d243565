"""PASCAL-Context: the images of VOC 2010, with every pixel labelled, 59 classes.

`modeling_ocrnet.preparation.pascal_context` makes its masks and lists from `trainval_merged.json`.
"""

from __future__ import annotations

from pathlib import Path

from ..labels import LabelSet
from ..pairs import Pairs, find_folder, pairs_in_list
from .base import PublishedDataset, TreeEntry

CLASSES = """aeroplane, bag, bed, bedclothes, bench, bicycle, bird, boat, book, bottle, building, bus, cabinet, car,
    cat, ceiling, chair, cloth, computer, cow, cup, curtain, dog, door, fence, floor, flower, food, grass, ground,
    horse, keyboard, light, motorbike, mountain, mouse, person, plate, platform, pottedplant, road, rock, sheep,
    shelves, sidewalk, sign, sky, snow, sofa, table, track, train, tree, truck, tvmonitor, wall, water, window,
    wood"""


def find_pairs(root: Path, split: str) -> Pairs:
    """The images in a split's list."""
    images = find_folder(root, "JPEGImages", "VOC2010/JPEGImages", "VOCdevkit/VOC2010/JPEGImages")
    voc = images.parent
    lists = find_folder(voc, "ImageSets/SegmentationContext")
    return pairs_in_list(lists / f"{split}.txt", images, voc / "SegmentationClassContext")


DATASET = PublishedDataset(
    title="PASCAL-Context",
    labels=LabelSet.from_names(CLASSES, ids=range(1, 60), ignored={"background": 0, "unknown": 255}),
    default_root="data/VOCdevkit/VOC2010",
    images={"train": 4998, "val": 5105},
    find_pairs=find_pairs,
    downloads=(
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar (1.3 GB): the images",
        "https://codalabuser.blob.core.windows.net/public/trainval_merged.json (or the Internet Archive's copy of it)",
    ),
    size="1.3 GB and the annotations",
    licence="images under Flickr's terms of use",
    tree=(
        TreeEntry(("JPEGImages",), "*.jpg"),
        TreeEntry(("SegmentationClassContext",), "*.png, made by this project"),
        TreeEntry(("ImageSets/SegmentationContext/train.txt",), "one name per line, made by this project", ("train",)),
        TreeEntry(("ImageSets/SegmentationContext/val.txt",), "one name per line, made by this project", ("val",)),
    ),
    bases=("", "VOC2010", "VOCdevkit/VOC2010"),
    hint="put trainval_merged.json beside JPEGImages, then make the masks and lists from it: "
    "ocrnet data pascal_context --data.root <root>",
)
