# SPDX-License-Identifier: Apache-2.0
"""Canvases against the reference vectors: crop, resize, mosaic, pixel range."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dreamzero_ros.engine.pixels import (
    fit_view,
    from_unit_range,
    resize_video,
    stitch,
    stretch_images,
    to_unit_range,
)

pytestmark = pytest.mark.cpu

WRIST_ON_TOP = [(1, 0, 1, 1), (1, 1, 1, 1), (0, 0, 1, 2)]
THREE_CORNERS = [(0, 0, 1, 1), (1, 0, 1, 1), (0, 1, 1, 1)]
SINGLE = [(0, 0, 1, 1)]


def cells(embodiment, views):
    if views == 1:
        return SINGLE, (1, 1)
    return (WRIST_ON_TOP if embodiment == "oxe_droid" else THREE_CORNERS)[:views], (2, 2)


def test_mosaics_equal_the_reference(vectors):
    recorded = vectors("mosaic")
    names = [name.removesuffix(".in") for name in recorded if name.endswith(".in")]
    assert names
    for name in names:
        embodiment, views = name.rsplit("_", 1)
        canvas = stitch(recorded[f"{name}.in"], *cells(embodiment, int(views)))
        assert torch.equal(canvas, recorded[f"{name}.images"])
        assert torch.equal(canvas.movedim(-1, 1)[None], recorded[f"{name}.out"])


def test_camera_images_to_canvas_equal_the_reference(goldens, vectors):
    """Within one grey level: the recorded resize is another implementation of the same filter."""
    described = json.loads((goldens / "io.json").read_text())
    assert described
    for tag, robot in described.items():
        recorded = vectors(f"io_{tag}")
        places, grid = cells(robot["embodiment"], len(robot["cameras"]))
        for case in robot["cases"]:
            expected = recorded[f"{case}.images"]
            height, width = (size // count for size, count in zip(expected.shape[2:4], grid, strict=True))
            views = [
                fit_view(recorded[f"{case}.in.video.{camera}"], height, width) for camera in robot["cameras"]
            ]
            canvas = stitch(torch.stack(views, dim=1), places, grid)
            assert canvas.shape == expected.shape[1:]
            assert (canvas.int() - expected[0].int()).abs().max() <= 1


def test_crop_keeps_the_centre():
    """180x320 is cropped to 171x304 at row 4, column 8: the frame around it does not show."""
    image = torch.full((1, 180, 320, 3), 255, dtype=torch.uint8)
    image[:, 4:175, 8:312] = 100
    assert (fit_view(image, 176, 320) == 100).all()
    image[:, 5:174, 9:311] = 0
    border = fit_view(image, 171, 304)[0, :, :, 0]
    assert (border[0] == 100).all()
    assert (border[-1] == 100).all()
    assert (border[:, 0] == 100).all()
    assert (border[1:-1, 1:-1] == 0).all()


def test_values_are_truncated():
    """Three quarters of 11 and one of 10 make 10."""
    quarters = torch.tensor([[10, 11], [11, 11]], dtype=torch.uint8)
    image = quarters.repeat_interleave(20, 0).repeat_interleave(20, 1)[None, :, :, None].expand(1, 40, 40, 3)
    assert fit_view(image, 1, 1).unique().tolist() == [10]


def test_pixel_range_passes_through_the_dtype():
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16, 1).expand(1, 1, 16, 16, 3)
    video = to_unit_range(images, torch.bfloat16)
    assert video.shape == (1, 3, 1, 16, 16)
    unit = (images.float() / 255).to(torch.bfloat16)
    assert torch.equal(video, (unit * 2 - 1).movedim(-1, 1))
    assert torch.equal(from_unit_range(to_unit_range(images, torch.float32)), images)


@given(count=st.integers(0, 20), block=st.integers(1, 4))
def test_stretched_images_fill_a_block(count, block):
    """Any accepted number of images encodes to at least one block of latents, in order, the oldest first."""
    images = torch.arange(count).view(1, count)
    if (count < 4) or (count > 4 * block + 4):
        with pytest.raises(ValueError, match=f"got {count}; give the newest 4, or 1 to begin"):
            stretch_images(images, block, 4)
        return
    stretched = stretch_images(images, block, 4)[0]
    latents = 1 + (len(stretched) - 1) // 4
    assert latents >= block
    assert stretched[0] == 0
    assert stretched.unique().tolist() == list(range(count))
    assert (stretched.diff() >= 0).all()


@pytest.mark.parametrize(
    ("given_images", "expected"),
    [
        ("abcd", "aaabbccdd"),
        ("abcdefgh", "aabcdefgh"),
        ("abcdefghi", "abcdefghi"),
        ("abcdefghijkl", "abcdefghijkl"),
        ("abcde", "aaabbccddee"),
    ],
)
def test_stretching_to_two_latents(given_images, expected):
    images = torch.tensor([[ord(letter) for letter in given_images]])
    assert "".join(map(chr, stretch_images(images, 2, 4)[0].tolist())) == expected


def test_resize_keeps_images_apart():
    video = torch.stack([torch.full((3, 4, 6), float(t)) for t in range(5)], dim=1)[None]
    resized = resize_video(video, 2, 3)
    assert resized.shape == (1, 3, 5, 2, 3)
    assert torch.equal(resized[0, 0, :, 0, 0], torch.arange(5.0))
