"""Solid shapes in metres, drawn as flat patches of colour in the image.

A `Model` has a position in the scene and a heading. Faces, blobs and wires are added to it in the model's frame (x
right, y up, z ahead). `Model.parts` returns the parts that the camera sees. The silhouette, the outer contour of all
parts, is the polygon of the label.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .camera import Camera

Color = tuple[float, ...]  # three of them: RGB, 0..255, in plain daylight

_TURNS = np.linspace(0, 2 * np.pi, 12, False)
_CIRCLE = np.stack([np.cos(_TURNS), np.sin(_TURNS)], 1)
_SPOKES = _CIRCLE.tolist()
_SHIFT = 4  # cv2 draws in units of 1/16 pixel
_UNIT = 1 << _SHIFT
# For each side of a box, the indices of its corners, from the lower left, counter-clockwise as seen from outside. The
# eight corners are four below, then four above, each: left rear, right rear, right front, left front.
_SIDES = {"top": (4, 5, 6, 7), "rear": (0, 1, 5, 4), "front": (2, 3, 7, 6), "left": (3, 0, 4, 7), "right": (1, 2, 6, 5)}


@dataclass
class Part:
    """A patch in the image.

    `points`: (N, 1, 2) int32, in sixteenths of a pixel. `color`: None if the part belongs to the silhouette but shows
    the background (between spokes). `normal`: (3,) direction for the light, None for round things. `width`: 0 for a
    filled patch, else the width of a line in pixels. `glow`: whether it shines. `depth`: in metres. `inner`: whether it
    lies on another part, so that the silhouette doesn't need it.
    """

    points: np.ndarray
    color: Color | None
    normal: np.ndarray | None = None
    width: int = 0
    glow: bool = False
    depth: float = 0.0
    inner: bool = False


def fixed_point(points: np.ndarray) -> np.ndarray:
    """Convert pixels (N, 2) to cv2's integers in units of 1/16 pixel, (N, 1, 2); pass shift=4 to cv2."""
    return np.rint(points * _UNIT).astype(np.int32).reshape(-1, 1, 2)


def fill(canvas: np.ndarray, part: Part, color, offset: np.ndarray, smooth: bool) -> None:
    """Draw a part into `canvas` (H, W[, 3]) uint8, whose upper left pixel is at `offset`, (2,) int32."""
    line = cv2.LINE_AA if smooth else cv2.LINE_8
    points = part.points - offset * _UNIT
    if part.width:
        cv2.polylines(canvas, [points], False, color, part.width, line, _SHIFT)
    else:
        cv2.fillPoly(canvas, [points], color, line, _SHIFT)


