"""What is said of records: each by itself, whatever stands beside it, and by hand where it is short enough."""

from __future__ import annotations

import dataclasses
import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from inference.conftest import CONTEXT, HEADS, TAGS, records
from textmill.data.batch import IGNORE, Batch
from textmill.decoding.decode import answers
from textmill.decoding.prompt import of_text
from textmill.inference.predictor import Predictor
from textmill.specs.generation import GenerationSpec
from textmill.tasks.prediction import Answer, Label, Labels, Refused, Span, Spans
from textmill.tasks.table import TASKS, task_of
from textmill.tasks.task import Options

NAMES = [*HEADS, "translate"]


def same(one, other) -> None:
    """Equal to the byte, but for numbers, which are as good as equal."""
    assert type(one) is type(other)
    if dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            same(left, right)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-5)
    else:
        assert one == other


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_of_a_record_does_not_depend_on_those_beside_it(model_of, name):
    given = records(name)
    predictor = Predictor(model_of(name), Options(top=2))
    said = list(predictor.predict(given))
    assert not any(isinstance(one, Refused) for one in said)
    order = list(range(len(given)))
    random.Random(7).shuffle(order)
    shuffled = list(predictor.predict([given[place] for place in order]))
    for place, one in zip(order, shuffled, strict=True):
        same(one, said[place])
    for place in (0, 5, 11):
        [alone] = predictor.predict([given[place]])
        same(alone, said[place])
    assert len({repr(one) for one in said}) > 3, "not all is said alike"


def hidden(model, ids):
    inputs = torch.tensor([ids])
    with torch.no_grad():
        return model.model(Batch(inputs, torch.full_like(inputs, IGNORE)))[0].double().numpy()


def test_a_long_text_is_labelled_by_the_mean_of_log_probabilities_over_windows(model_of):
    model = model_of("classify")
    text = " ".join(["mill river"] * 60)
    windows = replace(model.codec, context=CONTEXT).source(text).windows
    assert len(windows) > 3
    logps = []
    for window in windows:
        logits = hidden(model, window.ids.tolist())
        logps.append(logits - np.log(np.exp(logits).sum()))
    mean = np.exp(np.mean(logps, axis=0))
    mean /= mean.sum()
    [said] = Predictor(model, Options(top=3)).predict([{"text": text}])
    expected = dict(zip(HEADS["classify"].labels, mean, strict=True))
    assert {said.label: said.p, **dict(said.others)} == pytest.approx(expected, abs=1e-6)
    assert said.label == max(expected, key=expected.__getitem__)


def test_a_temperature_changes_how_sure_a_model_is_and_nothing_else(model_of):
    model = model_of("classify")
    warm = replace(model, info={**model.info, "calibration": {"temperature": 2.0}})
    given = records("classify", 8)
    for one, other in zip(Predictor(model).predict(given), Predictor(warm).predict(given), strict=True):
        assert one.label == other.label
        assert other.p < one.p


def test_several_labels_and_their_threshold(model_of):
    model, given = model_of("several"), records("several", 12)
    usual = list(Predictor(model, Options(top=3)).predict(given))
    strict = list(Predictor(model, Options(threshold=0.9)).predict(given))
    for one, other in zip(usual, strict, strict=True):
        assert isinstance(one, Labels)
        assert all(p > 0.5 for _, p in one.labels)
        assert all(p <= 0.5 for _, p in one.others)
        assert len(one.labels) + len(one.others) == 3
        assert [label for label, p in one.labels if p > 0.9] == [label for label, _ in other.labels]


@pytest.mark.parametrize("threshold", [None, 0.0, 1e6])
def test_answers_by_trying_every_stretch_of_every_window(model_of, threshold):
    model = model_of("answer")
    given = records("answer", 6)
    for record, said in zip(
        given, Predictor(model, Options(threshold=threshold)).predict(given), strict=True
    ):
        row = replace(model.codec, context=CONTEXT).pair(record["question"], record["passage"])
        odds: dict[tuple[int, int], float] = {}
        for window in row.windows:
            inputs = torch.from_numpy(window.ids)[None]
            batch = Batch(
                inputs, torch.full_like(inputs, IGNORE), segments=torch.from_numpy(window.segments)[None]
            )
            with torch.no_grad():
                logits = model.model(batch)[0].double()
            places = np.flatnonzero(window.candidates)
            for at, first in enumerate(places):
                for last in places[at : at + 30]:
                    key = int(window.at[first]), int(window.at[last])
                    value = float(logits[first, 0] + logits[last, 1] - logits[0].sum())
                    odds[key] = max(value, odds.get(key, -np.inf))
        (first, last), best = max(odds.items(), key=lambda item: item[1])
        values = np.array([*odds.values()] + ([] if threshold is None else [0.0]))
        total = np.log(np.exp(values - values.max()).sum()) + values.max()
        if threshold is not None and best <= threshold:
            assert said.text is None
            assert said.p == pytest.approx(np.exp(-total), abs=1e-6)
            continue
        assert said.text == row.texts[1].between(first, last)
        assert record["passage"][said.start : said.end] == said.text
        assert said.p == pytest.approx(np.exp(best - total), abs=1e-6)


