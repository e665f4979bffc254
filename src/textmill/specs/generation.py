"""How text is generated, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypedDict

from textmill.base.errors import RecipeError
from textmill.base.schema import About


@dataclass(frozen=True, kw_only=True)
class GenerationSpec:
    """How text is generated; published with the model as its defaults."""

    tokens: Annotated[int, About("longest answer", "tokens", ge=1)] = 200
    temperature: Annotated[
        float, About("logits are divided by this; 0: greedy, always the likeliest token", ge=0)
    ] = 0.8
    top_k: Annotated[int | None, About("keep the k likeliest tokens", ge=1)] = None
    top_p: Annotated[
        float | None,
        About(
            "keep the fewest likeliest tokens whose probability sums to this (nucleus sampling)", gt=0, le=1
        ),
    ] = 0.95
    min_p: Annotated[
        float | None,
        About("drop tokens below this share of the likeliest token's probability (min-p)", ge=0, le=1),
    ] = None
    typical_p: Annotated[
        float | None, About("locally typical sampling: probability mass kept", gt=0, le=1)
    ] = None
    epsilon_cutoff: Annotated[
        float | None, About("drop tokens less probable than this (epsilon sampling)", ge=0, lt=1)
    ] = None
    eta_cutoff: Annotated[
        float | None,
        About("the same, and fewer where the next token is less certain (eta sampling)", ge=0, lt=1),
    ] = None
    repetition_penalty: Annotated[
        float, About("repetition penalty: logits of tokens already seen are divided by this", gt=0)
    ] = 1.0
    presence_penalty: Annotated[
        float, About("presence penalty: subtracted from the logit of a token already generated")
    ] = 0.0
    frequency_penalty: Annotated[
        float, About("frequency penalty: subtracted from the logit for each time it was generated")
    ] = 0.0
    no_repeat_ngram: Annotated[
        int, About("no n-gram of this size is generated twice; 0: no limit", "tokens", ge=0)
    ] = 0
    no_repeat_source_ngram: Annotated[
        int, About("no n-gram of this size of the source is generated; 0: no limit", "tokens", ge=0)
    ] = 0
    min_tokens: Annotated[int, About("shortest answer", "tokens", ge=0)] = 0
    decay: Annotated[
        float,
        About("each token after decay_after, the logit of end-of-text grows by this share of itself", gt=0),
    ] = 1.0
    decay_after: Annotated[int, About("tokens generated before decay begins", "tokens", ge=0)] = 0
    forced_first_token: Annotated[
        int | None,
        About(
            "forced first token: id every answer begins with, as some translation models expect",
            ge=0,
            was=("first",),
        ),
    ] = None
    forced_last_tokens: Annotated[
        tuple[int, ...],
        About(
            "forced last token: ids, one of which ends an answer of the greatest length",
            ge=0,
            was=("last",),
        ),
    ] = ()
    suppressed_tokens: Annotated[
        tuple[int, ...], About("suppressed tokens: ids that are never generated", ge=0, was=("forbidden",))
    ] = ()
    suppressed_first_tokens: Annotated[
        tuple[int, ...],
        About("tokens suppressed at the beginning of an answer", ge=0, was=("forbidden_first",)),
    ] = ()
    suppressed_sequences: Annotated[
        tuple[tuple[int, ...], ...],
        About(
            "runs of suppressed tokens: ids that are never generated; the last id is held back",
            ge=0,
            was=("forbidden_runs",),
        ),
    ] = ()
    beams: Annotated[
        int, About("beams of a beam search, without sampling; 1: no beam search", ge=1, le=1024)
    ] = 1
    length_penalty: Annotated[
        float, About("beams: power of the length an answer's log probability is divided by; more: longer")
    ] = 1.0
    length_formula: Annotated[
        Literal["power", "gnmt"],
        About("beams: length counts as n (transformers), or as (5 + n) / 6 (Wu et al. 2016)"),
    ] = "power"
    coverage_penalty: Annotated[
        float, About("beams: weight of source tokens the answer paid no attention to", ge=0)
    ] = 0.0
    early_stopping: Annotated[
        Literal["yes", "no", "never"],
        About(
            "beams: stop at as many answers as beams, when a better one is unlikely, or when it is impossible"
        ),
    ] = "no"
    contrastive: Annotated[
        float | None,
        About(
            "contrastive search over top_k tokens: weight of the penalty for likeness to the text so far",
            ge=0,
            le=1,
        ),
    ] = None
    mbr: Annotated[
        Literal["chrf", "bleu"] | None,
        About("minimum Bayes risk: of several samples take the one most like the others by this score"),
    ] = None
    candidates: Annotated[int, About("mbr: samples that are compared", ge=2, le=1024)] = 16
    stop: Annotated[tuple[str, ...], About("texts that end the answer; they are not part of it")] = ()
    seed: Annotated[int, About("seed of sampling", ge=0)] = 0
    speculate: Annotated[
        Literal["off", "prompt", "corpus", "both"],
        About(
            "speculative decoding: where drafts of the next tokens come from; they change the speed and nothing else"
        ),
    ] = "off"

    def __post_init__(self) -> None:
        searches = [self.beams > 1, self.contrastive is not None, self.mbr is not None]
        if sum(searches) > 1:
            raise RecipeError(
                "beams, contrastive and mbr are different ways to search",
                where="beams" if self.beams > 1 else "contrastive",
                advice="keep one of them",
            )
        if self.contrastive is not None and self.top_k is None:
            raise RecipeError("contrastive search needs it", where="top_k", advice="4 to 10 are usual")
        if self.mbr is not None and self.temperature == 0:
            raise RecipeError("mbr compares samples: at 0 they are all the same", where="temperature")
        if not all(self.suppressed_sequences):
            raise RecipeError("a sequence has at least one id", where="suppressed_sequences")


class GenerationOptions(TypedDict, total=False):
    """Fields of a GenerationSpec that take the place of a model's own, as keyword arguments an editor knows.

    What they mean, their units and ranges are said there.
    """

    tokens: int
    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    epsilon_cutoff: float | None
    eta_cutoff: float | None
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    no_repeat_ngram: int
    no_repeat_source_ngram: int
    min_tokens: int
    decay: float
    decay_after: int
    forced_first_token: int | None
    forced_last_tokens: Sequence[int]
    suppressed_tokens: Sequence[int]
    suppressed_first_tokens: Sequence[int]
    suppressed_sequences: Sequence[Sequence[int]]
    beams: int
    length_penalty: float
    length_formula: Literal["power", "gnmt"]
    coverage_penalty: float
    early_stopping: Literal["yes", "no", "never"]
    contrastive: float | None
    mbr: Literal["chrf", "bleu"] | None
    candidates: int
    stop: Sequence[str]
    seed: int
    speculate: Literal["off", "prompt", "corpus", "both"]
