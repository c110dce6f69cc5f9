# SPDX-License-Identifier: Apache-2.0
"""One run on a made-up clock: requests, commands, late chunks, faults and the operator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamzero_ros.embodiment.frame import ActionChunk
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.embodiment.schema import Embodiment
from dreamzero_ros.motion.errors import MotionError
from dreamzero_ros.motion.plan import Settings as MotionSettings
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.observation.buffer import ObservationBuffer
from dreamzero_ros.policy.rollout import Command, Request, Rollout, State
from dreamzero_ros.policy.settings import RolloutSettings

pytestmark = pytest.mark.cpu

ROBOT = load("droid_franka")
MS = 1_000_000
SECOND = 1000 * MS
START = 1_000 * SECOND
PICTURE = np.zeros((180, 320, 3), np.uint8)
HOME = np.array([ROBOT.start_pose[joint] for joint in ROBOT.state_joints])


class Bench:
    """Feeds a rollout with images at 15 Hz and joint states at 100 Hz, and answers it after a latency."""

    def __init__(
        self, latency_s: float = 0.3, seen_s: float = 2.0, robot: Embodiment = ROBOT, **options: object
    ) -> None:
        self.robot = robot
        self.buffer = ObservationBuffer(robot, max_age_s=0.3)
        self.rollout = Rollout(self.robot, self.buffer, True, RolloutSettings(**options))
        self.latency_s = latency_s
        self.answer: Callable[[Request], ActionChunk] = self.drift
        self.requests: list[Request] = []
        self.commands: list[Command] = []
        self.stops: list[Trajectory] = []
        self.executing: Trajectory | None = None
        self.cameras = [camera.name for camera in ROBOT.cameras]
        self.speeds: list[float] = []
        self.now_ns = START
        self.run(seen_s)

    def drift(self, request: Request) -> ActionChunk:
        """All joints of the arm move slowly from where they were seen."""
        ramp = np.linspace(0.01, 0.1, ROBOT.horizon)[:, None] * np.append(np.ones(7), 0.0)
        targets = request.frame.positions + ramp * np.sign(-HOME + 1e-9)
        return ActionChunk(request.frame.stamp_ns, ROBOT.dt_s, ROBOT.command_joints, targets)

    def positions(self) -> np.ndarray:
        return HOME if self.executing is None else self.executing.sample(self.now_ns)[0]

    def fastest(self) -> float:
        """Largest speed of any joint at this time [rad/s]."""
        return float(np.abs(self.executing.sample(self.now_ns)[1]).max())

    def run(self, seconds: float) -> None:
        """Lets time pass in steps of 5 ms."""
        for _ in range(round(seconds * 200)):
            self.now_ns += 5 * MS
            elapsed_ms = (self.now_ns - START) // MS
            self.speeds.append(0.0 if self.executing is None else self.fastest())
            if elapsed_ms % 10 == 0:
                self.buffer.add_joint_state(self.now_ns, self.positions())
            if elapsed_ms % 65 == 0:
                for camera in self.cameras:
                    self.buffer.add_image(camera, self.now_ns, PICTURE)
            self.keep(self.rollout.watch(self.now_ns))
            request = self.rollout.request(self.now_ns)
            if request is not None:
                self.requests.append(request)
                self.due_ns = self.now_ns + round(self.latency_s * SECOND)
            if self.requests and self.now_ns == self.due_ns:
                self.deliver()

    def deliver(self) -> None:
        request = self.requests[-1]
        try:
            command = self.rollout.accept(request.serial, self.answer(request), self.now_ns)
        except MotionError as error:
            self.keep(self.rollout.refuse(request.serial, error, self.now_ns))
            return
        if command is not None:
            self.commands.append(command)
            self.executing = command.plan.trajectory

    def keep(self, stop: Trajectory | None) -> None:
        if stop is not None:
            self.stops.append(stop)
            self.executing = stop


def test_nothing_is_asked_or_commanded_without_a_run() -> None:
    bench = Bench()
    bench.run(3)
    assert not bench.requests and not bench.commands and not bench.stops
    assert bench.rollout.state is State.IDLE and "no run" in bench.rollout.reason


def test_one_image_set_begins_a_session_and_four_continue_it() -> None:
    bench = Bench()
    bench.rollout.start("pick up the cup")
    bench.run(6)
    counts = [len(request.frame.images["wrist_image_left"]) for request in bench.requests]
    assert counts[0] == 1 and set(counts[1:]) == {4}
    assert [request.new_session for request in bench.requests] == [True] + [False] * (len(counts) - 1)


@settings(max_examples=15, deadline=None)
@given(latency_s=st.sampled_from([0.05, 0.16, 0.5, 0.7]))
def test_chunks_follow_one_another_without_a_gap(latency_s: float) -> None:
    bench = Bench(latency_s)
    bench.rollout.pacing.record(latency_s + 0.1)
    bench.rollout.start("pick up the cup")
    bench.run(10)
    assert bench.rollout.state is State.FOLLOWING and bench.rollout.reason == ""
    assert bench.rollout.counters.deadline_misses == 0
    assert len(bench.commands) >= 5
    for command in bench.commands:
        assert command.plan.used + command.plan.dropped == ROBOT.horizon
    for old, new in zip(bench.commands, bench.commands[1:], strict=False):
        at_ns = new.plan.trajectory.start_ns
        for one, other in zip(
            old.plan.trajectory.sample(at_ns), new.plan.trajectory.sample(at_ns), strict=True
        ):
            np.testing.assert_allclose(one, other, atol=1e-9)


def test_a_policy_slower_than_half_a_chunk_is_late_every_time_and_says_so() -> None:
    """One call at a time: the next capture waits for the answer, and its chunk for another latency."""
    bench = Bench(1.2)
    bench.rollout.start("pick up the cup")
    bench.run(12)
    counters = bench.rollout.counters
    assert counters.chunks >= 4 and counters.deadline_misses == counters.chunks - 1


def test_a_session_begins_when_its_second_call_will_find_its_images() -> None:
    bench = Bench(0.3, seen_s=0)
    bench.rollout.pacing.record(0.4)
    bench.rollout.start("pick up the cup")
    bench.run(1)
    assert not bench.requests and "before the newest image set" in bench.rollout.reason
    bench.run(1)
    assert bench.requests


def test_the_interval_is_what_the_latency_leaves() -> None:
    bench = Bench(0.4)
    bench.rollout.start("pick up the cup")
    bench.run(8)
    counters = bench.rollout.counters
    room = ROBOT.horizon - bench.rollout.pacing.bound_s / ROBOT.dt_s
    assert counters.capture_steps <= room
    assert counters.overlap_steps == max(0, 23 - counters.capture_steps)


def test_a_late_chunk_is_counted_and_the_arm_rests_meanwhile() -> None:
    bench = Bench(0.2)
    bench.rollout.start("pick up the cup")
    bench.run(3)
    bench.latency_s = 2.5
    bench.run(2.4)
    assert bench.rollout.state is State.HOLDING and "late" in bench.rollout.reason
    _, velocity = bench.executing.sample(bench.now_ns)
    np.testing.assert_array_equal(velocity, 0)
    bench.run(1.5)
    assert bench.rollout.counters.deadline_misses == 1


def test_a_chunk_after_its_last_target_moves_nothing() -> None:
    bench = Bench(2.0)
    bench.rollout.start("pick up the cup")
    bench.run(2.3)
    assert bench.commands[-1].plan.used == 0
    assert bench.rollout.state is State.HOLDING and "after its last target" in bench.rollout.reason


def test_a_camera_that_stops_holds_the_arm_and_its_return_begins_a_session() -> None:
    bench = Bench()
    bench.rollout.start("pick up the cup")
    bench.run(4)
    bench.cameras.remove("wrist_image_left")
    bench.rollout.notes["wrist_image_left"] = "encoding yuv422"
    bench.run(0.5)
    assert bench.rollout.state is State.HOLDING
    assert "wrist_image_left" in bench.rollout.reason and "yuv422" in bench.rollout.reason
    assert len(bench.stops) == 1
    held, asked = len(bench.commands), len(bench.requests)
    bench.run(1.5)
    np.testing.assert_array_equal(bench.executing.sample(bench.now_ns)[1], 0)
    assert len(bench.commands) == held
    bench.cameras.append("wrist_image_left")
    bench.run(2.2)
    assert bench.requests[asked].new_session
    assert bench.rollout.state is State.FOLLOWING


@pytest.mark.parametrize("bad", [np.nan, 3.0])
def test_a_chunk_that_must_not_be_executed_is_refused_and_tried_again(bad: float) -> None:
    bench = Bench()
    bench.rollout.start("pick up the cup")
    bench.run(3)

    def broken(request: Request) -> ActionChunk:
        chunk = bench.drift(request)
        chunk.targets[:, 3] = bad
        return chunk

    bench.answer = broken
    bench.run(2)
    assert bench.rollout.state is State.HOLDING and "joint4" in bench.rollout.reason
    assert bench.stops
    bench.answer = bench.drift
    bench.run(2)
    assert bench.rollout.state is State.FOLLOWING


def test_the_end_of_a_run_stops_softly_and_drops_what_is_under_way() -> None:
    bench = Bench()
    bench.rollout.start("pick up the cup")
    bench.run(3)
    while bench.requests[-1].serial == bench.commands[-1].index + 1:
        bench.run(0.005)
    stopping = bench.rollout.end(bench.now_ns, "no run: canceled")
    assert stopping is not None
    np.testing.assert_array_equal(stopping.velocities[-1], 0)
    done = len(bench.commands)
    bench.keep(stopping)
    bench.run(2)
    assert len(bench.commands) == done and bench.rollout.state is State.IDLE


def test_pause_holds_and_resume_begins_a_session() -> None:
    bench = Bench()
    bench.rollout.start("pick up the cup")
    bench.run(3)
    bench.keep(bench.rollout.pause(bench.now_ns))
    asked = len(bench.requests)
    bench.run(2)
    assert bench.rollout.state is State.PAUSED and len(bench.requests) == asked
    bench.rollout.resume()
    bench.run(1)
    assert bench.requests[asked].new_session and bench.rollout.state is State.FOLLOWING
    assert bench.rollout.counters.deadline_misses == 0


def test_a_new_instruction_begins_a_session_while_the_arm_goes_on() -> None:
    bench = Bench()
    bench.rollout.start("pick up the cup")
    bench.run(3)
    asked = len(bench.requests)
    bench.rollout.change_instruction("put it down")
    bench.run(0.1)
    assert bench.requests[asked].new_session
    assert bench.requests[asked].frame.instruction == "put it down"
    assert bench.rollout.state is State.FOLLOWING and not bench.stops


def test_blocking_mode_looks_at_a_resting_arm_and_executes_what_it_is_told() -> None:
    bench = Bench(0.5, mode="blocking")
    bench.rollout.start("pick up the cup")
    bench.run(8)
    assert len(bench.commands) >= 3
    assert bench.rollout.counters.deadline_misses == 0
    for command, request in zip(bench.commands, bench.requests[1:], strict=False):
        assert command.plan.dropped == 0
        _, velocity = command.plan.trajectory.sample(request.frame.stamp_ns)
        np.testing.assert_array_equal(velocity, 0)


def test_what_the_operator_must_not_do_is_refused_in_words() -> None:
    rollout = Bench().rollout
    with pytest.raises(ValueError, match="instruction is empty"):
        rollout.start("  ")
    for call in (lambda: rollout.change_instruction("x"), lambda: rollout.pause(0), rollout.resume):
        with pytest.raises(ValueError, match=r"no run|not paused"):
            call()
    rollout.start("pick up the cup")
    with pytest.raises(ValueError, match="active"):
        rollout.start("again")
    with pytest.raises(ValueError, match="instruction is empty"):
        rollout.change_instruction("")


def test_an_arm_that_does_not_follow_is_stopped_until_a_person_resets() -> None:
    bench = Bench(tracking_tolerance=0.02, tracking_time_s=0.2)
    bench.rollout.start("pick up the cup")
    bench.run(3)
    stuck = bench.positions()
    bench.positions = lambda: stuck
    bench.run(2)
    assert bench.rollout.state is State.STOPPED
    assert "away from its command" in bench.rollout.reason and "reset" in bench.rollout.reason
    assert len(bench.stops) == 1
    asked = len(bench.requests)
    del bench.positions
    bench.executing = None
    bench.run(2)
    assert bench.rollout.state is State.STOPPED and len(bench.requests) == asked
    bench.rollout.restart()
    bench.run(1)
    assert bench.rollout.state is State.FOLLOWING


def test_a_lock_stops_the_arm_and_keeps_it_stopped() -> None:
    bench = Bench()
    bench.rollout.start("pick up the cup")
    bench.run(3)
    bench.keep(bench.rollout.lock("e-stop", "the e-stop is pressed", bench.now_ns))
    assert bench.rollout.state is State.STOPPED and bench.stops
    with pytest.raises(ValueError, match="e-stop is pressed"):
        bench.rollout.restart()
    bench.rollout.end(bench.now_ns, "canceled")
    with pytest.raises(ValueError, match="e-stop is pressed"):
        bench.rollout.start("again")
    bench.rollout.unlock("e-stop")
    bench.rollout.start("again")


def test_in_a_dry_run_every_trajectory_begins_at_the_measured_joints() -> None:
    bench = Bench(dry_run=True, tracking_tolerance=0.001)
    bench.positions = lambda: HOME
    bench.rollout.start("pick up the cup")
    bench.run(5)
    assert len(bench.commands) > 2
    assert "dry run" in bench.rollout.reason
    for command in bench.commands:
        np.testing.assert_array_equal(command.plan.trajectory.positions[0], HOME)
        np.testing.assert_array_equal(command.plan.trajectory.velocities[0], 0)


def test_the_way_to_the_start_pose_is_gentle_and_comes_before_the_policy() -> None:
    bench = Bench(approach_share=0.2)
    away = HOME + np.append(np.full(7, 0.4), -0.02)
    bench.executing = None
    bench.positions = lambda: away if bench.executing is None else bench.executing.sample(bench.now_ns)[0]
    bench.run(0.1)
    bench.rollout.start("pick up the cup", from_start_pose=True)
    bench.run(0.1)
    assert bench.rollout.state is State.APPROACHING and "start pose" in bench.rollout.reason
    while bench.rollout.state is State.APPROACHING:
        assert not bench.requests
        bench.run(0.1)
    np.testing.assert_allclose(bench.positions(), HOME, atol=1e-9)
    assert 0.1 < max(bench.speeds) <= 0.2 * max(row.velocity for row in ROBOT.limits.values())
    bench.run(1)
    assert bench.rollout.state is State.FOLLOWING and bench.requests[0].new_session


@pytest.mark.parametrize("interruption", ["pause", "camera", "e-stop"])
def test_an_interrupted_way_to_the_start_pose_is_gone_to_its_end(interruption: str) -> None:
    bench = Bench()
    away = HOME + np.append(np.full(7, 0.4), 0.0)
    bench.positions = lambda: away if bench.executing is None else bench.executing.sample(bench.now_ns)[0]
    bench.run(0.1)
    bench.rollout.start("pick up the cup", from_start_pose=True)
    bench.run(1)
    if interruption == "pause":
        bench.keep(bench.rollout.pause(bench.now_ns))
        bench.run(1)
        bench.rollout.resume()
    elif interruption == "camera":
        cameras, bench.cameras = bench.cameras, []
        bench.run(1)
        assert bench.rollout.state is State.HOLDING
        bench.cameras = cameras
    else:
        bench.keep(bench.rollout.lock("e-stop", "the e-stop is pressed", bench.now_ns))
        bench.run(1)
        bench.rollout.unlock("e-stop")
        bench.rollout.restart()
    assert bench.fastest() == 0 and not bench.requests
    bench.run(0.5)
    assert bench.rollout.state is State.APPROACHING
    while bench.rollout.state is State.APPROACHING:
        bench.run(0.1)
    np.testing.assert_allclose(bench.positions(), HOME, atol=1e-9)


def test_an_arm_that_does_not_move_is_idle_for_a_time_that_is_told() -> None:
    bench = Bench(idle_motion=0.02)
    bench.rollout.start("pick up the cup")
    bench.run(4)
    assert bench.rollout.idle_s < 0.5
    bench.answer = lambda request: dataclasses.replace(
        bench.drift(request), targets=np.tile(request.frame.positions, (ROBOT.horizon, 1))
    )
    bench.run(5)
    assert 2.5 < bench.rollout.idle_s < 5


def test_a_robot_that_needs_commands_gets_them_in_every_state_after_the_first() -> None:
    needy = dataclasses.replace(ROBOT, command_period_s=0.1)
    bench = Bench(robot=needy)
    sent_ns = []
    keep = bench.keep

    def note(trajectory: Trajectory | None) -> None:
        if trajectory is not None:
            assert trajectory.end_ns >= bench.now_ns + 100 * MS
            if bench.executing is not None:
                for one, other in zip(
                    trajectory.sample(bench.now_ns), bench.executing.sample(bench.now_ns), strict=True
                ):
                    np.testing.assert_allclose(one, other, atol=1e-6)
            sent_ns.append(bench.now_ns)
        keep(trajectory)

    bench.keep = note
    bench.run(1)
    assert not sent_ns, "nothing before the first command"
    bench.rollout.start("pick up the cup")
    bench.run(3)
    bench.cameras.clear()
    bench.run(2)
    assert bench.rollout.state is State.HOLDING
    bench.keep(bench.rollout.end(bench.now_ns, "canceled"))
    bench.run(1)
    times_ns = sorted([*sent_ns, *(c.plan.trajectory.start_ns for c in bench.commands), bench.now_ns])
    assert np.diff(times_ns).max() <= 100 * MS


def test_joints_of_others_begin_where_they_are_and_the_rest_goes_on_holding() -> None:
    bench = Bench(robot=dataclasses.replace(ROBOT, command_period_s=0.1))
    bench.rollout.start("pick up the cup")
    bench.run(3)
    theirs = ROBOT.command_joints[:3]
    bench.rollout.release(theirs)
    bench.keep(bench.rollout.lock("goal", "somebody else moves the arm", bench.now_ns))
    assert bench.rollout.state is State.STOPPED and "somebody else" in bench.rollout.reason
    np.testing.assert_array_equal(bench.executing.velocities[:, :3], 0)
    sent = len(bench.stops)
    bench.run(1)
    assert len(bench.stops) > sent + 5, "commands are renewed"
    with pytest.raises(ValueError, match="somebody else"):
        bench.rollout.restart()

    told = bench.positions()
    elsewhere = told + np.where(np.arange(len(told)) < 3, 0.03, 0.01)
    bench.positions = lambda: elsewhere
    bench.run(0.1)
    bench.rollout.unlock("goal")
    bench.rollout.restart()
    done = len(bench.commands)
    bench.run(1)
    begin = bench.commands[done].plan.trajectory.positions[0]
    np.testing.assert_allclose(begin[:3], elsewhere[:3])
    np.testing.assert_allclose(begin[3:], told[3:], err_msg="a small error of the controller is no step")


def test_joints_that_others_moved_before_a_run_are_ours_in_it() -> None:
    bench = Bench(0.01)
    bench.rollout.release(ROBOT.command_joints)
    bench.rollout.start("pick up the cup")
    bench.run(0.5)
    assert bench.fastest() > 0
    bench.keep(bench.rollout.pause(bench.now_ns))
    bench.rollout.resume()
    done = len(bench.commands)
    while len(bench.commands) == done:
        before = bench.executing
        bench.run(0.005)
    begin = bench.commands[done].plan.trajectory
    assert np.abs(begin.velocities[0]).max() > 0, "it is still moving"
    for one, other in zip(begin.sample(begin.start_ns), before.sample(begin.start_ns), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_half_the_speed_takes_twice_the_time() -> None:
    def furthest(speed_scale: float) -> float:
        bench = Bench(motion=MotionSettings(speed_scale=speed_scale))
        bench.rollout.start("pick up the cup")
        bench.run(1.5)
        return float(np.abs(bench.positions() - HOME).max())

    assert furthest(0.5) == pytest.approx(furthest(1.0) / 2, rel=0.2)


def test_slow_motion_is_asked_for_less_often_and_is_never_late() -> None:
    bench = Bench(0.4, motion=MotionSettings(speed_scale=0.5))
    bench.rollout.start("pick up the cup")
    bench.run(12)
    assert bench.rollout.counters.deadline_misses == 0
    gaps = np.diff([request.frame.stamp_ns for request in bench.requests]) / SECOND
    assert gaps[1:].min() > 1.6


def test_settings_change_while_a_run_lasts() -> None:
    bench = Bench()
    bench.rollout.start("pick up the cup")
    bench.run(3)
    bench.rollout.apply(RolloutSettings(max_observation_age_s=0.01))
    bench.run(0.1)
    assert bench.rollout.state is State.HOLDING and "the limit is 10 ms" in bench.rollout.reason


def test_other_limits_hold_from_the_next_chunk_on() -> None:
    bench = Bench()
    bench.rollout.start("pick up the cup")
    bench.run(3)
    slow = {joint: dataclasses.replace(row, velocity=0.01) for joint, row in ROBOT.limits.items()}
    bench.rollout.describe(dataclasses.replace(ROBOT, limits=slow))
    done = len(bench.commands)
    bench.run(4)
    for command in bench.commands[done + 1 :]:
        after = command.plan.trajectory.window(command.plan.splice_ns, command.plan.trajectory.end_ns)
        assert after.extremes().velocity.max() <= 0.01 + 1e-6


def test_a_new_instruction_does_not_undo_a_stop() -> None:
    bench = Bench()
    bench.rollout.start("pick up the cup")
    bench.run(3)
    bench.keep(bench.rollout.trip("the arm was hit", bench.now_ns))
    bench.rollout.change_instruction("put it down")
    assert bench.rollout.state is State.STOPPED


def test_nothing_is_asked_and_no_way_begun_while_it_waits_for_something() -> None:
    bench = Bench()
    bench.rollout.start("pick up the cup", from_start_pose=True)
    bench.rollout.wait_for("the door is open")
    bench.run(2)
    assert bench.rollout.state is State.WAITING and bench.rollout.reason == "the door is open"
    assert not bench.requests and not bench.stops and bench.executing is None
    bench.rollout.wait_for("")
    bench.run(2)
    assert bench.rollout.state is State.FOLLOWING
