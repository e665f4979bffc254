"""How well a model with a head does: labels, numbers, tags, answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from textmill.data.batch import IGNORE
from textmill.data.examples import ExampleStore
from textmill.metrics import answers, labels, numbers, tags
from textmill.models.heads import best_span
from textmill.specs.objective import SpanObjective
from textmill.stages.evaluation.measure import EXAMPLES, Asked, Measured, Rows, record_batches
from textmill.stages.workspace import inputs


def classify(asked: Asked) -> Measured:
    """Labels of whole texts; the baseline always says the commonest label of the training part."""
    records, guess, truth = _said(asked)
    names = asked.loader.store.labels
    held = np.bincount(_train(asked).fields["value"][0], minlength=len(names))
    common = int(held.argmax())
    baseline = f"always {names[common]!r}"
    if truth.ndim == 1:
        scores, beside = (
            labels.one_label(truth, side, len(names), **asked.options)
            for side in (guess, np.full_like(truth, common))
        )
        counts = labels.counts_of_one(truth, guess, len(names))
        more = {"confusion": labels.confusion(truth, guess, names)}
    else:
        truth, always = truth > 0.5, np.zeros(truth.shape, dtype=bool)
        always[:, common] = True
        scores, beside = (
            labels.several_labels(truth, side, **asked.options, how="a label is said from 0.5")
            for side in (guess, always)
        )
        counts = ((truth & guess).sum(0), (truth & ~guess).sum(0), (~truth & guess).sum(0))
        more = {}
    more |= {"by_label": labels.by_label(names, *counts)}
    return _measured(asked, records, scores, {baseline: beside}, truth.size, more)


def regress(asked: Asked) -> Measured:
    """Numbers of whole texts; the baseline always says the mean of the training part."""
    records, guess, truth = _said(asked)
    mean = float(_train(asked).fields["value"][0].mean())
    scores, beside = (
        numbers.regression(truth.ravel(), side.ravel(), **asked.options)
        for side in (guess, np.full_like(truth, mean))
    )
    return _measured(asked, records, scores, {"the training mean": beside}, truth.size)


def _said(asked: Asked) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) records, rising, and what the model says of each, and what is true, (n,) or (n, C) in that order."""
    records, guess, truth = [], [], []
    for batch in record_batches(asked):
        records.append(asked.loader.view.record[batch.rows])
        guess.append(asked.model.predict(batch.batch).numpy())
        truth.append(batch.batch.targets.numpy())
    order = np.concatenate(records).argsort()
    sides = (np.concatenate(side)[order] for side in (records, guess, truth))
    return tuple(sides)  # pyrefly: ignore[bad-return]


def tag(asked: Asked) -> Measured:
    """Tags of words, and the entities they mark; the baseline always says the commonest tag of the training part."""
    store, view = asked.loader.store, asked.loader.view
    rows: dict[int, tuple[list[int], list[int]]] = {}
    for batch in record_batches(asked):
        guess, truth = asked.model.predict(batch.batch), batch.batch.targets
        for place, row in enumerate(batch.rows.tolist()):
            there = truth[place] != IGNORE
            rows[row] = truth[place][there].tolist(), guess[place][there].tolist()
    found: dict[int, tuple[list[str], list[str]]] = {}
    for row in sorted(rows):  # a text that is longer than a row is read in several
        for side, more in zip(found.setdefault(int(view.record[row]), ([], [])), rows[row], strict=True):
            side += [store.labels[number] for number in more]
    truth, guess = [one for one, _ in found.values()], [two for _, two in found.values()]
    values = _train(asked).fields["value"][0]
    common = store.labels[int(np.bincount(values[values != IGNORE], minlength=len(store.labels)).argmax())]
    always = [[common] * len(one) for one in truth]
    marked = tags.marks_entities(store.labels)
    scores, beside = (
        tags.tagged(truth, side, entities_too=marked, **asked.options) for side in (guess, always)
    )
    more = _confused(truth, guess, store.labels)
    if marked:
        more["by_type"] = tags.by_type(truth, guess)
    words = sum(map(len, truth))
    return _measured(asked, np.array(list(found)), scores, {f"always {common!r}": beside}, words, more)


