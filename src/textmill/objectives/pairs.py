"""A target from its source: translation, summaries. The corpus' records hold both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from textmill.data.codec import Text
from textmill.data.examples import ExampleStore, Record
from textmill.data.record_view import RecordView
from textmill.data.special import SpecialTokens
from textmill.data.view import ALL, Pair, Viewed, pair_batch
from textmill.decoding.decode import answers
from textmill.decoding.prompt import Prompt
from textmill.decoding.stop_strings import whole
from textmill.decoding.stream import drawable
from textmill.metrics import guesses, overlap
from textmill.models.model import Generator
from textmill.objectives import show
from textmill.objectives.evaluation import EXAMPLES, EvaluationInput, EvaluationResult, record_batches
from textmill.objectives.loss import losses_of_tokens
from textmill.objectives.objective import WRITES_FROM_SOURCE, Objective, Purpose
from textmill.objectives.records import Reader, lacks, loader_of, size
from textmill.objectives.scoring import score_guesses
from textmill.specs.generation import GenerationSpec
from textmill.specs.objective import ConstantForcing, LinearForcing, PairsObjective
from textmill.text.document import Document, several
from textmill.tokenization.protocol import AnyTokenizer

_TOGETHER = 256  # prompts between two reports of progress


class PairsReader(Reader):
    """source, target: ids of both."""

    schema: ClassVar = {"source": "ids", "target": "ids"}
    written: ClassVar = (1,)
    decided: ClassVar = ("source", "target")

    def wanted(self, document: Document) -> Any:
        """Source and target."""
        spec = self.spec
        source, target = self.text(document, spec.source), self.text(document, spec.target)
        if not target or not target.strip():
            return lacks(spec.target, target)
        if not source or not source.strip():
            return lacks(spec.source, source)

        def finish(texts: list[Text]) -> Record | str:
            if not all(map(len, texts)):
                return "no token is left"
            return Record({"source": texts[0].ids, "target": texts[1].ids}, size(target))

        return [source, target], finish


class PairsView(RecordView):
    """Source and target, each cut to what a row holds; a target that was cut has no end."""

    def __init__(
        self, spec: PairsObjective, store: ExampleStore, sequence: int, tokens: SpecialTokens
    ) -> None:
        super().__init__(store, tokens, sequence - max(tokens.frame, 1))
        self.record = np.arange(len(store))
        self._sequence = sequence
        self._targets = np.minimum(store.lengths("target") + 1, sequence)
        self._sources = np.minimum(store.lengths("source") + tokens.frame, sequence)

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) tokens of the target, its end included, and (R,) of the source as it is read."""
        return self._targets, self._sources

    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """The rows of a share, as wide as the whole batch."""
        batch, owners = pair_batch(
            [self._pair(int(row)) for row in rows], self.tokens.start, self.tokens.pad, share
        )
        return Viewed(batch, owners, self.read_by(rows[share]))

    def _pair(self, row: int) -> Pair:
        tokens, sequence = self.tokens, self._sequence
        source = self.store.field("source", row)[: sequence - tokens.frame]
        target = np.append(self.store.field("target", row).astype(np.int64), tokens.end)[:sequence]
        return Pair(tokens.around(source), target, np.full(len(target), row))


def teacher_forcing(spec: PairsObjective, step: int, steps: int) -> float:
    """How often the decoder reads the target rather than its own last guess, at step 0 … steps - 1 of a run
    (Bengio et al. 2015, section 2.4; their inverse sigmoid decay is k / (k + exp(i / k)))."""
    forcing = spec.forcing
    if isinstance(forcing, ConstantForcing):
        return forcing.ratio
    if isinstance(forcing, LinearForcing):
        done = step / max(steps - 1, 1)
        return forcing.start + (forcing.end - forcing.start) * done
    # k / (k + exp(i / k)) with both halves divided by exp(i / k), which may be too large a number.
    return 1 - 1 / (1 + forcing.k * math.exp(-step / forcing.k))


