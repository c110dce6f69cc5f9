# SPDX-License-Identifier: Apache-2.0
"""Messages become RGB arrays and joint vectors, or an error that says what to do."""

from __future__ import annotations

import array
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamzero_ros.observation.decode import check_image, decode_image, fit, stamp_ns
from dreamzero_ros.observation.encodings import CHANNELS
from dreamzero_ros.observation.judgement import ObservationError

pytestmark = pytest.mark.cpu

TOPIC = "wrist_image_left/image_raw"


def image_message(rgb: np.ndarray, encoding: str, padding: int = 0, kind: str = "array") -> Any:
    """The message a camera would send for that picture; `kind` is how the data field is stored."""
    order = {"rgb8": [0, 1, 2], "bgr8": [2, 1, 0], "rgba8": [0, 1, 2, 3], "bgra8": [2, 1, 0, 3], "mono8": [0]}
    opaque = np.concatenate([rgb, np.full((*rgb.shape[:2], 1), 255, np.uint8)], axis=2)
    pixels = opaque[..., order[encoding]].reshape(len(rgb), -1)
    rows = np.pad(pixels, [(0, 0), (0, padding)], constant_values=7)
    stored = {"array": array.array("B", rows.tobytes()), "numpy": rows.ravel(), "bytes": rows.tobytes()}
    return SimpleNamespace(
        encoding=encoding, height=rgb.shape[0], width=rgb.shape[1], step=rows.shape[1], data=stored[kind]
    )


def compressed_message(rgb: np.ndarray, extension: str, declared: str) -> Any:
    """A file as OpenCV writes it: ordinary for a viewer."""
    data = cv2.imencode(extension, np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes()
    return SimpleNamespace(format=declared, data=array.array("B", data))


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(
    encoding=st.sampled_from(sorted(CHANNELS)),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 5),
    kind=st.sampled_from(["array", "numpy", "bytes"]),
    seed=st.integers(0, 99),
)
def test_every_encoding_size_and_padding_comes_back(encoding, height, width, padding, kind, seed):
    rgb = picture(height, width, seed)
    expected = np.repeat(rgb[..., :1], 3, axis=2) if encoding == "mono8" else rgb
    decoded = decode_image(image_message(rgb, encoding, padding, kind), TOPIC)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, expected)


@pytest.mark.parametrize("encoding", CHANNELS)
def test_raw_images_are_not_copied(encoding: str):
    message = image_message(picture(4, 6), encoding, padding=2, kind="numpy")
    assert np.shares_memory(decode_image(message, TOPIC), message.data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": b"\0" * 71}, "expected 72 bytes for 6x4, got only 71"),
        ({"data": b""}, "got only 0"),
        ({"step": 17}, "rows of at least 18 bytes for 6 pixels of rgb8, got step 17"),
        ({"height": 0}, "empty one of 6x0"),
        ({"encoding": "jpeg"}, "expected encoding rgb8, bgr8, rgba8, bgra8, mono8, bayer_"),
        (
            {"encoding": ""},
            "got ''; let the driver send one of these, or name the topic of the camera's color",
        ),
    ],
)
def test_what_is_wrong_with_a_raw_image(change: dict[str, Any], words: str):
    message = image_message(picture(4, 6), "rgb8")
    vars(message).update(change)
    for judge in (decode_image, check_image):
        with pytest.raises(ObservationError) as caught:
            judge(message, TOPIC)
        assert words in str(caught.value)
        assert str(caught.value).startswith(TOPIC)


def test_other_encodings_go_through_the_converter():
    rgb = picture(2, 2)
    message = SimpleNamespace(encoding="nv24")
    check_image(message, TOPIC, lambda message, encoding: pytest.fail("converted"))
    assert (
        decode_image(message, TOPIC, lambda got, wanted: rgb if (got, wanted) == (message, "rgb8") else None)
        is rgb
    )

    def refuse(message: Any, encoding: str) -> np.ndarray:
        raise RuntimeError("no conversion")

    with pytest.raises(ObservationError, match=r"got 'nv24' \(no conversion\)"):
        decode_image(message, TOPIC, refuse)


def test_known_encodings_do_not_need_the_converter():
    decode_image(image_message(picture(2, 2), "bgr8"), TOPIC, lambda message, encoding: pytest.fail("asked"))


@pytest.mark.parametrize("declared", ["png", "rgb8; png compressed bgr8", "bgr8; png compressed bgr8"])
def test_png_comes_back_exactly(declared: str):
    rgb = picture(8, 6)
    np.testing.assert_array_equal(decode_image(compressed_message(rgb, ".png", declared), TOPIC), rgb)


@pytest.mark.parametrize(
    "declared", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", "bayer_rggb8; jpeg compressed "]
)
def test_jpeg_keeps_its_colors(declared: str):
    rgb = np.zeros((32, 32, 3), np.uint8)
    rgb[:16], rgb[16:] = (250, 30, 10), (10, 40, 240)
    decoded = decode_image(compressed_message(rgb, ".jpg", declared), TOPIC)
    np.testing.assert_allclose(decoded[4].mean(0), rgb[4].mean(0), atol=6)
    np.testing.assert_allclose(decoded[28].mean(0), rgb[28].mean(0), atol=6)


