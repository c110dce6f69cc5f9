# SPDX-License-Identifier: Apache-2.0
"""Synthetic cameras: an arm over a checkered table with things that move, drawn with OpenCV.

Pictures depend on joint positions and time alone. Painter's algorithm: what does not move, shadows on the
table, then solids from far to near.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamzero_ros.embodiment.schema import Camera, Embodiment
from dreamzero_ros.sim.camera import Image, PinholeCamera, fill
from dreamzero_ros.sim.kinematics import FINGER_TRAVEL_M, UP, ArmPose, arms_of
from dreamzero_ros.sim.solids import Box, Capsule, Prism, Solid, ball, shadow_points

Floats = NDArray[np.float64]

TABLE_M = ((-0.25, -0.75), (0.95, 0.75))
"""Opposite corners of the table top at z = 0 [m]."""
SQUARE_M = 0.1
FLOOR_M = -0.72
SHADOW = 0.62
"""Brightness of the table in the shade."""
LIGHT = (236.0, 236.0, 232.0)
DARK = (74.0, 78.0, 86.0)
ACCENT = (220.0, 132.0, 52.0)

SIDE_FIELD_OF_VIEW_RAD = 0.95
WRIST_FIELD_OF_VIEW_RAD = 1.35

SIDE_VIEWS = (
    ((1.35, 0.95, 0.80), (0.22, 0.0, 0.24)),
    ((1.15, -1.05, 0.62), (0.24, 0.0, 0.24)),
    ((0.35, 0.05, 1.70), (0.36, 0.0, 0.0)),
)
"""Position and aim of the first, second, ... camera that stands beside the robot [m]."""
HEAD_VIEW = ((-0.10, 0.0, 1.35), (0.42, 0.0, 0.05))
"""Position and aim of the only camera that is not on an arm [m]."""


class Renderer:
    """Draws every camera of a robot.

    The last camera for each arm, in model order, rides on that arm's hand; the others stand around the table.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self._arms = arms_of(embodiment)
        standing = max(len(embodiment.cameras) - len(self._arms), 0)
        views = (HEAD_VIEW,) if standing == 1 else SIDE_VIEWS
        self._wrist_cameras = embodiment.cameras[standing:]
        self._standing = {
            camera.name: _standing_camera(camera, *views[n % len(views)])
            for n, camera in enumerate(embodiment.cameras[:standing])
        }
        self._backgrounds = {name: _background(camera) for name, camera in self._standing.items()}

    def render(self, positions: Mapping[str, float], time_s: float) -> dict[str, Image]:
        """One image per camera.

        Args:
            positions: of every state joint, by name [rad or m].
            time_s: time that moves the things on the table [s].

        Returns:
            RGB images (H, W, 3) by camera name, in model order.
        """
        poses = [arm.pose(positions) for arm in self._arms]
        solids = _things(time_s) + [solid for pose in poses for solid in _arm_solids(pose)]
        images = {
            name: _draw(camera, solids, *self._backgrounds[name]) for name, camera in self._standing.items()
        }
        for description, pose in zip(self._wrist_cameras, poses, strict=False):
            camera = _wrist_camera(description, pose)
            images[description.name] = _draw(camera, solids, *_background(camera))
        return images


def _standing_camera(
    camera: Camera, position: tuple[float, float, float], at: tuple[float, float, float]
) -> PinholeCamera:
    return PinholeCamera.looking(
        np.array(position), np.array(at), UP, SIDE_FIELD_OF_VIEW_RAD, (camera.width, camera.height)
    )


def _wrist_camera(camera: Camera, pose: ArmPose) -> PinholeCamera:
    back, _, out = pose.hand.T
    flange = pose.points[-1]
    position = flange + 0.08 * back + 0.01 * out
    return PinholeCamera.looking(
        position, flange + 0.3 * out, -back, WRIST_FIELD_OF_VIEW_RAD, (camera.width, camera.height)
    )


