"""What a scene is made of: labelled polygons in painter's order, each with a note on how it is to be painted."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .camera import Camera
from .shapes import Color, Model, Part


@dataclass
class Sky:
    """The sky; its looks follow from the scene's light alone."""


@dataclass
class Ground:
    """A surface underfoot. `marks`: outlines (N, 2) in pixels of paint or patches on it, with a colour and its cover.

    `material`: asphalt, slabs, cobble or grass.
    """

    material: str
    color: Color
    marks: list[tuple[np.ndarray, Color, float]] = field(default_factory=list)


@dataclass
class Plane:
    """An upright rectangle: corners (4, 2) in pixels, lower left first, counter-clockwise, and its metres.

    `kind` names the way to paint it (see `facades`), `color` its main colour; `depths`: of its left and right end.
    """

    corners: np.ndarray
    metres: tuple[float, float]
    kind: str
    color: Color
    normal: np.ndarray
    depths: tuple[float, float]


@dataclass
class Leaves:
    """Foliage. `grain`: noise cells per pixel; `gaps`: the share of the outline that shows what is behind."""

    color: Color
    grain: float
    gaps: float
    depth: float


@dataclass
class Parts:
    """Flat patches of colour, in order."""

    parts: list[Part]


@dataclass
class Thing:
    """One labelled object.

    `polygon`: (N, 2) int32 pixels. `order`: metres, the scene is painted from large to small. `footprint`: corners
    (N, 2) of the place (x, z) it stands on, with `top` its height in metres: what casts a shadow.
    """

    label: str
    polygon: np.ndarray
    order: float
    look: Sky | Ground | Plane | Leaves | Parts
    footprint: np.ndarray | None = None
    top: float = 0.0


def from_model(label: str, model: Model, size: tuple[float, float, float] | None = None) -> list[Thing]:
    """The thing that a model shows (a list of one, or of none where it is out of sight).

    `size`: width, height and length in metres, for its shadow.
    """
    polygon = model.silhouette()
    if polygon is None:
        return []
    footprint, top, reach = None, 0.0, 0.0
    if size is not None:
        half, reach, top = size[0] / 2, size[2] / 2, size[1]
        corners = [(-half, 0, -reach), (half, 0, -reach), (half, 0, reach), (-half, 0, reach)]
        footprint = model.world(corners)[:, [0, 2]]
    order = float(model.place[2] if reach < 0.4 else footprint[:, 1].min())
    return [Thing(label, polygon, order, Parts(model.parts), footprint, top)]


def upright(
    camera: Camera, label: str, ends, heights, kind: str, color: Color, order: float | None = None
) -> list[Thing]:
    """An upright plane (a list of one, or of none where it is out of sight).

    Args:
        camera: the camera.
        label: its label.
        ends: ((x, z), (x, z)) in the camera frame; the side it shows is found from the camera's place.
        heights: y of its lower and upper edge in metres.
        kind: how to paint it.
        color: its main colour.
        order: depth to paint it at; the depth of its far end by default.
    """
    ends, (low, high) = sorted(ends, key=lambda end: end[0] / max(end[1], 0.5)), heights
    ends = [np.array(end, float) for end in ends]
    nearest = 0.6 * camera.near
    for i in (0, 1):  # cut off what lies behind the camera
        if ends[i][1] < nearest:
            if ends[1 - i][1] <= nearest:
                return []
            share = (nearest - ends[i][1]) / (ends[1 - i][1] - ends[i][1])
            ends[i] = ends[i] + share * (ends[1 - i] - ends[i])
    (x0, z0), (x1, z1) = ends
    corners = camera.project(np.array([(x0, low, z0), (x1, low, z1), (x1, high, z1), (x0, high, z0)]))
    polygon = camera.clip(corners)
    if polygon is None or corners[1, 0] - corners[0, 0] < 1.0:
        return []
    length = float(np.hypot(x1 - x0, z1 - z0))
    normal = np.array([(z1 - z0), 0, -(x1 - x0)]) / length
    look = Plane(corners, (length, high - low), kind, color, normal, (z0, z1))
    return [Thing(label, polygon, max(z0, z1) if order is None else order, look, np.array([(x0, z0), (x1, z1)]), high)]
