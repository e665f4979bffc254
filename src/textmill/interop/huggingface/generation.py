"""generation_config.json: what transformers can say of a GenerationSpec, what of it we can read, and what is lost.

What a file leaves out is what the format says it is: the likeliest token each time, and where tokens are drawn,
temperature 1 over the 50 likeliest. What is asked for and not followed is named by `unfollowed`, what a spec asks for
and the format cannot say by `unsaid`.
"""

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
    "encoder_no_repeat_ngram_size": "no_repeat_source_ngram",
    "num_beams": "beams",
    "length_penalty": "length_penalty",
}
_LISTS = {  # theirs, a list or a single one: ours
    "forced_eos_token_id": "forced_last_tokens",
    "begin_suppress_tokens": "suppressed_first_tokens",
    "stop_strings": "stop",
}
_DRAWS = {"temperature": 1.0, "top_k": 50, "top_p": 1.0}  # what they are where a file leaves them out
_FILTERS = ("min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")  # which are then not there
_READ = (
    *(*_IDS, *_SAME, *_LISTS, *_DRAWS, *_FILTERS),
    *("do_sample", "bad_words_ids", "suppress_tokens", "exponential_decay_length_penalty"),
)
_TARGETS = ("forced_bos_token_id", "max_length", "min_length")  # read of models that write a target
_SEARCHES = ("early_stopping", "penalty_alpha")  # read where they are looked at
# They say how, not what: whatever they are, the same text comes out.
_NO_MATTER = (
    *("transformers_version", "use_cache", "cache_implementation", "cache_config", "return_legacy_cache"),
    *(
        "return_dict_in_generate",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "output_logits",
    ),
    *("remove_invalid_values", "low_memory", "compile_config", "disable_compile", "prefill_chunk_size"),
    *("continuous_batching_config", "is_assistant", "num_assistant_tokens", "num_assistant_tokens_schedule"),
    *("assistant_confidence_threshold", "assistant_early_exit", "assistant_ensemble_weight"),
    *("assistant_lookbehind", "target_lookbehind", "prompt_lookup_num_tokens", "max_matching_ngram_size"),
    *("max_cache_len", "speculation_type", "use_mtp", "trust_remote_code"),
)
# Other settings of the format, and the values at which they do nothing.
_OTHERS: Mapping[str, Any] = {
    **dict.fromkeys(("diversity_penalty", "max_time", "sequence_bias", "force_words_ids", "constraints")),
    **dict.fromkeys(("renormalize_logits", "watermarking_config", "token_healing", "dola_layers", "top_h")),
    **dict.fromkeys(
        ("num_beam_groups", "encoder_repetition_penalty", "guidance_scale", "num_return_sequences"), 1
    ),
}
_EARLY = {"yes": True, "no": False, "never": "never"}
_NOTHING = (None, False, 0, "")


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
    if spec.forced_first_token is not None:
        config["forced_bos_token_id"] = spec.forced_first_token
    if spec.forced_last_tokens:
        config["forced_eos_token_id"] = (
            spec.forced_last_tokens[0] if len(spec.forced_last_tokens) == 1 else list(spec.forced_last_tokens)
        )
    if spec.decay != 1:
        config["exponential_decay_length_penalty"] = [spec.decay_after, spec.decay]
    if spec.suppressed_tokens:
        config["suppress_tokens"] = list(spec.suppressed_tokens)  # bad_words_ids would not hold for an end
    if spec.suppressed_first_tokens:
        config["begin_suppress_tokens"] = list(spec.suppressed_first_tokens)
    if spec.suppressed_sequences:
        config["bad_words_ids"] = [list(run) for run in spec.suppressed_sequences]
    if draws:
        config |= {"temperature": spec.temperature, "top_k": spec.top_k or 0}
        config |= {name: value for name in ("top_p", *_FILTERS) if (value := getattr(spec, name)) is not None}
    return config


def unsaid(spec: GenerationSpec, model: Mapping[str, Any]) -> tuple[str, ...]:
    """What a spec asks for that generation_config.json has no words for, `name = value` each."""
    names = [
        "presence_penalty",
        "frequency_penalty",
        "coverage_penalty",
        "length_formula",
        "contrastive",
        "mbr",
    ]
    names += ["stop"]  # transformers takes stop strings only from who also hands it a tokenizer
    if not model.get("is_encoder_decoder"):
        names += ["forced_first_token"]  # there it holds for an empty prompt only
    usual = GenerationSpec()
    said = {name: getattr(spec, name) for name in names if getattr(spec, name) != getattr(usual, name)}
    return tuple(f"{name} = {schema.write(value)}" for name, value in said.items())


