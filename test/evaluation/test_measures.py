# SPDX-License-Identifier: Apache-2.0
"""What is measured of episodes whose errors are known, and what must hold of all episodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
from episodes import DT_S, JOINTS, STAGES, make_episode, replace, waves
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamzero_ros.evaluation.episode import Calls, Episode, Floats
from dreamzero_ros.evaluation.measures import WORST, measure
from dreamzero_ros.evaluation.metrics import HOLD, POLICY, REPEAT, definitions
from dreamzero_ros.evaluation.statistics import value, values

pytestmark = pytest.mark.cpu

FEW = settings(max_examples=10, deadline=None, database=None)
SLOPES = np.array([1.0, -2.0])
DEFINITIONS = definitions({"rad", "m"}, 24)


def ramp(t_s: Floats) -> Floats:
    return t_s[..., None] * SLOPES


def shifted(by: float) -> Callable[[Floats], Floats]:
    return lambda t_s: waves(t_s) + by


def metric(episode: Episode, name: str, row: int = POLICY) -> float:
    return float(values(name, DEFINITIONS[name], [measure(episode).tallies], row)[0])


def test_a_perfect_prediction_has_no_error() -> None:
    episode = make_episode()
    for name in ("rmse", "rmse@1", "mae@24", "final_error", "planned_rmse", "gripper_timing_s"):
        assert metric(episode, name) == 0, name
    for name in ("direction", "gripper_accuracy"):
        assert metric(episode, name) == 1, name
    assert measure(episode).worst[0].rmse == 0


def test_baselines_on_a_ramp() -> None:
    episode = make_episode(ramp)
    speed = np.sqrt((SLOPES**2).mean())
    for step in (1, 8, 24):
        assert metric(episode, f"rmse@{step}", HOLD) == pytest.approx(speed * step * DT_S, rel=1e-6)
        assert metric(episode, f"mae@{step}", HOLD) == pytest.approx(1.5 * step * DT_S, rel=1e-6)
    every = np.sqrt((np.arange(1, 25) ** 2).mean())
    assert metric(episode, "rmse", HOLD) == pytest.approx(speed * every * DT_S, rel=1e-6)
    length = np.linalg.norm(SLOPES) * 24 * DT_S
    assert metric(episode, "final_error", HOLD) == pytest.approx(length, rel=1e-6)
    assert metric(episode, "rmse", REPEAT) == pytest.approx(0, abs=1e-9)
    assert metric(episode, "direction", HOLD) == 0
    assert metric(episode, "direction", REPEAT) == 1


def test_an_offset_is_the_error_at_every_target() -> None:
    episode = make_episode(predicted=shifted(0.1))
    for name in ("rmse", "rmse@1", "rmse@8", "mae", "mae@24", "planned_rmse"):
        assert metric(episode, name) == pytest.approx(0.1), name
    assert metric(episode, "final_error") == pytest.approx(0.1 * np.sqrt(2))
    np.testing.assert_allclose(
        np.sqrt(measure(episode).squared[POLICY] / measure(episode).counted[POLICY]), 0.1
    )


def test_only_the_planned_error_follows_what_is_planned() -> None:
    episode = make_episode()
    planned = episode.calls.planned + 0.2
    assert metric(replace(episode, planned=planned), "planned_rmse") == pytest.approx(0.2)
    assert metric(replace(episode, planned=planned), "rmse") == 0


def test_the_wrong_way_is_the_wrong_direction_and_standing_still_has_none() -> None:
    assert metric(make_episode(ramp, predicted=lambda t: ramp(8 - t)), "direction") < 1
    episode = make_episode(ramp)
    mirrored = 2 * episode.calls.positions[:, None] - episode.calls.targets
    assert metric(replace(episode, targets=mirrored), "direction") == 0
    one_mirrored = np.where([True, False], mirrored, episode.calls.targets)
    assert metric(replace(episode, targets=one_mirrored), "direction") == 0.5
    assert np.isnan(metric(make_episode(lambda t: 0 * ramp(t), ramp), "direction"))


def test_a_motion_that_is_too_small_has_no_direction() -> None:
    episode = make_episode(lambda t: 0 * ramp(t), lambda t: 0 * ramp(t) + 1.0)
    moved = np.zeros((6, 24, 2))
    moved[..., 0], moved[..., 1] = 0.009, -0.009
    assert np.isnan(metric(replace(episode, recorded=moved), "direction"))
    moved[..., 0] = 0.011
    assert metric(replace(episode, recorded=moved), "direction") == 1
    assert measure(replace(episode, recorded=moved)).moved.tolist() == [6 * 24, 0]


def test_a_gripper_counts_by_its_side_of_the_middle_and_not_as_an_error() -> None:
    episode = make_episode()
    beyond = episode.calls.targets.copy()
    beyond[..., 2] = np.where(beyond[..., 2] > 0.5, 0.51, 0.49)
    assert metric(replace(episode, targets=beyond), "gripper_accuracy") == 1
    assert metric(replace(episode, targets=beyond), "rmse") == 0
    beyond[0, :, 2] = 1 - beyond[0, :, 2]
    assert metric(replace(episode, targets=beyond), "gripper_accuracy") == pytest.approx(5 / 6)
    opposite = beyond.copy()
    opposite[..., 2] = 1 - episode.calls.recorded[..., 2]
    assert metric(replace(episode, targets=opposite), "gripper_accuracy") == 0
    assert metric(replace(episode, targets=opposite), "direction") == 1
    wide = replace(episode, targets=beyond * 3, recorded=episode.calls.recorded * 3, upper=np.full(3, 3.0))
    assert metric(wide, "gripper_accuracy") == pytest.approx(5 / 6)


def test_jumps_and_jerks_are_those_of_the_arm() -> None:
    jumps = np.zeros((6, 2, 3))
    jumps[1:, 0], jumps[1:, 1] = [0.01, -0.03, 9], [0.2, 0.4, 9]
    jumps[0] = np.nan
    jerk = np.tile([3.0, 4.0, 900.0], (6, 1))
    episode = make_episode(raw_jump=jumps, spliced_jump=jumps / 10, raw_jerk=jerk, planned_jerk=jerk / 2)
    expected = {
        "raw_jump_position": 0.02,
        "raw_jump_position_max": 0.03,
        "raw_jump_velocity": 0.3,
        "raw_jump_velocity_max": 0.4,
        "spliced_jump_position": 0.002,
        "spliced_jump_velocity_max": 0.04,
        "raw_jerk": np.sqrt(12.5),
        "planned_jerk": np.sqrt(12.5) / 2,
    }
    for name, wanted in expected.items():
        assert metric(episode, name) == pytest.approx(wanted), name


def test_counts_and_times() -> None:
    times_s = np.arange(1, 7) / 10
    episode = make_episode(
        dropped=2,
        limit_hits=np.array([0, 0, 3, 0, 0, 6]),
        late=np.array([False, True, True, False, False, True]),
        observation_age_s=times_s,
        image_age_s=np.stack([times_s, times_s + 1], axis=1),
    )
    assert metric(episode, "limit_hits") == 1.5
    assert metric(episode, "deadline_misses") == 0.5
    assert metric(episode, "targets_dropped") == pytest.approx(2 / 24)
    assert metric(episode, "observation_age_p50") == pytest.approx(0.3)
    assert metric(episode, "observation_age_p90") == pytest.approx(0.6)
    assert metric(episode, "image_age_p50") == pytest.approx(0.6)
    assert metric(episode, "image_age_p90") == pytest.approx(1.5)
    assert metric(episode, "latency_p50") == pytest.approx(2.5 * DT_S - 0.01)
    assert measure(episode).stages_s.shape == (6, len(STAGES))


def test_dreams_by_horizon() -> None:
    psnr = np.tile([30.0, 20.0, np.inf, np.nan], (6, 1))
    measures = measure(make_episode(psnr=psnr, ssim=psnr / 100))
    np.testing.assert_array_equal(measures.dreamed[0], [[180, 6], [120, 6], [0, 0], [0, 0]])
    assert metric(make_episode(psnr=psnr), "psnr") == 25
    assert any("6 dreamed images" in notice for notice in measures.notices)


def test_sliding_joints_are_measured_apart() -> None:
    episode = make_episode(ramp, lambda t: ramp(t) + np.array([0.1, 0.002]), units=("rad", "m"))
    assert metric(episode, "rmse") == pytest.approx(0.1)
    assert metric(episode, "rmse_m") == pytest.approx(0.002)
    assert metric(episode, "rmse@8_m", HOLD) == pytest.approx(2 * 8 * DT_S, rel=1e-6)
    assert metric(episode, "raw_jump_position_max_m") > 0
    assert measure(episode).worst[0].rmse == pytest.approx(0.1)


def test_what_was_not_recorded_or_answered_is_left_out_and_said() -> None:
    whole = make_episode(predicted=shifted(0.1), calls=5)
    recorded, targets = whole.calls.recorded.copy(), whole.calls.targets.copy()
    recorded[2], targets[4] = np.nan, np.nan
    partly = measure(replace(whole, recorded=recorded, targets=targets))
    assert partly.counted[POLICY].sum() == partly.counted[HOLD].sum() == 3 * 24 * 3
    assert value("rmse", DEFINITIONS["rmse"], partly.tallies) == pytest.approx(0.1)
    assert partly.tallies.sums["gripper_accuracy"][POLICY].tolist() == [3 * 24, 3 * 24]
    assert partly.tallies.sums["direction"][POLICY, 1] <= 3 * 24 * 2
    assert partly.tallies.sums["direction"][HOLD, 1] == partly.tallies.sums["direction"][POLICY, 1]
    assert "24 of 120 targets are left out where nothing was recorded then" in partly.notices
    assert "1 of 5 calls are left out where they have no answer" in partly.notices
    assert {moment.call for moment in partly.worst} <= {0, 1, 3}


def test_a_baseline_that_has_no_past_counts_from_where_it_has() -> None:
    whole = make_episode(ramp)
    repeated = whole.calls.repeated.copy()
    repeated[:2] = np.nan
    counted = measure(replace(whole, repeated=repeated)).counted
    assert counted[REPEAT].sum() == counted[POLICY].sum() * 4 / 6


def test_an_episode_without_calls_says_nothing() -> None:
    whole = make_episode()
    empty = measure(replace(whole, **{f.name: getattr(whole.calls, f.name)[:0] for f in fields(Calls)}))
    assert (empty.calls, empty.worst) == (0, ())
    assert not any(m.known(name, empty.tallies) for name, m in DEFINITIONS.items())
    assert np.isnan([value(name, m, empty.tallies) for name, m in DEFINITIONS.items()]).all()


def test_the_worst_moments_are_a_horizon_apart() -> None:
    whole = make_episode(calls=200)
    targets = whole.calls.targets + np.linspace(0, 1, 200)[:, None, None]
    worst = measure(replace(whole, targets=targets)).worst
    assert [moment.call for moment in worst] == [199 - 3 * n for n in range(WORST)]
    assert worst[0].at_s == pytest.approx((24 + 8 * 199) * DT_S)
    assert worst[0].rmse == pytest.approx(1)


def test_an_image_that_was_captured_before_the_begin_is_shown_at_the_begin() -> None:
    whole = make_episode()
    late = replace(whole, start_ns=int(whole.calls.captured_ns[0]) + 2_000_000)
    assert min(moment.at_s for moment in measure(late).worst) == 0


@FEW
@given(seeds=st.tuples(st.integers(0, 99), st.integers(100, 199)), calls=st.integers(1, 5))
def test_pooling_equals_measuring_both_as_one(seeds: tuple[int, int], calls: int) -> None:
    one, other = (
        noisy(make_episode(calls=n, seed=seed), seed) for n, seed in zip((4, calls), seeds, strict=True)
    )
    parts, whole = [measure(one).tallies, measure(other).tallies], measure(joined(one, other)).tallies
    for name, m in DEFINITIONS.items():
        for row in (POLICY, HOLD, REPEAT) if len(whole.sums.get(name, ())) > 1 else (POLICY,):
            expected = values(name, m, [whole], row)[0]
            assert values(name, m, parts, row)[0] == pytest.approx(expected, nan_ok=True), name
        assert value(name, m, whole) == pytest.approx(values(name, m, [whole])[0], nan_ok=True)


@FEW
@given(order=st.permutations(range(len(JOINTS))), seed=st.integers(0, 99))
def test_the_order_of_the_joints_is_of_no_matter(order: list[int], seed: int) -> None:
    episode = noisy(make_episode(seed=seed), seed)
    other = reordered(episode, order)
    ours, theirs = measure(episode), measure(other)
    np.testing.assert_array_equal(ours.squared[..., order], theirs.squared)
    for name, m in DEFINITIONS.items():
        assert value(name, m, theirs.tallies) == pytest.approx(value(name, m, ours.tallies), nan_ok=True), (
            name
        )


@FEW
@given(factor=st.floats(-10, 10).filter(lambda x: abs(x) > 0.01), seed=st.integers(0, 99))
def test_errors_scale(factor: float, seed: int) -> None:
    episode = noisy(make_episode(seed=seed), seed)
    recorded = episode.calls.recorded
    scaled = replace(episode, targets=recorded + factor * (episode.calls.targets - recorded))
    for name in ("rmse", "rmse@8", "mae", "mae@24", "final_error"):
        assert metric(scaled, name) == pytest.approx(abs(factor) * metric(episode, name)), name


def noisy(episode: Episode, seed: int) -> Episode:
    """With wrong answers, a gripper that changes at random, and gaps in what was recorded."""
    rng = np.random.default_rng(seed)
    calls = episode.calls
    recorded = np.where(rng.random(calls.recorded.shape) < 0.1, np.nan, calls.recorded)
    return replace(
        episode, targets=calls.targets + rng.normal(0, 0.4, calls.targets.shape), recorded=recorded
    )


def joined(one: Episode, other: Episode) -> Episode:
    """The calls of both; those of the other begin a session."""
    arrays = {f.name: (getattr(one.calls, f.name), getattr(other.calls, f.name)) for f in fields(Calls)}
    later_ns = 10**11
    for name in ("captured_ns", "asked_ns", "answered_ns"):
        arrays[name] = arrays[name][0], arrays[name][1] + later_ns
    return replace(one, **{name: np.concatenate(pair) for name, pair in arrays.items()})


def reordered(episode: Episode, order: list[int]) -> Episode:
    last = ("positions", "targets", "planned", "recorded", "repeated")
    last += ("raw_jump", "spliced_jump", "raw_jerk", "planned_jerk")
    arrays = {name: getattr(episode.calls, name)[..., order] for name in last}
    return replace(
        episode,
        joints=tuple(episode.joints[j] for j in order),
        units=tuple(episode.units[j] for j in order),
        lower=episode.lower[order],
        upper=episode.upper[order],
        measured=episode.measured[:, order],
        **arrays,
    )
