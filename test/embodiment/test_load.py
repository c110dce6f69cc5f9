# SPDX-License-Identifier: Apache-2.0
"""A robot file loads fully valid, or ends in one error that names file, key, expected and got."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dreamzero_ros.embodiment import schema
from dreamzero_ros.embodiment.load import EmbodimentError, embodiment_files, load

pytestmark = pytest.mark.cpu

Document = dict[str, Any]
EXAMPLE = next(path for path in embodiment_files() if path.stem == "example")


def write(folder: Path, document: Document) -> Path:
    path = folder / "example.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def test_droid_franka_says_what_the_model_and_the_controllers_need():
    robot = load("droid_franka")
    assert robot.tag == "oxe_droid"
    assert [camera.name for camera in robot.cameras] == [
        "exterior_image_1_left",
        "exterior_image_2_left",
        "wrist_image_left",
    ]
    assert robot.cells == ((1, 0, 1, 1), (1, 1, 1, 1), (0, 0, 1, 2))
    assert robot.canvas == (2, 2)
    assert robot.state_joints == (*(f"panda_joint{i}" for i in range(1, 8)), "panda_finger_joint1")
    assert robot.command_joints == robot.state_joints
    assert [field.relative for field in robot.action] == [True, False]
    assert robot.horizon * robot.dt_s == pytest.approx(1.6)
    assert robot.image_offsets_steps == (-23, -16, -8, 0)


def test_a_choice_renames_the_joints_and_brings_its_own_limits():
    panda, fr3 = load("droid_franka"), load("droid_franka", {"arm": "fr3", "hand": "gripper_command"})
    assert fr3.state_joints == tuple(joint.replace("panda", "fr3") for joint in panda.state_joints)
    assert panda.limits["panda_joint6"].upper == 3.7525
    assert fr3.limits["fr3_joint6"].upper == 4.5169
    assert [controller.type for controller in fr3.controllers] == ["joint_trajectory", "gripper_command"]
    assert [controller.type for controller in panda.controllers] == ["joint_trajectory"] * 2


def test_an_overlay_changes_only_what_it_names():
    free, fenced = (
        load("example").limits["lift_joint"],
        load("example", {"cell": "fenced"}).limits["lift_joint"],
    )
    assert (free.upper, fenced.upper) == (0.55, 0.3)
    assert (free.lower, free.velocity) == (fenced.lower, fenced.velocity)
    cameras = load("example", {"cell": "fenced"}).cameras
    assert cameras[0].topic == "fence_camera/image_raw"
    assert (
        dataclasses.replace(cameras[0], topic=load("example").cameras[0].topic) == load("example").cameras[0]
    )
    assert cameras[1:] == load("example").cameras[1:]


def test_an_overlay_of_a_list_names_an_item_of_it(tmp_path: Path):
    document = yaml.safe_load(EXAMPLE.read_text())
    document["parameters"]["cell"]["choices"]["fenced"] = {"cameras": {"top_heat": {"width": 1}}}
    with pytest.raises(EmbodimentError, match=r"fenced\.cameras\.top_heat: .*did you mean 'top_head'"):
        load(write(tmp_path, document), {"cell": "fenced"})


def test_the_annotated_tour_shows_every_key():
    text = EXAMPLE.read_text()
    document = yaml.safe_load(text)
    shown = {
        key
        for part in ("cameras", "state", "action", "controllers")
        for item in document[part]
        for key in item
    }
    shown |= set(document) | {key for limit in document["limits"].values() for key in limit}
    for part in (schema.JointLimits, schema.Embodiment, schema.Camera, schema.ActionField, schema.Controller):
        assert {field.name for field in dataclasses.fields(part)} <= shown, part


def test_agibot_g1_says_what_the_model_and_the_controllers_need():
    robot = load("agibot_g1")
    fields = {field.name: field for field in robot.state}
    assert fields["waist_position"].joints == ("idx02_body_joint2", "idx01_body_joint1")
    assert fields["waist_position"].units == ("rad", "m")
    assert fields["head_position"].joints == ("idx11_head_joint1", "idx12_head_joint2")
    assert [field.size for field in robot.state] == [7, 7, 1, 1, 2, 2]
    assert [field.size for field in robot.action] == [7, 7, 1, 1, 2, 2, 2]
    assert [field.relative for field in robot.action] == [True] * 6 + [False]
    assert (robot.action[-1].kind, robot.action[-1].joints) == ("base_velocity", ())
    assert robot.command_joints == robot.state_joints
    assert len(robot.controllers) == 6
    assert robot.joint_units["idx01_body_joint1"] == "m"
    assert {unit for joint, unit in robot.joint_units.items() if joint != "idx01_body_joint1"} == {"rad"}
    assert [camera.name for camera in robot.cameras] == ["top_head", "hand_left", "hand_right"]
    assert robot.cells == ((0, 0, 1, 1), (1, 0, 1, 1), (0, 1, 1, 1))
    left, right = robot.limits["idx22_arm_l_joint2"], robot.limits["idx62_arm_r_joint2"]
    assert (left.lower, left.upper) == (-right.upper, -right.lower) == (-2.09, 1.48)
    assert robot.horizon * robot.dt_s == pytest.approx(0.8)


def test_yam_says_what_the_model_and_the_controllers_need():
    robot = load("yam")
    assert [field.name for field in robot.state] == [
        "left_joint_pos",
        "left_gripper_pos",
        "right_joint_pos",
        "right_gripper_pos",
    ]
    assert all(field.relative for field in robot.action)
    assert robot.command_joints == robot.state_joints
    assert robot.state_joints[:7] == (*(f"left_joint{i}" for i in range(1, 7)), "left_gripper")
    assert [camera.name for camera in robot.cameras] == [
        f"{place}_camera-images-rgb" for place in ("top", "left", "right")
    ]
    assert robot.cells == ((0, 0, 1, 1), (1, 0, 1, 1), (0, 1, 1, 1))
    assert {robot.joint_units[joint] for joint in robot.gripper_joints} == {"ratio"}
    assert all(
        2 <= robot.limits[joint].velocity <= 3 for joint in robot.state_joints if "gripper" not in joint
    )
    assert robot.command_period_s == 0.1, "below the 400 ms after which its motors give way"


@pytest.mark.parametrize("name", ["droid_franka", "agibot_g1", "yam"])
def test_the_grippers_may_have_an_action_of_their_own(name: str):
    robot = load(name, {"hand": "gripper_command"})
    assert {
        controller.joints[0] for controller in robot.controllers if controller.type == "gripper_command"
    } == set(robot.gripper_joints)
    assert {controller.type for controller in load(name).controllers} == {"joint_trajectory"}


def test_the_fr3_slows_down_near_its_limits():
    """At each limit the formula of libfranka must stand still, and allow full speed in between."""
    robot = load("droid_franka", {"arm": "fr3"})
    assert not any(limit.velocity_taper for limit in load("droid_franka").limits.values())
    for number in range(1, 8):
        limit = robot.limits[f"fr3_joint{number}"]
        taper = limit.velocity_taper
        assert taper is not None
        assert taper.lower < limit.lower < limit.upper < taper.upper
        for distance in (taper.upper - limit.upper, limit.lower - taper.lower):
            assert (taper.gain * distance) ** 0.5 <= taper.offset + 0.01
        half = (taper.upper - taper.lower) / 2
        assert (taper.gain * half) ** 0.5 - taper.offset > limit.velocity


PANDA_VELOCITY = (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61)
PANDA_ACCELERATION = (15, 7.5, 10, 12.5, 15, 20, 20)
PANDA_JERK = (7500, 3750, 5000, 6250, 7500, 10000, 10000)


def test_the_panda_keeps_the_margins_of_libfranka():
    """By rate_limiting.h of libfranka 0.9.2: less 1e-3 each, the velocity less three lost packets too."""
    robot = load("droid_franka")
    rows = zip(PANDA_VELOCITY, PANDA_ACCELERATION, PANDA_JERK, strict=True)
    for number, (velocity, acceleration, jerk) in enumerate(rows, start=1):
        limit = robot.limits[f"panda_joint{number}"]
        assert limit.acceleration == pytest.approx(acceleration - 1e-3, abs=1e-9)
        assert limit.jerk == pytest.approx(jerk - 1e-3, abs=1e-6)
        most = velocity - 1e-3 - 3 * 1e-3 * limit.acceleration
        assert most - 1e-4 < limit.velocity <= most
    fer = load("droid_franka", {"arm": "fer"})
    assert [fer.limits[f"fer_joint{n}"] for n in range(1, 8)] == [
        robot.limits[f"panda_joint{n}"] for n in range(1, 8)
    ]


def test_the_fr3_keeps_the_margins_of_libfranka():
    """By rate_limiting.h of libfranka: 10 rad/s^2, 5000 rad/s^3 and every velocity less 1e-3."""
    robot = load("droid_franka", {"arm": "fr3"})
    velocities = (2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26)
    for number, velocity in enumerate(velocities, start=1):
        limit = robot.limits[f"fr3_joint{number}"]
        expected = (velocity - 1e-3, 10 - 1e-3, 5000 - 1e-3)
        assert (limit.velocity, limit.acceleration, limit.jerk) == pytest.approx(expected)


def at(*keys: str | int) -> Callable[[Document, Any], None]:
    def put(document: Document, value: Any) -> None:
        place: Any = document
        for key in keys[:-1]:
            place = place[key]
        if value is REMOVED:
            del place[keys[-1]]
        else:
            place[keys[-1]] = value

    return put


REMOVED = object()
TAPER = ("limits", "$(prefix)_joint1", "velocity_taper")

MISTAKES = [
    # where, value, key that the error names, words in it
    (at("tagg"), 1, "tagg", "did you mean 'tag'?"),
    (at("tag"), "agibott", "tag", "did you mean 'agibot'?"),
    (at("tag"), REMOVED, "tag", "got nothing"),
    (at("name"), "other", "name", "'example'"),
    (at("control_rate_hz"), 0, "control_rate_hz", "a number above 0"),
    (at("control_rate_hz"), "fast", "control_rate_hz", "'fast'"),
    (at("control_rate_hz"), float("nan"), "control_rate_hz", "nan"),
    (at("horizon"), 0, "horizon", "a whole number from 1"),
    (at("horizon"), True, "horizon", "True"),
    (at("execute_steps"), 25, "execute_steps", "at most the horizon, 24"),
    (at("image_offsets_steps"), [-23, -16, -16, 0], "image_offsets_steps[2]", "above -16"),
    (at("image_offsets_steps"), [-23, -16, -8, -1], "image_offsets_steps[3]", "0"),
    (at("image_offsets_steps"), [-8, 0], "image_offsets_steps", "4 to 12"),
    (at("image_offsets_steps"), [-2.5, 0], "image_offsets_steps[0]", "a whole number"),
    (at("image_tolerance_s"), 0.2, "image_tolerance_s", "half of the smallest distance"),
    (at("joint_tolerance_s"), -1, "joint_tolerance_s", "above 0"),
    (at("canvas", "rows"), 0, "canvas.rows", "from 1"),
    (at("canvas", "height"), 2, "canvas.height", "a known key"),
    (at("cameras"), [], "cameras", "at least one item"),
    (at("cameras", 0, "name"), "hand_left", "cameras[1].name", "again"),
    (at("cameras", 0, "topic"), "right_camera/image_raw", "cameras[2].topic", "again"),
    (at("cameras", 0, "topic"), "camera//x", "cameras[0].topic", "ROS topic"),
    (at("cameras", 1, "width"), 320, "cameras[1].width", "640 x 480"),
    (at("cameras", 1, "fit"), "leterbox", "cameras[1].fit", "did you mean 'letterbox'?"),
    (at("cameras", 1, "compressed"), "yes please", "cameras[1].compressed", "true or false"),
    (at("cameras", 1, "place", "column"), 2, "cameras[1].place", "2 rows and 2 columns"),
    (at("cameras", 1, "place", "column_span"), 3, "cameras[1].place", "2 rows and 2 columns"),
    (at("cameras", 1, "place", "row"), 0, "cameras[1].place", "'top_head'"),
    (at("cameras"), yaml.safe_load(EXAMPLE.read_text())["cameras"][:1], "cameras", "at least 2"),
    (at("state", 1, "name"), "arm_position", "state[1].name", "again"),
    (at("state", 1, "joints"), ["waist_joint", "waist_joint"], "state[1].joints[1]", "again"),
    (at("state", 1, "joints"), ["waist_joint", "head_joint"], "state[3].joints[0]", "again"),
    (at("state", 1, "joints"), ["waist_joint", "lift_jiont"], "state[1].joints[1]", "'lift_joint'"),
    (at("state", 1, "units"), ["rad"], "state[1].units", "2 of them"),
    (at("state", 1, "units"), "rda", "state[1].units", "'rad'"),
    (at("state", 1, "units"), "mm", "state[1].units", "need a mapping"),
    (at("state", 2, "mapping", "half"), [0.4, 60.0], "state[2].mapping", "two named points"),
    (at("state", 2, "mapping", "robot_unit"), REMOVED, "state[2].mapping.robot_unit", "add this key"),
    (at("state", 2, "mapping", "robot_unit"), "mm", "state[2].mapping.robot_unit", "one of rad, m, ratio"),
    (at("action", 1, "units"), "rad", "action[1].units", "m for joint 'lift_joint'"),
    (at("action", 2, "mapping", "robot_unit"), "m", "action[2].mapping.robot_unit", "rad for joint"),
    (at("state", 2, "mapping", "open"), [120.0, 0.785], "state[2].mapping.open", "[robot, model]"),
    (at("state", 2, "mapping", "open"), [0.785], "state[2].mapping.open", "2 numbers"),
    (at("state", 2, "mapping", "open"), [0.0, 120.0], "state[2].mapping", "differ on the robot side"),
    (at("state", 2, "mapping", "open"), [0.785, 0.0], "state[2].mapping", "differ on the model side"),
    (at("action", 0, "name"), "arm_positions", "action[0].name", "did you mean 'arm_position'?"),
    (at("action", 0, "relative"), REMOVED, "action[0].relative", "add this key"),
    (at("action", 1, "joints"), ["lift_joint", "waist_joint"], "action[1].joints", "in their order"),
    (at("action", 0, "components"), ["x"], "action[0].components", "base_velocity only"),
    (at("action", 3, "joints"), ["head_joint"], "action[3].joints", "components"),
    (at("action", 3, "relative"), True, "action[3].relative", "false"),
    (at("action", 3, "units"), "m", "action[3].units", "m/s"),
    (at("controllers", 0, "joints"), ["waist_joint"], "controllers", "none for"),
    (at("controllers", 1, "joints"), ["waist_joint"], "controllers[1].joints[0]", "again"),
    (at("controllers", 0, "joints", 4), "head_joint", "controllers[0].joints[4]", "a joint of the action"),
    (at("controllers", 1, "type"), "gripper", "controllers[1].type", "did you mean 'gripper_command'?"),
    (at("controllers", 0, "type"), "gripper_command", "controllers[0].joints", "exactly one joint"),
    (at("limits", "lift_joint"), REMOVED, "state[1].joints[1]", "add limits.lift_joint"),
    (at("limits", "lift_joint", "velocity"), 0, "limits.lift_joint.velocity", "above 0"),
    (at("limits", "lift_joint", "jerk"), 0, "limits.lift_joint.jerk", "above 0"),
    (at("limits", "lift_joint", "upper"), 0.0, "limits.lift_joint.upper", "above 0"),
    (
        at("limits", "tail_joint"),
        {"lower": 0, "upper": 1, "velocity": 1, "acceleration": 1},
        "limits.tail_joint",
        "state",
    ),
    (at(*TAPER, "slope"), 1.0, "limits.left_joint1.velocity_taper.slope", "a known key"),
    (at(*TAPER, "gain"), 0.0, "limits.left_joint1.velocity_taper.gain", "above 0"),
    (at(*TAPER, "offset"), -0.3, "limits.left_joint1.velocity_taper.offset", "a number from 0"),
    (at(*TAPER, "upper"), -3.0, "limits.left_joint1.velocity_taper.upper", "above -2.995"),
    (at("end_effectors", "hand"), 3, "end_effectors.hand", "a text"),
    (at("end_effectors", "left hand"), "left_joint3", "end_effectors.left hand", "letters, digits and _"),
    (at("start_pose", "lift_joint"), 0.6, "start_pose.lift_joint", "0 to 0.55"),
    (at("start_pose", "lift_joint"), REMOVED, "start_pose.lift_joint", "add this key"),
    (at("start_pose", "head_joint"), 0.0, "start_pose.head_joint", "a known key"),
    (at("normalisation"), "q95", "normalisation", "'q99'"),
    (at("statistics"), "none.json", "statistics", "'checkpoint'"),
    (at("parameters", "prefix", "defaults"), "x", "parameters.prefix.defaults", "did you mean 'default'?"),
    (at("parameters", "prefix"), REMOVED, "state[0].joints[0]", "$(prefix)"),
]


@pytest.mark.parametrize(("put", "value", "key", "words"), MISTAKES, ids=[row[2] for row in MISTAKES])
def test_each_mistake_names_file_key_and_fix(tmp_path: Path, put: Any, value: Any, key: str, words: str):
    document = copy.deepcopy(yaml.safe_load(EXAMPLE.read_text()))
    put(document, value)
    path = write(tmp_path, document)
    with pytest.raises(EmbodimentError) as caught:
        load(path)
    assert caught.value.key == key
    assert caught.value.file == str(path)
    assert words in str(caught.value)
    assert "expected" in str(caught.value)
    assert "got" in str(caught.value)


def test_a_copy_without_a_mistake_loads(tmp_path: Path):
    load(write(tmp_path, yaml.safe_load(EXAMPLE.read_text())))


@pytest.mark.parametrize("suffix", [".yml", ".YML", ".YAML"])
def test_other_names_of_yaml_are_found(tmp_path: Path, suffix: str):
    path = tmp_path / f"example{suffix}"
    path.write_text(EXAMPLE.read_text())
    assert load(path) == load("example", folder=tmp_path) == load(EXAMPLE)
    assert embodiment_files(tmp_path) == [path]
    with pytest.raises(EmbodimentError, match="did you mean 'example'"):
        load("exampel", folder=tmp_path)


def test_two_files_of_one_name_are_no_silent_choice(tmp_path: Path):
    for suffix in (".yml", ".yaml"):
        (tmp_path / f"example{suffix}").write_text(EXAMPLE.read_text())
    with pytest.raises(EmbodimentError, match=r"example\.yaml and .*example\.yml; name one with its suffix"):
        load("example", folder=tmp_path)


def test_a_file_of_another_suffix_is_to_be_renamed(tmp_path: Path):
    path = tmp_path / "example.txt"
    path.write_text(EXAMPLE.read_text())
    with pytest.raises(EmbodimentError, match=r"ends in \.yaml or \.yml, got .*example\.txt; rename it"):
        load(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_yaml_are_read(tmp_path: Path, encoding: str):
    path = tmp_path / "example.yaml"
    path.write_text(f"# Größe\n{EXAMPLE.read_text()}", encoding=encoding)
    assert load(path) == load(EXAMPLE)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
def test_other_encodings_are_named_with_a_fix_that_works(tmp_path: Path, encoding: str):
    path = tmp_path / "example.yaml"
    path.write_text(f"# One\n# Größe\n{EXAMPLE.read_text()}", encoding=encoding)
    with pytest.raises(
        EmbodimentError, match="expected text in UTF-8, got another encoding in line 2"
    ) as caught:
        load(path)
    fix = str(caught.value).rpartition(": ")[2]
    subprocess.run(fix, shell=True, check=True, cwd=tmp_path)
    assert load(path) == load(EXAMPLE)


def test_a_key_that_comes_twice_is_no_silent_choice(tmp_path: Path):
    path = tmp_path / "example.yaml"
    path.write_text(EXAMPLE.read_text() + "\nhorizon: 12\n")
    with pytest.raises(EmbodimentError, match="key 'horizon' again"):
        load(path)


@pytest.mark.parametrize(
    ("source", "parameters", "words"),
    [
        ("droid_frank", {}, "did you mean 'droid_franka'?"),
        ("nowhere/robot.yaml", {}, "No such file"),
        ("droid_franka", {"arm": "pandas"}, "did you mean 'panda'?"),
        ("droid_franka", {"arms": "panda"}, "did you mean 'arm'?"),
    ],
)
def test_what_is_asked_for_must_exist(source: str, parameters: dict[str, str], words: str):
    with pytest.raises(EmbodimentError) as caught:
        load(source, parameters)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "name: [unclosed\n", "", "1: 2\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "robot.yaml"
    path.write_text(text)
    with pytest.raises(EmbodimentError, match="document"):
        load(path)