def _between(corners, area):
    """The corners of a panel on a face with four corners; area is (u0, v0, u1, v1), fractions of its width and
    height."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz), (dx, dy, dz) = corners
    u0, v0, u1, v1 = area
    for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1)):
        a, b, c, d = (1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v
        yield a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy, a * az + b * bz + c * cz + d * dz


class Model:
    """A solid object at (`x`, `y`, `z`) in the camera frame, in metres; with `yaw` 0 it faces away from the camera."""

    def __init__(self, camera: Camera, x: float, z: float, yaw: float = 0.0, y: float = 0.0, scale: float = 1.0):
        self.camera, self.scale = camera, scale
        self.place = np.array([x, y, z])
        self.turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]) * scale
        self._points: list = []  # of all shapes, in the model's frame; projecting all at once is much faster
        self._shapes: list[tuple] = []  # kind, first point, number of points, color, further values for the kind
        self._parts: list[Part] | None = None
        self._sorted = False

    def world(self, points) -> np.ndarray:
        """Convert points (N, 3) from the model's frame to the camera frame."""
        return np.asarray(points, np.float64) @ self.turn.T + self.place

    def pixels(self, size: float) -> float:
        """The length in pixels of `size` metres at the model's position."""
        return size * self.scale * self.camera.focal / max(self.place[2], 0.5)

    def _add(self, kind: str, points, color: Color | None, *rest) -> None:
        start = len(self._points)
        self._points.extend(points)
        self._shapes.append((kind, start, len(self._points) - start, color, *rest))

    def face(self, corners, color: Color | None, inside=None, glow: bool = False, inner: bool = False) -> None:
        """Add a flat patch with corners (N, 3). `inside`: a point (3,) inside the solid; the face is visible only from
        outside."""
        self._add("face", corners, color, inside, glow, inner)

    def blob(self, points, radii, color: Color | None, glow: bool = False) -> None:
        """Add a rounded body: the hull of balls at points (N, 3) with radii (N,) in metres. Two balls form a limb."""
        self._add("blob", points, color, radii, glow)

    def wire(self, points, width: float, color: Color) -> None:
        """Add a line through points (N, 3), `width` metres thick, but at least one pixel."""
        self._add("wire", points, color, max(1, round(self.pixels(width))))

    def solid(self, bottom, top, color: Color, panels: dict | None = None) -> None:
        """Add a box, possibly tapered.

        Args:
            bottom: half width, y, z of the rear and z of the front, in metres.
            top: the same for the upper side.
            color: of its sides.
            panels: for each side ("rear", "front", "left", "right", "top") a list of (area, color[, glow]); an area is
                (u0, v0, u1, v1), fractions of the side's width and height.
        """
        box = []
        for w, y, rear, front in (bottom, top):
            box += [(-w, y, rear), (w, y, rear), (w, y, front), (-w, y, front)]
        inside = (0, (bottom[1] + top[1]) / 2, (bottom[2] + bottom[3] + top[2] + top[3]) / 4)
        for name, order in _SIDES.items():
            corners = [box[i] for i in order]
            self.face(corners, color, inside)
            for panel in (panels or {}).get(name, ()):
                glow = len(panel) > 2 and panel[2]
                self.face(_between(corners, panel[0]), panel[1], inside, glow, True)

    def disc(self, centre, radius: float, color: Color | None, axis: int = 0, inside=None, glow=False) -> None:
        """Add a flat disc; `axis` is 0 for a wheel, 2 for a lamp that faces backwards."""
        x, y, z = centre
        if axis == 0:
            corners = [(x, y + radius * a, z + radius * b) for a, b in _SPOKES]
        else:
            corners = [(x + radius * a, y + radius * b, z) for a, b in _SPOKES]
        self.face(corners, color, inside, glow)

    def sort(self) -> None:
        """Sort the parts from far to near (for bodies made of blobs; solids are added in the right order)."""
        self._sorted = True

    @property
    def parts(self) -> list[Part]:
        """The parts that the camera sees, in painter's order."""
        if self._parts is None:
            self._parts = self._project()
        return self._parts

    def _project(self) -> list[Part]:
        if not self._shapes:
            return []
        world = self.world(np.array([tuple(point) for point in self._points], np.float64))
        flat = self.camera.project(world)
        fixed = fixed_point(flat)
        faces = [shape for shape in self._shapes if shape[0] == "face"]
        normals = iter(self._normals(world, faces))
        scale = self.scale * self.camera.focal / np.maximum(world[:, 2], 0.3)
        depths, parts = world[:, 2].tolist(), []
        for kind, start, count, color, *rest in self._shapes:
            stop = start + count
            depth = sum(depths[start:stop]) / count
            if kind == "face":
                normal = next(normals)
                if normal is not None:
                    parts.append(Part(fixed[start:stop], color, normal, 0, rest[1], depth, rest[2]))
            elif kind == "wire":
                parts.append(Part(fixed[start:stop], color, None, rest[0], False, depth))
            else:
                radii = np.maximum(rest[0] * scale[start:stop], 0.35)
                spots = flat[start:stop, None] + radii[:, None, None] * _CIRCLE
                parts.append(Part(cv2.convexHull(fixed_point(spots)), color, None, 0, rest[1], depth))
        if self._sorted:
            parts.sort(key=lambda part: -part.depth)
        return parts

    def _normals(self, world: np.ndarray, faces: list[tuple]) -> list[np.ndarray | None]:
        """Unit normals (3,) of the faces that point to the camera; None for faces seen from inside."""
        if not faces:
            return []
        first = np.array([face[1] for face in faces])
        a = world[first]
        (ux, uy, uz), (vx, vy, vz) = (world[first + 1] - a).T, (world[first + 2] - a).T
        normals = np.array([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx])  # the cross product, (3, N)
        eye = np.array([[0], [self.camera.eye], [0]]) - a.T
        size = np.sqrt((normals * normals).sum(0)) + 1e-12
        normals /= np.where((normals * eye).sum(0) < 0, -size, size)
        inside = self.world([face[4] or (0, 0, 0) for face in faces])
        seen = ((normals * (a - inside).T).sum(0) > 0).tolist()
        return [n if keep or face[4] is None else None for n, keep, face in zip(normals.T, seen, faces, strict=True)]

    def silhouette(self) -> np.ndarray | None:
        """The outer contour of all parts, (N, 2) integer pixels inside the image; None if almost nothing is visible."""
        parts = [part for part in self.parts if not part.inner]
        if not parts:
            return None
        spots = np.concatenate([part.points for part in parts])[:, 0]
        low = np.maximum(spots.min(0) // _UNIT - 2, 0)
        high = np.minimum(spots.max(0) // _UNIT + 4, (self.camera.width, self.camera.height))
        if (high - low < 2).any():
            return None
        mask = np.zeros((high - low)[::-1], np.uint8)
        for part in parts:
            fill(mask, part, 255, low, smooth=False)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        largest = max(contours, key=cv2.contourArea, default=None)
        if largest is None or len(largest) < 3:
            return None
        smooth = cv2.approxPolyDP(largest, 0.6, True)
        largest = smooth if len(smooth) >= 3 else largest
        return (largest[:, 0] + low).astype(np.int32)
