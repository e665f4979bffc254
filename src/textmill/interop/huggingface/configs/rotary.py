"""Rotary positions as config.json says them, stretched ones too."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from textmill.interop.huggingface.configs.common import refuse
from textmill.specs.position import LinearScaling, RotaryPositions, YarnScaling


def scaling_fields(position: RotaryPositions) -> dict[str, Any] | None:
    """The `rope_scaling` of these positions."""
    scaling = position.scaling
    if scaling is None:
        return None
    if isinstance(scaling, LinearScaling):
        return {"rope_type": "linear", "factor": scaling.factor}
    if isinstance(scaling, YarnScaling):
        gain = scaling.attention_factor
        return {
            "rope_type": "yarn",
            "factor": scaling.factor,
            "original_max_position_embeddings": scaling.original_context,
            "beta_fast": scaling.beta_fast,
            "beta_slow": scaling.beta_slow,
        } | ({} if gain is None else {"attention_factor": gain})
    return {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_freq_factor,
        "high_freq_factor": scaling.high_freq_factor,
        "original_max_position_embeddings": scaling.original_context,
    }


def read(config: Mapping[str, Any], where: object) -> dict[str, Any]:
    """Every spelling: rope_theta and rope_scaling beside it, and rope_parameters of transformers 5, which holds both.
    Where there are several, rope_scaling counts, as it does there."""
    given = config.get("rope_scaling") or config.get("rope_parameters") or {}
    rotary = {"kind": "rotary", "theta": given.get("rope_theta", config.get("rope_theta", 10000.0))}
    kind = given.get("rope_type") or given.get("type") or "default"
    part = given.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))
    if part not in (None, 1.0):
        raise refuse(where, "partial_rotary_factor", part)
    if "mrope_section" in given:
        raise refuse(where, "mrope_section", given["mrope_section"])
    if kind == "default":
        return rotary
    if kind == "linear":
        return rotary | {"scaling": {"kind": "linear", "factor": given["factor"]}}
    if kind == "llama3":
        scaling = {name: given[name] for name in ("factor", "low_freq_factor", "high_freq_factor")}
        return rotary | {
            "scaling": {"kind": "llama3", "original_context": _original(config, given)} | scaling
        }
    if kind == "yarn":
        return rotary | {"scaling": _read_yarn(config, given, where)}
    raise refuse(where, "rope_type", kind)


def _original(config: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """Positions before they were stretched: what stands at the top counts before what stands with the stretching."""
    name = "original_max_position_embeddings"
    return config.get(name) or given.get(name) or config["max_position_embeddings"]


def _read_yarn(config: Mapping[str, Any], given: Mapping[str, Any], where: object) -> dict[str, Any]:
    """With the factor of queries and keys in either spelling: itself, or two that it is the ratio of."""
    if not given.get("truncate", True):
        raise refuse(where, "truncate", False)
    original = _original(config, given)
    factor = given["factor"] or config["max_position_embeddings"] / original
    scaling: dict[str, Any] = {
        "kind": "yarn",
        "factor": factor,
        "original_context": original,
        "beta_fast": given.get("beta_fast") or 32.0,
        "beta_slow": given.get("beta_slow") or 1.0,
    }
    above, below = given.get("mscale"), given.get("mscale_all_dim")
    if given.get("attention_factor") is not None:
        scaling["attention_factor"] = given["attention_factor"]
    elif above and below:
        grown = math.log(factor) / 10 if factor > 1 else 0.0
        scaling["attention_factor"] = (grown * above + 1) / (grown * below + 1)
    return scaling
