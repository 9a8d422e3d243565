"""Street furniture: lamps, bollards, signs, traffic lights, bins, benches."""

from __future__ import annotations

import numpy as np

from .camera import Camera
from .shapes import Color, Model
from .textures import jitter, pick
from .things import Thing, from_model

_METAL = [(120, 124, 128), (84, 88, 90), (150, 152, 152), (60, 70, 64), (100, 92, 84), (54, 54, 58)]
_RED, _BLUE, _WHITE, _YELLOW = (186, 28, 34), (34, 76, 158), (238, 238, 236), (238, 190, 40)


def _post(camera: Camera, x: float, z: float, height: float, radius: float, color: Color, low: float = 0.0) -> Model:
    model = Model(camera, x, z)
    model.blob([(0, low, 0), (0, height, 0)], [radius, radius * 0.85], color)
    shine = tuple(min(255.0, 1.25 * c) for c in color)
    if model.pixels(radius) > 2:
        model.blob([(-0.45 * radius, low, 0), (-0.45 * radius, height, 0)], [radius * 0.25] * 2, shine)
    return model


def lamp(camera: Camera, rng: np.random.Generator, x: float, z: float, side: int) -> list[Thing]:
    """A street lamp at (x, z) in the camera frame, with its arm over the road; `side` is -1 on the left."""
    color, height = jitter(rng, pick(rng, _METAL), 6), rng.uniform(5.0, 9.0)
    model = _post(camera, x, z, height, rng.uniform(0.08, 0.12), color)
    if rng.random() < 0.75:
        arm = -side * rng.uniform(1.0, 2.2)
        model.blob([(0, height - 0.1, 0), (arm, height + 0.25, 0)], [0.06, 0.05], color)
        model.blob([(arm, height + 0.22, 0), (arm * 1.3, height + 0.22, 0)], [0.1, 0.08], (226, 222, 206), True)
    else:
        model.blob([(0, height, 0), (0, height + 0.35, 0)], [0.1, 0.24], (226, 222, 206), True)
    return from_model("pole", model, (0.2, height, 0.2))


def bollard(camera: Camera, rng: np.random.Generator, x: float, z: float) -> list[Thing]:
    """A waist-high post."""
    height = rng.uniform(0.8, 1.1)
    model = _post(camera, x, z, height, rng.uniform(0.06, 0.1), jitter(rng, pick(rng, _METAL), 6))
    model.blob([(0, height * 0.8, 0), (0, height * 0.88, 0)], [0.1, 0.1], pick(rng, [_RED, _WHITE, (40, 40, 42)]))
    return from_model("pole", model, (0.2, height, 0.2))


class _Plate:
    """Draws on a sign that is centred at height `y` and `size` metres wide. Coordinates are fractions of `size`."""

    def __init__(self, model: Model, y: float, size: float):
        self.model, self.y, self.size = model, y, size

    def shape(self, corners: int, turn: float, radius: float, color: Color, y: float = 0.0) -> None:
        """Draw a regular polygon with its first corner at angle `turn`."""
        angles = turn + np.linspace(0, 2 * np.pi, corners, False)
        self.patch([(radius * np.cos(a), y + radius * np.sin(a)) for a in angles], color)

    def box(self, w: float, h: float, color: Color, x: float = 0.0, y: float = 0.0) -> None:
        """Draw a rectangle of half width w and half height h around (x, y)."""
        self.patch([(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)], color)

    def patch(self, points, color: Color) -> None:
        self.model.face([(x * self.size, self.y + y * self.size, -0.07) for x, y in points], color)


def _round_sign(plate: _Plate, kind: str) -> None:
    rim, field = {
        "limit": (_RED, _WHITE), "ban": (_RED, _RED), "order": (_WHITE, _BLUE), "halt": (_BLUE, _BLUE)
    }[kind]  # fmt: skip
    plate.shape(16, 0, 0.5, rim)
    plate.shape(16, 0, 0.36 if kind == "limit" else 0.45, field)
    if kind == "limit":
        plate.box(0.14, 0.2, (40, 40, 40))
        plate.box(0.06, 0.1, _WHITE)
    elif kind == "ban":
        plate.box(0.3, 0.09, _WHITE)
    elif kind == "order":  # an arrow
        plate.box(0.06, 0.28, _WHITE)
        plate.shape(3, np.pi / 2, 0.2, _WHITE, 0.14)
    else:
        plate.shape(16, 0, 0.5, _RED)
        plate.shape(16, 0, 0.38, _BLUE)
        plate.patch([(-0.15, -0.25), (0.28, 0.18), (0.15, 0.3), (-0.28, -0.12)], _RED)


