# SPDX-License-Identifier: Apache-2.0
"""What goes into the text and image encoders, and which of their outputs come out."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import ByT5Tokenizer

from dreamzero_ros.engine.encoders import ImageEncoder, RandomText, TextEncoder, load_tokenizer
from dreamzero_ros.engine.weights import random_engine

pytestmark = pytest.mark.cpu

BYTE_OFFSET = 3
"""The byte tokenizer puts three special tokens before the bytes."""
END = 1


@pytest.fixture(scope="module")
def text_encoder() -> TextEncoder:
    return random_engine("tiny", "cpu", torch.float32).text_encoder


@pytest.fixture(scope="module")
def image_encoder() -> ImageEncoder:
    return random_engine("tiny", "cpu", torch.float32).image_encoder


def test_a_text_ends_with_a_token_of_its_own_and_is_padded(text_encoder: TextEncoder) -> None:
    ids, mask = text_encoder.tokenize("hé")
    real = [byte + BYTE_OFFSET for byte in "hé".encode()] + [END]
    assert ids.shape == mask.shape == (1, text_encoder.text_len)
    assert ids.dtype == torch.int64
    assert ids[0].tolist() == real + [0] * (text_encoder.text_len - len(real))
    assert mask[0].tolist() == [1] * len(real) + [0] * (text_encoder.text_len - len(real))


def test_a_long_text_is_cut_and_still_ends(text_encoder: TextEncoder) -> None:
    ids, mask = text_encoder.tokenize("x" * (2 * text_encoder.text_len))
    assert ids.shape == (1, text_encoder.text_len)
    assert ids[0, -1] == END
    assert mask.all()


def test_rows_of_padding_are_zero_for_each_text_of_a_batch(text_encoder: TextEncoder) -> None:
    short, long = text_encoder.tokenize("go"), text_encoder.tokenize("pick up the cup")
    ids, mask = (torch.cat(pair) for pair in zip(short, long, strict=True))
    states = text_encoder.encode(ids, mask)
    for row, length in zip(states, mask.sum(1), strict=True):
        assert (row[length:] == 0).all()
        assert (row[:length] != 0).any(dim=1).all()


def test_random_embeddings_stand_in_for_the_text_encoder(text_encoder: TextEncoder) -> None:
    stand_in = random_engine("tiny", "cpu", torch.bfloat16, random_text=True).text_encoder
    assert isinstance(stand_in, RandomText) and not list(stand_in.parameters())
    ids, mask = text_encoder.tokenize("pick up the cup")
    assert all(
        torch.equal(*pair) for pair in zip(stand_in.tokenize("pick up the cup"), (ids, mask), strict=True)
    )
    states, length = stand_in.encode(ids, mask), int(mask.sum())
    assert states.shape == text_encoder.encode(ids, mask).shape and states.dtype == torch.bfloat16
    assert (states[:, length:] == 0).all() and states[:, :length].float().std() == pytest.approx(1, rel=0.1)
    assert torch.equal(stand_in.encode(ids, mask), states)
    assert not torch.equal(stand_in.encode(*text_encoder.tokenize("go")), states)


def test_layers_that_come_for_their_turn_encode_the_same(text_encoder: TextEncoder) -> None:
    """On a CPU the way to the device is none; what is shown is that they come and leave."""
    ids, mask = text_encoder.tokenize("pick up the cup")
    expected = text_encoder.encode(ids, mask)
    visiting = copy.deepcopy(text_encoder)
    visiting.offload(torch.device("cpu"))
    for _ in range(2):
        assert torch.equal(visiting.encode(ids, mask), expected)
        assert {parameter.device.type for parameter in visiting.parameters()} == {"meta"}


def test_padding_does_not_change_the_rows_of_the_text(text_encoder: TextEncoder) -> None:
    ids, mask = text_encoder.tokenize("pick up the cup")
    length = int(mask.sum())
    padded = text_encoder.encode(ids, mask)[:, :length]
    alone = text_encoder.encode(ids[:, :length], mask[:, :length])
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=1e-5)


def test_a_tokenizer_is_read_from_the_checkpoint_folder_first(tmp_path: Path) -> None:
    ByT5Tokenizer(extra_ids=7).save_pretrained(tmp_path / "somebody" / "some-tokenizer")
    tokenizer = load_tokenizer("somebody/some-tokenizer", tmp_path)
    assert len(tokenizer) == len(ByT5Tokenizer(extra_ids=7))


def test_a_missing_tokenizer_is_named_with_the_command_that_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError) as caught:
        load_tokenizer("somebody/no-such-tokenizer", tmp_path)
    assert str(tmp_path / "somebody/no-such-tokenizer") in str(caught.value)
    assert "hf download somebody/no-such-tokenizer" in str(caught.value)


def cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel with a = -0.75, which is that of torch."""
    a, d = -0.75, np.abs(distance)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def bicubic_matrix(size: int, inputs: int) -> NDArray[np.float64]:
    """Four taps per output pixel whatever the scale (no antialiasing), borders repeated; (size, inputs)."""
    matrix = np.zeros((size, inputs))
    for row in range(size):
        centre = (row + 0.5) * inputs / size - 0.5
        for tap in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            matrix[row, np.clip(tap, 0, inputs - 1)] += cubic(np.array(centre - tap))
    return matrix


@pytest.mark.parametrize(("height", "width"), [(96, 160), (352, 640), (160, 320)])
def test_an_image_is_squeezed_by_four_taps_and_scaled_as_clip_was_trained(
    image_encoder: ImageEncoder, height: int, width: int
) -> None:
    image = np.random.default_rng(0).choice([-1.0, 1.0], (1, 3, height, width))
    resized = bicubic_matrix(224, height) @ image @ bicubic_matrix(224, width).T
    mean = np.array([0.48145466, 0.4578275, 0.40821073]).reshape(1, 3, 1, 1)
    std = np.array([0.26862954, 0.26130258, 0.27577711]).reshape(1, 3, 1, 1)
    expected = (resized * 0.5 + 0.5 - mean) / std
    found = image_encoder.preprocess(torch.from_numpy(image).float())
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-3)
    assert np.abs(resized).max() > 1.2, "the image makes the kernel overshoot, so that clamping would show"


def test_preprocessing_is_float32_for_a_bfloat16_image(image_encoder: ImageEncoder) -> None:
    image = torch.rand(1, 3, 96, 160) * 2 - 1
    rounded = image.bfloat16()
    assert image_encoder.preprocess(rounded).dtype == torch.float32
    torch.testing.assert_close(image_encoder.preprocess(rounded), image_encoder.preprocess(rounded.float()))


def test_tokens_come_from_the_last_block_but_one(image_encoder: ImageEncoder) -> None:
    image = torch.rand(2, 3, 96, 160) * 2 - 1
    tokens = image_encoder.encode(image)
    assert tokens.shape == (2, 257, 64)
    for block, changes in ((-1, False), (-2, True)):
        changed = copy.deepcopy(image_encoder)
        changed.model.encoder.layers[block].mlp.fc2.weight.data.mul_(2)
        changed.model.post_layernorm.weight.data.mul_(2)
        changed.head.data.mul_(2)
        assert torch.equal(changed.encode(image), tokens) is not changes
