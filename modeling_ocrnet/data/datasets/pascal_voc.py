"""PASCAL VOC 2012, 20 classes and a background, alone or with the Semantic Boundaries Dataset (SBD).

The split `aug` needs SBD's folder `dataset` (with the folder `cls` of .mat files, and the lists train.txt and val.txt).
It may be named `sbd` and lie beside VOC's folders, or stay where SBD's archive puts it.
"""

from __future__ import annotations

from pathlib import Path

from ..labels import LabelSet
from ..pairs import Pairs, find_folder, pairs_in_list, read_list
from ..unicode_names import paths_on_disk
from .base import PublishedDataset, TreeEntry

SBD = ("sbd", "benchmark_RELEASE/dataset", "../../benchmark_RELEASE/dataset", "../sbd", "../../sbd")


def find_pairs(root: Path, split: str) -> Pairs:
    """The images in a split's list. `aug` is VOC's train plus SBD's train and val, without VOC's val."""
    images = find_folder(root, "JPEGImages", "VOC2012/JPEGImages", "VOCdevkit/VOC2012/JPEGImages")
    voc = images.parent
    lists, masks = voc / "ImageSets" / "Segmentation", voc / "SegmentationClass"
    if split != "aug":
        return pairs_in_list(lists / f"{split}.txt", images, masks)
    sbd = find_folder(voc, *SBD)
    own, held_out = read_list(lists / "train.txt"), set(read_list(lists / "val.txt"))
    more = set(read_list(sbd / "train.txt")) | set(read_list(sbd / "val.txt"))
    names = own + sorted(more - held_out - set(own))
    return Pairs(
        names,
        paths_on_disk(images, names, ".jpg"),
        # if both have a mask for an image, VOC's is used
        paths_on_disk(masks, own, ".png") + paths_on_disk(sbd / "cls", names[len(own) :], ".mat"),
    )


DATASET = PublishedDataset(
    title="PASCAL VOC 2012, and SBD",
    labels=LabelSet.from_names(
        """background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse,
        motorbike, person, pottedplant, sheep, sofa, train, tvmonitor""",
        ids=range(21),
        ignored={"boundary": 255},
    ),
    default_root="data/VOCdevkit/VOC2012",
    images={"train": 1464, "val": 1449, "trainval": 2913, "aug": 10582},
    find_pairs=find_pairs,
    downloads=(
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar (2 GB)",
        "for the split aug (1.4 GB): "
        "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
    ),
    size="2 GB, with SBD 3.4 GB",
    licence="images under Flickr's terms of use",
    tree=(
        TreeEntry(("JPEGImages",), "*.jpg"),
        TreeEntry(("SegmentationClass",), "*.png"),
        *(
            TreeEntry((f"ImageSets/Segmentation/{x}.txt",), "one name per line", (x,))
            for x in ("train", "val", "trainval")
        ),
        *(
            TreeEntry(tuple(f"{folder}/{name}" for folder in SBD), f"SBD: {what}", ("aug",))
            for name, what in (("cls", "*.mat"), ("train.txt", "one name per line"), ("val.txt", "one name per line"))
        ),
    ),
    bases=("", "VOC2012", "VOCdevkit/VOC2012"),
    hint="SBD's masks are .mat files: pip install 'modeling-ocrnet[mat]'",
)