def test_next_best_answers_do_not_overlap(model_of):
    [said] = Predictor(model_of("answer"), Options(top=3)).predict(
        [{"passage": "the mill by the river turns grain into flour", "question": "what turns"}]
    )
    stretches = sorted((one.start, one.end) for one in (said, *said.others))
    assert len(stretches) == 3
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(stretches))
    assert said.p >= said.others[0].p >= said.others[1].p


@pytest.mark.parametrize("name", ["tag", "tag crf"])
def test_spans_stand_where_they_say(model_of, name):
    given = records(name, 20)
    found = 0
    for record, said in zip(given, Predictor(model_of(name)).predict(given), strict=True):
        assert [word.text for word in said.words] == record["text"].split(), "every word, over all windows"
        for span in (*said.spans, *said.words):
            assert record["text"][span.start : span.end] == span.text
            assert 0 < span.p <= 1
        found += len(said.spans)
    assert found


def test_a_span_is_as_likely_as_its_tags(model_of):
    record = {"text": "mill flour bread wind"}
    [said] = Predictor(model_of("tag")).predict([record])
    row = model_of("tag").codec.words(record["text"])
    logits = hidden(model_of("tag"), row.ids.tolist())[row.candidates]
    p = np.exp(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))
    for word, each in zip(said.words, p, strict=True):
        assert (word.label, word.p) == (TAGS[each.argmax()], pytest.approx(each.max(), abs=1e-6))
    for span in said.spans:
        inside = [word.p for word in said.words if span.start <= word.start < span.end]
        assert span.p == pytest.approx(np.prod(inside), abs=1e-6)


def test_words_of_chinese_are_cut_as_in_training(model_of):
    model = model_of("tag")
    text = "去北京by train"
    cut = {
        way: [word.text for word in said.words]
        for way in ("spaces", "signs", "characters")
        for said in Predictor(replace(model, info={"words": way})).predict([{"text": text + "."}])
    }
    assert cut["spaces"] == ["去北京by", "train."]
    assert cut["signs"] == ["去北京by", "train", "."]
    assert cut["characters"][:4] == ["去", "北", "京", "b"]


def test_translations_are_those_of_generation(model_of):
    model, given = model_of("translate"), records("translate", 7)
    spec = GenerationSpec(tokens=6, temperature=0.0)
    prompts = [of_text(model.tokenizer, one["source"], start=model.target_start) for one in given]
    expected = answers(model.model, prompts, spec, ends=model.tokenizer.ends)
    for said, [best] in zip(Predictor(model).predict(given), expected, strict=True):
        ids = [token for token in best.ids if token not in model.tokenizer.ends]
        assert said.text == model.tokenizer.decode(ids)


def test_what_cannot_be_read_stands_in_its_place(model_of):
    long = {"source": " ".join(["mill"] * 100)}
    given = [
        {"source": "mill"},
        {},
        {"source": " "},
        long,
        Refused("is damaged", place="here"),
        {"source": "flour"},
    ]
    said = list(Predictor(model_of("translate")).predict(given))
    refused = [(one.index, one.reason) for one in said if isinstance(one, Refused)]
    assert [place for place, _ in refused] == [1, 2, 3, 4]
    assert "longer than the model reads" in refused[2][1]
    [cut] = Predictor(model_of("translate"), Options(truncate=True)).predict([long])
    assert cut.cut > 50
    known = list(Predictor(model_of("translate")).predict(given, known=1))
    assert known[0] is None
    same(known[5], said[5])


def test_the_task_follows_from_what_a_model_says_and_is(model_of):
    assert [task_of(model_of(name)).name for name in NAMES] == [
        "classify", "classify", "regress", "tag", "tag", "answer", "translate"
    ]  # fmt: skip
    told = replace(model_of("translate"), info={"task": "summarize"})
    assert task_of(told) is TASKS["summarize"]


def test_rows_of_predictions():
    assert Label("good", 0.123456).row() == {"label": "good", "p": 0.1235}
    assert Answer(None, p=0.5).row() == {"answer": None, "start": None, "end": None, "p": 0.5}
    span = Span(0, 4, "PER", "Anna", 0.9)
    assert Spans((span,)).row() == {
        "spans": [{"start": 0, "end": 4, "label": "PER", "text": "Anna", "p": 0.9}]
    }
