"""generation_config.json: what transformers can say of a GenerationSpec, and what of it we can read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textmill.base import schema
from textmill.base.errors import DamagedError
from textmill.interop.huggingface.stored import read_table
from textmill.specs.generation import GenerationSpec

NAME = "generation_config.json"
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
_SAME = {  # theirs: ours, where both mean the same
    "max_new_tokens": "tokens",
    "min_new_tokens": "min_tokens",
    "repetition_penalty": "repetition_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram",
    "num_beams": "beams",
    "length_penalty": "length_penalty",
}
_DRAWS = ("temperature", "top_k", "top_p", "min_p", "typical_p")
_EARLY = {"yes": True, "no": False, "never": "never"}


def write_generation(spec: GenerationSpec, model: Mapping[str, Any], ends: tuple[int, ...]) -> dict[str, Any]:
    """The contents of generation_config.json beside a model's config.json. A top_k of 0 is none there."""
    config: dict[str, Any] = {name: model[name] for name in _IDS if name in model}
    if len(ends) > 1:
        config["eos_token_id"] = list(ends)
    draws = spec.temperature > 0 and spec.beams == 1
    config |= {"max_new_tokens": spec.tokens, "do_sample": draws}
    usual = GenerationSpec()
    config |= {
        theirs: getattr(spec, ours)
        for theirs, ours in _SAME.items()
        if getattr(spec, ours) != getattr(usual, ours)
    }
    if spec.beams > 1:
        config["early_stopping"] = _EARLY[spec.early_stopping]
    if spec.first is not None:
        config["forced_bos_token_id"] = spec.first
    if spec.forbidden:
        config["bad_words_ids"] = [[number] for number in spec.forbidden]
    if draws:
        config |= {"temperature": spec.temperature, "top_k": spec.top_k or 0}
        options = {"top_p": spec.top_p, "min_p": spec.min_p, "typical_p": spec.typical_p}
        config |= {name: value for name, value in options.items() if value is not None}
    return config


def read_generation(directory: Path, model: Mapping[str, Any]) -> GenerationSpec:
    """What generation_config.json says; where it is missing, what older files say in config.json, `model`.

    Raises RecipeError for a value that is out of range, and DamagedError for one that is none.
    """
    path = directory / NAME
    config = read_table(path) if path.exists() else model
    given = {ours: config[theirs] for theirs, ours in _SAME.items() if config.get(theirs) is not None}
    if model.get("is_encoder_decoder"):
        given |= _of_target(config)
    if config.get("do_sample", False):
        given |= {name: config[name] for name in _DRAWS if config.get(name)}
    else:
        given["temperature"] = 0.0
    if given.get("beams", 1) != 1:
        early = config.get("early_stopping", False)
        given["early_stopping"] = next((ours for ours, theirs in _EARLY.items() if theirs is early), "never")
    words = config.get("bad_words_ids") or []
    try:
        given["forbidden"] = [word[0] for word in words if len(word) == 1]
    except (TypeError, KeyError, IndexError) as error:
        raise DamagedError(f"bad_words_ids is no list of lists ({error})", where=path) from error
    return schema.read(GenerationSpec, given, str(path))


def _of_target(config: Mapping[str, Any]) -> dict[str, Any]:
    """What counts the target's start too, where a model writes one, and the token after it."""
    given: dict[str, Any] = {}
    if config.get("forced_bos_token_id") is not None:
        given["first"] = config["forced_bos_token_id"]
    for theirs, ours, instead in (
        ("max_length", "tokens", "max_new_tokens"),
        ("min_length", "min_tokens", "min_new_tokens"),
    ):
        value = config.get(theirs)
        if value and config.get(instead) is None:
            given[ours] = value - 1 if isinstance(value, int) else value  # which is then refused by its name
    return given