def _angular_sign(plate: _Plate, kind: str) -> None:
    if kind in ("danger", "yield"):
        turn = np.pi / 2 if kind == "danger" else -np.pi / 2
        plate.shape(3, turn, 0.58, _RED)
        plate.shape(3, turn, 0.34, _WHITE)
        if kind == "danger":
            plate.box(0.045, 0.12, (30, 30, 30))
    elif kind == "stop":
        plate.shape(8, np.pi / 8, 0.54, _WHITE)
        plate.shape(8, np.pi / 8, 0.49, _RED)
        plate.box(0.36, 0.1, _WHITE)
    elif kind == "priority":
        plate.shape(4, 0, 0.6, _WHITE)
        plate.shape(4, 0, 0.42, _YELLOW)
    else:  # blue squares
        plate.box(0.5, 0.5, _WHITE)
        plate.box(0.46, 0.46, _BLUE)
        if kind == "walk":
            plate.shape(3, np.pi / 2, 0.45, _WHITE, -0.1)
            plate.box(0.05, 0.14, (30, 30, 30), 0, -0.1)
        else:  # the P of a parking sign
            plate.box(0.07, 0.32, _WHITE, -0.1)
            plate.box(0.16, 0.16, _WHITE, 0.02, 0.14)
            plate.box(0.07, 0.07, _BLUE, 0.03, 0.14)


def _board(plate: _Plate, rng: np.random.Generator) -> None:
    """Draw a board with place names."""
    dark = (36, 36, 36)
    ground, text = pick(rng, [(_YELLOW, dark), (_WHITE, dark), (_BLUE, _WHITE), ((30, 110, 70), _WHITE)])
    plate.box(1.0, 0.4, text)
    plate.box(0.95, 0.35, ground)
    for row in (-0.13, 0.13):
        plate.box(rng.uniform(0.35, 0.75), 0.05, text, -0.1, row)


def _plate(model: Model, rng: np.random.Generator, kind: str, y: float, size: float) -> float:
    """Add a sign plate, `size` metres wide and centred at height `y`; returns the height of its lower edge."""
    plate = _Plate(model, y, size)
    if kind == "board":
        _board(plate, rng)
    elif kind in ("limit", "ban", "order", "halt"):
        _round_sign(plate, kind)
    else:
        _angular_sign(plate, kind)
    return y - size / 2


_KINDS = ["limit", "ban", "order", "halt", "danger", "yield", "stop", "priority", "parking", "walk", "board"]


def sign(camera: Camera, rng: np.random.Generator, x: float, z: float) -> list[Thing]:
    """A post with one or two traffic signs."""
    size, top = rng.uniform(0.7, 1.0), rng.uniform(2.3, 3.1)
    color = jitter(rng, pick(rng, _METAL[:3]), 5)
    post = _post(camera, x, z + 0.05, top + 0.1, 0.05, color)
    things = from_model("pole", post, (0.15, top, 0.15))
    y, turn = top - size / 2 + 0.1, rng.normal(0, 0.25)
    for _ in range(1 + int(rng.random() < 0.35)):
        plate = Model(camera, x, z, turn)
        y = _plate(plate, rng, pick(rng, _KINDS, [3, 2, 2, 2, 3, 3, 2, 2, 3, 2, 2.5]), y, size) - size * 0.55
        things += from_model("traffic sign", plate)
    return things


def gantry_board(camera: Camera, rng: np.random.Generator, x: float, z: float) -> list[Thing]:
    """A large direction board on two posts."""
    things, y = [], rng.uniform(2.4, 3.2)
    for dx in (-0.9, 0.9):
        things += from_model("pole", _post(camera, x + dx, z + 0.05, y + 0.5, 0.06, (130, 132, 134)), (0.15, y, 0.15))
    plate = Model(camera, x, z)
    _plate(plate, rng, "board", y, rng.uniform(1.2, 1.5))
    return things + from_model("traffic sign", plate)


