"""Composes a scene: a street, its camera and all objects."""

from __future__ import annotations

import numpy as np

from .camera import Camera, place_camera
from .furniture import bollard, clutter, gantry_board, lamp, sign, signal
from .people import bicycle, motorcycle, pedestrian, rider
from .plants import FOLIAGE, bush, hedge, tree
from .shapes import Model, Part, fixed_point
from .street import Side, Street, lay_ground, plan_street
from .structures import backdrop, barrier, buildings
from .textures import jitter, pick
from .things import Parts, Sky, Thing, from_model
from .vehicles import bus, car, tram, truck


class _Plan:
    """A street that is being filled: holds the things and the ground they occupy, in the road frame."""

    def __init__(self, rng: np.random.Generator, camera: Camera, street: Street):
        self.rng, self.camera, self.street = rng, camera, street
        self.things: list[Thing] = []
        self._taken: list[tuple[float, float, float, float]] = []

    def free(self, s: float, z: float, width: float, length: float) -> bool:
        """Whether a rectangle of that size around (s, z) is free. If it is, it becomes occupied."""
        for s2, z2, width2, length2 in self._taken:
            if abs(s - s2) < (width + width2) / 2 and abs(z - z2) < (length + length2) / 2:
                return False
        self._taken.append((s, z, width, length))
        return True

    def spot(self, s: float, z: float) -> tuple[float, float]:
        """The (x, z) in the camera frame of a position in the road frame."""
        return float(self.camera.across(s, z)), float(z)

    def model(self, s: float, z: float, yaw: float, scale: float = 1.0, y: float = 0.0) -> Model:
        """A model at a position in the road frame; yaw 0 points along the road."""
        x, z = self.spot(s, z)
        return Model(self.camera, x, z, yaw + self.camera.heading(z), y, scale)

    def depth(self, near: float, far: float) -> float:
        """A random depth in metres, log-uniform from `near` to `far`."""
        near = max(near, self.camera.near + 0.5)
        return float(np.exp(self.rng.uniform(np.log(near), np.log(max(far, near + 1)))))


def _edges(plan: _Plan, side: Side) -> None:
    """Place the walls, fences, hedges and plants of one side."""
    rng, camera, street = plan.rng, plan.camera, plan.street
    season = rng.integers(2)  # summer or autumn
    colors = FOLIAGE[:6] + FOLIAGE[-3:] if season else FOLIAGE[3:]
    gate = (street.crossing[0] - 1, street.crossing[1] + 1) if street.crossing else None
    odds = {
        "city": [0.58, 0.17, 0.21, 0.04],
        "suburb": [0.12, 0.28, 0.34, 0.26],
        "park": [0.25, 0.25, 0.3, 0.2],
        "works": [0.2, 0.35, 0.4, 0.05],
    }
    kind = pick(rng, ["none", "wall", "fence", "hedge"], odds[side.style])
    start = rng.uniform(-5, 12) if rng.random() < 0.5 else 0
    stop = rng.uniform(start + 18, 90)
    if kind in ("wall", "fence"):
        plan.things += barrier(rng, camera, kind, side.front + side.sign * 0.15, start, stop, gate)
    elif kind == "hedge":
        height, color = rng.uniform(0.8, 1.9), jitter(rng, pick(rng, colors), 8)
        ends = [(start, stop)] if gate is None else [(start, gate[0]), (gate[1], stop)]
        for z0, z1 in ends:
            plan.things += hedge(camera, rng, side.front + side.sign * 0.2, z0, z1, height, color)
    if side.style == "city" and kind == "none" and rng.random() < 0.14:  # a railing at the curb
        z = plan.depth(5, 25)
        label = pick(rng, ["fence", "guard rail"], [4, 1])
        plan.things += barrier(rng, camera, label, side.kerb + side.sign * 0.4, z, z + rng.uniform(8, 25), gate)
    wood = {"city": 0.0, "suburb": 5, "park": 13, "works": 3}[side.style]
    for _ in range(rng.poisson(wood)):  # trees and bushes behind the front line
        width = max(abs(side.line - side.front), 2.0) if side.style != "park" else 14.0
        s = side.front + side.sign * rng.uniform(1.2, width + 1)
        z = plan.depth(7, 90)
        if gate and gate[0] - 3 < z < gate[1] + 3:
            continue
        color = jitter(rng, pick(rng, colors), 9)
        if rng.random() < 0.6:
            kinds = pick(rng, ["round", "cone", "column", "bare"], [6, 2, 1, 0.8])
            plan.things += tree(camera, rng, *plan.spot(s, z), color, kinds, z + 5.2)
        else:
            plan.things += bush(camera, rng, *plan.spot(s, z), color, z + 5.2)


