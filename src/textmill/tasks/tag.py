"""Tags of words, and the entities they mark: spans of characters of the text as it was given.

A text longer than the model reads is read in stretches of whole words. A span is as likely as that all of its words
have their tags: of tags each by itself the product of their probabilities, with a CRF that of the chain through them.

Shapes: B rows, T tokens, C tags.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import TextmillError
from textmill.data.batch import Batch
from textmill.data.codec import Row
from textmill.metrics import labels, tags
from textmill.metrics.score import Bootstrap, Figures, Score
from textmill.models.heads import Headed
from textmill.models.pretrained import Pretrained
from textmill.nn.crf import CRF
from textmill.objectives.loss import widened
from textmill.objectives.tag import TAG as OBJECTIVE
from textmill.specs.head import TagHead
from textmill.tasks import classify, rows, words
from textmill.tasks.baselines import tagging
from textmill.tasks.prediction import REFUSED, Prediction, Refused, Span, Spans
from textmill.tasks.task import Baseline, Calibration, Field, Options, Record, Task, text_of

_LOOKED_AT = 500  # training texts, for how their words are cut


def prepare(pretrained: Pretrained, records: Sequence[Record], options: Options) -> list[Row | Refused]:
    """Texts cut word by word."""
    codec, way = rows.codec_of(pretrained), pretrained.info.get("words", "signs")
    reads: list[Row | Refused] = []
    for record in records:
        text = text_of(record, "text")
        if isinstance(text, Refused):
            reads.append(text)
            continue
        row = codec.words(text, words.places(text, record, way))
        reads.append(row if len(row.texts[0]) else Refused("no token is left"))
    return reads


def predict(pretrained: Pretrained, reads: Sequence[Row], options: Options) -> list[Prediction]:
    """The tags of all words, and the entities they mark."""
    head, codec = head_of(pretrained), rows.codec_of(pretrained)
    marked = tags.marks_entities(head.labels)
    found = rows.over_windows(pretrained, codec, reads, lambda batch: tagged(pretrained, batch))
    return [_spans(read, windows, head.labels, marked) for read, windows in zip(reads, found, strict=True)]


def tagged(pretrained: Pretrained, batch: Batch) -> Tensor:
    """(B, T, 3): the likeliest tag of each place that begins a word, the log of its probability, and of that given the
    tag of the word before."""
    model = pretrained.model
    assert isinstance(model, Headed)
    logits, begins = widened(model(batch)), batch.candidates
    assert begins is not None
    if model.head.crf is None:
        logp = (logits / rows.temperature(pretrained)).log_softmax(-1)
        best = logits.argmax(-1)
        alone = given = logp.gather(-1, best[..., None])[..., 0]
    else:
        crf = model.head.crf
        assert isinstance(crf, CRF)
        best = crf.best(logits, begins)
        alone, given = crf.marginals(logits, best, begins)
    return torch.stack([best.to(alone.dtype), alone, given], dim=-1)


def head_of(pretrained: Pretrained) -> TagHead:
    """The head that gives tags. Raises TextmillError where there is none."""
    head = getattr(getattr(pretrained.model, "head", None), "spec", None)
    if not isinstance(head, TagHead):
        raise TextmillError(f"a {pretrained.spec.kind} model without a head for tags tags nothing")
    return head


def _spans(read: Row, windows: Sequence[np.ndarray], names: Sequence[str], marked: bool) -> Spans:
    text, said = read.texts[0], []
    for row, values in zip(read.windows, windows, strict=True):
        there = np.flatnonzero(row.candidates)
        each = values[there].astype(np.float64)
        if len(each):
            each[0, 2] = each[0, 1]  # nothing is known of the word before a window
        said += list(zip(row.at[there].tolist(), each.tolist(), strict=True))
    assert text.words is not None
    found, chain = [], []
    for place, (tag, alone, given) in said:
        start, end = text.places[int(text.words[place])]
        p = min(1.0, math.exp(alone))
        found.append(Span(start, end, names[round(tag)], text.text[start:end], p))
        chain.append((alone, given))
    every = tuple(found)
    if not marked:
        return Spans(every, every)
    entities = tags.entities([word.label for word in every])
    return Spans(tuple(_entity(text.text, every, chain, *entity) for entity in entities), every)


def _entity(
    text: str, every: Sequence[Span], chain: Sequence[tuple[float, float]], first: int, last: int, kind: str
) -> Span:
    start, end = every[first].start, every[last].end
    logp = chain[first][0] + sum(given for _, given in chain[first + 1 : last + 1])
    return Span(start, end, kind, text[start:end], min(1.0, math.exp(logp)))


def gold(record: Record) -> tuple[str, ...] | None:
    """A tag for each word."""
    said = tuple(record.get("tags", "").split())
    text = record.get("text", "")
    return said if said and len(words.places(text, record, "spaces")) == len(said) else None


def told(gold: tuple[str, ...] | None, record: Record) -> list[dict[str, str]] | None:
    """The entities that right tags mark, with their kinds."""
    if gold is None:
        return None
    text = record["text"]
    places = words.places(text, record, "spaces")
    return [
        {"label": kind, "text": text[places[first][0] : places[last][1]]}
        for first, last, kind in tags.entities(gold)
    ]


def right(prediction: Any, gold: tuple[str, ...], record: Record) -> bool:
    """The same entities in the same order."""
    return [{"label": span.label, "text": span.text} for span in prediction.spans] == told(gold, record)


def metrics(predictions: Sequence[Any], records: Sequence[Record], bootstrap: Bootstrap) -> dict[str, Score]:
    """F1 of entities where tags mark some, and how many words have the right tag."""
    truth, guess = _sides(predictions, records)
    return tags.tagged(truth, guess, bootstrap, entities_too=_marked(truth, guess))


def figures(predictions: Sequence[Any], records: Sequence[Record]) -> Figures:
    """What the headline is made of, text by text."""
    truth, guess = _sides(predictions, records)
    return tags.figures(truth, guess, entities_too=_marked(truth, guess))


def details(predictions: Sequence[Any], records: Sequence[Record]) -> dict[str, Any]:
    """Which tag is taken for which, and how well each type of entity is found."""
    truth, guess = _sides(predictions, records)
    names = sorted({tag for side in (truth, guess) for text in side for tag in text})
    number = {name: place for place, name in enumerate(names)}
    true, said = (
        np.array([number[tag] for text in side for tag in text], dtype=np.int64) for side in (truth, guess)
    )
    more: dict[str, Any] = {"confusion": labels.confusion(true, said, names)}
    return more | ({"by_type": tags.by_type(truth, guess)} if _marked(truth, guess) else {})


def _marked(truth: Sequence[Sequence[str]], guess: Sequence[Sequence[str]]) -> bool:
    names = {tag for side in (truth, guess) for text in side for tag in text} - {REFUSED}
    return tags.marks_entities(names)


def _sides(predictions: Sequence[Any], records: Sequence[Record]) -> tuple[list[list[str]], list[list[str]]]:
    truth = [list(gold(record) or ()) for record in records]
    guess = [
        [word.label for word in said.words] if isinstance(said, Spans) else [REFUSED] * len(true)
        for said, true in zip(predictions, truth, strict=True)
    ]
    return truth, guess


def calibrate(pretrained: Pretrained, reads: Sequence[Row], records: Sequence[Record]) -> Calibration | None:
    """By the tags of words, where each is told by itself: a CRF is sure of whole sequences."""
    model, head, codec = pretrained.model, head_of(pretrained), rows.codec_of(pretrained)
    if head.crf:
        return None
    number = {name: place for place, name in enumerate(head.labels)}
    found = rows.over_windows(pretrained, codec, reads, lambda batch: widened(model(batch)))
    logits, truth = [], []
    for read, windows, record in zip(reads, found, records, strict=True):
        at_words = [values[row.candidates] for row, values in zip(read.windows, windows, strict=True)]
        for tag, values in zip(gold(record) or (), np.concatenate(at_words), strict=True):
            if tag in number:
                logits.append(values)
                truth.append(number[tag])
    return classify.calibrated(np.array(logits, dtype=np.float64), np.array(truth)) if truth else None


def confidence(predictions: Sequence[Any], records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Of each word's tag."""
    truth, _ = _sides(predictions, records)
    pairs = [
        (word.p or 0.0, word.label == tag)
        for said, true in zip(predictions, truth, strict=True)
        if isinstance(said, Spans)
        for word, tag in zip(said.words, true, strict=True)
    ]
    return np.array([p for p, _ in pairs]), np.array([right for _, right in pairs], dtype=bool)


