"""ARPA files: what is written is read as the same probabilities; what is no such file is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from textmill.base.errors import DamagedError, TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.interop import arpa
from textmill.models.ngram.fit import fit
from textmill.specs.model import NGramSpec
from textmill.specs.recipe import TokenizerSpec
from textmill.tokenization.training import train

TEXTS = [
    "the mill turns water into flour",
    "the wind turns the mill",
    "磨坊 <s> 100 % of it",
    "a mill\n\ta wind",
] * 3


@pytest.fixture(scope="module")
def words():
    return train(TokenizerSpec(kind="bpe", vocabulary=300), TEXTS)


def model_of(words, **fields):
    ids = np.concatenate([[words.end], *([*words.encode(text), words.end] for text in TEXTS)])
    return fit(NGramSpec(**fields), ids, words.vocabulary, words.end, dtype=torch.float64)


def read(words, text):
    ids = torch.tensor([[words.end, *words.encode(text).tolist()]])
    return Batch(ids, torch.full_like(ids, IGNORE))


@pytest.mark.parametrize("smoothing", ["witten-bell", "katz", "kneser-ney", "modified-kneser-ney"])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_what_is_written_is_read(words, tmp_path, smoothing, order):
    model = model_of(words, smoothing=smoothing, order=order)
    sizes = arpa.write_arpa(tmp_path / "a.arpa", model, words)
    again = arpa.read_arpa(tmp_path / "a.arpa", words)
    assert list(sizes) == [str(length) for length in range(1, order + 1)]
    for text in (*TEXTS[:4], "water turns 磨 nothing seen %"):
        torch.testing.assert_close(again(read(words, text)), model(read(words, text)), rtol=0, atol=1e-6)
    arpa.write_arpa(tmp_path / "b.arpa", again, words)
    third = arpa.read_arpa(tmp_path / "b.arpa", words)
    torch.testing.assert_close(third(read(words, TEXTS[0])), model(read(words, TEXTS[0])), rtol=0, atol=1e-6)


def test_backing_off_by_hand_gives_the_same(words, tmp_path):
    """The file says what the format says: read by its definition, with nothing of ours but the spelling."""
    model = model_of(words, order=3)
    arpa.write_arpa(tmp_path / "a.arpa", model, words)
    spelt = arpa.words(words)
    known, backs = {}, {}
    for line in (tmp_path / "a.arpa").read_text().splitlines():
        columns = line.split("\t")
        if len(columns) > 1:
            known[tuple(columns[1].split(" "))] = float(columns[0])
            backs[tuple(columns[1].split(" "))] = float(columns[2]) if len(columns) > 2 else 0.0

    def log10(context, word):
        if (*context, word) in known:
            return known[*context, word]
        return backs.get(context, 0.0) + log10(context[1:], word)

    batch = read(words, "the wind turns flour")
    logits = model(batch)[0] / np.log(10)
    history = ["<s>", *(spelt[token] for token in batch.inputs[0, 1:].tolist())]
    for place in range(len(history)):
        context = tuple(history[max(0, place - 1) : place + 1])
        expected = [log10(context, word) for word in spelt]
        np.testing.assert_allclose(logits[place].numpy(), expected, atol=1e-6)


def test_words_are_distinct_and_hold_no_space(words):
    spelt = arpa.words(words)
    assert len(set(spelt)) == len(spelt) == words.vocabulary
    assert not any(set(word) & set(" \t\n") or not word.isascii() for word in spelt)
    assert spelt[words.end] == "</s>"
    assert "<s>" not in spelt


@pytest.mark.parametrize(
    "fields", [{"smoothing": "infinity"}, {"cache": 0.1}, {"smoothing": "add-k"}], ids=str
)
def test_what_such_a_file_cannot_say_is_refused(words, tmp_path, fields):
    with pytest.raises(TextmillError, match="cannot be written"):
        arpa.write_arpa(tmp_path / "a.arpa", model_of(words, order=2, **fields), words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda text: "", DamagedError, "not an ARPA file"),
        (lambda text: text[: len(text) // 2], DamagedError, "fewer than|missing"),
        (lambda text: text.replace("%20the\t", "thee\t", 1), TextmillError, "'thee'"),
        (lambda text: text.replace("\\2-grams:\n", "\\2-grams:\nx\ty z\n"), DamagedError, "not an n-gram"),
    ],
)
def test_damaged_files_are_refused(words, tmp_path, change, error, said):
    path = tmp_path / "a.arpa"
    arpa.write_arpa(path, model_of(words, order=2), words)
    path.write_text(change(path.read_text()))
    with pytest.raises(error, match=said):
        arpa.read_arpa(path, words)