def _row(plan: _Plan, side: Side) -> None:
    """Place the objects along the curb: street trees, lamps, signs and traffic lights."""
    rng, camera, street = plan.rng, plan.camera, plan.street
    verge = next((strip for strip in side.strips if strip[0] in ("terrain", "sidewalk")), None)
    edge = side.kerb if verge is None else verge[3]
    s = edge + side.sign * rng.uniform(0.45, 0.8)
    step = rng.uniform(9, 18)
    trees, color = rng.random() < 0.38, jitter(rng, pick(rng, FOLIAGE), 8)
    kind, lamps = pick(rng, ["round", "cone", "column", "bare"], [7, 0.4, 1.4, 1.2]), rng.random() < 0.75
    for i, z in enumerate(np.arange(rng.uniform(6, 16), 90, step)):
        if street.crossing and street.crossing[0] - 1 < z < street.crossing[1] + 1:
            continue
        if lamps and i % 2 == 0 and plan.free(s, z, 0.5, 0.5):
            plan.things += lamp(camera, rng, *plan.spot(s, z), side.sign)
        elif trees and plan.free(s, z, 0.8, 0.8):
            plan.things += tree(camera, rng, *plan.spot(s, z), jitter(rng, color, 5), kind, z)
    signs = rng.poisson(1.6)
    for _ in range(signs):
        z = plan.depth(7, 20)
        if plan.free(s, z, 0.6, 2):
            plan.things += (
                sign(camera, rng, *plan.spot(s, z))
                if rng.random() < 0.88
                else gantry_board(camera, rng, *plan.spot(s + side.sign * 1.2, z))
            )
    lights = rng.random() < (0.9 if street.crossing else 0.4)
    if lights:
        z = street.crossing[0] - 1.5 if street.crossing else plan.depth(8, 16)
        if plan.free(s, z, 0.5, 1.0):
            plan.things += signal(camera, rng, *plan.spot(s, z), side.sign)
    if rng.random() < 0.12:
        for z in np.arange(camera.near + 1, camera.near + rng.uniform(8, 25), rng.uniform(1.5, 3)):
            if plan.free(s, z, 0.3, 0.3):
                plan.things += bollard(camera, rng, *plan.spot(s, z))
    for _ in range(rng.poisson(0.5)):
        z, place = plan.depth(7, 30), side.front - side.sign * 0.6
        if abs(place - side.kerb) > 1 and plan.free(place, z, 0.8, 1.8):
            plan.things += clutter(camera, rng, *plan.spot(place, z), rng.choice([0.0, np.pi]))


def _vehicle(plan: _Plan, s: float, z: float, yaw: float, kind: str) -> bool:
    """Place one vehicle on the road if there is room. Returns whether it was placed."""
    draw, label, width, length = {
        "car": (car, "car", 2.0, 5.4),
        "truck": (truck, "truck", 2.5, 11.5),
        "bus": (bus, "bus", 2.6, 13.5),
        "tram": (tram, "train", 2.5, 29.0),
    }[kind]
    along = abs(np.cos(yaw)) > 0.7
    middle = z + (length / 2 - 2.5 if along else 0)  # z is roughly the position of the nearer end
    if not plan.free(s, middle, width if along else length, length if along else width):
        return False
    model = plan.model(s, middle, yaw)
    size = draw(model, plan.rng)
    plan.things += from_model(label, model, size)
    return True


