# SPDX-License-Identifier: Apache-2.0
"""One run on a made-up clock: requests, commands, late chunks and faults."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rollout_bench import FORESIGHT, HOME, MS, ROBOT, SECOND, Bench

from dreamzero_ros.embodiment.frame import ActionChunk
from dreamzero_ros.motion.trajectory import Trajectory
from dreamzero_ros.policy.base import Foresight
from dreamzero_ros.policy.rollout import Request, State

pytestmark = pytest.mark.cpu


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


@pytest.mark.parametrize("latency_s", [0.05, 0.16, 0.5])
def test_the_first_images_of_every_call_that_continues_are_foreseen_once(latency_s: float) -> None:
    """While the policy is idle, and early enough to be done with them before the call."""
    bench = Bench(latency_s)
    bench.rollout.pacing.record(latency_s)
    bench.rollout.start("pick up the cup")
    bench.run(10)
    calls = range(1, len(bench.requests))
    assert len(calls) >= 5
    assert [foreseen.requests for foreseen in bench.foreseen][: len(calls)] == list(calls)
    for foreseen, call in zip(bench.foreseen, calls, strict=False):
        assert foreseen.commands == foreseen.requests, "every call made so far was answered"
        assert foreseen.state in (State.FOLLOWING, State.HOLDING)
        frame = bench.requests[call].frame
        assert foreseen.at_ns + FORESIGHT.takes_s * SECOND < frame.stamp_ns
        assert foreseen.images.keys() == frame.images.keys()
        for name, images in foreseen.images.items():
            np.testing.assert_array_equal(images, frame.images[name][: FORESIGHT.images])


@pytest.mark.parametrize(
    ("latency_s", "options"),
    [
        (0.3, {"foresight": None}),
        (0.3, {"look_ahead": False}),
        (0.3, {"mode": "blocking"}),
        (0.3, {"foresight": Foresight(images=2, takes_s=3.0)}),
        (0.7, {}),
    ],
    ids=["policy_looks_at_nothing", "switched_off", "blocking", "takes_too_long", "policy_is_never_idle"],
)
def test_nothing_is_foreseen_where_it_is_of_no_use(latency_s: float, options: dict[str, object]) -> None:
    bench = Bench(latency_s, **options)
    bench.rollout.pacing.record(latency_s)
    bench.rollout.start("pick up the cup")
    bench.run(8)
    assert len(bench.requests) >= 3 and not bench.foreseen


def test_nothing_is_foreseen_while_a_call_is_answered_or_the_next_one_begins_a_session() -> None:
    """Neither at the start, nor after another instruction, in a pause, in a hold, and after the run."""
    bench = Bench(0.3)
    bench.rollout.pacing.record(0.3)

    def foreseen_in(seconds: float) -> int:
        before = len(bench.foreseen)
        bench.run(seconds)
        return len(bench.foreseen) - before

    def begin_a_session() -> None:
        assert foreseen_in(0.25) == 0, "the first call is not answered yet"
        assert foreseen_in(0.5) == 1
        assert bench.requests[-1].new_session

    bench.rollout.start("pick up the cup")
    begin_a_session()
    bench.rollout.change_instruction("put it down")
    begin_a_session()
    bench.keep(bench.rollout.pause(bench.now_ns))
    assert foreseen_in(2) == 0
    bench.rollout.resume()
    begin_a_session()
    bench.cameras.clear()
    assert foreseen_in(2) == 0 and bench.rollout.state is State.HOLDING
    bench.keep(bench.rollout.end(bench.now_ns, "canceled"))
    assert foreseen_in(1) == 0


def test_nothing_is_foreseen_for_a_session_that_will_not_go_on() -> None:
    """Not even while the call that begins another one has to wait."""
    bench = Bench(0.05)
    bench.rollout.pacing.record(0.05)
    bench.rollout.start("pick up the cup")
    bench.run(0.2)
    assert bench.commands and not bench.foreseen
    bench.rollout.change_instruction("put it down")
    bench.rollout.wait_for("a controller is missing")
    bench.run(1)
    assert len(bench.requests) == 1 and not bench.foreseen


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


@pytest.mark.parametrize("state", [State.WAITING, State.HOLDING], ids=["first_answer", "late_answer"])
def test_an_answer_that_comes_while_a_camera_is_silent_moves_nothing(state: State) -> None:
    """The arm rests already, so that nothing is stopped: nothing may begin to move either."""
    bench = Bench(0.2)
    if state is State.HOLDING:
        bench.rollout.start("pick up the cup")
        bench.run(3)
        bench.latency_s = 2.5
        bench.run(2.4)
    else:
        bench.latency_s = 0.5
        bench.rollout.start("pick up the cup")
        bench.run(0.1)
    assert bench.rollout.state is state
    held, asked, answers = len(bench.commands), len(bench.requests), []
    bench.answer = lambda request: answers.append(request) or bench.drift(request)
    bench.cameras.remove("wrist_image_left")
    bench.run(1.5)
    assert len(answers) == 1, "the answer came"
    assert len(bench.commands) == held and not bench.stops
    assert bench.rollout.state is state and "wrist_image_left" in bench.rollout.reason
    bench.cameras.append("wrist_image_left")
    bench.latency_s = 0.2
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