def test_a_color_format_without_bgr_holds_swapped_channels():
    """image_transport's publisher stored RGB pixels as if they were BGR there."""
    rgb = picture(8, 6)
    message = compressed_message(rgb[..., ::-1], ".png", "rgb8; png compressed ")
    np.testing.assert_array_equal(decode_image(message, TOPIC), rgb)


def test_grey_and_transparent_files():
    grey = picture(8, 6)[..., 0]
    data = cv2.imencode(".png", grey)[1].tobytes()
    decoded = decode_image(SimpleNamespace(format="mono8; png compressed ", data=data), TOPIC)
    np.testing.assert_array_equal(decoded, np.repeat(grey[..., None], 3, axis=2))
    rgb = picture(8, 6)
    opaque = np.concatenate([rgb[..., ::-1], np.full((8, 6, 1), 255, np.uint8)], axis=2)
    data = cv2.imencode(".png", opaque)[1].tobytes()
    np.testing.assert_array_equal(decode_image(SimpleNamespace(format="png", data=data), TOPIC), rgb)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_decoded_alike_by_any_version_of_opencv(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb = picture(33, 47) if channels == 3 else np.repeat(picture(33, 47)[..., :1], 3, axis=-1)
    data = cv2.imencode(".jpg", rgb if channels == 3 else rgb[..., 0])[1].tobytes()
    message = SimpleNamespace(format="jpeg", data=data)
    new = decode_image(message, TOPIC)
    monkeypatch.setattr("dreamzero_ros.observation.decode._AS_RGB", None)
    np.testing.assert_array_equal(decode_image(message, TOPIC), new)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
def test_a_file_that_ends_early_is_refused(extension: str, share: float):
    """OpenCV would fill the rest of a JPEG with grey."""
    message = compressed_message(picture(64, 64), extension, "jpeg" if extension == ".jpg" else "png")
    message.data = message.data[: int(share * len(message.data))]
    for judge in (decode_image, check_image):
        with pytest.raises(ObservationError, match="bytes without; look for losses"):
            judge(message, TOPIC)


def test_zeros_after_the_end_do_no_harm():
    message = compressed_message(picture(16, 16), ".jpg", "jpeg")
    message.data = message.data.tobytes() + b"\0" * 64
    assert decode_image(message, TOPIC).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("declared", "data", "words"),
    [
        ("h264", b"\0", "format jpeg or png, got 'h264'"),
        ("16UC1; compressedDepth png", b"\0", "a depth image"),
        ("jpeg", b"\xff\xda nonsense \xff\xd9", "data that do not decode"),
        ("png", cv2.imencode(".png", np.full((4, 4), 3000, np.uint16))[1].tobytes(), "8 bits per channel"),
    ],
)
def test_what_is_wrong_with_a_compressed_image(declared: str, data: bytes, words: str):
    with pytest.raises(ObservationError, match=words):
        decode_image(SimpleNamespace(format=declared, data=data), TOPIC)


def test_letterbox_keeps_everything_between_black_bars():
    image = np.full((480, 640, 3), 200, np.uint8)
    fitted = fit(image, 320, 180, "letterbox")
    assert fitted.shape == (180, 320, 3)
    assert (fitted[:, 40:280] == 200).all()
    assert not fitted[:, :40].any()
    assert not fitted[:, 280:].any()


def test_crop_takes_the_middle():
    image = np.zeros((480, 640, 3), np.uint8)
    image[60:420] = 200
    fitted = fit(image, 320, 180, "crop")
    assert fitted.shape == (180, 320, 3)
    assert (fitted == 200).all()


def test_stretch_takes_everything():
    image = np.zeros((480, 640, 3), np.uint8)
    image[:, 320:] = 200
    fitted = fit(image, 320, 180, "stretch")
    assert (fitted[:, 160:] == 200).all()
    assert not fitted[:, :160].any()


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    how=st.sampled_from(["letterbox", "crop", "stretch"]),
)
def test_every_size_fits(rows, columns, height, width, how):
    fitted = fit(np.full((rows, columns, 3), 9, np.uint8), width, height, how)
    assert fitted.shape == (height, width, 3)
    assert (fitted == 9).any()
    assert how == "letterbox" or (fitted == 9).all()


def test_the_right_size_is_left_alone():
    image = picture(180, 320)
    assert fit(image, 320, 180, "letterbox") is image


def test_fit_takes_views_of_any_encoding():
    rgb = np.full((48, 64, 3), (10, 20, 30), np.uint8)
    for encoding in ("bgr8", "bgra8", "rgba8"):
        fitted = fit(decode_image(image_message(rgb, encoding, padding=3), TOPIC), 32, 24, "stretch")
        assert (fitted == (10, 20, 30)).all()


def test_stamp():
    message = SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(sec=3, nanosec=7)))
    assert stamp_ns(message) == 3_000_000_007
