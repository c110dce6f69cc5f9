# SPDX-License-Identifier: Apache-2.0
"""The command as a person runs it, beside healthy robots and beside broken ones."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from library_lines import library_lines
from robot import JOINT_STATES, Fault, Robot
from ros_graph import TINY, Graph, Operator
from sensor_msgs.msg import Image
from spawned import gone
from trajectory_msgs.msg import JointTrajectory
from warm import WarmProcesses

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.observation.decode import stamp_ns
from dreamzero_ros.ros.messages import image_message, time_message, trajectory_message
from dreamzero_ros.ros.qos import COMMAND, SENSOR

pytestmark = pytest.mark.ros

ROOT = Path(__file__).parents[3]
ROBOT = load("droid_franka")
LEFT, RIGHT, WRIST = (camera.name for camera in ROBOT.cameras)
HAND = "panda_hand_controller"
MODULE = "dreamzero_ros.ros.check.command"
PATIENCE_S = 600.0
"""Longest wait for the end of a process [s]; a busy machine may be slow."""
MODEL = [f"{name}:={value}" for name, value in TINY.items()] + ["max_observation_age_s:=1.0"]
"""Parameters of every check; a busy machine may be slow with messages."""

FOUND_S = 5
"""In which every node is found, on a busy machine too [s]."""

Rows = dict[tuple[str, str], dict[str, str]]
"""By section and name."""


def check(
    graph: Graph, *ros_arguments: str, parameters: list[str] = MODEL, seconds: int = 2
) -> tuple[int, Rows]:
    """Exit code and rows of a check of a graph, without the policy."""
    pairs = [word for pair in parameters for word in ("-p", pair)]
    words = ["--json", "--no-policy", "--seconds", str(seconds), "--ros-args", *pairs, *ros_arguments]
    code, said = warm(graph.environment, *words)
    assert "{" in said, said
    found, _ = json.JSONDecoder().raw_decode(said[said.index("{") :])
    return code, {(row["section"], row["what"]): row for row in found["rows"]}


def warm(environment: dict[str, str], *words: str) -> tuple[int, str]:
    """Exit code and output of the command, in a process that has everything imported."""
    with TemporaryDirectory() as folder, WarmProcesses(environment, Path(folder)) as processes:
        code = processes.start("check", MODULE, words).wait(PATIENCE_S)
        return code, processes.log("check").read_text()


# Faults of a robot


def late_by(seconds: float) -> Fault:
    def spoil(message: Any) -> Any:
        message.header.stamp = time_message(stamp_ns(message) - round(seconds * 1e9))
        return message

    return spoil


def unstamped(message: Any) -> Any:
    message.header.stamp = time_message(0)
    return message


def square(message: Image) -> Image:
    return image_message(np.zeros((240, 240, 3), np.uint8), stamp_ns(message), "square")


def renamed(joint: str, name: str) -> Fault:
    def spoil(message: Any) -> Any:
        message.name[list(message.name).index(joint)] = name
        return message

    return spoil


def reading(joint: str, value: float) -> Fault:
    def spoil(message: Any) -> Any:
        message.position[list(message.name).index(joint)] = value
        return message

    return spoil


def with_compressed(camera: str) -> Embodiment:
    cameras = [replace(entry, compressed=entry.name == camera) for entry in ROBOT.cameras]
    return replace(ROBOT, cameras=tuple(cameras))


@dataclass
class Scene:
    """A robot, and what is wrong with it."""

    robot: Embodiment
    faults: dict[str, Fault]
    topics: dict[str, str]
    prepare: Callable[[Robot], object] = id
    """Adds more to its node."""


def command_too(robot: Robot) -> None:
    """Somebody else sends trajectories to the arm and only might to the hand."""
    topics = [f"{controller.name}/joint_trajectory" for controller in ROBOT.controllers]
    arm, _ = (robot.create_publisher(JointTrajectory, topic, COMMAND) for topic in topics)
    joints = ROBOT.controllers[0].joints
    still = Trajectory(
        robot.get_clock().now().nanoseconds,
        joints,
        np.array([0.0, 1.0]),
        np.array([[ROBOT.start_pose[joint] for joint in joints]] * 2),
        np.zeros((2, len(joints))),
    )
    robot.create_timer(0.2, lambda: arm.publish(trajectory_message(still, joints)))


def film_twice(robot: Robot) -> None:
    robot.create_publisher(Image, f"{WRIST}/image_raw", SENSOR)


def without_hand() -> Embodiment:
    return replace(ROBOT, controllers=tuple(entry for entry in ROBOT.controllers if entry.name != HAND))


SCENES = {
    "healthy": Scene(ROBOT, {}, {}),
    "square": Scene(ROBOT, {LEFT: square}, {}),
    "absent": Scene(
        replace(with_compressed(RIGHT), controllers=without_hand().controllers),
        {JOINT_STATES: renamed("panda_joint4", "panda_joint_4")},
        {LEFT: "exterior_image_left/image_raw"},
    ),
    "clocks": Scene(
        ROBOT,
        {LEFT: late_by(5), RIGHT: unstamped, JOINT_STATES: reading("panda_joint4", 0.5)},
        {},
        lambda robot: (command_too(robot), film_twice(robot)),
    ),
    "behind": Scene(ROBOT, {WRIST: late_by(0.2)}, {}),
}


@pytest.fixture(scope="module")
def seen(graph: Graph) -> Callable[[str], tuple[int, Rows]]:
    """What the check says of a scene; each is played once."""

    @cache
    def play(name: str) -> tuple[int, Rows]:
        scene = SCENES[name]
        with Robot(graph, scene.robot, topics=scene.topics) as robot:
            robot.faults.update(scene.faults)
            scene.prepare(robot)
            return check(graph)

    return play


def test_a_healthy_robot_is_ready(seen: Callable[[str], tuple[int, Rows]]) -> None:
    code, rows = seen("healthy")
    assert code == 0, [row for row in rows.values() if row["result"] == "fail"]
    skipped = {name for name, row in rows.items() if row["result"] == "skipped"}
    assert skipped == {("Joint states", "limits"), ("Policy", "policy")}
    assert {section for section, _ in rows} >= {f"Camera {camera.name}" for camera in ROBOT.cameras}
    assert rows["Controllers", HAND]["finding"].endswith("taken by /robot")


def test_another_shape_of_image_is_a_warning(seen: Callable[[str], tuple[int, Rows]]) -> None:
    code, rows = seen("square")
    row = rows[f"Camera {LEFT}", "image"]
    assert (code, row["result"]) == (0, "warn")
    assert "240x240 rgb8 becomes 320x180 (letterbox)" in row["finding"] and "320x180" in row["fix"]


@pytest.mark.parametrize(
    ("scene", "section", "what", "finding", "fix"),
    [
        ("absent", f"Camera {LEFT}", "topic", "'/exterior_image_left/image_raw'", "remap"),
        ("absent", f"Camera {RIGHT}", "topic", "sensor_msgs/msg/CompressedImage", "compressed: true"),
        (
            "absent",
            "Joint states",
            "joints",
            "panda_joint4 (nearest: panda_joint_4)",
            "embodiment_parameters",
        ),
        ("absent", "Controllers", HAND, f"nobody takes /{HAND}/joint_trajectory", "list_controllers"),
        ("clocks", f"Camera {LEFT}", "stamps", "old on arrival; the limit is 1000 ms", "chrony"),
        ("clocks", f"Camera {RIGHT}", "stamps", "carry no stamp", "capture time"),
        ("clocks", f"Camera {WRIST}", "topic", "2 publishers", "one node"),
        ("clocks", "Joint states", "positions", "panda_joint4 at 0.5, limits -3.07", "move the arm"),
        ("clocks", "Controllers", "other commanders", "trajectories were heard, of /robot", "end it"),
        ("behind", "Cameras", "together", f"{WRIST} is stamped 2", "synchronise"),
    ],
)
def test_a_fault_is_named_with_its_fix(
    seen: Callable[[str], tuple[int, Rows]], scene: str, section: str, what: str, finding: str, fix: str
) -> None:
    code, rows = seen(scene)
    row = rows[section, what]
    assert (code, row["result"]) == (1, "fail"), row
    assert finding in row["finding"] and fix in row["fix"], row


def test_what_is_well_beside_a_fault_passes(seen: Callable[[str], tuple[int, Rows]]) -> None:
    _, rows = seen("absent")
    assert rows["Controllers", "panda_arm_controller"]["result"] == "pass"
    assert rows[f"Camera {WRIST}", "image"]["result"] == "pass"


def test_it_stands_in_for_the_node(graph: Graph, tmp_path: Path) -> None:
    """Parameter file, namespace and remappings are those of the policy node."""
    file = tmp_path / "params.yaml"
    pairs = "\n".join(f"    {name}: {value}" for name, value in TINY.items())
    file.write_text(f"/**/policy_node:\n  ros__parameters:\n{pairs}\n    max_observation_age_s: 1.0\n")
    arguments = ["--params-file", str(file), "-r", "__ns:=/left", "-r", "joint_states:=arm_states"]
    with Robot(graph, ROBOT, namespace="/left", topics={JOINT_STATES: "arm_states"}):
        code, rows = check(graph, *arguments, parameters=[])
    assert code == 0, [row for row in rows.values() if row["result"] == "fail"]
    assert rows["Joint states", "topic"]["finding"] == "/left/arm_states of /left/robot"


def test_a_policy_node_at_work_is_noticed(graph: Graph) -> None:
    graph.start("policy_node", autostart=True, policy="hold", max_observation_age_s=1.0)
    operator = Operator(graph, ROBOT)
    with Robot(graph, ROBOT):
        graph.wait(lambda: operator.ready, "an active policy node")
        code, rows = check(graph, seconds=FOUND_S)
        assert (code, rows["Graph", "policy node"]["result"]) == (0, "pass")
        assert "/policy_node is up: no run" in rows["Graph", "policy node"]["finding"]
        run = operator.run("stay")
        operator.await_following()
        code, rows = check(graph, seconds=FOUND_S)
        assert (code, rows["Graph", "policy node"]["result"]) == (1, "fail")
        assert "is in a run" in rows["Graph", "policy node"]["finding"]
        run.cancel()
        run.result()


def test_a_wrong_robot_name_is_told(graph: Graph) -> None:
    code, rows = check(graph, parameters=[*MODEL, "embodiment:=droid_frank"])
    (row,) = rows.values()
    assert (code, row["what"], row["result"]) == (1, "robot file", "fail")
    assert "'droid_frank'" in row["finding"] and "did you mean 'droid_franka'?" in row["fix"]


def test_a_missing_checkpoint_file_is_told(graph: Graph, tmp_path: Path) -> None:
    code, rows = check(graph, parameters=["device:=cpu", f"checkpoint:={tmp_path}"])
    row = rows["Model", "checkpoint"]
    assert (code, row["result"]) == (1, "fail")
    assert "model.safetensors" in row["finding"] and "fetch" in row["fix"]


def test_the_first_try_shows_a_whole_table() -> None:
    calm = ["-p", "max_observation_age_s:=1.0", "-p", "mode:=blocking"]  # a busy machine may be slow
    words = [sys.executable, "-m", MODULE, "--sim", "--seconds", "2", "--ros-args", *calm]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    said, complaints = ended.stdout, ended.stderr
    assert ended.returncode == 0, said + complaints
    lines = said.splitlines()
    assert max(map(len, lines)) <= 100 and lines[-1].endswith("0 fail, 0 skipped: ready")
    assert library_lines(said + complaints) == []
    assert said.count("320x180 rgb8, as in the robot file") == len(ROBOT.cameras)
    for words in ("10 dry chunks", "dreamzero tiny", "panda_hand_controller", "what both give: lower of 8"):
        assert words in said


def test_ctrl_c_ends_it_and_its_robot(graph: Graph, tmp_path: Path) -> None:
    with WarmProcesses(graph.environment, tmp_path) as processes:
        process = processes.start("check", MODULE, ["--sim", "--seconds", "60"])

        def robot_started() -> list[int]:
            assert process.poll() is None, processes.log("check").read_text()
            return children_of(process.pid)

        robots = graph.wait(robot_started, "the simulated robot", PATIENCE_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
    assert all(map(gone, robots))


def children_of(pid: int) -> list[int]:
    """Process ids of what a process has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_wrong_usage_is_refused_and_help_teaches(graph: Graph) -> None:
    code, helped = warm(graph.environment, "--help")
    assert code == 0
    for word in ("--params-file config/policy_node.yaml", "Nothing moves", "--no-policy", "130 Ctrl-C"):
        assert word in " ".join(helped.split())
    for words in (["--seconds", "0"], ["--ros-args", "-p", "dtype:=float8"]):
        code, complaints = warm(graph.environment, *words)
        assert code == 2 and words[-1].split(":=")[-1] in complaints