def _traffic(plan: _Plan) -> None:
    """Place vehicles: driving, parked on both sides, and on the crossing road."""
    rng, street = plan.rng, plan.street
    if street.rails and rng.random() < 0.9:
        s, direction = min(street.lanes)
        _vehicle(plan, s, plan.depth(8, 25), 0 if direction > 0 else np.pi, "tram")
    for _ in range(rng.poisson(2.6)):
        s, direction = pick(rng, street.lanes)
        ahead = direction > 0 and abs(s - plan.camera.lane) < 2.5
        z = plan.depth(10 if ahead else 7, 40)
        kind = pick(rng, ["car", "truck", "bus"], [5, 1.8, 2.2])
        _vehicle(plan, s + rng.normal(0, 0.15), z, (0 if direction > 0 else np.pi) + rng.normal(0, 0.02), kind)
    for side in street.sides:
        if rng.random() > (0.9 if side.parking else 0.4):
            continue
        s = side.kerb + side.sign * (1.15 if side.parking else -1.1)
        yaw = 0 if side.sign > 0 else np.pi
        z, gap = plan.camera.near + rng.uniform(0, 8), rng.uniform(0, 6)
        for _ in range(rng.integers(1, 9)):
            kind = pick(rng, ["car", "truck"], [14, 1])
            if not (street.crossing and street.crossing[0] - 5 < z < street.crossing[1] + 3):
                _vehicle(plan, s, z, yaw + (np.pi if rng.random() < 0.1 else 0) + rng.normal(0, 0.03), kind)
            z += 6.0 + rng.exponential(gap)
    if street.crossing:
        for _ in range(rng.poisson(1.2)):
            s = rng.uniform(street.left - 10, street.right + 10)
            z = sum(street.crossing) / 2 + rng.choice([-1.8, 1.8])
            _vehicle(plan, s, z, rng.choice([-1, 1]) * np.pi / 2, pick(rng, ["car", "truck", "bus"], [6, 1.3, 1.3]))


def _cyclist(plan: _Plan, s: float, z: float, yaw: float, motor: bool, ridden: bool = True) -> None:
    """Place a bicycle or motorcycle at (s, z), with or without its rider."""
    if not plan.free(s, z, 0.8, 2.0 if abs(np.cos(yaw)) > 0.7 else 0.8):
        return
    model = plan.model(s, z, yaw)
    size = (motorcycle if motor else bicycle)(model, plan.rng)
    things = from_model("motorcycle" if motor else "bicycle", model, size)
    if ridden and things:
        human = plan.model(s, z, yaw)
        rider(human, plan.rng, motor)
        riders = from_model("rider", human)
        for thing in riders:
            thing.order = things[0].order - 0.01
        things += riders
    plan.things += things