def measure(evaluation: EvaluationInput) -> EvaluationResult:
    """BLEU, chrF and exact matches of what is written, nats and accuracy where the target so far is given.

    The baseline hands the source back. References are the corpus' own texts, not what became of them as tokens.
    """
    loader, objective = evaluation.loader, evaluation.recipe.objective
    assert isinstance(objective, PairsObjective)
    nats, hits, targets = score_guesses(evaluation.model, record_batches(evaluation), len(loader.store))
    records = np.flatnonzero(targets)
    documents = evaluation.documents(records)
    sources = [document.texts[objective.source] for document in documents]
    references = [several(document.texts, objective.target) for document in documents]
    spec = settled(evaluation.recipe.generation)
    outputs = written(evaluation, _prompts(evaluation, records), spec)
    bootstrap = evaluation.bootstrap.of(records)
    scores, copied = (
        overlap.overlap(side, references, bootstrap, how=how)
        for side, how in ((outputs, described(spec)), (sources, "copied"))
    )
    by_token = guesses.token_scores(nats[records], hits[records], targets[records], bootstrap)
    examples = [
        {"source": source, "reference": reference[0], "output": output}
        for source, reference, output in zip(sources[:EXAMPLES], references, outputs, strict=False)
    ]
    return EvaluationResult(
        {**scores, **dict(reversed(by_token.items()))},
        {"the source": copied},
        len(records),
        int(targets.sum()),
        int(loader.store.bytes[records].sum()),
        {"examples": examples},
        dict(zip(records.tolist(), outputs, strict=True)),
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


def written(evaluation: EvaluationInput, prompts: Sequence[Prompt], spec: GenerationSpec) -> list[str]:
    """The best answer to each prompt, as text. Sources of like length are read together."""
    texts = [""] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index].source or ()))
    model, tokenizer = evaluation.model, evaluation.data.tokenizer
    assert isinstance(model, Generator)
    spec = drawable(spec, model, tokenizer)
    for start in range(0, len(order), _TOGETHER):
        indices = order[start : start + _TOGETHER]
        hypotheses = answers(
            model,
            [prompts[index] for index in indices],
            spec,
            ends=tokenizer.ends,
            decoder=tokenizer.stream,
        )
        for index, (best, *_) in zip(indices, hypotheses, strict=True):
            texts[index] = whole(tokenizer.stream(), best.ids, spec.stop)
        evaluation.reporter.progress("writing", start + len(indices), len(order), "texts")
    return texts


def _prompts(evaluation: EvaluationInput, records: np.ndarray) -> list[Prompt]:
    """What each record's target is written from: the start and the source, as they were read in training."""
    prompts: dict[int, Prompt] = {}
    for batch in record_batches(evaluation):
        read = batch.batch
        assert read.source is not None
        for row, record in enumerate(evaluation.loader.view.record[batch.rows].tolist()):
            source = read.source[row]
            real = source if read.source_mask is None else source[read.source_mask[row]]
            prompts[record] = Prompt([int(read.inputs[row, 0])], real.tolist())
    return [prompts[record] for record in records.tolist()]


def sample(spec: PairsObjective, document: Document, tokenizer: AnyTokenizer, tokens: int) -> tuple[str, str]:
    """The source, and the target."""
    return document.texts[spec.source], document.texts[spec.target]


PAIRS = Objective(
    spec=PairsObjective,
    reader=PairsReader,
    loader=loader_of(PairsView),
    losses=losses_of_tokens,
    teacher_forcing=teacher_forcing,
    show=show.of_pairs,
    measure=measure,
    writes=True,
    sample=sample,
    next=("generate {run} 'a text to translate'",),
    purpose=Purpose(
        "text2text-generation",
        "writing one text from another",
        "Writing a text from another as in its training pairs: a translation, a summary.",
        WRITES_FROM_SOURCE,
        "它按训练数据的方式由源文本写出目标文本，可能有错译、遗漏或不实之处；使用前请人工核对。",
    ),
)