def read_generation(directory: Path, model: Mapping[str, Any]) -> GenerationSpec:
    """What generation_config.json says; where it is missing, what older files say in config.json, `model`.

    Raises RecipeError for a value that is out of range, and DamagedError for one that is none.
    """
    config, path = _settings(directory, model)
    given = {ours: config[theirs] for theirs, ours in _SAME.items() if config.get(theirs) is not None}
    for theirs, ours in _LISTS.items():
        if (value := config.get(theirs)) is not None:
            given[ours] = value if isinstance(value, list) else [value]
    if model.get("is_encoder_decoder"):
        given |= _of_target(config)
    given |= {name: usual if (own := config.get(name)) is None else own for name, usual in _DRAWS.items()}
    given["top_k"] = given["top_k"] or None
    given |= {name: config[name] for name in _FILTERS if config.get(name)}
    if _contrasts(config, given):
        given |= {"contrastive": config["penalty_alpha"]}
    if not config.get("do_sample", False):
        given["temperature"] = 0.0
    if given.get("beams", 1) != 1:
        early = config.get("early_stopping", False)
        given["early_stopping"] = next((ours for ours, theirs in _EARLY.items() if theirs is early), "never")
    given |= _bans(config, path)
    if (decay := config.get("exponential_decay_length_penalty")) is not None:
        if not isinstance(decay, list) or len(decay) != 2:
            raise DamagedError("exponential_decay_length_penalty is not a start and a factor", where=path)
        given["decay_after"], given["decay"] = decay
    return schema.read(GenerationSpec, given, str(path))


def unfollowed(directory: Path, model: Mapping[str, Any]) -> tuple[str, ...]:
    """What `read_generation` was asked for and left out, `name = value` each."""
    config, path = _settings(directory, model)
    whole = path.name == NAME  # any key of config.json may be about something else
    named = [name for name in config if whole or name in _OTHERS or name in _TARGETS]
    followed = {*_READ, *_NO_MATTER, *_SEARCHES}
    if model.get("is_encoder_decoder"):
        followed |= {*_TARGETS}
    left = [
        name
        for name in named
        if name not in followed
        and not name.startswith("_")
        and config[name] != _OTHERS.get(name)
        and config[name] not in _NOTHING
        and not (name == "max_length" and _no_limit(config, model))
    ]
    draws = config.get("do_sample", False)
    if draws and (config.get("num_beams") or 1) != 1:
        left.append("do_sample")  # beams are searched for without draws
    if config.get("penalty_alpha") and not _contrasts(config, {"top_k": config.get("top_k", 50)}):
        left.append("penalty_alpha")
    return tuple(f"{name} = {config[name]}" for name in left)


def _settings(directory: Path, model: Mapping[str, Any]) -> tuple[Mapping[str, Any], Path]:
    """The settings, and the file an error about them names."""
    path = directory / NAME
    return (read_table(path), path) if path.exists() else (model, directory / "config.json")


def _contrasts(config: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Whether penalty_alpha asks for contrastive search: where nothing is drawn and no beams are searched."""
    searched = config.get("do_sample", False) or (config.get("num_beams") or 1) != 1
    return bool(config.get("penalty_alpha")) and not searched and (given.get("top_k") or 0) > 1


def _no_limit(config: Mapping[str, Any], model: Mapping[str, Any]) -> bool:
    """Whether a length that counts the prompt, too, is what the format says, or what the model reads anyway."""
    length = config["max_length"]
    return (
        length == 20
        or config.get("max_new_tokens") is not None
        or (isinstance(length, int) and length >= (model.get("max_position_embeddings") or length + 1))
    )


def _bans(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Ids and runs of ids that are never written. A ban of an end alone among the words is none, in this format."""
    ends = config.get("eos_token_id")
    ends = ends if isinstance(ends, list) else [ends]
    try:
        words = [list(word) for word in config.get("bad_words_ids") or ()]
    except TypeError as error:
        raise DamagedError(f"bad_words_ids is not a list of lists ({error})", where=path) from error
    if not all(words):
        raise DamagedError("bad_words_ids holds a word without ids", where=path)
    single = [word[0] for word in words if len(word) == 1 and word[0] not in ends]
    bans = {
        "suppressed_tokens": [*single, *(config.get("suppress_tokens") or ())],
        "suppressed_sequences": [word for word in words if len(word) > 1],
    }
    return {name: value for name, value in bans.items() if value}


def _of_target(config: Mapping[str, Any]) -> dict[str, Any]:
    """What counts the target's start too, where a model writes one, and the token after it."""
    given: dict[str, Any] = {}
    if config.get("forced_bos_token_id") is not None:
        given["forced_first_token"] = config["forced_bos_token_id"]
    for theirs, ours, instead in (
        ("max_length", "tokens", "max_new_tokens"),
        ("min_length", "min_tokens", "min_new_tokens"),
    ):
        value = config.get(theirs)
        if value and config.get(instead) is None:
            given[ours] = value - 1 if isinstance(value, int) else value  # which is then refused by its name
    return given