def _people(plan: _Plan) -> None:
    """Place pedestrians, alone and in groups, riders, and parked two-wheelers."""
    rng, street = plan.rng, plan.street
    for _ in range(rng.poisson(2.6)):
        side = pick(rng, street.sides)
        s, z = side.walk + rng.normal(0, 0.5), plan.depth(6, 22)
        yaw = pick(rng, [0, np.pi, np.pi / 2, -np.pi / 2], [3, 3, 1, 1]) + rng.normal(0, 0.3)
        if street.crossing and rng.random() < 0.25:
            s, z = rng.uniform(street.left - 1, street.right + 1), street.crossing[0] - rng.uniform(1.0, 3.3)
        elif rng.random() < 0.08:
            s = rng.uniform(street.left, street.right)
        for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
            if plan.free(s, z, 0.55, 0.5):
                small = rng.random() < 0.12
                model = plan.model(s, z, yaw, rng.uniform(0.6, 0.8) if small else rng.uniform(0.9, 1.07))
                plan.things += from_model("person", model, pedestrian(model, rng))
            s, z = s + rng.choice([-0.7, 0.7]), z + rng.normal(0, 0.5)
    for motor, rate in ((False, 1.0), (True, 0.7)):
        for _ in range(rng.poisson(rate)):
            s, direction = pick(rng, street.lanes)
            edge = street.right - 0.9 if direction > 0 else street.left + 0.9
            s = s + rng.normal(0, 0.4) if motor else edge
            yaw = (0 if direction > 0 else np.pi) + rng.normal(0, 0.12)
            if rng.random() < 0.25:
                yaw = rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.3)
            _cyclist(plan, s, plan.depth(6, 14), yaw, motor)
    for motor, rate in ((False, 0.5), (True, 0.3)):
        for _ in range(rng.poisson(rate)):
            side = pick(rng, street.sides)
            s, z = side.front - side.sign * 0.6, plan.depth(6, 12)
            yaw = pick(rng, [0, np.pi, np.pi / 2]) + rng.normal(0, 0.1)
            for i in range(1 if motor else int(rng.choice([1, 2, 4]))):
                _cyclist(plan, s, z + i * 0.9 if abs(np.cos(yaw)) < 0.7 else z + i * 2.1, yaw, motor, ridden=False)


def _bonnet(rng: np.random.Generator, camera: Camera) -> Thing:
    """The bonnet of the car that carries the camera, at the lower edge of the image."""
    width, height = camera.width, camera.height
    t = np.linspace(-1, 1, 30)
    rise = height * rng.uniform(0.05, 0.1)
    x = width * (0.5 + 0.5 * rng.uniform(0.8, 1.02) * t)
    arc = np.stack([x, height - rise * np.sqrt(np.clip(1 - np.abs(t) ** 3.2, 0, 1))], 1)
    color = jitter(rng, pick(rng, [(40, 42, 46), (150, 152, 156), (30, 34, 50), (190, 190, 190), (90, 24, 26)]), 6)
    polygon = camera.clip(np.concatenate([arc, [(x[-1], height + 3), (x[0], height + 3)]]))
    parts = []
    for i, shade in enumerate((0.75, 1.0, 1.2, 0.95, 0.7)):
        low = np.array([0, rise * 0.17 * i])
        ends = [(x[-1], height + 9), (x[0], height + 9)]
        parts.append(Part(fixed_point(np.concatenate([arc + low, ends])), tuple(min(250.0, shade * c) for c in color)))
    return Thing("ego vehicle", polygon, -1.0, Parts(parts))  # type: ignore[arg-type]  # it is always in view


def lay_out(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Camera, list[Thing]]:
    """Lay out a complete street scene.

    Args:
        rng: draws the scene.
        size: image height and width in pixels.

    Returns:
        The camera, and the things in painter's order: sky, ground, then from far to near.
    """
    street = plan_street(rng)
    camera = place_camera(rng, size, street.left, street.right)
    horizon = min(int(camera.horizon) + 2, size[0] - 1)
    corners = [(0, 0), (size[1] - 1, 0), (size[1] - 1, horizon), (0, horizon)]
    things = [Thing("sky", np.array(corners, np.int32), np.inf, Sky()), *lay_ground(rng, camera, street)]
    plan = _Plan(rng, camera, street)
    plan.things += backdrop(rng, camera)
    for side in street.sides:
        plan.things += buildings(rng, camera, street, side)
        _edges(plan, side)
    _traffic(plan)
    for side in street.sides:
        _row(plan, side)
    _people(plan)
    if rng.random() < 0.2:
        plan.things.append(_bonnet(rng, camera))
    return camera, things + sorted(plan.things, key=lambda thing: -thing.order)