def _lamps(
    camera: Camera, rng: np.random.Generator, x: float, y: float, z: float, state: int, turn: float
) -> list[Thing]:
    """A signal head with three lamps and its lower edge at height `y`; `state` is the lamp that is on, from the top."""
    model = Model(camera, x, z, turn, y)
    body = pick(rng, [(28, 30, 30), (28, 30, 30), (40, 56, 46), (60, 60, 58)])
    model.solid((0.2, 0, 0, 0.22), (0.2, 1.08, 0, 0.22), body)
    colors = [(236, 46, 36), (246, 176, 40), (60, 226, 120)]
    for i, color in enumerate(colors):
        spot = (0, 0.9 - 0.36 * i, -0.02)
        on = i == state
        model.disc(spot, 0.145, color if on else tuple(0.3 * c + 8 for c in color), 2, None, on)
    return from_model("traffic light", model)


def signal(camera: Camera, rng: np.random.Generator, x: float, z: float, side: int) -> list[Thing]:
    """A traffic light: a post with a signal head, sometimes with a second one on a mast over the road."""
    color, state, turn = jitter(rng, pick(rng, _METAL), 5), int(rng.choice([0, 0, 1, 2, 2])), rng.normal(0, 0.2)
    y, mast = rng.uniform(2.0, 2.5), rng.random() < 0.4
    height = rng.uniform(5.2, 6.0) if mast else y + 1.1
    post = _post(camera, x, z + 0.3, height, 0.085 if mast else 0.065, color)
    reach = -side * rng.uniform(2.5, 4.5)
    if mast:
        post.blob([(0, height - 0.1, 0), (reach, height, 0)], [0.08, 0.06], color)
    things = from_model("pole", post, (0.2, height, 0.2))
    things += _lamps(camera, rng, x - side * 0.1, y, z, state, turn)
    if mast:
        things += _lamps(camera, rng, x + reach, height - 1.15, z, state, turn)
    return things


def clutter(camera: Camera, rng: np.random.Generator, x: float, z: float, yaw: float) -> list[Thing]:
    """A bin, a bench, a cabinet or a planter ("static"), or a bag or a ball ("dynamic")."""
    kind = pick(rng, ["bin", "bench", "cabinet", "bag"], [3, 2, 2, 1.5])
    model = Model(camera, x, z, yaw)
    if kind == "bin":
        color = jitter(rng, pick(rng, [(70, 74, 76), (60, 90, 64), (60, 70, 110), (150, 130, 50)]), 6)
        model.solid((0.26, 0.05, -0.3, 0.3), (0.32, 1.0, -0.36, 0.36), color)
        model.solid((0.33, 1.0, -0.38, 0.38), (0.3, 1.1, -0.3, 0.36), tuple(0.7 * c for c in color))
        size = (0.64, 1.1, 0.7)
    elif kind == "bench":
        wood, iron = jitter(rng, (124, 88, 56), 8), (48, 48, 50)
        for end in (-0.75, 0.75):
            model.solid((0.22, 0, end - 0.04, end + 0.04), (0.22, 0.42, end - 0.04, end + 0.04), iron)
        model.solid((0.25, 0.42, -0.9, 0.9), (0.25, 0.5, -0.9, 0.9), wood)
        model.face([(0.22, 0.55, -0.9), (0.22, 0.55, 0.9), (0.27, 0.95, 0.9), (0.27, 0.95, -0.9)], wood)
        size = (0.5, 0.95, 1.8)
    elif kind == "cabinet":
        color = jitter(rng, pick(rng, [(150, 152, 146), (96, 104, 96), (170, 160, 140)]), 6)
        seam = tuple(0.75 * c for c in color)
        model.solid(
            (0.25, 0, -0.6, 0.6),
            (0.25, 1.2, -0.6, 0.6),
            color,
            {"left": [((0.49, 0.05, 0.51, 0.95), seam)], "right": [((0.49, 0.05, 0.51, 0.95), seam)]},
        )
        size = (0.5, 1.2, 1.2)
    else:
        color = jitter(rng, pick(rng, [(30, 30, 34), (60, 80, 130), (206, 200, 190), (170, 60, 50)]), 8)
        model.blob([(-0.15, 0.22, 0), (0.15, 0.2, 0), (0, 0.5, 0)], [0.22, 0.22, 0.08], color)
        size = (0.6, 0.5, 0.5)
    return from_model("dynamic" if kind == "bag" else "static", model, size)