def _background(camera: PinholeCamera) -> tuple[Image, Image, Image]:
    """Room and table, the same in the shade, and a mask of the table top."""
    shades = np.linspace((196, 204, 212), (232, 234, 234), camera.height).astype(np.uint8)
    image = np.repeat(shades[:, None], camera.width, axis=1)
    far = 6.0
    floor = np.array([(-far, -far), (far, -far), (far, far), (-far, far)])
    fill(image, camera.polygon(np.column_stack([floor, np.full(4, FLOOR_M)])), (150, 152, 156))

    (x0, y0), (x1, y1) = TABLE_M
    centre, half = (
        np.array([(x0 + x1) / 2, (y0 + y1) / 2, -0.02]),
        np.array([(x1 - x0) / 2, (y1 - y0) / 2, 0.019]),
    )
    Box(centre, np.eye(3), half, (176, 148, 116)).draw(image, camera)
    top = camera.polygon(np.array([(x0, y0, 0.0), (x1, y0, 0.0), (x1, y1, 0.0), (x0, y1, 0.0)]))
    fill(image, top, (226, 208, 180))
    for i, x in enumerate(np.arange(x0, x1 - 1e-6, SQUARE_M)):
        for j, y in enumerate(np.arange(y0, y1 - 1e-6, SQUARE_M)):
            if (i + j) % 2:
                square = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]) * SQUARE_M + (x, y, 0)
                fill(image, camera.polygon(square), (204, 180, 148))
    mask = np.zeros(image.shape[:2], np.uint8)
    fill(mask, top, 255)
    return image, cv2.convertScaleAbs(image, alpha=SHADOW), mask


def _draw(camera: PinholeCamera, solids: list[Solid], lit: Image, shaded: Image, table: Image) -> Image:
    image = lit.copy()
    shadows = np.zeros_like(table)
    for solid in solids:
        outline = camera.polygon(shadow_points(solid))
        fill(shadows, outline, 255)
    cv2.copyTo(shaded, cv2.bitwise_and(shadows, table), image)
    for solid in sorted(solids, key=lambda solid: -camera.view(solid.centre[None])[0, 2]):
        solid.draw(image, camera)
    return image


def _things(time_s: float) -> list[Solid]:
    """A red cube that goes around, a green can, a yellow ball that rolls, a blue tray."""
    around = 0.25 * time_s
    cube = np.array([0.42 + 0.05 * np.cos(around), 0.16 + 0.05 * np.sin(around), 0.03])
    rolling = np.array([0.60, -0.02 + 0.14 * np.sin(0.4 * time_s), 0.035])
    return [
        Box(np.array([0.40, -0.22, 0.008]), np.eye(3), np.array([0.09, 0.12, 0.008]), (64, 104, 176)),
        Box(cube, _turned(around), np.full(3, 0.03), (206, 58, 48)),
        Prism(np.array([0.62, 0.30, 0.06]), 0.034, 0.06, (72, 150, 84)),
        ball(rolling, 0.035, (236, 190, 52)),
    ]


def _turned(angle: float) -> Floats:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _arm_solids(pose: ArmPose) -> list[Solid]:
    base, shoulder, elbow, wrist, flange = pose.points
    solids: list[Solid] = [
        Capsule(base, base + 0.02 * UP, 0.10, 0.09, DARK),
        Capsule(base + 0.03 * UP, shoulder, 0.075, 0.062, LIGHT),
        Capsule(shoulder, elbow, 0.060, 0.050, LIGHT),
        Capsule(elbow, wrist, 0.050, 0.042, LIGHT),
        Capsule(wrist, flange, 0.040, 0.034, LIGHT),
    ]
    for point, axis, radius in zip(pose.points[1:4], pose.axes, (0.058, 0.050, 0.042), strict=True):
        solids.append(Capsule(point - 0.055 * axis, point + 0.055 * axis, radius, radius, DARK))
    hand = pose.hand
    palm, between, out = flange + 0.03 * hand[:, 2], hand[:, 1], hand[:, 2]
    solids.append(Box(palm, hand, np.array([0.022, 0.075, 0.022]), ACCENT))
    for side in (-1.0, 1.0):
        middle = palm + 0.055 * out + side * (0.008 + FINGER_TRAVEL_M * pose.opening) * between
        solids.append(Box(middle, hand, np.array([0.009, 0.007, 0.034]), DARK))
    return solids
