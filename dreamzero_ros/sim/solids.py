# SPDX-License-Identifier: Apache-2.0
"""Shaded solids to draw: boxes, upright prisms, balls and tapered capsules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.sim.camera import NEAR_M, Colour, Image, PinholeCamera, disc, fill

Floats = NDArray[np.float64]

TO_LIGHT = np.array([0.30, 0.25, 0.92])
"""Direction to the light, of length 1."""
AMBIENT = 0.55
"""Brightness of a face that the light does not reach."""
ROUND = np.linspace(0, 2 * np.pi, 14, endpoint=False)
CIRCLE = np.stack([np.cos(ROUND), np.sin(ROUND), np.zeros_like(ROUND)], axis=1)
CORNERS = np.array([(x, y, z) for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
FACES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
"""Corners of the faces with normals -x, x, -y, y, -z, z."""
GLOSS = ((1.0, 0.0, 0.62), (0.80, 0.16, 0.84), (0.52, 0.30, 1.0), (0.20, 0.44, 1.12))
"""Layers of a round solid: share of the radius, shift towards the light in radii, brightness."""


class Solid(Protocol):
    """What the renderer asks of everything that it draws."""

    @property
    def centre(self) -> Floats:
        """(3,) by which solids are sorted [m]."""

    @property
    def outline(self) -> Floats:
        """(N, 3) points whose hull has about the shape of the solid [m]."""

    def draw(self, image: Image, camera: PinholeCamera) -> None:
        """Draws it over the image; nothing where it reaches behind the camera."""


def shadow_points(solid: Solid) -> Floats:
    """Shadow of a solid on the table, a convex polygon (N, 3) at z = 0."""
    points = solid.outline
    fallen = points[:, :2] - np.maximum(points[:, 2:], 0.0) / TO_LIGHT[2] * TO_LIGHT[:2]
    hull = cv2.convexHull(fallen.astype(np.float32))[:, 0]
    return np.column_stack([hull, np.zeros(len(hull))])


def shade(colour: Colour, brightness: float) -> Colour:
    """A colour made darker or brighter."""
    red, green, blue = (min(255.0, value * brightness) for value in colour)
    return red, green, blue


def _lit(normal: Floats) -> float:
    return AMBIENT + (1 - AMBIENT) * max(0.0, float(normal @ TO_LIGHT))


@dataclass(frozen=True, eq=False)
class Box:
    """A turned box."""

    centre: Floats
    rotation: Floats
    """(3, 3), columns: its axes."""
    half: Floats
    """(3,) half of its size [m]."""
    colour: Colour

    @property
    def outline(self) -> Floats:
        """Its corners."""
        corners: Floats = self.centre + (CORNERS * self.half) @ self.rotation.T
        return corners

    def draw(self, image: Image, camera: PinholeCamera) -> None:
        """Draws the faces that look at the camera."""
        corners = self.outline
        seen = camera.view(corners)
        if seen[:, 2].min() < NEAR_M:
            return
        pixels = camera.pixels(seen)
        to_camera = (camera.position - self.centre) @ self.rotation
        for n, face in enumerate(FACES):
            axis, sign = n // 2, 1.0 if n % 2 else -1.0
            if sign * to_camera[axis] > self.half[axis]:
                fill(image, pixels[list(face)], shade(self.colour, _lit(sign * self.rotation[:, axis])))


@dataclass(frozen=True, eq=False)
class Prism:
    """An upright can."""

    centre: Floats
    radius: float
    half_height: float
    colour: Colour

    @property
    def outline(self) -> Floats:
        """Its two rims, lower first."""
        rim, up = self.centre + CIRCLE * self.radius, np.array([0.0, 0.0, self.half_height])
        return np.vstack([rim - up, rim + up])

    def draw(self, image: Image, camera: PinholeCamera) -> None:
        """Draws the strips that look at the camera, and the lid."""
        seen = camera.view(self.outline)
        if seen[:, 2].min() < NEAR_M:
            return
        pixels, n = camera.pixels(seen), len(CIRCLE)
        to_camera = camera.position - self.centre
        for i in range(n):
            k = (i + 1) % n
            normal = CIRCLE[i] + CIRCLE[k]
            normal /= np.linalg.norm(normal)
            if normal @ to_camera > self.radius:
                fill(image, pixels[[i, k, n + k, n + i]], shade(self.colour, _lit(normal)))
        if to_camera[2] > self.half_height:
            fill(image, pixels[n:], shade(self.colour, _lit(np.array([0.0, 0.0, 1.0]))))


@dataclass(frozen=True, eq=False)
class Capsule:
    """A round bar between two points, its radius changing along it."""

    a: Floats
    b: Floats
    radius_a: float
    radius_b: float
    colour: Colour

    @property
    def centre(self) -> Floats:
        """Its middle."""
        return (self.a + self.b) / 2

    @property
    def outline(self) -> Floats:
        """Level circles around both ends."""
        return np.vstack([self.a + CIRCLE * self.radius_a, self.b + CIRCLE * self.radius_b])

    def draw(self, image: Image, camera: PinholeCamera) -> None:
        """Draws it as narrower and brighter layers, each moved towards the light."""
        seen = camera.view(np.stack([self.a, self.b]))
        if seen[:, 2].min() < NEAR_M + max(self.radius_a, self.radius_b):
            return
        a, b = camera.pixels(seen)
        radius_a = camera.radius_px(self.radius_a, seen[0, 2])
        radius_b = camera.radius_px(self.radius_b, seen[1, 2])
        along = b - a
        side = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6)
        light = (camera.rotation @ TO_LIGHT)[:2]
        for share, shift, brightness in GLOSS:
            colour = shade(self.colour, brightness)
            towards = light * shift
            p, q = a + towards * radius_a, b + towards * radius_b
            left, right = side * radius_a * share, side * radius_b * share
            fill(image, np.stack([p + left, q + right, q - right, p - left]), colour)
            disc(image, p, radius_a * share, colour)
            disc(image, q, radius_b * share, colour)


def ball(centre: Floats, radius: float, colour: Colour) -> Capsule:
    """A capsule without length."""
    return Capsule(centre, centre, radius, radius, colour)