def count(records: Sequence[Record]) -> int:
    """Words that have a tag."""
    return sum(len(gold(record) or ()) for record in records)


def tells(records: Iterable[Record]) -> dict[str, Any]:
    """How words are cut."""
    return {
        "words": words.way_of((record["text"], record) for record in itertools.islice(records, _LOOKED_AT))
    }


def always(records: Sequence[Record]) -> Baseline:
    """The commonest tag of the training records, for every word."""
    counts = Counter(tag for record in records for tag in gold(record) or ())
    common = max(sorted(counts), key=counts.__getitem__)

    def predict(records: Sequence[Record]) -> list[Prediction]:
        said: list[Prediction] = []
        for record in records:
            text = record["text"]
            places = words.places(text, record, "spaces")
            every = tuple(Span(start, end, common, text[start:end], 1.0) for start, end in places)
            said.append(Spans((), every))
        return said

    return Baseline(f"always {common!r}", predict)


TAG = Task(
    name="tag",
    summary="names and other stretches of texts",
    fields=(Field("text", "the text to tag"),),
    objectives=dict.fromkeys(OBJECTIVE.spec.families, OBJECTIVE.kind),
    prepare=prepare,
    predict=predict,
    gold=gold,
    told=told,
    right=right,
    metrics=metrics,
    figures=figures,
    details=details,
    baselines={"majority": always, "features": tagging.crf},
    count=count,
    tells=tells,
    calibrate=calibrate,
    confidence=confidence,
    purpose="Finding names and other stretches in texts of the kind it was trained on.",
)
