# SPDX-License-Identifier: Apache-2.0
"""The size in the header is that of the decoded image."""

from __future__ import annotations

import pytest
from bags import compressed, image
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamzero_ros.evaluation.image_size import image_size
from dreamzero_ros.observation.decode import decode_image

pytestmark = pytest.mark.cpu

SIDES = st.integers(1, 300)


@settings(max_examples=20, deadline=None)
@given(width=SIDES, height=SIDES, suffix=st.sampled_from([".jpg", ".png", ""]))
def test_it_is_the_size_of_the_decoded_image(width: int, height: int, suffix: str) -> None:
    message = compressed(1, width, height, suffix) if suffix else image(1, width, height)
    assert image_size(message) == decode_image(message, "camera").shape[1::-1]


@settings(max_examples=50, deadline=None)
@given(keep=st.integers(0, 200), suffix=st.sampled_from([".jpg", ".png"]))
def test_cut_data_have_a_size_or_none(keep: int, suffix: str) -> None:
    message = compressed(1, 30, 20, suffix)
    message.data = message.data[:keep]
    assert image_size(message) in (None, (30, 20))


def test_other_data_have_none() -> None:
    message = compressed(1)
    message.data = message.data[::-1].copy()
    assert image_size(message) is None
