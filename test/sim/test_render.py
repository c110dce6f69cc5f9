# SPDX-License-Identifier: Apache-2.0
"""Every camera of every robot file shows a scene that depends on joints and time, and on nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.sim.camera import PinholeCamera
from dreamzero_ros.sim.kinematics import LINKS_M, SHOULDER_M, arms_of, rotation
from dreamzero_ros.sim.render import Renderer
from dreamzero_ros.sim.world import World

pytestmark = pytest.mark.cpu
ROBOTS = sorted((Path(__file__).parents[2] / "config" / "embodiments").glob("*.yaml"))


@pytest.fixture(params=ROBOTS, ids=lambda path: path.stem)
def embodiment(request: pytest.FixtureRequest) -> Embodiment:
    return load(request.param)


def drawn_joints(embodiment: Embodiment) -> list[str]:
    """Joints of the arms and of their grippers."""
    arms = arms_of(embodiment)
    return [joint for arm in arms for joint in (*arm.joints, *([arm.gripper[0]] if arm.gripper else []))]


def test_one_image_per_camera_in_model_order(embodiment: Embodiment) -> None:
    images = Renderer(embodiment).render(World.of(embodiment).by_name(), 0.0)
    assert tuple(images) == tuple(camera.name for camera in embodiment.cameras)
    for camera in embodiment.cameras:
        image = images[camera.name]
        assert image.shape == (camera.height, camera.width, 3)
        assert image.dtype == np.uint8
        assert image.std() > 15, f"{camera.name} shows next to nothing"


def test_the_same_joints_and_time_give_the_same_pictures(embodiment: Embodiment) -> None:
    positions = World.of(embodiment).by_name()
    renderer = Renderer(embodiment)
    first = renderer.render(positions, 3.7)
    renderer.render(positions, 9.9)
    for again in (renderer.render(positions, 3.7), Renderer(embodiment).render(positions, 3.7)):
        for name, image in first.items():
            np.testing.assert_array_equal(again[name], image)


def test_every_joint_of_an_arm_moves_something(embodiment: Embodiment) -> None:
    start = World.of(embodiment).by_name()
    renderer = Renderer(embodiment)
    before = renderer.render(start, 0.0)
    for joint in drawn_joints(embodiment):
        limits = embodiment.limits[joint]
        way = 0.3 * (limits.upper - limits.lower)
        there = start[joint] + way if start[joint] + way < limits.upper else start[joint] - way
        after = renderer.render({**start, joint: there}, 0.0)
        assert any((after[name] != before[name]).mean() > 1e-3 for name in before), f"{joint} moves nothing"


def test_the_camera_of_an_arm_moves_with_it(embodiment: Embodiment) -> None:
    start = World.of(embodiment).by_name()
    renderer = Renderer(embodiment)
    before = renderer.render(start, 0.0)
    for arm, camera in zip(arms_of(embodiment), embodiment.cameras[-len(arms_of(embodiment)) :], strict=True):
        after = renderer.render({**start, arm.joints[0]: start[arm.joints[0]] + 0.2}, 0.0)
        assert (after[camera.name] != before[camera.name]).mean() > 0.1


def test_things_move_with_time(embodiment: Embodiment) -> None:
    positions = World.of(embodiment).by_name()
    renderer = Renderer(embodiment)
    before, after = renderer.render(positions, 0.0), renderer.render(positions, 3.0)
    first = embodiment.cameras[0].name
    assert (after[first] != before[first]).any()


def test_the_arm_stands_as_its_lengths_say() -> None:
    for path in ROBOTS:
        robot = load(path)
        for arm in arms_of(robot):
            pose = arm.pose(World.of(robot).by_name())
            lengths = np.linalg.norm(np.diff(pose.points, axis=0), axis=1)
            np.testing.assert_allclose(lengths, (SHOULDER_M, *LINKS_M))
            np.testing.assert_allclose(pose.hand[:, 2], [0, 0, -1], atol=1e-3)
            np.testing.assert_allclose(pose.hand @ pose.hand.T, np.eye(3), atol=1e-12)


def test_rotations_turn_the_right_way() -> None:
    x, y, z = np.eye(3)
    np.testing.assert_allclose(rotation(2, np.pi / 2) @ x, y, atol=1e-12)
    np.testing.assert_allclose(rotation(1, np.pi / 2) @ z, x, atol=1e-12)
    np.testing.assert_allclose(rotation(0, np.pi / 2) @ y, z, atol=1e-12)


def test_a_camera_sees_what_it_looks_at() -> None:
    camera = PinholeCamera.looking(
        np.array([2.0, 0.0, 0.0]), np.zeros(3), np.array([0.0, 0.0, 1.0]), np.pi / 2, (640, 480)
    )
    points = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(
        camera.pixels(camera.view(points)), [[320, 240], [480, 240], [320, 80]], atol=1e-9
    )


def test_polygons_are_cut_where_they_pass_the_camera() -> None:
    camera = PinholeCamera.looking(
        np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0]), np.pi / 2, (640, 480)
    )
    ground = np.array([[-5.0, -1.0, 0.0], [5.0, -1.0, 0.0], [5.0, 1.0, 0.0], [-5.0, 1.0, 0.0]])
    pixels = camera.polygon(ground)
    assert len(pixels) == 4
    assert (pixels[:, 1] > 240).all(), "the ground lies below the horizon"
    assert camera.polygon(ground - [10.0, 0.0, 0.0]).shape == (0, 2)


@pytest.mark.parametrize(("name", "left", "right"), [("agibot_g1", "_l_", "_r_"), ("yam", "left_", "right_")])
def test_two_arms_stand_side_by_side_with_their_own_grippers(name: str, left: str, right: str) -> None:
    arms = arms_of(load(name))
    assert len(arms) == 2
    for arm, side, sign in zip(arms, (left, right), (1.0, -1.0), strict=True):
        assert arm.base[1] * sign > 0.2
        assert arm.gripper is not None
        assert all(side in joint for joint in (*arm.joints, arm.gripper[0]))
