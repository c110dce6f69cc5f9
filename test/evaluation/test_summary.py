# SPDX-License-Identifier: Apache-2.0
"""The content of report.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bags
import numpy as np
import pytest
import recordings
from episodes import DT_S, JOINTS, STAGES, START_NS, make_episode, replace, waves

from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.measures import measure
from dreamzero_ros.evaluation.metrics import Tallies
from dreamzero_ros.evaluation.playback import PlaybackSettings, play
from dreamzero_ros.evaluation.spans import Span
from dreamzero_ros.evaluation.streams import streams
from dreamzero_ros.evaluation.summary import FILE, VERSION, read_summary, summarise, write_summary
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.policy.stand_ins import HoldPolicy

pytestmark = pytest.mark.cpu

OFFSETS = (0.1, 0.2, 0.4)


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    """Three episodes with constant errors, the second twice as long; only the last one was stopped."""
    episodes = [
        make_episode(
            predicted=lambda t, offset=offset: waves(t) + offset,
            seed=number,
            calls=calls,
            number=number,
            notices=("a clock jumps",),
            holds={"late": number},
            psnr=np.full((calls, number), 20.0 + number),
            ssim=np.full((calls, number), 0.5),
        )
        for number, (offset, calls) in enumerate(zip(OFFSETS, (10, 20, 10), strict=True))
    ]
    episodes[2] = replace(episodes[2], notices=("a clock jumps", "stopped"))
    named = [(f"session1-{n:03d}", measure(episode)) for n, episode in enumerate(episodes)]
    return summarise(named, failed=[{"bag": "broken.mcap", "error": "cut off"}], notices=["two bags"])


def test_what_it_is_about(summary: dict[str, Any]) -> None:
    assert {name: summary[name] for name in ("version", "policy", "embodiment", "reference", "settings")} == {
        "version": VERSION,
        "policy": "waves",
        "embodiment": "small_robot",
        "reference": "commands",
        "settings": {"seed": 7, "latency_s": 0.2},
    }
    assert summary["failed"] == [{"bag": "broken.mcap", "error": "cut off"}]
    assert summary["holds"] == {"late": 3}


def test_pooled_values_count_every_target_once(summary: dict[str, Any]) -> None:
    rmse, mae = summary["metrics"]["rmse"], summary["metrics"]["mae"]
    assert rmse["value"] == pytest.approx(np.sqrt((0.01 + 2 * 0.04 + 0.16) / 4))
    assert mae["value"] == pytest.approx((0.1 + 2 * 0.2 + 0.4) / 4)
    assert 0.1 <= rmse["low"] < rmse["value"] < rmse["high"] <= 0.4
    assert (rmse["unit"], rmse["better"]) == ("rad", "lower")
    assert rmse["hold"]["low"] < rmse["hold"]["value"] < rmse["hold"]["high"]
    assert rmse["repeat"]["value"] > rmse["hold"]["value"]
    assert summary["metrics"]["limit_hits"]["hold"] is None


def test_every_metric_is_defined_in_a_sentence(summary: dict[str, Any]) -> None:
    for name, metric in summary["metrics"].items():
        assert metric["text"].endswith(".") and len(metric["text"]) > 30, name
        assert set(metric) == {"value", "low", "high", "unit", "better", "text", "hold", "repeat"}, name
    assert "rmse_m" not in summary["metrics"] and "ee_position_mm" not in summary["metrics"]


def test_joints_and_horizon(summary: dict[str, Any]) -> None:
    assert list(summary["joints"]) == list(JOINTS)
    row = summary["joints"]["gripper"]
    columns = ("unit", "rmse", "rmse@1", "rmse@8", "rmse@24", "mae", "hold_rmse", "repeat_rmse", "direction")
    assert tuple(row) == columns
    assert row["unit"] == "ratio"
    for joint in JOINTS:
        assert summary["joints"][joint]["rmse@8"] == pytest.approx(0.25)
        assert summary["joints"][joint]["mae"] == pytest.approx(0.225)
    horizon = summary["horizon"]
    assert horizon["step"] == list(range(1, 25))
    assert horizon["rmse"] == pytest.approx([0.25] * 24)
    assert horizon["hold"][0] < horizon["hold"][12] and len(horizon["repeat"]) == 24


def test_stages_and_dreams(summary: dict[str, Any]) -> None:
    assert list(summary["stages"]) == list(STAGES)
    for times_s in summary["stages"].values():
        assert 0.01 < times_s["p50"] < times_s["p90"] <= times_s["p99"] < 0.1
    assert summary["dream"]["psnr"] == pytest.approx([(20 * 21 + 10 * 22) / 30, 22])
    assert summary["dream"]["ssim"] == pytest.approx([0.5, 0.5])


def test_episodes_by_themselves(summary: dict[str, Any]) -> None:
    first, second, _ = summary["episodes"]
    assert (first["id"], first["bag"], first["number"]) == ("session1-000", "bags/session1.mcap", 0)
    assert (first["start_ns"], first["calls"], second["calls"]) == (START_NS, 10, 20)
    assert first["duration_s"] == pytest.approx(DT_S * (24 + 9 * 8 + 24))
    assert list(second["metrics"]) == list(summary["metrics"])
    assert set(second["metrics"]) - set(first["metrics"]) == {"psnr", "ssim"}
    for entry, offset in zip(summary["episodes"], OFFSETS, strict=True):
        assert entry["metrics"]["rmse"] == pytest.approx(offset)
        assert Tallies.of(entry["tallies"]).sums["mae"][0] == pytest.approx(
            [offset * entry["calls"] * 48, entry["calls"] * 48]
        )


def test_what_holds_for_all_episodes_is_said_once(summary: dict[str, Any]) -> None:
    assert summary["notices"][:2] == ["two bags", "a clock jumps"]
    assert "no robot_description" in summary["notices"][2]
    assert [entry["notices"] for entry in summary["episodes"]] == [[], [], ["stopped"]]


def test_the_worst_moments_come_first_whatever_their_episode(summary: dict[str, Any]) -> None:
    worst = summary["worst"]
    assert len(worst) == 10
    assert [moment["rmse"] for moment in worst] == pytest.approx([0.4] * 4 + [0.2] * 6)
    assert worst[0] == {
        "episode": "session1-002",
        "call": worst[0]["call"],
        "at_s": worst[0]["at_s"],
        "rmse": worst[0]["rmse"],
    }
    assert worst[0]["at_s"] == pytest.approx(DT_S * (24 + 8 * worst[0]["call"]))


def test_it_comes_back_from_its_file(summary: dict[str, Any], tmp_path: Path) -> None:
    write_summary(tmp_path, summary)
    assert read_summary(tmp_path) == summary
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_nothing_that_json_lacks() -> None:
    nothing = np.full((6, 2), np.nan)
    episode = make_episode(psnr=nothing, ssim=nothing)
    summary = summarise([("one", measure(replace(episode, recorded=np.full((6, 24, 3), np.nan))))])
    json.dumps(summary, allow_nan=False)
    assert summary["metrics"]["rmse"]["value"] is None
    assert summary["metrics"]["latency_p50"]["low"] is None
    assert summary["dream"]["psnr"] == [None, None]
    assert summary["worst"] == []
    assert summary["joints"]["joint1"]["rmse"] is None


def test_no_interval_of_what_only_one_episode_says() -> None:
    one, other = make_episode(), make_episode(psnr=np.full((6, 4), np.nan))
    psnr = summarise([("one", measure(one)), ("other", measure(other))])["metrics"]["psnr"]
    assert psnr["value"] > 0 and psnr["low"] is psnr["high"] is None


def test_metrics_beyond_the_horizon_are_left_out() -> None:
    metrics = summarise([("one", measure(make_episode(horizon=8)))])["metrics"]
    assert "rmse@8" in metrics and "rmse@24" not in metrics


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("policy", "noise"),
        ("settings", {"seed": 1}),
        ("joints", ("a", "b", "gripper")),
    ],
)
def test_episodes_of_different_runs_are_refused(field: str, other: Any) -> None:
    one = make_episode()
    named = [("a", measure(one)), ("b", measure(replace(one, **{field: other})))]
    with pytest.raises(ValueError, match=f"^{field} of the episodes: expected .* as in a, got .* in b"):
        summarise(named)


def test_episodes_with_and_without_commands_are_told_apart() -> None:
    one = make_episode()
    other = replace(one, reference="joint states", stages=("model",), stages_s=np.full((6, 1), 0.5))
    empty = replace(one, stages=(), stages_s=np.zeros((6, 0)))
    summary = summarise([(str(n), measure(episode)) for n, episode in enumerate((one, other, empty))])
    assert summary["reference"] == "commands and joint states"
    assert "of 2 episodes with commands and of 1 episodes with joint states" in summary["notices"][0]
    assert list(summary["stages"]) == list(STAGES)
    assert summary["stages"]["model"]["p90"] == 0.5 > summary["stages"]["plan"]["p99"]


def test_without_dreams_there_is_nothing_about_them() -> None:
    nothing = np.empty((6, 0))
    summary = summarise([("one", measure(make_episode(psnr=nothing, ssim=nothing)))])
    assert summary["dream"] == {"psnr": [], "ssim": []}
    assert "psnr" not in summary["metrics"]


def test_no_episode_is_no_report() -> None:
    with pytest.raises(ValueError, match="expected some, got none"):
        summarise([])


@pytest.mark.parametrize(
    ("content", "words"), [("{", "expected the report"), ("[]", "got None"), ('{"version": 0}', "got 0")]
)
def test_what_is_no_report_says_so(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ValueError, match=words):
        read_summary(tmp_path)
    with pytest.raises(ValueError, match="No such file"):
        read_summary(tmp_path / "nowhere")


def test_a_bag_of_joints_that_move_with_constant_speed_through_a_policy_that_holds(tmp_path: Path) -> None:
    robot, seconds = load("droid_franka"), 6
    ramp = recordings.ramp(robot)
    path = bags.write(tmp_path / "bag", recordings.session(robot, ramp, seconds, commands=False))
    span = Span(
        number=0, start_ns=bags.START_NS, end_ns=bags.START_NS + seconds * bags.NS, instruction="move"
    )
    settings = PlaybackSettings(parameters=PolicyParameters(policy="hold"), latency_s=0.0)
    episode = play(path, span, robot, streams(robot), HoldPolicy(robot), settings, tmp_path)
    metrics = summarise([("bag-000", measure(episode))])["metrics"]
    speeds = (ramp(1.0) - ramp(0.0))[:7]
    for step in (1, 8, 24):
        expected = np.sqrt((speeds**2).mean()) * step * robot.dt_s
        assert metrics[f"rmse@{step}"]["value"] == pytest.approx(expected, rel=1e-6)
        assert metrics[f"rmse@{step}"]["hold"]["value"] == pytest.approx(expected, rel=1e-6)
        assert metrics[f"rmse@{step}"]["repeat"]["value"] == pytest.approx(0, abs=1e-9)
    assert metrics["direction"]["value"] == 0 and metrics["direction"]["repeat"]["value"] == 1
