"""Trees, hedges and bushes."""

from __future__ import annotations

import numpy as np

from .camera import Camera
from .shapes import Color, Model
from .textures import jitter, pick
from .things import Leaves, Thing, from_model

# Summer greens, dull greens, autumn.
FOLIAGE: list[Color] = [
    (74, 98, 44), (92, 112, 54), (58, 80, 44), (104, 118, 70), (70, 84, 58), (46, 66, 40),
    (152, 112, 48), (166, 136, 60), (138, 82, 46), (120, 100, 60), (84, 84, 72), (112, 84, 66), (62, 66, 58),
]  # fmt: skip


def _crown(rng: np.random.Generator, kind: str, radius: float, low: float, high: float) -> np.ndarray:
    """The outline of a crown between two heights, (N, 2) in metres from the trunk's axis."""
    angle = np.linspace(0, 2 * np.pi, 56, False)
    lobes = sum(rng.normal(0, 0.16 / k**0.6) * np.sin(k * angle + rng.uniform(0, 6.3)) for k in (2, 3, 5, 8, 13))
    x, y = np.sin(angle) * (1 + 0.7 * lobes), -np.cos(angle) * (1 + 0.7 * lobes)
    if kind == "cone":
        x = x * np.clip(0.55 - 0.5 * y, 0.04, 1.0) * 1.15
    elif kind == "column":
        x = np.sign(x) * np.abs(x) ** 0.7
    return np.stack([radius * x, (low + high) / 2 + (high - low) / 2 * y], 1)


def tree(
    camera: Camera, rng: np.random.Generator, x: float, z: float, color: Color, kind: str, order: float
) -> list[Thing]:
    """A tree at (x, z): trunk and crown. `kind`: round, cone, column or bare."""
    height, radius = rng.uniform(5.5, 11), rng.uniform(1.6, 3.4)
    low = rng.uniform(1.9, 3.0)
    if kind == "cone":
        low, radius = rng.uniform(0.3, 1.0), rng.uniform(1.4, 2.4)
    elif kind == "column":
        low, radius = rng.uniform(0.8, 1.6), rng.uniform(0.8, 1.3)
    bark, thick = (
        jitter(rng, pick(rng, [(84, 70, 56), (104, 94, 82), (62, 54, 48), (150, 144, 134)]), 6),
        rng.uniform(0.12, 0.24),
    )
    model = Model(camera, x, z)
    model.blob([(0, 0, 0), (rng.normal(0, 0.1), low + 0.8, 0)], [thick * 1.15, thick * 0.8], bark)
    if kind == "bare":
        _branches(model, rng, low, height, radius, thick, bark)
    things = from_model("vegetation", model, (2 * thick, height, 2 * thick))
    if kind != "bare":
        outline = _crown(rng, kind, radius, low - 0.3, height)
        points = np.stack([x + outline[:, 0], outline[:, 1], np.full(len(outline), z)], 1)
        polygon = camera.clip(camera.project(points))
        if polygon is not None:
            grain = 7.0 * z / camera.focal * 2.2
            crown = Thing("vegetation", polygon, order, Leaves(color, grain, rng.uniform(0, 0.1), z))
            reach = 0.8 * radius
            crown.footprint = np.array(
                [(x - reach, z - reach), (x + reach, z - reach), (x + reach, z + reach), (x - reach, z + reach)]
            )
            crown.top = height
            things.append(crown)
    for thing in things:
        thing.order = order
    return things


def _branches(model: Model, rng, low: float, height: float, radius: float, thick: float, bark: Color) -> None:
    """Add a bare crown: forking branches in an outline through which the background is visible."""
    outline = _crown(rng, "round", radius * 0.9, low + 0.2, height)
    model.face(np.column_stack([outline, np.zeros(len(outline))]), None)
    for _ in range(16):
        tip = outline[rng.integers(len(outline))] * (0.95, 1.0)
        start = np.array([0, rng.uniform(low, low + 0.45 * (height - low))])
        middle = (start + tip) / 2 + rng.normal(0, 0.15, 2)
        line = [(*start, 0), (*middle, 0), (*tip, 0)]
        model.wire(line, thick * 0.45, bark)
        for _ in range(3):
            spot = middle + rng.uniform(0, 1) * (tip - middle)
            model.wire([(*spot, 0), (*(spot + rng.normal(0, 0.55, 2)), 0)], thick * 0.2, bark)
    model.blob([(0, low, 0), (0, low + 0.5 * (height - low), 0)], [thick * 0.8, thick * 0.4], bark)


def hedge(
    camera: Camera, rng: np.random.Generator, s: float, z0: float, z1: float, height: float, color: Color
) -> list[Thing]:
    """A clipped hedge along the road at the lateral position s, in pieces of some metres."""
    things, z = [], max(z0, 0.7 * camera.near)
    while z < z1 - 0.5:
        end = min(z + 5, z1)
        depth = 1 / np.linspace(1 / z, 1 / end, 12)
        x = camera.across(s, depth)
        top = np.stack([x, height * rng.normal(1, 0.03, 12), depth], 1)
        foot = np.stack([x, 0 * x, depth], 1)[::-1]
        outline = camera.project(np.concatenate([top, foot]))
        polygon = camera.clip(outline)
        if polygon is not None and np.ptp(polygon[:, 0]) > 1:
            things.append(Thing("vegetation", polygon, end, Leaves(color, 15.0 * z / camera.focal, 0.0, end)))
            things[-1].footprint, things[-1].top = np.array([(x[0], z), (x[-1], end)]), height
        z = end
    return things


def bush(camera: Camera, rng: np.random.Generator, x: float, z: float, color: Color, order: float) -> list[Thing]:
    """A bush that reaches the ground."""
    outline = _crown(rng, "round", rng.uniform(0.5, 1.3), -0.25, rng.uniform(0.8, 1.9))
    outline[:, 1] = np.maximum(outline[:, 1], 0)
    polygon = camera.clip(camera.project(np.column_stack([x + outline[:, 0], outline[:, 1], np.full(len(outline), z)])))
    if polygon is None:
        return []
    return [Thing("vegetation", polygon, order, Leaves(color, 14.0 * z / camera.focal, 0.0, z))]
