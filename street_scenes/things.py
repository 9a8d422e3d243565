"""The things in a scene: labelled polygons in painter's order, each with a description of its look."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .camera import Camera
from .shapes import Color, Model, Part


@dataclass
class Sky:
    """The sky; its look depends only on the scene's light."""


@dataclass
class Ground:
    """A ground surface. `marks`: paint or patches on it, as outlines (N, 2) in pixels, with a colour and its cover.

    `material`: asphalt, slabs, cobble or grass.
    """

    material: str
    color: Color
    marks: list[tuple[np.ndarray, Color, float]] = field(default_factory=list)


@dataclass
class Plane:
    """An upright rectangle: corners (4, 2) in pixels, from the lower left, counter-clockwise, and its size in metres.

    `kind` is the way to paint it (see `facades`), `color` its main colour; `depths` are those of its left and right
    end.
    """

    corners: np.ndarray
    metres: tuple[float, float]
    kind: str
    color: Color
    normal: np.ndarray
    depths: tuple[float, float]


@dataclass
class Leaves:
    """Foliage. `grain`: noise cells per pixel; `gaps`: the share of the outline that shows the background."""

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

    `polygon`: (N, 2) int32 pixels. `order`: in metres; the scene is painted from large to small. `footprint`: corners
    (N, 2) of its base as (x, z), and `top` its height in metres; these determine its shadow.
    """

    label: str
    polygon: np.ndarray
    order: float
    look: Sky | Ground | Plane | Leaves | Parts
    footprint: np.ndarray | None = None
    top: float = 0.0


def from_model(label: str, model: Model, size: tuple[float, float, float] | None = None) -> list[Thing]:
    """The thing made of a model, as a list of one; an empty list if it isn't visible.

    `size`: width, height and length in metres, for its shadow.
    """
    polygon = model.silhouette()
    if polygon is None:
        return []
    footprint, top, order = None, 0.0, float(model.place[2])
    if size is not None:
        half, reach, top = size[0] / 2, size[2] / 2, size[1]
        corners = [(-half, 0, -reach), (half, 0, -reach), (half, 0, reach), (-half, 0, reach)]
        footprint = model.world(corners)[:, [0, 2]]
        order = order if reach < 0.4 else float(footprint[:, 1].min())
    return [Thing(label, polygon, order, Parts(model.parts), footprint, top)]


def upright(
    camera: Camera, label: str, ends, heights, kind: str, color: Color, order: float | None = None
) -> list[Thing]:
    """An upright plane, as a list of one; an empty list if it isn't visible.

    Args:
        camera: the camera.
        label: its label.
        ends: ((x, z), (x, z)) in the camera frame; which side is visible follows from the camera's position.
        heights: y of its lower and upper edge in metres.
        kind: how to paint it.
        color: its main colour.
        order: the depth in painter's order; by default the depth of its far end.
    """
    ends, (low, high) = sorted(ends, key=lambda end: end[0] / max(end[1], 0.5)), heights
    ends = [np.array(end, float) for end in ends]
    nearest = 0.6 * camera.near
    for i in (0, 1):  # cut off the part behind the camera
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
