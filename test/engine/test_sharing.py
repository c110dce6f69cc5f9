# SPDX-License-Identifier: Apache-2.0
"""Who does what where devices share a session, and which devices cannot."""

from __future__ import annotations

import pytest
import torch

from dreamzero_ros.engine.sharing import parse_devices, require_present, share_work

pytestmark = pytest.mark.cpu


def devices(count: int) -> tuple[torch.device, ...]:
    return tuple(torch.device("cuda", index) for index in range(count))


@pytest.mark.parametrize(
    ("count", "guided", "branches", "sharers", "words"),
    [
        (1, True, 2, 1, "on one device"),
        (2, True, 1, 1, "on 2 devices: guidance split"),
        (2, False, 1, 2, "on 2 devices: tokens shared"),
        (3, True, 2, 3, "on 3 devices: tokens shared"),
        (4, True, 1, 2, "on 4 devices: guidance split, tokens shared"),
    ],
)
def test_guidance_is_split_first_then_tokens_are_shared(
    count: int, guided: bool, branches: int, sharers: int, words: str
) -> None:
    sharing = share_work(devices(count), guided, num_heads=12)
    assert (sharing.branches, sharing.sharers, sharing.in_words()) == (branches, sharers, words)
    assert sharing.split_guidance == (guided and count % 2 == 0)


@pytest.mark.parametrize(
    ("count", "guided", "heads", "words"),
    [
        (
            4,
            True,
            3,
            "4 devices cannot share this model: its 3 heads cannot be divided by 2; name 1 or 2 or 3 of them",
        ),
        (
            2,
            False,
            3,
            "2 devices cannot share this model: its 3 heads cannot be divided by 2; name 1 of them$",
        ),
        (7, True, 40, "its 40 heads cannot be divided by 7; name 1 or 2 or 4 or 5 of them"),
    ],
)
def test_heads_that_cannot_be_divided(count: int, guided: bool, heads: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        share_work(devices(count), guided, heads)


def test_devices_are_named_with_commas() -> None:
    assert parse_devices("cuda:1") == (torch.device("cuda:1"),)
    assert parse_devices("cuda:0, cuda:1") == devices(2)
    assert parse_devices("cpu,cpu,cpu") == (torch.device("cpu"),) * 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected cuda, cuda:1 or cpu, .* got ''"),
        ("gpu", "expected cuda, cuda:1 or cpu, .* got 'gpu'"),
        ("meta", "expected cuda, cuda:1 or cpu"),
        ("cuda:0,", "expected cuda, cuda:1 or cpu"),
        ("cuda:0,cpu", "expected devices of one kind, got 'cuda:0,cpu'"),
        ("cuda,cuda:0", "expected every GPU once, such as cuda:0,cuda:1, got 'cuda,cuda:0'"),
    ],
)
def test_devices_that_cannot_be_named(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_devices(text)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    require_present(parse_devices("cuda"))
    require_present(parse_devices("cpu"))
    with pytest.raises(ValueError, match=r"'cuda:1', but torch sees 1 CUDA devices"):
        require_present(parse_devices("cuda:0,cuda:1"))
