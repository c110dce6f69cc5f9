# SPDX-License-Identifier: Apache-2.0
"""A pinhole camera and a canvas that it draws on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]
Colour = tuple[float, float, float]

NEAR_M = 0.03
"""Nothing closer to the camera is drawn [m]."""
SUBPIXEL_BITS = 4
"""OpenCV draws at 1/16 of a pixel, so slow motion does not tremble."""
FURTHEST_PX = 20_000.0
"""Where coordinates are cut, far outside every image, so that they fit OpenCV's integers [pixels]."""


@dataclass(frozen=True, eq=False)
class PinholeCamera:
    """Position, orientation and field of view."""

    position: Floats
    """(3,) [m]."""
    rotation: Floats
    """(3, 3), rows: right, down and forwards of the camera."""
    focal_px: float
    """Focal length [pixels]."""
    width: int
    height: int

    @classmethod
    def looking(
        cls, position: Floats, at: Floats, up: Floats, field_of_view_rad: float, size: tuple[int, int]
    ) -> PinholeCamera:
        """A camera at `position` that looks at a point; horizontal field of view, size = (width, height)."""
        forwards = (at - position) / np.linalg.norm(at - position)
        right = np.cross(forwards, up)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forwards, right), forwards])
        return cls(position, rotation, size[0] / 2 / np.tan(field_of_view_rad / 2), *size)

    def view(self, points: Floats) -> Floats:
        """World points (N, 3) in camera coordinates: right, down, forwards [m]."""
        seen: Floats = (points - self.position) @ self.rotation.T
        return seen

    def pixels(self, seen: Floats) -> Floats:
        """Camera coordinates (N, 3) in front of the camera -> pixels (N, 2)."""
        centre = np.array([self.width / 2, self.height / 2])
        pixels: Floats = seen[:, :2] / seen[:, 2:] * self.focal_px + centre
        return np.clip(pixels, -FURTHEST_PX, FURTHEST_PX)

    def radius_px(self, radius_m: float, depth_m: float) -> float:
        """Radius of a sphere's picture [pixels]."""
        return radius_m / depth_m * self.focal_px

    def polygon(self, corners: Floats) -> Floats:
        """Picture (M, 2) of a flat convex polygon (N, 3), cut at the near plane; M = 0 behind the camera."""
        return self.pixels(_cut_near(self.view(corners)))


def _cut_near(seen: Floats) -> Floats:
    """The part of a convex polygon (N, 3) in front of the near plane (Sutherland-Hodgman)."""
    inside = seen[:, 2] >= NEAR_M
    if inside.all():
        return seen
    kept = []
    for a, b, a_in, b_in in zip(seen, np.roll(seen, -1, axis=0), inside, np.roll(inside, -1), strict=True):
        if a_in:
            kept.append(a)
        if a_in != b_in:
            kept.append(a + (b - a) * (NEAR_M - a[2]) / (b[2] - a[2]))
    return np.array(kept).reshape(-1, 3)


def fill(image: Image, pixels: Floats, colour: Colour | int) -> None:
    """Fills a convex polygon (N, 2); nothing for N = 0."""
    if len(pixels):
        fixed = np.rint(pixels * 2**SUBPIXEL_BITS).astype(np.int32)
        cv2.fillConvexPoly(image, fixed, colour, cv2.LINE_AA, SUBPIXEL_BITS)


def disc(image: Image, centre: Floats, radius_px: float, colour: Colour) -> None:
    """Fills a circle."""
    x, y = (round(value * 2**SUBPIXEL_BITS) for value in centre.tolist())
    cv2.circle(image, (x, y), round(radius_px * 2**SUBPIXEL_BITS), colour, -1, cv2.LINE_AA, SUBPIXEL_BITS)
