"""Answers that must be something: a JSON value of a schema, a text of a regular expression or of a grammar.

llguidance (the extra `serve`) says of each id whether the answer may go on with it; the others are masked. Grammars are
compiled beside the thread that computes, under limits of its own on how much a grammar may cost, and kept.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import RecipeError, TextmillError
from textmill.inference.requests import Constraint

if TYPE_CHECKING:
    from textmill.decoding.sampling import History
    from textmill.tokenization.protocol import AnyTokenizer

_LONGEST = 1 << 16  # characters of a schema or grammar
_KEPT = 64  # compiled grammars
_TABLES = 8  # of tokenizers, with what ends an answer
_FUEL = 5_000_000  # of building a lexer: about a tenth of a second
_SYMBOLS = 100_000  # in a grammar
_SPECIAL = b"\xff"  # how llguidance knows a token that is no text


class Matcher:
    """Where an answer stands in what it must be; a strategy of one row (decoding/sampling.py)."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def __call__(self, logits: Tensor, history: History | None) -> Tensor:
        """Logits (1, V) of ids that may come next; the others' are -inf."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self.check()
        allowed = torch.zeros(logits.shape, dtype=torch.bool)
        known = torch.from_numpy(np.unpackbits(bits, bitorder="little").astype(bool))[: logits.shape[-1]]
        allowed[0, : len(known)] = known
        return logits.masked_fill(~allowed, -torch.inf)

    def wrote(self, token: int) -> bool:
        """Go on with an id; whether the answer is complete, and nothing may follow."""
        self._matcher.consume_token(token)
        self.check()
        return self._matcher.is_stopped()

    def check(self) -> None:
        """Raise TextmillError where the grammar turned out to cost too much."""
        if self._matcher.is_error():
            raise _refused(self._matcher.get_error())


class Grammars:
    """Compiled grammars, kept; made in a thread of its own."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "grammars")
        self._known: OrderedDict[Any, Future[Any]] = OrderedDict()

    def compiled(self, tokenizer: AnyTokenizer, ends: tuple[int, ...], constraint: Constraint) -> Future[Any]:
        """The grammar of a constraint, which `Matcher` copies; its error is a RecipeError that says what is wrong.

        Raises RecipeError for a text that is too long to be compiled, TextmillError where llguidance is missing.
        """
        if len(constraint.text) > _LONGEST:
            raise RecipeError(
                f"has {len(constraint.text)} characters: {_LONGEST} are allowed", where=constraint.kind
            )
        _library()
        key = (tokenizer.id, ends, constraint)
        if key not in self._known:
            self._known[key] = self._pool.submit(_compile, tokenizer, ends, constraint)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(cancel_futures=True)


def _library() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise TextmillError(
            "constrained answers need llguidance", advice="pip install 'textmill[serve]'"
        ) from error
    return llguidance


def _compile(tokenizer: AnyTokenizer, ends: tuple[int, ...], constraint: Constraint) -> Any:
    library = _library()
    make = library.LLMatcher
    try:
        if constraint.kind == "json_schema":
            grammar = make.grammar_from_json_schema(json.loads(constraint.text))
        else:
            makers = {"regex": make.grammar_from_regex, "grammar": make.grammar_from_lark}
            grammar = makers[constraint.kind](constraint.text)
    except (ValueError, TypeError) as error:
        raise _refused(str(error), constraint.kind) from error
    limits = library.LLParserLimits(initial_lexer_fuel=_FUEL, max_grammar_size=_SYMBOLS, verbose_errors=False)
    matcher = make(_tokens(_Hashed(tokenizer, ends)), grammar, log_level=0, limits=limits)
    if matcher.is_error():
        raise _refused(matcher.get_error(), constraint.kind)
    return matcher


def _refused(message: str, where: str = "constraint") -> RecipeError:
    lines = message.strip().splitlines()
    return RecipeError(f"cannot be followed: {lines[0] if lines else ''}", where=where)


@dataclass(frozen=True, eq=False)
class _Hashed:
    """A tokenizer by its id, so that its table is made once."""

    tokenizer: AnyTokenizer
    ends: tuple[int, ...]

    def __hash__(self) -> int:
        return hash((self.tokenizer.id, self.ends))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashed) and (self.tokenizer.id, self.ends) == (
            other.tokenizer.id,
            other.ends,
        )


@lru_cache(_TABLES)
def _tokens(of: _Hashed) -> Any:
    """The ids of a tokenizer as llguidance wants them: bytes, and which are no text."""
    library, tokenizer = _library(), of.tokenizer
    apart = {*tokenizer.special.values(), *of.ends}

    class Table:
        eos_token_id = of.ends[0]
        bos_token_id = None
        special_token_ids = sorted(apart)
        tokens: Sequence[bytes] = [
            (_SPECIAL if token in apart else b"") + tokenizer.token_bytes(token)
            for token in range(tokenizer.vocabulary)
        ]

        def __call__(self, text: bytes) -> list[int]:
            return tokenizer.encode_next(text.decode("utf-8", "replace")).tolist()

    wrapped = library.TokenizerWrapper(Table())
    return library.LLTokenizer(wrapped, n_vocab=tokenizer.vocabulary, eos_token=list(of.ends))
