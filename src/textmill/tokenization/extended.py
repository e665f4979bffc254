"""A tokenizer with tokens added behind its own, for a model that is trained on: the old ids mean what they meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from textmill.base.errors import RecipeError
from textmill.tokenization import load
from textmill.tokenization.file_tokenizer import FileTokenizer
from textmill.tokenization.protocol import AnyTokenizer

_NAMED = 3


def extend(tokenizer: AnyTokenizer, tokens: Sequence[str], special: Sequence[str]) -> AnyTokenizer:
    """The tokenizer with these tokens behind its own, the special ones last; those it has already are left out.

    `tokens` are found whole wherever a text holds them; `special` ones are never found in a text. Raises RecipeError
    where one is both, or where the tokenizer is none that can grow.
    """
    known = {**tokenizer.special, **tokenizer.added}
    for text in (text for text in tokens if text in tokenizer.special):
        raise RecipeError(f"{text!r} is a special token of it already", where="start.add_tokens")
    for text in (text for text in special if text in tokenizer.added):
        raise RecipeError(f"{text!r} is an ordinary token of it already", where="start.add_special_tokens")
    new = [(text, text in special) for text in (*tokens, *special) if text not in known]
    if not new:
        return tokenizer
    if not isinstance(tokenizer, FileTokenizer):
        raise RecipeError(
            "its tokenizer is made of SentencePiece models for source and target, which take no more tokens",
            where="start.add_tokens",
            advice="leave it out",
        )
    return load.of(tokenizer.grown(new), "tokenizer.json", tokenizer.said)


def ending(tokenizer: AnyTokenizer, ends: Sequence[int]) -> AnyTokenizer:
    """The tokenizer, which also says that each of these ids ends what a model writes."""
    if not isinstance(tokenizer, FileTokenizer) or set(ends) <= set(tokenizer.ends):
        return tokenizer
    ids = {**tokenizer.said.ids, "eos_token_id": tuple(dict.fromkeys((*tokenizer.ends, *ends)))}
    return load.of(tokenizer.data, "tokenizer.json", replace(tokenizer.said, ids=ids))


def check(tokenizer: AnyTokenizer, old: AnyTokenizer, where: str) -> None:
    """Raises RecipeError, with what differs, where a tokenizer is not `old` with tokens behind its own."""
    if tokenizer is old:
        return
    here, there = (_spellings(each, old.vocabulary) for each in (tokenizer, old))
    different = [token for token in range(old.vocabulary) if here[token] != there[token]]
    if not different:
        return
    rows = "".join(
        f"\n  id {token}: {_said(there[token])} in the start, {_said(here[token])} here"
        for token in different[:_NAMED]
    )
    more = f"\n  and {len(different) - _NAMED:,} more" if len(different) > _NAMED else ""
    raise RecipeError(
        f"is not the start's vocabulary, of {old.vocabulary:,} ids, with more behind it:{rows}{more}\n",
        where=where,
        advice="leave it out: the start's own tokenizer is taken, and start.add_tokens adds to it",
    )


def pieces(tokenizer: AnyTokenizer, old: AnyTokenizer) -> dict[int, np.ndarray]:
    """What each id that `old` does not have is made of: the ids `old` reads its spelling as."""
    names = {number: name for name, number in (*tokenizer.special.items(), *tokenizer.added.items())}
    return {
        token: old.encode(names.get(token) or tokenizer.token_bytes(token).decode("utf-8", "replace"))
        for token in range(old.vocabulary, tokenizer.vocabulary)
    }


def _spellings(tokenizer: AnyTokenizer, count: int) -> list[str | bytes | None]:
    """Of the ids below `count`: the name of a special token, else the bytes it stands for; None where there is none."""
    names = {number: name for name, number in tokenizer.special.items()}
    return [
        None if token >= tokenizer.vocabulary else names.get(token) or tokenizer.token_bytes(token)
        for token in range(count)
    ]


def _said(spelt: str | bytes | None) -> str:
    if spelt is None:
        return "not there"
    return repr(spelt if isinstance(spelt, str) else spelt.decode("utf-8", "replace"))
