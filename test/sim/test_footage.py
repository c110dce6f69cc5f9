# SPDX-License-Identifier: Apache-2.0
"""Videos play as synchronous cameras, or the folder is refused with the file's name."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from av1 import AV1_MP4

from dreamzero_ros.sim.footage import Footage, FootageError

pytestmark = pytest.mark.cpu
CAMERAS = ("left", "right", "wrist")
SHARED_CLIP = Path(__file__).parents[3] / "shared" / "data" / "droid_clip"


def write_video(path: Path, brightness: int, images: int = 6, rate_hz: float = 10.0) -> None:
    """Red images that get brighter by 10 each."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate_hz, (64, 48))
    for i in range(images):
        writer.write(np.full((48, 64, 3), (0, 0, brightness + 10 * i), dtype=np.uint8))
    writer.release()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k, camera in enumerate(CAMERAS):
        write_video(tmp_path / f"{camera}.avi", 60 + 40 * k)
    return tmp_path


def test_plays_all_cameras_side_by_side(folder: Path) -> None:
    footage = Footage(folder, CAMERAS)
    sets = list(footage.play())
    assert (footage.length, footage.rate_hz) == (6, 10.0)
    assert [s.index for s in sets] == list(range(6))
    assert [s.time_s for s in sets] == pytest.approx([i / 10 for i in range(6)])
    for i, image_set in enumerate(sets):
        assert tuple(image_set.images) == CAMERAS
        for k, image in enumerate(image_set.images.values()):
            assert image.shape == (48, 64, 3)
            assert image.dtype == np.uint8
            assert abs(float(image[..., 0].mean()) - (60 + 40 * k + 10 * i)) < 8
            assert image[..., 2].mean() < 20, "RGB, not BGR"


def test_begins_again_while_time_goes_on(folder: Path) -> None:
    sets = list(islice(Footage(folder, CAMERAS).play(loop=True), 8))
    assert sets[7].index == 7
    assert sets[7].time_s == pytest.approx(0.7)
    np.testing.assert_array_equal(sets[7].images["left"], sets[1].images["left"])


def test_refuses_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FootageError, match="no such folder"):
        Footage(tmp_path / "nowhere", CAMERAS)


def test_refuses_a_missing_camera(folder: Path) -> None:
    (folder / "wrist.avi").rename(folder / "rist.avi")
    with pytest.raises(FootageError, match=r"no video for camera wrist.*wrist\.mp4.*rist\.avi"):
        Footage(folder, CAMERAS)


def test_refuses_two_videos_of_one_camera(folder: Path) -> None:
    write_video(folder / "wrist.mkv", 0)
    with pytest.raises(FootageError, match="several videos for camera wrist"):
        Footage(folder, CAMERAS)


@pytest.mark.parametrize(
    ("images", "rate_hz", "words"), [(5, 10.0, "number of images"), (6, 20.0, "frame rate")]
)
def test_refuses_videos_that_do_not_match(folder: Path, images: int, rate_hz: float, words: str) -> None:
    write_video(folder / "right.avi", 0, images, rate_hz)
    with pytest.raises(FootageError, match=words):
        Footage(folder, CAMERAS)


def test_refuses_what_is_no_video(folder: Path) -> None:
    (folder / "left.avi").write_bytes(b"not a video")
    with pytest.raises(FootageError, match=r"left\.avi: OpenCV cannot read"):
        Footage(folder, CAMERAS)


def test_a_codec_that_opencv_lacks_is_named_with_the_command(folder: Path) -> None:
    (folder / "left.avi").unlink()
    (folder / "left.mp4").write_bytes(AV1_MP4)
    command = r"ffmpeg -i left\.mp4 -c:v libx264 -pix_fmt yuv420p h264/left\.mp4"
    with pytest.raises(FootageError, match=rf"left\.mp4: .* AV1 .*convert it to H\.264.*{command}"):
        Footage(folder, CAMERAS)


def test_suffixes_in_capitals_are_videos(folder: Path) -> None:
    (folder / "left.avi").rename(folder / "left.AVI")
    assert Footage(folder, CAMERAS).length == 6


def test_a_video_that_ends_too_early_is_named(folder: Path) -> None:
    footage = Footage(folder, CAMERAS)
    write_video(folder / "right.avi", 0, images=3)
    with pytest.raises(FootageError, match=r"right\.avi: image 3 of 6"):
        list(footage.play())


@pytest.mark.skipif(not SHARED_CLIP.is_dir(), reason="the recorded DROID clip is not on this machine")
def test_plays_real_droid_views() -> None:
    cameras = ("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left")
    footage = Footage(SHARED_CLIP, cameras)
    assert (footage.length, footage.rate_hz) == (419, 15.0)
    sets = list(footage.play())
    assert len(sets) == 419
    assert sets[15].time_s == pytest.approx(1.0)
    for image in sets[-1].images.values():
        assert image.shape == (180, 320, 3)
        assert image.std() > 10
