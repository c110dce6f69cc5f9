# SPDX-License-Identifier: Apache-2.0
"""A long bag needs no more memory than a short one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bags
import numpy as np
import pytest
import recordings

from dreamzero_ros.embodiment.load import load

pytestmark = pytest.mark.cpu

SLOWLY = 10
"""A tenth of all rates, of the policy too: as many messages are held at a time, and fewer are read."""
MINUTES = 10

PROGRAM = """
import dataclasses, sys
from pathlib import Path
from dreamzero_ros.embodiment.load import load
from dreamzero_ros.evaluation.bag import Bag
from dreamzero_ros.evaluation.playback import PlaybackSettings, play
from dreamzero_ros.evaluation.spans import Split, spans
from dreamzero_ros.evaluation.streams import streams
from dreamzero_ros.policy.policy_parameters import PolicyParameters
from dreamzero_ros.policy.stand_ins import HoldPolicy

def memory(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1024

path, folder, slowly = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
robot = load("droid_franka")
robot = dataclasses.replace(
    robot,
    control_rate_hz=robot.control_rate_hz / slowly,
    image_tolerance_s=robot.image_tolerance_s * slowly,
    joint_tolerance_s=robot.joint_tolerance_s * slowly,
)
parameters = PolicyParameters(policy="hold", max_observation_age_s=2.0)
settings = PlaybackSettings(parameters=parameters, latency_s=0.1)
with Bag(path) as bag:
    (span,) = spans(bag, streams(robot), Split(instruction="go"))
before = memory("VmRSS")
episode = play(path, span, robot, streams(robot), HoldPolicy(robot), settings, folder)
print(memory("VmHWM") - before, len(episode.calls.used), sum(episode.holds.values()))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc of Linux")
def test_ten_minutes_are_played_in_less_than_a_gigabyte(
    tmp_path: Path, figures: Callable[[str, float], None]
) -> None:
    robot = load("droid_franka")
    home = np.array([robot.start_pose[joint] for joint in robot.state_joints])
    messages = recordings.session(robot, lambda time_s: home, MINUTES * 60, slowly=SLOWLY)
    path = bags.write(tmp_path / "bag", messages)
    words = [sys.executable, "-c", PROGRAM, str(path), str(tmp_path / "episode"), str(SLOWLY)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    peak_mb, calls, holds = (float(word) for word in done.stdout.split())
    figures(f"peak memory of playing a bag of {MINUTES} min, besides imports [MB]", peak_mb)
    assert calls > 35 and holds == 0
    assert peak_mb < 1000
