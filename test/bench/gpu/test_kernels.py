# SPDX-License-Identifier: Apache-2.0
"""Kernels are sorted by their names, and the time without any is counted once."""

from __future__ import annotations

import pytest
import torch

from dreamzero_ros.bench.gpu.kernels import breakdown, kind_of, summary

pytestmark = pytest.mark.cpu

NAMES = {
    "attention": (
        "void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<128, 128, 64, 4>>",
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_128x128x128_4x1x1_kernel0_0",
        "fmha_cutlassF_bf16_aligned_64x128_rf_sm80(PyTorchMemEffAttention::AttentionKernel)",
        "aten::_scaled_dot_product_flash_attention_for_cpu",
    ),
    "convolution": (
        "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x64",
        "aten::mkldnn_convolution",
    ),
    "matrix products": (
        "nvjet_tst_192x192_64x4_2x1_v_bz_coopA_TNN",
        "void cutlass::device_kernel<at::cuda::detail::enable_3x_kernel_for_sm9x<cutlass::gemm>>",
        "aten::addmm",
        "aten::_scaled_mm",
    ),
    "copies": (
        "Memcpy DtoD (Device -> Device)",
        "void at::native::elementwise_kernel<128, 4, at::native::direct_copy_kernel_cuda>",
        "void at::native::(anonymous namespace)::CatArrayBatchedCopy<at::native::OpaqueType<2u>>",
        "aten::copy_",
    ),
    "normalisation, elementwise": (
        "triton_red_fused_add_mul_native_layer_norm_3",
        "void at::native::vectorized_elementwise_kernel<4, at::native::GeluCUDAKernelImpl>",
        "aten::mul",
    ),
    "other": ("something_new",),
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_a_kernel_has_a_kind_by_its_name(kind: str, name: str) -> None:
    assert kind_of(name) == kind


def test_idle_time_is_what_no_kernel_covers() -> None:
    """Kernels on two streams that overlap are not counted twice as time that is covered."""
    result = summary([("gemm", 0, 400), ("flash", 300, 500), ("Memcpy", 900, 1000)])
    assert result.figures["shares"] == pytest.approx(
        {"matrix products": 0.4, "attention": 0.2, "copies": 0.1, "idle": 0.4}
    )
    assert result.rows[-1] == ("nothing: waits for the host", "", "0.4", "40.0 %")


def test_operators_of_a_cpu_are_sorted_too() -> None:
    left = torch.randn(256, 256)
    shares = breakdown(torch.device("cpu"), lambda: left @ left).figures["shares"]
    assert max(shares, key=shares.__getitem__) == "matrix products"
