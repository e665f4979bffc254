"""Temperatures and thresholds against what they are to do: the likeliest scale, the threshold that is worth most."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from inference.conftest import model_of, records, tokenizer  # noqa: F401
from textmill.inference.predictor import Predictor
from textmill.metrics import answers
from textmill.tasks import answer, classify, tag
from textmill.tasks.task import Options


def fitted(model, task, given):
    """The model with what was fitted on these records."""
    found = task.calibrate(model, task.prepare(model, given, Options()), given)
    return found, replace(model, info={**model.info, "calibration": found.plain()})


def nats(model, given):
    said = Predictor(model, Options(top=3)).predict(given)
    tables = [{one.label: one.p, **dict(one.others)} for one in said]
    return -np.mean([np.log(table[record["label"]]) for table, record in zip(tables, given, strict=True)])


def test_labels_are_likeliest_at_the_fitted_temperature(model_of):  # noqa: F811
    draw = random.Random(1)
    model = model_of("classify")
    given = records("classify", 120)
    said = [one.label for one in Predictor(model).predict(given)]
    labels = [label if draw.random() < 0.5 else draw.choice(["bad", "good", "so so"]) for label in said]
    given = [{**one, "label": label} for one, label in zip(given, labels, strict=True)]
    found, warm = fitted(model, classify, given)
    assert found.n == 120
    assert found.before == pytest.approx(nats(model, given), abs=1e-6)
    assert found.after == pytest.approx(nats(warm, given), abs=1e-6)
    for scale in (0.9, 1.1):
        other = {**warm.info, "calibration": {"temperature": found.temperature * scale}}
        assert nats(replace(model, info=other), given) > found.after
    sides = [classify.confidence(list(Predictor(one).predict(given)), given) for one in (model, warm)]
    assert (sides[0][1] == sides[1][1]).all(), "no label changes"


def test_too_few_examples_and_those_all_right_fit_nothing(model_of):  # noqa: F811
    model, given = model_of("classify"), records("classify", 120)
    right = [
        {**one, "label": said.label} for one, said in zip(given, Predictor(model).predict(given), strict=True)
    ]
    assert classify.calibrate(model, classify.prepare(model, right, Options()), right) is None
    few = [{**one, "label": "bad"} for one in given[:50]]
    assert classify.calibrate(model, classify.prepare(model, few, Options()), few) is None


def test_tags_of_words(model_of):  # noqa: F811
    draw = random.Random(2)
    given = [
        {**one, "tags": " ".join(draw.choices(["O", "B-PLACE"], k=len(one["text"].split())))}
        for one in records("tag", 12)
    ]
    found, _ = fitted(model_of("tag"), tag, given)
    assert found.n == sum(len(one["text"].split()) for one in given)
    assert found.after < found.before
    crf = model_of("tag crf")
    assert tag.calibrate(crf, tag.prepare(crf, given, Options()), given) is None


def test_the_threshold_of_no_answer_is_the_one_that_is_worth_most(model_of):  # noqa: F811
    model = replace(model_of("answer"), info={"unanswerable": True})
    given = []
    for number, one in enumerate(records("answer", 30)):
        words = one["passage"].split()
        given.append(
            {**one, "answerable": "false"} if number % 3 else {**one, "answer": words[len(words) // 2]}
        )
    found = answer.calibrate(model, answer.prepare(model, given, Options()), given)

    def worth(threshold):
        said = list(Predictor(model, Options(threshold=threshold)).predict(given))
        right = [answer.gold(one) for one in given]
        return answers.answered(right, [one.text or "" for one in said])["answer F1"].value

    best = worth(found.threshold)
    tables = answer.odds(model, answer.prepare(model, given, Options()))
    for table in tables:
        for threshold in (table.max() - 1e-6, table.max() + 1e-6):
            assert worth(threshold) <= best + 1e-9
    plain = replace(model, info={**model.info, "calibration": found.plain()})
    said = [one.text for one in Predictor(plain).predict(given)]
    assert said == [one.text for one in Predictor(model, Options(threshold=found.threshold)).predict(given)]
