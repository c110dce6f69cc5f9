# SPDX-License-Identifier: Apache-2.0
"""Messages that libraries of the model log when they are imported, and that mean nothing to a user."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass


def _no_gpu() -> bool:
    import torch  # loaded by now, for the library that logs imports it

    return not torch.cuda.is_available()


def _always() -> bool:
    return True


@dataclass(frozen=True)
class _Known:
    """A filter that takes one known message out of what its logger logs."""

    logger: str
    part: str
    """Part of the message."""
    meaningless: Callable[[], bool] = _always
    """Whether the message is taken out."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is kept."""
        return self.part not in record.getMessage() or not self.meaningless()


_KNOWN = (
    # of torchao's extensions some are for GPUs, and do not load without one
    _Known("torchao", "Failed to load ", _no_gpu),
    # torchao registers its enumerations with torch, which does not need it any more
    _Known("torch.utils._pytree", "is an Enum subclass and is now natively supported by torch.compile"),
    # diffusers looks for types of an older torchao, to read files that are not read here
    _Known("diffusers.quantizers.torchao.torchao_quantizer", "Unable to import `torchao` Tensor objects"),
)


def hide_known_warnings() -> None:
    """Take the known messages out of the log; whatever else these libraries say is kept."""
    for known in _KNOWN:
        logging.getLogger(known.logger).addFilter(known)
