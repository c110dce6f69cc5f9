# SPDX-License-Identifier: Apache-2.0
"""Rotary embedding: angles of the reference release, pairing, precision."""

from __future__ import annotations

import pytest
import torch

from dreamzero_ros.engine.rope import call_rotation, rotate, token_rotation, video_rotation

pytestmark = pytest.mark.cpu

CPU = torch.device("cpu")
HEAD_DIM = 128
ANGLES_AT_3 = {44: (3.0, 1.973800, 1.298628), 42: (3.0, 1.934840, 1.247869), 128: (3.0, 2.597893, 2.249683)}


def unit(axis_dim):
    angles = torch.tensor(ANGLES_AT_3[axis_dim], dtype=torch.float64)
    return torch.polar(torch.ones_like(angles), angles)


def test_angles_of_video_positions():
    rotation = video_rotation(2, 2, 4, 5, HEAD_DIM, CPU).unflatten(0, (2, 4, 5))
    time, row, column = rotation[1, 3, 3].split([22, 21, 21])
    torch.testing.assert_close(time[:3], unit(44), atol=1e-6, rtol=0)
    torch.testing.assert_close(row[:3], unit(42), atol=1e-6, rtol=0)
    torch.testing.assert_close(column[:3], unit(42), atol=1e-6, rtol=0)


def test_angles_of_action_positions():
    rotation = token_rotation(2, 4, HEAD_DIM, CPU)
    torch.testing.assert_close(rotation[1, :3], unit(128), atol=1e-6, rtol=0)
    far = token_rotation(9001, 1, HEAD_DIM, CPU)[0, 0]
    torch.testing.assert_close(
        far, torch.polar(torch.ones(()), torch.tensor(9001.0)).to(far), atol=1e-3, rtol=0
    )


def test_pairs_are_interleaved():
    x = torch.zeros(1, 1, 1, 4)
    x[..., 2] = 1.0
    rotation = torch.polar(torch.ones(1, 2), torch.tensor([[0.7, 0.3]])).to(torch.complex128)
    expected = torch.tensor([0.0, 0.0, 0.3, 0.0]).cos() * torch.tensor([0, 0, 1, 0])
    expected[3] = torch.tensor(0.3).sin()
    torch.testing.assert_close(rotate(x, rotation)[0, 0, 0], expected)


def test_rotation_is_exact_in_bfloat16():
    """Only the result is rounded: scores of neighbouring positions stay apart far from the origin."""
    x = torch.randn(1, 2, 1, HEAD_DIM).to(torch.bfloat16)
    rotation = token_rotation(9000, 2, HEAD_DIM, CPU)
    exact = rotate(x.double(), rotation)
    assert rotate(x, rotation).dtype == torch.bfloat16
    torch.testing.assert_close(rotate(x, rotation), exact.to(torch.bfloat16), atol=0, rtol=0)


def test_real_rotations_are_the_same():
    """At every position of a window, to the last bits of float32; bfloat16 heads may round otherwise once."""
    rotation = call_rotation((0, 72, 3), (9, 22, 40), (24, 1), HEAD_DIM, CPU, real=False)
    real = call_rotation((0, 72, 3), (9, 22, 40), (24, 1), HEAD_DIM, CPU, real=True)
    x = torch.randn(1, len(rotation), 2, HEAD_DIM)
    torch.testing.assert_close(rotate(x, real), rotate(x, rotation), atol=2e-6, rtol=0)
    half = x.bfloat16()
    torch.testing.assert_close(rotate(half, real), rotate(half, rotation), atol=1e-6, rtol=2**-7)


def test_rotations_are_kept_for_ever():
    """A recorded call of the transformer reads them at their address, however many others come after it."""

    def of_a_call(start):
        return call_rotation((start, 24, 1), (2, 2, 3), (24, 1), 8, CPU, real=True)

    first = of_a_call(0)
    for start in range(1, 100):
        of_a_call(start)
    assert of_a_call(0) is first
