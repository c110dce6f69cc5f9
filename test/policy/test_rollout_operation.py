# SPDX-License-Identifier: Apache-2.0
"""What the operator does in a run, on a made-up clock: ends, pauses, locks, the start pose, settings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from rollout_bench import HOME, ROBOT, SECOND, Bench

from dreamzero_ros.motion.plan import Settings as MotionSettings
from dreamzero_ros.policy.rollout import State
from dreamzero_ros.policy.settings import RolloutSettings

pytestmark = pytest.mark.cpu


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


def test_an_arm_that_is_ahead_of_its_hand_is_compared_with_where_it_was_to_be_then() -> None:
    """The hand comes every 20 ms, and late; the arm follows its commands exactly."""
    bench = Bench(hand_every_ms=20, tracking_tolerance=0.001, tracking_time_s=0.1)
    bench.rollout.start("pick up the cup")
    bench.run(3)
    assert bench.rollout.state is State.FOLLOWING, bench.rollout.reason
    assert bench.fastest() * 0.025 > 0.001, "fast enough that its newest position would be further away"


def test_released_joints_are_held_where_they_are_now_though_the_hand_is_silent() -> None:
    """Who moved the arm meanwhile must not see it sent back to where it was when the hand was last heard."""
    bench = Bench(robot=dataclasses.replace(ROBOT, command_period_s=0.1), hand_every_ms=20)
    bench.rollout.start("pick up the cup")
    bench.run(2)
    bench.hand_every_ms = 10**9
    bench.keep(bench.rollout.lock("goal", "somebody else moves the arm", bench.now_ns))
    elsewhere = bench.positions() + 0.2 * (np.arange(8) < 7)
    bench.positions = lambda: elsewhere
    bench.run(0.5)
    bench.rollout.release(ROBOT.command_joints)
    sent = len(bench.stops)
    bench.run(0.3)
    assert len(bench.stops) > sent
    np.testing.assert_allclose(bench.stops[-1].positions[:, :7], np.tile(elsewhere[:7], (2, 1)))


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
