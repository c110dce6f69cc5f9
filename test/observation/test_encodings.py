# SPDX-License-Identifier: Apache-2.0
"""Known colors come back from every raw encoding; what may mean several things is refused in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from encoded import COLORS, MOSAICS, PACKED, PLANAR, encode
from hypothesis import given
from hypothesis import strategies as st

from dreamzero_ros.observation.decode import check_image, decode_image
from dreamzero_ros.observation.judgement import ObservationError

pytestmark = pytest.mark.cpu

TOPIC = "/wrist/image_raw"
WALL = (200, 30, 30)
ROUNDED = {**dict.fromkeys((*PACKED, *PLANAR), 3)}
"""Largest difference of a color, by encoding; 0 for the others."""

colors = st.tuples(*[st.integers(0, 255)] * 3)


def message(rgb: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> Any:
    data, step = encode(rgb, encoding, padding, big_endian)
    height, width, _ = rgb.shape
    return SimpleNamespace(
        encoding=encoding, height=height, width=width, step=step, data=data, is_bigendian=int(big_endian)
    )


def quarters(height: int, width: int, shades: list[tuple[int, int, int]]) -> np.ndarray:
    """A picture of four colors."""
    rgb = np.empty((height, width, 3), np.uint8)
    for number, shade in enumerate(shades):
        row, column = divmod(number, 2)
        rgb[row * height // 2 : (row + 1) * height // 2, column * width // 2 : (column + 1) * width // 2] = (
            shade
        )
    return rgb


@given(
    encoding=st.sampled_from(COLORS),
    height=st.integers(5, 9),
    width=st.integers(5, 9),
    padding=st.integers(0, 3),
    big_endian=st.booleans(),
    shade=colors,
)
def test_one_color_comes_back_in_every_size(encoding, height, width, padding, big_endian, shade):
    width += width % 2 if encoding in (*PACKED, *PLANAR) else 0
    height += height % 2 if encoding in PLANAR else 0
    rgb = np.full((height, width, 3), shade, np.uint8)
    found = decode_image(message(rgb, encoding, padding, big_endian), TOPIC)
    assert found.shape == rgb.shape and found.dtype == np.uint8
    np.testing.assert_allclose(found.astype(int), rgb, atol=ROUNDED.get(encoding, 0))


@pytest.mark.parametrize("encoding", COLORS)
def test_every_corner_keeps_its_color(encoding: str) -> None:
    shades = [WALL, (20, 200, 40), (30, 60, 220), (240, 240, 240)]
    rgb = quarters(16, 24, shades)
    found = decode_image(message(rgb, encoding, padding=1), TOPIC)
    for number, shade in enumerate(shades):
        row, column = divmod(number, 2)
        inner = found[8 * row + 2 : 8 * row + 6, 12 * column + 2 : 12 * column + 10].reshape(-1, 3)
        np.testing.assert_allclose(inner.astype(int), np.broadcast_to(shade, inner.shape), atol=3)


@pytest.mark.parametrize("big_endian", [False, True])
def test_sixteen_bits_of_grey_are_the_whole_range(big_endian: bool) -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8).reshape(4, 64, 1), 3, axis=2)
    np.testing.assert_array_equal(decode_image(message(grey, "mono16", 3, big_endian), TOPIC), grey)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1", "8UC1", "8UC3", "8UC4"])
def test_numbers_that_may_mean_anything_are_refused_with_cv_bridge_and_without(encoding: str) -> None:
    spoiled = message(np.zeros((4, 4, 3), np.uint8), "rgba8")
    spoiled.encoding = encoding
    for converter in (None, lambda message, wanted: pytest.fail("guessed")):
        for judge in (decode_image, check_image):
            with pytest.raises(ObservationError, match=f"got '{encoding}': .*color image"):
                judge(spoiled, TOPIC, converter)


@pytest.mark.parametrize(
    ("encoding", "height", "width", "words"),
    [
        ("yuv422", 4, 5, "an even width for yuv422, got 5"),
        ("nv12", 5, 4, "an even height for nv12, got 5"),
        ("bayer_rggb8", 2, 4, "a height of at least 3 for bayer_rggb8, got 2"),
        ("bayer_grbg16", 4, 2, "a width of at least 3 for bayer_grbg16, got 2"),
    ],
)
def test_sizes_that_an_encoding_does_not_have(encoding: str, height: int, width: int, words: str) -> None:
    spoiled = SimpleNamespace(encoding=encoding, height=height, width=width, step=99, data=bytes(9999))
    for judge in (decode_image, check_image):
        with pytest.raises(ObservationError, match=words):
            judge(spoiled, TOPIC)


@pytest.mark.parametrize(
    ("encoding", "whole"), [("nv12", 24), ("mono16", 32), ("bayer_gbrg8", 16), ("yuyv", 32)]
)
def test_data_that_end_early(encoding: str, whole: int) -> None:
    spoiled = message(np.zeros((4, 4, 3), np.uint8), encoding)
    assert len(spoiled.data) == whole
    spoiled.data = spoiled.data[:-1]
    for judge in (decode_image, check_image):
        with pytest.raises(ObservationError, match=f"{whole} bytes for 4x4 {encoding}, got only {whole - 1}"):
            judge(spoiled, TOPIC)


def test_a_compressed_mosaic_that_is_too_small() -> None:
    file = cv2.imencode(".png", np.zeros((2, 8), np.uint8))[1].tobytes()
    for declared in ("bayer_rggb8; png compressed ", "bayer_rggb; png"):
        with pytest.raises(ObservationError, match="a height of at least 3 for bayer_rggb8, got 2"):
            decode_image(SimpleNamespace(format=declared, data=file), TOPIC)


@pytest.mark.parametrize("encoding", MOSAICS)
@pytest.mark.parametrize("storage", ["jpeg compressed ", "jpeg compressed bgr8", "png compressed ", "jpeg"])
def test_a_compressed_mosaic_becomes_a_color_image(encoding: str, storage: str) -> None:
    """compressed_image_transport stores a mosaic as a grey picture and says so in the format alone."""
    rgb = quarters(32, 48, [WALL] * 4)
    data, step = encode(rgb, encoding)
    mosaic = np.frombuffer(data, np.uint8).reshape(-1, step)
    file = cv2.imencode(".png" if "png" in storage else ".jpg", mosaic, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    found = decode_image(SimpleNamespace(format=f"{encoding}; {storage}", data=file.tobytes()), TOPIC)
    np.testing.assert_allclose(found[4:-4, 4:-4].reshape(-1, 3).astype(int).mean(0), WALL, atol=3)
    np.testing.assert_allclose(found[4:-4, 4:-4].astype(int), rgb[4:-4, 4:-4], atol=16)


def test_a_mosaic_that_was_made_a_color_image_before_it_was_compressed() -> None:
    rgb = np.full((32, 32, 3), WALL, np.uint8)
    file = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes()
    found = decode_image(SimpleNamespace(format="bayer_rggb8; jpeg compressed bgr8", data=file), TOPIC)
    np.testing.assert_allclose(found.astype(int), rgb, atol=4)


@pytest.mark.parametrize(
    "declared", ["mono16; png compressed ", "16UC1; png compressed ", "bayer_rggb16; png"]
)
def test_sixteen_bits_in_a_file_are_refused_in_words(declared: str) -> None:
    file = cv2.imencode(".png", np.full((4, 4), 3000, np.uint16))[1].tobytes()
    with pytest.raises(
        ObservationError, match=r"8 bits per channel, got uint16 .*name the topic of the color image"
    ):
        decode_image(SimpleNamespace(format=declared, data=file), TOPIC)
