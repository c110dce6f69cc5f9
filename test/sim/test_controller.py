# SPDX-License-Identifier: Apache-2.0
"""The simulated controller does what the released controllers do, the unpleasant parts included."""

from __future__ import annotations

import numpy as np
import pytest

from dreamzero_ros.sim.controller import (
    Floats,
    SimJointTrajectoryController,
    TrajectoryCommand,
    TrajectoryRejectedError,
)

pytestmark = pytest.mark.cpu
JOINTS = ("a", "b")
NOW_NS = 1_700_000_000_000_000_000
MS = 1_000_000
MEASURED = np.array([0.1, -0.1])


def command(
    points: dict[int, float],
    stamp_ns: int = NOW_NS,
    velocity: float | None = 0.0,
    joints: tuple[str, ...] = JOINTS,
) -> TrajectoryCommand:
    """Both joints at the same position; `points` maps milliseconds to position."""
    positions = np.tile(np.array([*points.values()], dtype=np.float64)[:, None], len(joints))
    velocities = None if velocity is None else np.full_like(positions, velocity)
    return TrajectoryCommand(
        stamp_ns, joints, np.array([*points], dtype=np.int64) * MS, positions, velocities
    )


def controller(**options: bool) -> SimJointTrajectoryController:
    return SimJointTrajectoryController(JOINTS, np.zeros(2), **options)


def positions(sim: SimJointTrajectoryController, *ms: int) -> Floats:
    """Setpoint of the first joint at some times after now."""
    return np.array([sim.update(NOW_NS + t * MS, MEASURED)[0][0] for t in ms])


def test_holds_before_anything_arrives() -> None:
    q, v = controller().update(NOW_NS, MEASURED)
    assert (q == 0).all()
    assert (v == 0).all()


def test_cubic_between_points_with_velocities() -> None:
    sim = controller()
    sim.submit(command({0: 0.0, 1000: 1.0}), NOW_NS)
    u = np.array([0.0, 0.25, 0.5, 0.9, 1.0])
    np.testing.assert_allclose(positions(sim, 0, 250, 500, 900, 1000), 3 * u**2 - 2 * u**3, atol=1e-12)


def test_cubic_passes_its_velocities() -> None:
    sim = controller()
    sim.submit(command({0: 0.0, 100: 0.3, 200: 0.1}, velocity=0.7), NOW_NS)
    assert positions(sim, 0)[0] == 0
    for ms in (1, 100):
        before, at = positions(sim, ms - 1, ms)
        assert (at - before) / 1e-3 == pytest.approx(0.7, abs=0.2)
    np.testing.assert_allclose(sim.update(NOW_NS + 100 * MS, MEASURED)[1], 0.7)


def test_straight_lines_without_velocities() -> None:
    sim = controller()
    sim.submit(command({0: 0.0, 1000: 1.0, 2000: 0.0}, velocity=None), NOW_NS)
    np.testing.assert_allclose(positions(sim, 250, 1000, 1750), [0.25, 1.0, 0.25], atol=1e-12)
    np.testing.assert_allclose(sim.update(NOW_NS + 1800 * MS, MEASURED)[1], -1.0)


def test_rests_at_the_end() -> None:
    sim = controller()
    sim.submit(command({0: 0.0, 100: 1.0}, velocity=2.0), NOW_NS)
    q, v = sim.update(NOW_NS + 101 * MS, MEASURED)
    assert (q == 1).all()
    assert (v == 0).all()


def test_stamp_zero_begins_at_the_next_update() -> None:
    sim = controller()
    sim.submit(command({0: 0.0, 1000: 1.0}, stamp_ns=0), NOW_NS)
    np.testing.assert_allclose(positions(sim, 300, 800, 1300), [0.0, 0.5, 1.0], atol=1e-12)


def test_a_new_trajectory_makes_it_forget_the_old_one() -> None:
    """The old one would reach 1; the new one begins later, and the way to it leaves at once."""
    sim = controller()
    sim.submit(command({0: 0.0, 1000: 1.0}), NOW_NS)
    at_500 = positions(sim, 250, 500)[1]
    sim.submit(command({0: 0.0, 100: 0.0}, stamp_ns=NOW_NS + 600 * MS), NOW_NS + 500 * MS)
    arrival, half_way, there = positions(sim, 500, 550, 600)
    assert arrival == pytest.approx(at_500)
    assert there == pytest.approx(0.0)
    # cubic from (0.5, 1.5 rad/s) to (0, 0) in 0.1 s, at its middle
    assert half_way == pytest.approx(0.5 / 2 + 1.5 * 0.1 / 8)


