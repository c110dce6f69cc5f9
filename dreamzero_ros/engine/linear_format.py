# SPDX-License-Identifier: Apache-2.0
"""Linear layers of the transformer in fewer bits, by torchao.

Weights are converted one by one as they are loaded, so a model never lies on the device in its wider type.
Scales follow from the numbers themselves: those of weights at loading, those of activations at every call.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn

from dreamzero_ros.engine.config import LinearFormat

if TYPE_CHECKING:
    from torchao.quantization import Float8Tensor

LEAST_CAPABILITY: Final = {"fp8": (8, 9), "nvfp4": (10, 0)}
"""Compute capability from which a CUDA device multiplies a format."""

LEAST_PEAK: Final = 1e-12
"""Activations of a token are scaled as if their largest were at least this: zeros stay zeros."""

CONVERTED = re.compile(r"blocks\.\d+\.(self_attn\.[qkvo]|cross_attn\.q|ffn\.[02])\.weight")
"""Weights that are converted: nine tenths of the arithmetic. Outputs of cross attention, and keys and values
of texts and images, which are computed once, make most of the error: they stay, as all does outside of the
blocks. `dreamzero_ros.engine.sensitivity` measures that."""


def recipe(chosen: LinearFormat, device: torch.device, dtype: torch.dtype) -> Callable[[str, Tensor], Tensor]:
    """Return what turns a named weight of the transformer into the one that is stored.

    Arguments and errors are those of `converter`.
    """
    convert = converter(chosen, device, dtype)
    return lambda name, weight: convert(weight) if CONVERTED.fullmatch(name) else weight


def converter(chosen: LinearFormat, device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Return what turns the weight of a linear layer into the one that is stored.

    Args:
        chosen: Format of the linear layers.
        device: Where the weights lie; meta for their sizes alone.
        dtype: Type of the model.

    Raises:
        ValueError: If torchao is missing, or the device cannot do it; says what can be done.
    """
    if chosen == "native":
        return lambda weight: weight
    _require(chosen, device, dtype)
    return {"fp8_weights": _fp8_weights, "fp8": _fp8, "nvfp4": _nvfp4}[chosen]


def stored_bytes(weight: Tensor) -> int:
    """Memory of a weight with its scales [bytes]."""
    if not hasattr(weight, "__tensor_flatten__"):
        return weight.nbytes
    names, _ = weight.__tensor_flatten__()
    return sum(stored_bytes(getattr(weight, name)) for name in names)


def formats_in_words(transformer: nn.Module) -> str:
    """Say how many linear layers are stored in which type: what is there, not what was asked for."""
    weights = [layer.weight for layer in transformer.modules() if isinstance(layer, nn.Linear)]
    kinds = [type(weight.data).__name__ if _converted(weight) else _dtype_name(weight) for weight in weights]
    counts = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    return ", ".join(f"{count} x {kind}" for kind, count in counts.items())


def _converted(weight: Tensor) -> bool:
    return hasattr(weight, "__tensor_flatten__")


def _dtype_name(weight: Tensor) -> str:
    return str(weight.dtype).removeprefix("torch.")


def _require(chosen: LinearFormat, device: torch.device, dtype: torch.dtype) -> None:
    try:
        import torchao  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"linear format {chosen!r} needs torchao ({error}): pip install -r requirements/torchao.txt, or "
            "choose 'native'"
        ) from error
    needed = LEAST_CAPABILITY.get(chosen)
    if needed is None or device.type == "meta" or (chosen == "fp8" and device.type == "cpu"):
        return
    found = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    if found is None or found < needed:
        has = f"{device} has {'.'.join(map(str, found))}" if found else f"this is {device}"
        raise ValueError(
            f"linear format {chosen!r} needs a CUDA device of compute capability "
            f"{'.'.join(map(str, needed))}, {has}; choose 'fp8_weights' or 'native'"
        )
    if dtype != torch.bfloat16:
        raise ValueError(f"linear format {chosen!r} needs bfloat16 for the rest of the model, got {dtype}")


def _fp8_weights(weight: Tensor) -> Float8Tensor:
    from torchao.quantization import Float8Tensor, PerRow

    return Float8Tensor.from_hp(weight, float8_dtype=torch.float8_e4m3fn, granularity=PerRow())


def _fp8(weight: Tensor) -> Float8Tensor:
    from torchao.quantization import Float8MMConfig, Float8Tensor, PerRow
    from torchao.quantization.quantize_.workflows import QuantizeTensorToFloat8Kwargs

    return Float8Tensor.from_hp(
        weight,
        float8_dtype=torch.float8_e4m3fn,
        granularity=PerRow(),
        mm_config=Float8MMConfig(use_fast_accum=True),
        act_quant_kwargs=QuantizeTensorToFloat8Kwargs(torch.float8_e4m3fn, PerRow(), hp_value_lb=LEAST_PEAK),
    )


def _nvfp4(weight: Tensor) -> Tensor:
    from torchao.prototype.mx_formats.nvfp4_tensor import (
        NVFP4Tensor,
        QuantizeTensorToNVFP4Kwargs,
        per_tensor_amax_to_scale,
    )

    converted: Tensor = NVFP4Tensor.to_nvfp4(
        weight,
        per_tensor_scale=per_tensor_amax_to_scale(weight.abs().max()),
        is_swizzled_scales=True,
        act_quant_kwargs=QuantizeTensorToNVFP4Kwargs(
            is_swizzled_scales=True, use_dynamic_per_tensor_scale=True
        ),
    )
    return converted
