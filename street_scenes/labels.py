"""The labels in the scenes, with Cityscapes' ids (cityscapes-dataset.com)."""

from __future__ import annotations

from typing import NamedTuple


class Label(NamedTuple):
    """`id`: its value in the masks. `color`: RGB. `has_instances`: whether its objects are numbered."""

    id: int
    color: tuple[int, int, int]
    has_instances: bool = False


LABELS = {
    "unlabeled": Label(0, (0, 0, 0)),
    "ego vehicle": Label(1, (0, 0, 0)),
    "static": Label(4, (0, 0, 0)),
    "dynamic": Label(5, (111, 74, 0)),
    "road": Label(7, (128, 64, 128)),
    "sidewalk": Label(8, (244, 35, 232)),
    "parking": Label(9, (250, 170, 160)),
    "building": Label(11, (70, 70, 70)),
    "wall": Label(12, (102, 102, 156)),
    "fence": Label(13, (190, 153, 153)),
    "guard rail": Label(14, (180, 165, 180)),
    "pole": Label(17, (153, 153, 153)),
    "traffic light": Label(19, (250, 170, 30)),
    "traffic sign": Label(20, (220, 220, 0)),
    "vegetation": Label(21, (107, 142, 35)),
    "terrain": Label(22, (152, 251, 152)),
    "sky": Label(23, (70, 130, 180)),
    "person": Label(24, (220, 20, 60), has_instances=True),
    "rider": Label(25, (255, 0, 0), has_instances=True),
    "car": Label(26, (0, 0, 142), has_instances=True),
    "truck": Label(27, (0, 0, 70), has_instances=True),
    "bus": Label(28, (0, 60, 100), has_instances=True),
    "train": Label(31, (0, 80, 100), has_instances=True),
    "motorcycle": Label(32, (0, 0, 230), has_instances=True),
    "bicycle": Label(33, (119, 11, 32), has_instances=True),
}
