"""The classifier of a user's own examples: what it learns, and that it always learns the same."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import textmill
from textmill.base.errors import RecipeError
from textmill.specs.cleaning import ClassifierStep
from textmill.text.cleaning import steps
from textmill.text.cleaning.quality import classifier, logistic
from textmill.text.document import Document, Rejected, collected


def texts(seed: int, good: bool, count: int = 60) -> list[str]:
    """Sentences in English and Chinese; the good ones are rather about the mill, the bad ones about the sale."""
    chance = random.Random(seed)
    mill, sale = ["mill", "wheel", "flour", "磨坊", "面粉"], ["click", "buy", "cheap", "优惠", "点击"]
    common = ["the", "river", "now", "over", "and", "我们", "今天", "with"]
    told, other = (mill, sale) if good else (sale, mill)
    return [" ".join(chance.choices(common * 4 + told * 3 + other, k=25)) for _ in range(count)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = (json.dumps({"text": text, "more": 1}, ensure_ascii=False) + "\n" for text in texts(1, True))
    Path("good.jsonl").write_text("".join(lines), encoding="utf-8")
    Path("bad.txt").write_text("\n".join(texts(2, False)) + "\n\n", encoding="utf-8")
    return tmp_path


SPEC = ClassifierStep(good="good.jsonl", bad="bad.txt", least=0.5)


def test_good_is_told_from_bad(folder):
    held_out = texts(3, True) + texts(4, False)
    out = list(steps.apply([collected(text, "a") for text in held_out], (SPEC,)))
    right = [isinstance(item, Document) == (i < 60) for i, item in enumerate(out)]
    assert sum(right) >= 110
    for item in out:
        document = item.document if isinstance(item, Rejected) else item
        assert 0 <= float(document.metadata["quality"]) <= 1
        assert len(document.metadata["quality"]) == 4
    rejected = next(item for item in out if isinstance(item, Rejected))
    assert (rejected.step, rejected.reason) == ("classifier", "is unlike the good examples")
    assert classifier.files(SPEC) == ("good.jsonl", "bad.txt")


def test_batches_never_show_and_neither_do_processes(folder):
    model = classifier.train(texts(1, True), texts(2, False))
    held_out = [*texts(3, True), "", "?", "磨", "word " * 3000]
    whole = classifier.probabilities(model, held_out)
    assert whole == [classifier.probabilities(model, [text])[0] for text in held_out]
    assert whole[-4] == whole[-3] == classifier.probabilities(model, [""])[0]  # the bias is all there is
    code = (
        "from textmill.text.cleaning.quality import classifier as c;"
        "g, b = c.examples('good.jsonl', ''), c.examples('bad.txt', '');"
        "m = c.train(g, b); print(m.bias, int(m.weights @ m.weights))"
    )
    path = str(Path(textmill.__file__).parents[1])
    told = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={"PYTHONPATH": path}
    ).stdout
    assert told.split() == [str(model.bias), str(int(model.weights @ model.weights))]


def test_the_two_files_count_the_same_whatever_their_lengths():
    few, many = texts(1, True, 20), texts(2, False, 200)
    model = classifier.train(few, many)
    neither = classifier.probabilities(model, ["something else altogether"])[0]
    assert 0.3 < neither < 0.7


def test_a_long_document_is_read_in_its_beginning_only():
    model = classifier.train(texts(1, True), texts(2, False))
    text = "mill " * (classifier.READ // 5 + 1)
    assert classifier.probabilities(model, [text[: classifier.READ]]) == classifier.probabilities(
        model, [text * 3]
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", None, "cannot be read"),
        ("a.txt", b" \n\n", "holds no example"),
        ("a.txt", b"\xff\xfe\x00", "is not UTF-8"),
        ("a.jsonl", b'{"text": "x"}\n{"txt": "y"}\n', "line 2"),
        ("a.jsonl", b'["text"]\n', "line 1"),
        ("a.jsonl", b"[" * 100_000, "line 1"),
    ],
)
def test_examples_that_cannot_be_used(folder, name, content, words):
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(RecipeError, match=words) as caught:
        classifier.step(ClassifierStep(good="good.jsonl", bad=name))
    assert name in str(caught.value)


def test_newton_finds_the_lowest_point():
    """Where the gradient of the loss, written down plainly, is zero."""
    chance = np.random.default_rng(0)
    dense = chance.random((50, 12)) < 0.4
    row, column = np.nonzero(dense)
    rows = logistic.Rows(row, column, 50, 12)
    good = chance.random(50) < 0.3
    weight = chance.random(50) + 0.5
    weights, bias = logistic.fit(rows, good, weight, 3.0)
    matrix = dense / np.sqrt(np.maximum(dense.sum(1, keepdims=True), 1))
    error = 3.0 * weight * (1 / (1 + np.exp(-(matrix @ weights + bias))) - good)
    assert np.abs(matrix.T @ error + weights).max() < 1e-5
    assert abs(error.sum()) < 1e-5


@pytest.mark.long
def test_like_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    sparse = pytest.importorskip("scipy.sparse")
    good, bad = texts(1, True, 80), texts(2, False, 120)
    held_out = texts(3, True) + texts(4, False)

    def matrix(given):
        rows = classifier.features(given)
        return sparse.csr_array((rows.scale[rows.row], (rows.row, rows.column)), (rows.count, rows.width))

    peer = linear_model.LogisticRegression(
        C=classifier.STRENGTH, tol=1e-9, max_iter=2000, class_weight="balanced"
    )
    peer.fit(matrix(good + bad), np.arange(200) < 80)
    theirs = peer.predict_proba(matrix(held_out))[:, 1]
    ours = classifier.probabilities(classifier.train(good, bad), held_out)
    assert np.abs(theirs - ours).max() < 1e-4
