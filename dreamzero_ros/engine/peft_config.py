# SPDX-License-Identifier: Apache-2.0
"""adapter_config.json of the library `peft`: what the adapters beside it do to which weights.

Of all that this library can train, low-rank adapters (LoRA) that can be merged into their base are read,
W + scale * B A, with whole modules saved beside them. Whatever else the file asks for is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_READ = {
    *("peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "init_lora_weights"),
    *("target_modules", "exclude_modules", "modules_to_save", "base_model_name_or_path"),
}
_OF_TRAINING = {
    *("auto_mapping", "bias", "ensure_weight_tying", "eva_config", "inference_mode", "layers_pattern"),
    *("loftq_config", "lora_dropout", "megatron_core", "peft_version", "qalora_group_size", "revision"),
    "task_type",
}
"""Fields that say how the adapters were trained, not what they do."""
_KEEPS_BASE = (True, False, None, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` that leave the base as it is; the others change it before the training."""

MERGE = "merge the adapters into their base with peft (merge_and_unload) and save the whole model"


@dataclass(frozen=True)
class PeftConfig:
    """What adapter_config.json says."""

    rank: float
    alpha: float
    rank_pattern: Mapping[str, float]
    """Other ranks, by a pattern that the end of a module's name matches."""
    alpha_pattern: Mapping[str, float]
    """Other alphas, likewise."""
    rank_stabilised: bool
    """Whether alpha is divided by the root of the rank (rsLoRA)."""
    targets: Sequence[str] | str
    """Names, or ends of names, of the modules with adapters; a text is a pattern of whole names."""
    excluded: Sequence[str] | str
    """Modules without adapters though they are named in `targets`, likewise."""
    saved_whole: Sequence[str]
    """Modules that were trained whole, likewise."""
    base: str
    """Base of the training as its machine called it; empty where the file does not say it."""

    def scale(self, module: str) -> float:
        """The factor of B A in the adapter of a module."""
        rank = self.rank_of(module)
        alpha = _by_pattern(self.alpha_pattern, module, self.alpha)
        return alpha / (math.sqrt(rank) if self.rank_stabilised else rank)

    def rank_of(self, module: str) -> float:
        """The rank of the adapter of a module."""
        return _by_pattern(self.rank_pattern, module, self.rank)

    def adapts(self, module: str) -> bool:
        """Whether a module has an adapter."""
        return _named(self.targets, module) and not _named(self.excluded, module)

    def saves(self, module: str) -> bool:
        """Whether a module was trained whole, or is part of one that was."""
        parents = module.split(".")
        return any(_named(self.saved_whole, ".".join(parents[:end])) for end in range(1, len(parents) + 1))


def read_peft_config(content: Mapping[str, Any]) -> PeftConfig:
    """Read the content of adapter_config.json.

    Raises:
        ValueError: The adapters are of another kind, or a field cannot be read; says which, and what to do.
    """
    if content.get("peft_type") != "LORA":
        raise ValueError(f"peft_type: expected 'LORA', got {content.get('peft_type')!r}; {MERGE}")
    for name, value in content.items():
        if value and name not in _READ | _OF_TRAINING:
            raise ValueError(
                f"{name}: expected nothing, for such adapters are not read, got {value!r}; {MERGE}"
            )
    if content.get("init_lora_weights") not in _KEEPS_BASE:
        got = content["init_lora_weights"]
        raise ValueError(f"init_lora_weights: {got!r} changed the base before the training; {MERGE}")
    return PeftConfig(
        rank=_number(content, "r"),
        alpha=_number(content, "lora_alpha"),
        rank_pattern=_numbers(content, "rank_pattern"),
        alpha_pattern=_numbers(content, "alpha_pattern"),
        rank_stabilised=bool(content.get("use_rslora")),
        targets=_names(content, "target_modules"),
        excluded=_names(content, "exclude_modules"),
        saved_whole=_names(content, "modules_to_save"),
        base=str(content.get("base_model_name_or_path") or ""),
    )


def _number(content: Mapping[str, Any], name: str) -> float:
    value = content.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"{name}: expected a number above 0, got {value!r}; fetch the file again")
    return value


def _numbers(content: Mapping[str, Any], name: str) -> dict[str, float]:
    values = content.get(name) or {}
    if not isinstance(values, dict):
        raise ValueError(f"{name}: expected numbers by pattern, got {values!r}; fetch the file again")
    return {pattern: _number(values, pattern) for pattern in values}


def _names(content: Mapping[str, Any], name: str) -> Sequence[str] | str:
    value = content.get(name) or ()
    if isinstance(value, str) or (
        isinstance(value, (list, tuple)) and all(isinstance(n, str) for n in value)
    ):
        return value
    raise ValueError(f"{name}: expected names of modules, got {value!r}; fetch the file again")


def _named(names: Sequence[str] | str, module: str) -> bool:
    """Whether a module is meant, as `peft` decides it: by the end of its name, or a pattern of all of it."""
    if isinstance(names, str):
        return re.fullmatch(names, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in names)


def _by_pattern(values: Mapping[str, float], module: str, default: float) -> float:
    """The first value whose pattern the end of a name matches, as `peft` chooses it."""
    found = (value for pattern, value in values.items() if re.match(rf"(.*\.)?({pattern})$", module))
    return next(found, default)
