"""How well a model writes targets from sources: BLEU and chrF of what it writes, nats of what it should have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from textmill.decoding.decode import answers
from textmill.decoding.prompt import Prompt
from textmill.decoding.stop_strings import whole
from textmill.metrics import guesses, overlap
from textmill.specs.objective import PairsObjective
from textmill.specs.recipe import GenerationSpec
from textmill.stages.evaluation.measure import EXAMPLES, Asked, Measured, record_batches
from textmill.training.scoring import score_guesses

_TOGETHER = 256  # prompts between two reports of progress


def pairs(asked: Asked) -> Measured:
    """BLEU, chrF and exact matches of what is written, nats and accuracy where the target so far is given.

    The baseline hands the source back. References are the corpus' own texts, not what became of them as tokens.
    """
    loader, objective = asked.loader, asked.recipe.objective
    assert isinstance(objective, PairsObjective)
    nats, hits, targets = score_guesses(asked.model, record_batches(asked), len(loader.store))
    records = np.flatnonzero(targets)
    documents = asked.documents(records)
    sources, references = ([document.texts[role] for document in documents] for role in objective.roles)
    spec = settled(asked.recipe.generation)
    outputs = written(asked, _prompts(asked, records), spec)
    scores = overlap.overlap(outputs, references, how=described(spec), **asked.options)
    copied = overlap.overlap(sources, references, how="copied", **asked.options)
    told = guesses.token_scores(nats[records], hits[records], targets[records], **asked.options)
    examples = [
        {"source": source, "reference": reference, "output": output}
        for source, reference, output in zip(sources[:EXAMPLES], references, outputs, strict=False)
    ]
    return Measured(
        {**scores, **dict(reversed(told.items()))},
        {"the source": copied},
        len(records),
        int(targets.sum()),
        int(loader.store.bytes[records].sum()),
        {"examples": examples},
    )


def settled(spec: GenerationSpec) -> GenerationSpec:
    """How texts that are scored are written: as the recipe says, but without chance, unless it asks for the best of
    several draws. One score of one draw would be that of the draw."""
    return replace(spec, temperature=0.0) if spec.temperature and spec.mbr is None else spec


def described(spec: GenerationSpec) -> str:
    """How texts were written, for a signature."""
    if spec.beams > 1:
        way = f"beams:{spec.beams}|length:{spec.length_formula}^{spec.length_penalty:g}"
    elif spec.contrastive is not None:
        way = f"contrastive:{spec.contrastive:g}|top_k:{spec.top_k}"
    elif spec.mbr is not None:
        way = f"mbr:{spec.mbr} of {spec.candidates}|temperature:{spec.temperature:g}|seed:{spec.seed}"
    else:
        way = "greedy"
    return f"{way}|tokens:{spec.tokens}"


def written(asked: Asked, prompts: Sequence[Prompt], spec: GenerationSpec) -> list[str]:
    """The best answer to each prompt, as text. Sources of like length are read together."""
    texts = [""] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place].source or ()))
    tokenizer = asked.tokenizer
    for start in range(0, len(order), _TOGETHER):
        places = order[start : start + _TOGETHER]
        found = answers(
            asked.model,
            [prompts[place] for place in places],
            spec,
            ends=tokenizer.ends,
            decoder=tokenizer.stream,
        )
        for place, (best, *_) in zip(places, found, strict=True):
            texts[place] = whole(tokenizer.stream(), best.ids, spec.stop)
        asked.reporter.progress("writing", start + len(places), len(order), "texts")
    return texts


def _prompts(asked: Asked, records: np.ndarray) -> list[Prompt]:
    """What each record's target is written from: the start and the source, as they were read in training."""
    found: dict[int, Prompt] = {}
    for batch in record_batches(asked):
        given = batch.batch
        assert given.source is not None
        for place, record in enumerate(asked.loader.view.record[batch.rows].tolist()):
            source = given.source[place]
            real = source if given.source_mask is None else source[given.source_mask[place]]
            found[record] = Prompt([int(given.inputs[place, 0])], real.tolist())
    return [found[record] for record in records.tolist()]
