"""How a model reads texts, for the tokenizer that is published with it (tokenization/reading.py)."""

from __future__ import annotations

from textmill.data.special import frame
from textmill.models.heads import framed
from textmill.models.model import Model
from textmill.tokenization.protocol import AnyTokenizer
from textmill.tokenization.reading import Reading


def reading_of(model: Model, tokenizer: AnyTokenizer) -> Reading:
    """How a model reads what its tokenizer makes of texts, in training as in use (data/codec.py)."""
    spec, whole = model.spec, framed(model)
    before, after = frame(tokenizer) if whole else (tokenizer.prefix, tokenizer.suffix)
    return Reading(
        before=before,
        after=after,
        between=tokenizer.between if whole else None,
        begin=begin_of(model, tokenizer),
        context=spec.context,
        padding="right" if whole else None,  # places are counted from a text's first token on
        segments=spec.segments > 1,
    )


def begin_of(model: Model, tokenizer: AnyTokenizer) -> int | None:
    """What a text begins with: what the tokenizer's files say; else what stands before one, unless that has another
    name there; else, of a model trained here that goes on from a text, the end of the one before."""
    if tokenizer.begin is not None:
        return tokenizer.begin
    before = frame(tokenizer)[0] if framed(model) else tokenizer.prefix
    if before:
        return None if "cls_token" in tokenizer.names else before[0]
    return None if framed(model) or tokenizer.told else tokenizer.end
