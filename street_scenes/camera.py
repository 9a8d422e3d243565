"""The camera of a scene: its position in the street, and its projection of metres to pixels.

There are two coordinate frames. In the camera frame, x points to the right, y up from the ground and z forward, in
metres. The road frame replaces x by s, the distance to the right of the road's centre line, which may curve and run at
an angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FAR = 150.0  # metres; only the backdrop is farther away


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in a street.

    `height`, `width`: the image size in pixels. `focal`, `horizon`, `centre`: in pixels. `eye`: metres above the
    ground. `lane`: the camera's s. `skew` and `bend` define the centre line, x = skew * z + bend * z**2 - lane at
    s = 0.
    """

    height: int
    width: int
    focal: float
    horizon: float
    centre: float
    eye: float
    lane: float
    skew: float
    bend: float

    @property
    def near(self) -> float:
        """Depth in metres of the ground at the lower edge of the image."""
        return self.focal * self.eye / (self.height - self.horizon)

    def across(self, s, z):
        """Convert from the road frame to the camera frame: x in metres of the position s at depth z."""
        return s - self.lane + self.skew * z + self.bend * z * z

    def heading(self, z: float) -> float:
        """Direction of the road at depth z, as an angle to the right in radians."""
        return float(np.arctan(self.skew + 2 * self.bend * z))

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project points (N, 3) in the camera frame, in metres, to the image (N, 2), in pixels."""
        points = np.asarray(points, np.float64)
        scale = self.focal / np.maximum(points[:, 2], 0.3)
        image = np.empty((len(points), 2))
        image[:, 0] = self.centre + scale * points[:, 0]
        image[:, 1] = self.horizon + scale * (self.eye - points[:, 1])
        return image

    def strip(self, s0: float, s1: float, z0: float, z1: float, samples: int = 20, rough=None) -> np.ndarray:
        """Outline in pixels, (2 * samples, 2), of the ground from s0 to s1 and from z0 to z1.

        `rough`: a generator that makes the two long edges uneven by some centimetres, like those of grass.
        """
        z = 1 / np.linspace(1 / max(z0, 0.8 * self.near), 1 / z1, samples)  # equal steps in pixels, not in metres
        fray = np.zeros((2, samples)) if rough is None else rough.normal(0, 0.06, (2, samples))
        left = np.stack([self.across(s0 + fray[0], z), 0 * z, z], axis=1)
        right = np.stack([self.across(s1 + fray[1], z), 0 * z, z], axis=1)
        return self.project(np.concatenate([left, right[::-1]]))

    def clip(self, outline: np.ndarray) -> np.ndarray | None:
        """The part of an outline (N, 2) inside the image, as integer vertices (M, 2); None if nothing is left."""
        points = np.asarray(outline, np.float64).tolist()
        for axis, limit, sign in ((0, 0, 1), (0, self.width - 1, -1), (1, 0, 1), (1, self.height - 1, -1)):
            inside = [sign * (point[axis] - limit) for point in points]
            if min(inside) >= 0:
                continue
            kept, a, da = [], points[-1], inside[-1]
            for b, db in zip(points, inside, strict=True):
                if (da < 0) != (db < 0):
                    share = da / (da - db)
                    kept.append((a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share))
                if db >= 0:
                    kept.append(b)
                a, da = b, db
            if len(kept) < 3:
                return None
            points = kept
        return np.rint(points).astype(np.int32)


def place_camera(rng: np.random.Generator, size: tuple[int, int], left: float, right: float) -> Camera:
    """Place a camera at a random position on the road.

    Args:
        rng: draws its position and optics.
        size: image height and width in pixels.
        left: s of the road's left edge in metres.
        right: s of its right edge in metres.
    """
    height, width = size
    return Camera(
        height=height,
        width=width,
        focal=width * rng.uniform(0.6, 0.95),
        horizon=height * rng.uniform(0.26, 0.67),
        centre=width * rng.uniform(0.45, 0.55),
        eye=rng.uniform(1.15, 1.7) if rng.random() < 0.8 else rng.uniform(1.9, 2.6),
        lane=rng.uniform(0.55, 0.85) * (right - left) + left if rng.random() < 0.8 else rng.uniform(left, right) * 0.7,
        skew=rng.normal(0, 0.07),
        bend=rng.normal(0, 0.0014) if rng.random() < 0.75 else 0.0,
    )
