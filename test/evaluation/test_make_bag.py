# SPDX-License-Identifier: Apache-2.0
"""A recording of videos holds what a robot would have recorded, and its arm went where it was told to."""

from __future__ import annotations

import shutil
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clips import write_clip

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.evaluation.bag import Bag, Logged
from dreamzero_ros.evaluation.description import described
from dreamzero_ros.evaluation.inspection import inspect
from dreamzero_ros.evaluation.make_bag import DESCRIPTION, START_NS, make_bag
from dreamzero_ros.evaluation.reference import Reference
from dreamzero_ros.evaluation.streams import streams
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.sim.footage import Footage, FootageError

pytestmark = pytest.mark.cpu
DROID_CLIP = Path(__file__).parents[3] / "shared" / "data" / "droid_clip"


def footage_of(robot: Embodiment, folder: Path) -> Footage:
    return Footage(folder, [camera.name for camera in robot.cameras])


def make(robot: Embodiment, folder: Path, path: Path, **options: Any) -> Path:
    make_bag(footage_of(robot, folder), robot, streams(robot), path, **options)
    return path


def read(path: Path) -> dict[str, list[Logged]]:
    found = defaultdict(list)
    with Bag(path) as bag:
        for logged in bag.messages(bag.topics):
            found[logged.topic].append(logged)
    return found


@pytest.fixture(scope="module")
def robot() -> Embodiment:
    return load("droid_franka")


@pytest.fixture(scope="module")
def clip(robot: Embodiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "videos", [camera.name for camera in robot.cameras])


@pytest.mark.parametrize("name", ["droid_franka", "agibot_g1", "yam"])
@pytest.mark.parametrize("zstd", [False, True])
def test_every_robot_can_use_it(name: str, zstd: bool, tmp_path: Path) -> None:
    robot = load(name)
    folder = write_clip(tmp_path / "videos", [camera.name for camera in robot.cameras])
    path = make(robot, folder, tmp_path / "made.mcap", zstd=zstd)
    with Bag(path) as bag:
        inspection = inspect(bag, robot, streams(robot))
        known, urdf, _ = described(bag, robot)
        assert inspection.usable and not inspection.notices
        assert inspection.common_ns[1] - inspection.common_ns[0] == pytest.approx(44e9 / 15, abs=1e8)
        assert [topic.name for topic in inspection.unused] == [DESCRIPTION]
        assert known == robot and urdf, "limits as in the robot file"
    assert [entry.name for entry in sorted(tmp_path.iterdir())] == ["made.mcap", "videos"]


def test_the_images_are_those_of_the_videos(robot: Embodiment, clip: Path, tmp_path: Path) -> None:
    found = read(make(robot, clip, tmp_path / "made.mcap"))
    for number, image_set in enumerate(footage_of(robot, clip).play()):
        for camera in robot.cameras:
            logged = found[f"/{camera.topic}"][number]
            assert logged.log_ns == stamp_ns(logged.message)
            picture = cv2.imdecode(np.asarray(logged.message.data), cv2.IMREAD_COLOR)[..., ::-1]
            difference = picture.astype(int) - image_set.images[camera.name]
            assert np.abs(difference).mean() < 6


def test_the_arm_moves_within_its_limits_as_it_was_commanded(
    robot: Embodiment, clip: Path, tmp_path: Path
) -> None:
    path = make(robot, clip, tmp_path / "made.mcap")
    states = read(path)["/joint_states"]
    times_ns = np.array([stamp_ns(logged.message) for logged in states])
    order = [states[0].message.name.index(joint) for joint in robot.command_joints]
    positions = np.array([logged.message.position for logged in states])[:, order]
    limits = [robot.limits[joint] for joint in robot.command_joints]
    np.testing.assert_allclose(positions[0], [robot.start_pose[j] for j in robot.command_joints], atol=1e-3)
    assert (
        np.ptp(positions, axis=0) > 0.02 * np.array([limit.upper - limit.lower for limit in limits])
    ).all()
    speeds = np.abs(np.diff(positions, axis=0)) / np.diff(times_ns)[:, None] * 1e9
    assert (speeds.max(axis=0) < 0.5 * np.array([limit.velocity for limit in limits])).all()
    reference = Reference(path, robot, streams(robot), int(times_ns[0]))
    commanded = reference.at(times_ns[30:])
    reference.close()
    assert reference.kind == "commands"
    lag_s = np.nanmax(np.abs(commanded - positions[30:]), axis=0) / speeds.max(axis=0)
    assert lag_s.max() < 0.06, "the joints lag behind by the time constant and a period of the controllers"


def test_the_same_videos_make_the_same_recording(robot: Embodiment, clip: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = (make(robot, clip, tmp_path / name / "made.mcap") for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_it_begins_when_it_is_asked_to(robot: Embodiment, clip: Path, tmp_path: Path) -> None:
    start_ns = 1_234_567_890_123_456_789
    before = read(make(robot, clip, tmp_path / "usual.mcap"))
    after = read(make(robot, clip, tmp_path / "other.mcap", start_ns=start_ns))
    by_ns = start_ns - START_NS
    assert list(before) == list(after)
    for topic, messages in after.items():
        assert messages[0].log_ns == start_ns
        for logged, same in zip(messages, before[topic], strict=True):
            assert logged.log_ns == same.log_ns + by_ns
            if topic != DESCRIPTION:
                assert stamp_ns(logged.message) == logged.log_ns
    states = after["/joint_states"]
    assert {b.log_ns - a.log_ns for a, b in pairwise(states)} == {10_000_000}, "100 Hz"
    for logged, same in zip(states, before["/joint_states"], strict=True):
        np.testing.assert_allclose(logged.message.position, same.message.position, atol=1e-9)


def test_a_missing_video_is_named(robot: Embodiment, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    shutil.copytree(clip, folder)
    (folder / "wrist_image_left.avi").rename(folder / "wrist.avi")
    with pytest.raises(FootageError, match=r"camera wrist_image_left: expected .*, found .*'wrist.avi'"):
        footage_of(robot, folder)


def test_nothing_is_left_of_what_was_not_finished(robot: Embodiment, clip: Path, tmp_path: Path) -> None:
    def interrupted(image_sets: object) -> object:
        yield next(iter(image_sets))
        raise FootageError("image 1 of 45 cannot be read")

    path = tmp_path / "made.mcap"
    with pytest.raises(FootageError, match="image 1"):
        make_bag(footage_of(robot, clip), robot, streams(robot), path, progress=interrupted)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not DROID_CLIP.is_dir(), reason="the DROID footage is not there")
def test_the_droid_clip(robot: Embodiment, tmp_path: Path) -> None:
    path = make(robot, DROID_CLIP, tmp_path / "made.mcap")
    with Bag(path) as bag:
        inspection = inspect(bag, robot, streams(robot))
    assert inspection.usable and not inspection.notices
    assert [report.times.count for report in inspection.streams[:3]] == [419] * 3