def test_the_way_to_the_first_point_may_leave_from_the_measured_state() -> None:
    sim = controller(interpolate_from_desired_state=False)
    sim.submit(command({100: 1.0}), NOW_NS)
    np.testing.assert_allclose(positions(sim, 0, 50), [0.1, 0.55], atol=1e-12)


def test_a_start_in_the_past_steps() -> None:
    """No blend: the setpoint is at once where the new trajectory is by now."""
    sim = controller()
    sim.submit(command({0: 0.0, 1000: 1.0}, stamp_ns=NOW_NS - 500 * MS), NOW_NS)
    assert positions(sim, 0)[0] == pytest.approx(0.5)


def test_joints_in_another_order() -> None:
    sim = controller()
    times = np.array([0, 100 * MS], dtype=np.int64)
    swapped = TrajectoryCommand(NOW_NS, ("b", "a"), times, np.array([[0.0, 0.0], [1.0, 2.0]]), None)
    sim.submit(swapped, NOW_NS)
    np.testing.assert_array_equal(sim.update(NOW_NS + 100 * MS, MEASURED)[0], [2.0, 1.0])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (command({0: 0.0, 100: 1.0}, stamp_ns=NOW_NS - 101 * MS), "ends in the past"),
        (command({}), "Empty trajectory received"),
        (command({0: 0.0, 100: 1.0}, joints=("a",)), "don't match the controller joints"),
        (command({0: 0.0, 100: 1.0}, joints=("a", "c")), "Incoming joint c"),
        (command({100: 0.0, 50: 1.0}), "points 0 and 1 is not strictly increasing"),
        (TrajectoryCommand(0, JOINTS, np.array([0]), np.zeros((1, 3)), None), "Mismatch.*positions"),
        (
            TrajectoryCommand(0, JOINTS, np.array([0]), np.zeros((1, 2)), np.zeros((2, 2))),
            "Mismatch.*velocities",
        ),
    ],
)
def test_rejects_with_the_reason_and_goes_on(wrong: TrajectoryCommand, words: str) -> None:
    sim = controller()
    sim.submit(command({0: 0.0, 1000: 1.0}, velocity=None), NOW_NS)
    with pytest.raises(TrajectoryRejectedError, match=words):
        sim.submit(wrong, NOW_NS)
    np.testing.assert_allclose(positions(sim, 0, 500), [0.0, 0.5], atol=1e-12)


def test_stamp_zero_never_ends_in_the_past() -> None:
    sim = controller()
    sim.submit(command({0: 0.5}, stamp_ns=0), NOW_NS)
    assert positions(sim, 0)[0] == 0.5


def test_a_moving_end_is_taken_or_rejected_as_set() -> None:
    controller().submit(command({0: 0.0, 100: 1.0}, velocity=0.5), NOW_NS)
    with pytest.raises(TrajectoryRejectedError, match="joint a is not zero"):
        controller(allow_nonzero_velocity_at_trajectory_end=False).submit(
            command({0: 0.0, 100: 1.0}, velocity=0.5), NOW_NS
        )


@pytest.mark.parametrize(("stamp_ns", "end_ms"), [(NOW_NS, 1000), (NOW_NS + 200 * MS, 1200), (0, 1050)])
def test_remaining_time_counts_to_the_last_point_of_the_newest_trajectory(stamp_ns: int, end_ms: int) -> None:
    """A trajectory without a stamp begins with the update after it came."""
    sim = controller()
    assert sim.remaining_ns(NOW_NS) is None
    sim.submit(command({0: 0.0, 5000: 1.0}), NOW_NS)
    positions(sim, 0, 10)
    sim.submit(command({0: 0.0, 1000: 1.0}, stamp_ns=stamp_ns), NOW_NS)
    if stamp_ns:
        assert sim.remaining_ns(NOW_NS + 50 * MS) == (end_ms - 50) * MS
    positions(sim, 50)
    for ms in (50, 500, end_ms, 3000):
        assert sim.remaining_ns(NOW_NS + ms * MS) == (end_ms - ms) * MS


def test_holding_drops_the_trajectory_and_the_next_begins_from_there() -> None:
    sim = controller()
    sim.submit(command({0: 0.0, 1000: 1.0}), NOW_NS)
    positions(sim, 0, 500)
    sim.hold(np.array([0.3, 0.3]))
    assert sim.remaining_ns(NOW_NS + 500 * MS) is None
    np.testing.assert_array_equal(positions(sim, 510, 900), 0.3)
    sim.submit(command({0: 1.3}, stamp_ns=NOW_NS + 2000 * MS), NOW_NS + 1000 * MS)
    np.testing.assert_allclose(positions(sim, 1000, 1500, 2000), [0.3, 0.8, 1.3])
