# SPDX-License-Identifier: Apache-2.0
"""Text and image encoders: instruction and first image to the tokens that the transformer attends to.

The networks are those of `transformers`; what stands here is how the reference release prepares their input
and which of their outputs it takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import cpu_offload
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoTokenizer,
    ByT5Tokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    UMT5Config,
    UMT5EncoderModel,
)

from dreamzero_ros.engine.config import ImageConfig, TextConfig

HOST = torch.device("cpu")

BYTES = "bytes"
"""Name of the tokenizer that needs no files: one token per UTF-8 byte."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Mean of the red, green and blue channels in CLIP's training images, which lie in [0, 1]."""

CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Standard deviation of the same channels."""


def load_tokenizer(name: str, folder: Path | None = None) -> Any:
    """Load a tokenizer of `transformers`.

    Args:
        name: Hub id, or `"bytes"`.
        folder: Checkpoint folder. Where it holds a folder of that name, as the Wan repositories do, the files
            in there are used; otherwise those of the hub or its cache.

    Raises:
        FileNotFoundError: If the files are nowhere; the message names the command that gets them.
    """
    if name == BYTES:
        return ByT5Tokenizer()
    local = folder / name if folder else None
    try:
        return AutoTokenizer.from_pretrained(local if local and local.is_dir() else name)
    except OSError as error:
        raise FileNotFoundError(
            f"tokenizer {name}: its files are neither in {local or 'a checkpoint folder'} nor in the hub's "
            f"cache, and the hub cannot be reached; on a machine with a network run `hf download {name} "
            f"--include '*token*' --include spiece.model`, or copy these files to the first folder ({error})"
        ) from error


class TextEncoder(nn.Module):
    """The umT5 encoder and its tokenizer.

    Args:
        config: Sizes of the encoder.
        text_len: Rows of an encoded text, L.
        tokenizer: Tokenizer of `transformers`.
    """

    def __init__(self, config: TextConfig, text_len: int, tokenizer: Any) -> None:
        super().__init__()
        self.text_len = text_len
        self.tokenizer = tokenizer
        self.model = UMT5EncoderModel(UMT5Config(**config.kwargs))

    def tokenize(self, text: str) -> tuple[Tensor, Tensor]:
        """Turn a text into token ids (1, L) int64 and their mask (1, L), 1 for a token and 0 for padding.

        They lie in main memory. The end-of-sequence token is appended; a text of more than L tokens is cut.
        """
        tokens = self.tokenizer(
            text, padding="max_length", truncation=True, max_length=self.text_len, return_tensors="pt"
        )
        return tokens.input_ids, tokens.attention_mask

    def offload(self, device: torch.device) -> None:
        """Compute on `device` from now on, to which every layer comes for its turn, and leaves it again.

        The weights must be in main memory; the parameters are on the meta device between calls.
        """
        cpu_offload(self.model, execution_device=device)

    @torch.no_grad()
    def encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode token ids (B, L) with their mask (B, L) to (B, L, text width); rows of padding are zero."""
        states: Tensor = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return states * mask.unsqueeze(-1).to(states.dtype)


class RandomText(TextEncoder):
    """Random embeddings in place of the umT5 encoder, the largest part beside the transformer.

    For measurements with random weights, to which no text means anything: the tokenizer, the shapes and the
    zeros of the padding are those of `TextEncoder`, and equal tokens get equal embeddings.

    Args:
        width: Width of an embedding.
        text_len: Rows of an encoded text, L.
        tokenizer: Tokenizer of `transformers`.
        dtype: Type of the embeddings.
    """

    def __init__(self, width: int, text_len: int, tokenizer: Any, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.text_len = text_len
        self.tokenizer = tokenizer
        self._width = width
        self.dtype = dtype

    @torch.no_grad()
    def encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Draw embeddings (B, L, width) of token ids (B, L); where the mask (B, L) is 0, rows are zero."""
        generator = torch.Generator(ids.device).manual_seed(int(ids.sum()))
        shape = (*ids.shape, self._width)
        states = torch.randn(shape, device=ids.device, generator=generator).to(self.dtype)
        return states * mask.unsqueeze(-1).to(self.dtype)


class ImageEncoder(nn.Module):
    """The image side of CLIP, read one block before its end.

    `head` and `log_scale` compare images with texts in CLIP's training and are not used; they are held so
    that a checkpoint of the reference release is read and written whole.

    Args:
        config: Sizes of the encoder.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        sizes = CLIPVisionConfig(**config.kwargs)
        self.image_size = int(sizes.image_size)
        self.model = CLIPVisionModel(sizes)
        self.head = nn.Parameter(torch.empty(sizes.hidden_size, sizes.projection_dim))
        self.log_scale = nn.Parameter(torch.empty(()))
        # Constants name their device, so that they have values after a construction on the meta device too.
        self.register_buffer("mean", torch.tensor(CLIP_MEAN, device="cpu").view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(CLIP_STD, device="cpu").view(1, 3, 1, 1), persistent=False)
        positions = torch.arange(self.model.embeddings.num_positions, device="cpu")
        self.model.embeddings.position_ids = positions.unsqueeze(0)

    def preprocess(self, image: Tensor) -> Tensor:
        """Bring images (B, 3, H, W) in [-1, 1] to CLIP's size and scale, (B, 3, h, h) float32.

        As in the reference release: bicubic without antialiasing, the aspect ratio not kept, nothing cropped
        and overshoot not clamped, in float32 whatever the type of the weights.
        """
        size = (self.image_size, self.image_size)
        resized = F.interpolate(image.float(), size, mode="bicubic", align_corners=False)
        return (resized * 0.5 + 0.5 - self.mean) / self.std

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) in [-1, 1] to tokens (B, 1 + patches, width), the class token first.

        The tokens are those after the last block but one, in the type of the weights.
        """
        dtype = self.head.dtype
        states = self.model(self.preprocess(image).to(dtype), output_hidden_states=True).hidden_states
        tokens: Tensor = states[-2].to(dtype)
        return tokens
