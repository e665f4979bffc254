"""A recipe for a task and so much data of this kind: which family, how large, for how long, with which tokenizer.

A pure function of a guess. The figures are for two cores and some minutes: what a person would begin with, and then
change. With few records a small model that is regularised learns more than a large one (multi30k: Wu et al. 2021,
"Good for Misconceived Reasons", whose tiny Transformer is the one here).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textmill.base.errors import RecipeError
from textmill.stages.preparation.columns import Column
from textmill.stages.preparation.finders import ROLES
from textmill.stages.preparation.guess import Guess

Plain = dict[str, Any]
_PER_TOKEN = {
    "hanzi": 1.4,
    "": 3.0,
}  # characters of a token of a vocabulary learnt from the data; other scripts: 3.5
_LETTERS = 3.5
_HELD_OUT = (500, 0.05, 0.2)  # records to hold out for a score, as a share of all: at least, at most
_CHECKED = (300, 0.03, 0.15)  # the same to validate by
_SENTENCE = (120, 40)  # characters of a sentence, and of a Chinese one
_LONG = 512  # tokens of the longest context proposed
_VALIDATIONS = 10


@dataclass(frozen=True)
class Start:
    """A trained model to begin with: how it is named, and how many tokens it reads."""

    model: str
    kind: str
    context: int


def propose(
    guess: Guess,
    sources: Sequence[Plain],
    *,
    name: str,
    minutes: float | None = None,
    start: Start | None = None,
    kind: str | None = None,
) -> Plain:
    """The recipe. sources: the corpus' sources, by whom records are read; kind: the family of model, where a person
    wants another than the usual one. Raises RecipeError for a family that does not serve the task."""
    kind = _kind(guess.task, kind, start)
    if guess.format == _PREFERENCES and start is None:
        raise RecipeError(
            "answers that were chosen and rejected tune a model that answers already, and none is named",
            where="--from",
            advice="--from MODEL: one that was trained here on conversations, or a published assistant "
            "(`textmill models`)",
        )
    context = _context(guess, start)
    task = {} if guess.format == _PREFERENCES else {"task": guess.task}
    recipe: Plain = {"name": name, **task, "corpus": {"sources": list(sources)}}
    if not any(source.get("part") for source in sources):
        recipe["corpus"]["split"] = _split(guess)
    if start is not None:
        recipe["start"] = {"model": start.model}
        if guess.format == _PREFERENCES:
            recipe["tuning"] = {"kind": "lora"}
    else:
        recipe["tokenizer"] = {"kind": "bytes"} if kind == "linear" else _tokenizer(guess)
    if start is None:
        recipe["model"] = {"kind": kind, **_SHAPES[kind](guess, context)}
    recipe["objective"] = _objective(guess, kind)
    if kind not in _COUNTED:
        recipe["training"] = _training(guess, kind, context, minutes, start)
    if guess.task in _GENERATION and kind != "encoder":
        recipe["generation"] = dict(_GENERATION[guess.task])
    return recipe


# --- which family -------------------------------------------------------------------------------------------------
# Task -> the families that serve it, the usual one first.
KINDS: Mapping[str, tuple[str, ...]] = {
    "classify": ("linear", "encoder", "recurrent", "decoder"),
    "regress": ("encoder", "recurrent", "decoder"),
    "tag": ("encoder", "recurrent"),
    "answer": ("encoder",),
    "embed": ("encoder", "recurrent", "decoder"),
    "translate": ("encoder-decoder", "recurrent-encoder-decoder"),
    "summarize": ("encoder-decoder", "recurrent-encoder-decoder", "encoder"),
    "chat": ("decoder", "recurrent"),
    "generate": ("decoder", "recurrent", "ngram"),
}
_PACKED = ("chat", "generate")  # tasks whose texts stand in a row one behind another
_PREFERENCES = "preference"  # the format of answers that were chosen and rejected
_COUNTED = ("ngram", "linear")  # families that are fitted at once, not trained by steps


def _kind(task: str, kind: str | None, start: Start | None) -> str:
    known = KINDS[task]
    if start is not None:
        if kind not in (None, start.kind):
            raise RecipeError(f"is of kind {start.kind}, not {kind}", where=f"--from {start.model}")
        kind = start.kind
    if kind is not None and kind not in known and start is None:
        raise RecipeError(
            f"a model of kind {kind!r} does not serve {task}",
            where="--kind",
            advice=f"there is {', '.join(known)}",
        )
    return kind or known[0]


def _encoder(guess: Guess, context: int) -> Plain:
    width, layers = _size(guess.rows, (64, 2), (128, 2), (192, 3))
    return {
        "d_model": width,
        "layers": layers,
        "heads": width // 32,
        "d_ff": 4 * width,
        "context": context,
        "placement": "pre",
        "segments": 2 if guess.task == "answer" or "pair" in guess.texts else 0,
        "pooler": False,
        "dropout": 0.2,
    }


def _decoder(guess: Guess, context: int) -> Plain:
    if guess.task == "generate":
        return {"d_model": 192, "layers": 4, "heads": 3, "d_ff": 512, "context": 256}
    width, layers = _size(guess.rows, (64, 2), (128, 2), (192, 3))
    return {
        "d_model": width,
        "layers": layers,
        "heads": width // 32,
        "d_ff": 3 * width,
        "context": context,
        "dropout": 0.2,
    }


def _recurrent(guess: Guess, context: int) -> Plain:
    width, layers = _size(guess.rows, (64, 1), (128, 2), (256, 2))
    return {"cell": "gru", "d_model": width, "layers": layers, "context": context, "dropout": 0.2}


def _encoder_decoder(guess: Guess, context: int) -> Plain:
    width, layers, inner = _size(guess.rows, (128, 2, 256), (128, 4, 256), (256, 3, 1024))
    return {
        "d_model": width,
        "layers": layers,
        "heads": width // 32 if width < 256 else 4,
        "d_ff": inner,
        "context": context,
        "placement": "pre",
        "dropout": 0.3 if guess.rows < 100_000 else 0.1,
    }


def _recurrent_encoder_decoder(guess: Guess, context: int) -> Plain:
    width = 128 if guess.rows < 5_000 else 256
    return {
        "cell": "gru",
        "d_model": width,
        "hidden": width,
        "layers": 1,
        "attention": "additive",
        "context": context,
        "dropout": 0.3 if guess.rows < 100_000 else 0.1,
    }


def _linear(guess: Guess, context: int) -> Plain:
    return {}


def _ngram(guess: Guess, context: int) -> Plain:
    return {"order": 5}


_SHAPES = {
    "encoder": _encoder,
    "decoder": _decoder,
    "recurrent": _recurrent,
    "encoder-decoder": _encoder_decoder,
    "recurrent-encoder-decoder": _recurrent_encoder_decoder,
    "ngram": _ngram,
    "linear": _linear,
}


def _size(rows: int, small: Any, medium: Any, large: Any) -> Any:
    """What goes with some thousand records, some ten thousand, or more."""
    return small if rows < 3_000 else medium if rows < 100_000 else large


# --- what it reads ------------------------------------------------------------------------------------------------
def _tokens(column: Column, share: float = 0.99) -> float:
    """About how many tokens this share of the values of a column have at most."""
    return float(np.quantile(column.lengths, share)) / _PER_TOKEN.get(column.script, _LETTERS)


def _mean(column: Column) -> float:
    """About how many tokens a value of a column has on average."""
    return column.characters / _PER_TOKEN.get(column.script, _LETTERS)


def _context(guess: Guess, start: Start | None) -> int:
    """Tokens of the longest sequence: nearly every record, in steps of 64."""
    share = 0.9 if guess.task in ("answer", "tag", "embed") else 0.99  # longer ones are read in windows
    tokens = [_tokens(column, share) for role, column in guess.texts.items() if role != "answer"]
    together = guess.task == "answer" or "pair" in guess.texts
    wanted = (sum(tokens) if together else max(tokens, default=64)) * 1.2 + 8
    most = min(_LONG, start.context) if start is not None else _LONG
    least = 128 if guess.task in ("translate", "summarize") else 64
    return min(most, max(least, 64 * int(np.ceil(wanted / 64))))


def _tokenizer(guess: Guess) -> Plain:
    """Hanzi one by one where nothing is written; else byte-level BPE, larger with more data."""
    chinese = any(column.script == "hanzi" for column in guess.texts.values())
    if chinese and guess.task in ("classify", "regress", "tag", "answer", "embed"):
        return {"kind": "characters", "vocabulary": 8000}
    return {
        "kind": "bpe",
        "vocabulary": _size(guess.rows, 2000, 8000, 16000) if guess.task != "generate" else 4096,
    }


def _sentences(guess: Guess) -> int:
    """About how many sentences of the text its summary is as long as."""
    return int(
        min(
            5,
            max(
                1,
                round(guess.texts["target"].characters / _SENTENCE[guess.texts["target"].script == "hanzi"]),
            ),
        )
    )


def _split(guess: Guess) -> Plain:
    if guess.task == "generate":
        return {"validation": 0.05, "test": 0.05}

    def share(records: int, least: float, most: float) -> float:
        return round(min(most, max(least, records / max(guess.rows, 1))), 3)

    return {"validation": share(*_CHECKED), "test": share(*_HELD_OUT)}


def _objective(guess: Guess, kind: str) -> Plain:
    if guess.task == "summarize" and kind == "encoder":
        return {"kind": "extract", "sentences": _sentences(guess)}
    if guess.task in ("translate", "summarize"):
        return {"kind": "pairs", "batch_tokens": _size(guess.rows, 1024, 4096, 8192)}
    if guess.task in ("classify", "regress"):
        pair = {"pair": "pair"} if "pair" in guess.texts else {}
        multiple = {"multiple": True} if guess.multiple else {}
        return {"kind": guess.task, **pair, **multiple}
    if guess.task == "tag":
        return {"kind": "tag", "crf": True}
    if guess.task == "answer":
        return {"kind": "answer"}
    if guess.task == "chat":
        return {"kind": "prefer"} if guess.format == _PREFERENCES else {"kind": "chat"}
    if guess.task == "embed":
        return {"kind": "embed"} | ({"query": "question"} if guess.format == "squad" else {})
    return {"kind": "causal"}


_GENERATION: Mapping[str, Plain] = {
    "translate": {"tokens": 200, "temperature": 0.0, "beams": 4, "length_penalty": 1.0},
    "summarize": {"tokens": 120, "temperature": 0.0, "beams": 4, "no_repeat_ngram": 3},
    "chat": {"tokens": 200, "temperature": 0.7},
    "generate": {"tokens": 120, "temperature": 0.7},
}


# --- how it learns ------------------------------------------------------------------------------------------------
# Task -> (records a minute that decide how long it is trained, at least and at most so many minutes, epochs at most).
_BUDGET: Mapping[str, tuple[int, float, float, int]] = {
    "classify": (2000, 2, 30, 20),
    "regress": (2000, 2, 30, 20),
    "tag": (300, 3, 30, 40),
    "answer": (200, 5, 45, 20),
    "embed": (500, 3, 45, 20),
    "translate": (600, 5, 60, 80),
    "summarize": (100, 5, 60, 40),
    "chat": (500, 4, 45, 10),
    "generate": (2000, 4, 30, 8),
}
_TUNED = 5  # epochs of a start, at most: it has learnt already
_RATES = {
    "encoder": 1e-3,
    "decoder": 1e-3,
    "recurrent": 3e-3,
    "encoder-decoder": 3e-3,
    "recurrent-encoder-decoder": 3e-3,
}


def _training(guess: Guess, kind: str, context: int, minutes: float | None, start: Start | None) -> Plain:
    a_minute, least, most, epochs = _BUDGET[guess.task]
    if minutes is None:
        minutes = float(round(min(most, max(least, guess.rows / a_minute))))
    pairs = guess.task in ("translate", "summarize") and kind != "encoder"
    packed = guess.task in _PACKED and guess.format != _PREFERENCES
    batch = 16 if guess.task in ("answer", "embed", *_PACKED) else 32
    if pairs:
        written = guess.texts["target"]
        an_update = max(1.0, _size(guess.rows, 1024, 4096, 8192) / (_tokens(written) * 0.6 + 2))
    elif packed:
        length = min(context, 256) if guess.task == "generate" else context
        an_update = batch * length / max(1.0, _mean(guess.texts["text"]))
    else:
        an_update = batch
    if start is not None:
        epochs = min(epochs, _TUNED)
    steps = max(20, round(guess.rows * epochs / an_update))
    often = max(10, steps // _VALIDATIONS) if steps < 2000 else 200
    training: Plain = {"steps": steps, "minutes": minutes}
    if not pairs:
        training["batch"] = batch
    if kind not in ("encoder-decoder", "recurrent-encoder-decoder"):
        training["sequence"] = context if guess.task != "generate" else min(context, 256)
    training |= {
        "evaluate_every": often,
        "save": {"every": often},
        "schedule": {"kind": "wsd", "warmup": 0.06, "decay": 0.5, "floor": 0.0},
    }
    if start is not None:
        training["optimizer"] = {"kind": "adamw", "lr": 1e-4, "weight_decay": 0.01}
        if guess.format != _PREFERENCES:  # its adapter learns alike in every layer
            training["layer_decay"] = 0.9
    elif guess.task == "generate" and kind == "decoder":
        training["optimizer"] = {"kind": "muon", "rest": {"lr": 0.01}}
    else:
        training["optimizer"] = {"kind": "adamw", "lr": _RATES[kind], "weight_decay": 0.01}
    if pairs:
        training["average"] = {"decay": 0.99}
    return training


# What some lines are for, by dotted key: written beside them.
NOTES: Mapping[str, str] = {
    "split": "shares held back: to validate by, and for the score",
    "vocabulary": "tokens, at most",
    "context": "tokens of the longest text it reads",
    "dropout": "the fewer the records, the more of it",
    "batch_tokens": "tokens of the targets in one update",
    "steps": "at most",
    "minutes": "training ends after this time",
    "batch": "records in one update",
    "crf": "tags are scored as a sequence",
    "average": "of the weights, which is what is published",
    "layer_decay": "lower layers learn more slowly",
}
assert set(KINDS) == set(ROLES)