def _confused(
    truth: Sequence[Sequence[str]], guess: Sequence[Sequence[str]], names: Sequence[str]
) -> dict[str, Any]:
    number = {name: place for place, name in enumerate(names)}
    one, two = (
        np.array([number[tag] for text in side for tag in text], dtype=np.int64) for side in (truth, guess)
    )
    return {"confusion": labels.confusion(one, two, names)}


def answer(asked: Asked) -> Measured:
    """Stretches of texts that answer questions; the baseline says the text's first tokens, as many as usual."""
    store, objective = asked.loader.store, asked.recipe.objective
    assert isinstance(objective, SpanObjective)
    best: dict[int, tuple[float, int, int]] = {}
    for batch in record_batches(asked):
        records = asked.loader.view.record[batch.rows].tolist()
        for record, found in zip(records, _spans(asked, batch), strict=True):
            best[record] = max(best.get(record, found), found)
    chosen = np.array(sorted(best))
    texts = [store.field("text", record) for record in chosen.tolist()]
    places = [best[record][1:] for record in chosen.tolist()]
    given = [
        asked.tokenizer.decode(text[first : last + 1])
        for text, (first, last) in zip(texts, places, strict=True)
    ]
    spans = _train(asked).fields["value"][0].reshape(-1, 2)
    usual = int(np.median(spans[:, 1] - spans[:, 0] + 1))
    opening = [asked.tokenizer.decode(text[:usual]) for text in texts]
    documents = asked.documents(chosen)
    truth = [document.texts[objective.answer].strip() for document in documents]
    scores, beside = (answers.answered(truth, side, **asked.options) for side in (given, opening))
    examples = [
        {"question": document.texts[objective.question], "answer": true, "given": said.strip()}
        for document, true, said in zip(documents[:EXAMPLES], truth, given, strict=False)
    ]
    baselines = {f"the first {usual} tokens": beside}
    return _measured(asked, chosen, scores, baselines, len(chosen), {"examples": examples})


def _spans(asked: Asked, batch: Rows) -> list[tuple[float, int, int]]:
    """The likeliest answer in each row: how much likelier it is than "not here", which is said by the row's first token
    (Devlin et al. 2019, section 4.3), and its first and last token in the record's text.

    Windows of one text were trained apart, so what compares over them is these odds, not the logits.
    """
    view, segments = asked.loader.view, batch.batch.segments
    assert segments is not None
    with torch.inference_mode():
        logits = asked.model(batch.batch).float()
    start = segments.argmax(1, keepdim=True)  # where the text begins in the row; its end stands before `tail`
    begins, ends = (torch.from_numpy(side[batch.rows])[:, None] for side in (view.begins, view.ends))
    place = torch.arange(segments.shape[1]) - start
    spans = best_span(logits, (place >= 0) & (place < ends - begins))
    chosen = logits.gather(1, spans[..., None].expand(-1, -1, 2))
    odds = chosen[:, 0, 0] + chosen[:, 1, 1] - logits[:, 0].sum(-1)
    return [
        (value, first, last)
        for value, (first, last) in zip(odds.tolist(), (spans - start + begins).tolist(), strict=True)
    ]


def _train(asked: Asked) -> ExampleStore:
    store = inputs.store_of(asked.recipe, asked.prepared, "train")
    assert isinstance(store, ExampleStore)
    return store


def _measured(
    asked: Asked, records: np.ndarray, scores: Any, baselines: Any, targets: int, more: Any = None
) -> Measured:
    size = int(asked.loader.store.bytes[records].sum())
    return Measured(scores, baselines, len(records), targets, size, more or {})
