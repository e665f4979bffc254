"""Columns of words and tags: any order of columns, any scheme of tags, and one fault for each broken sentence."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.records import kept, read, skipped
from textmill.text import marks


def sentences(items):
    return [(item.text, item.metadata["tags"]) for item in kept(items)]


def words(item):
    return [item.text[start:end] for start, end in marks.words_of(item.text, item.metadata)]


def test_columns_by_tabs_or_spaces_and_in_any_order(tmp_path):
    data = "EU NNP B-ORG\nrejects VBZ O\n\n\nGerman\tJJ\tB-MISC\n"
    items = read(tmp_path, {"a.conll": data}, format="conll")
    assert sentences(items) == [("EU rejects", "B-ORG O"), ("German", "B-MISC")]
    assert [item.source for item in items] == ["a.conll:line 1", "a.conll:line 5"]
    turned = "B-ORG\tNNP\tEU\nO\tVBZ\trejects\n"
    [item] = read(tmp_path, {"b.txt": turned}, format="conll", columns={"text": 3, "tags": 1, "pos": -2})
    assert (item.text, item.metadata["tags"], item.metadata["pos"]) == ("EU rejects", "B-ORG O", "NNP VBZ")
    assert item.metadata[marks.ALIGNED].split() == ["tags", "pos"]


def test_documents_comments_and_universal_dependencies(tmp_path):
    data = "-DOCSTART- -X- O\n\nEU NNP B\n\n-DOCSTART- -X- O\n\n# NNP O\n"
    first, second = read(tmp_path, {"a.conll": data}, format="conll")
    assert (first.metadata["document"], second.metadata["document"]) == ("1", "2")
    assert second.text == "#"
    row = "\t".join(["{}", "{}", "_", "NOUN", *["_"] * 6])
    lines = [
        "# text = vámonos",
        row.format("1-2", "vámonos"),
        row.format(1, "vamos"),
        row.format(2, "nos"),
        "",
    ]
    [item] = read(tmp_path, {"b.conllu": "\n".join(lines)}, format="conll", columns={"text": 2, "tags": 4})
    assert (item.text, item.metadata["tags"]) == ("vamos nos", "NOUN NOUN")


def test_hanzi_are_closed_up_and_stay_words(tmp_path):
    data = "张 B-PER\n三 E-PER\n在 O\nIBM B-ORG\n工 O\n作 O\n"
    [item] = read(tmp_path, {"a.bmes": data}, format="conll")
    assert item.text == "张三在IBM工作"
    assert words(item) == ["张", "三", "在", "IBM", "工", "作"]


@pytest.mark.parametrize(
    ("data", "place", "reason"),
    [
        ("a O\nb\nc O\n\nd O\n", "a.conll:line 1", "has another number of columns than the file"),
        ("a\tO\n\tO\n\nd\tO\n", "a.conll:line 1", "has a word that is empty or has spaces"),
        ("a\tO\nb\t\n\nd\tO\n", "a.conll:line 1", "has a word without a tag"),
    ],
)
def test_a_broken_sentence_costs_itself_alone(tmp_path, data, place, reason):
    items = read(tmp_path, {"a.conll": data}, format="conll")
    assert [item.text for item in kept(items)] == ["d"]
    assert skipped(items) == [(place, reason)]


WORD = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=8).filter(
    lambda word: not word.startswith("#") and not word.startswith("-DOCSTART-") and word.strip()
)
TAG = st.sampled_from(["O", "B-PER", "I-PER", "S-LOC", "M-ORG.NAM"])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(WORD, TAG), min_size=1, max_size=6), min_size=1, max_size=6), st.data())
def test_what_is_written_is_read_and_each_broken_sentence_counts_once(tmp_path, written, data):
    broken = data.draw(st.sets(st.integers(1, len(written))))
    blocks = []
    for number, sentence in enumerate(written, 1):
        lines = [f"{word}\t{tag}" for word, tag in sentence]
        if number in broken:
            lines.append("one\ttoo\tmany")
        blocks.append("\n".join(lines))
    items = read(tmp_path, {"a.conll": "x\tO\n\n" + "\n\n".join(blocks) + "\n"}, format="conll")
    assert len(items) == 1 + len(written)
    assert len(skipped(items)) == len(broken)
    good = [sentence for number, sentence in enumerate(written, 1) if number not in broken]
    assert [(words(item), item.metadata["tags"].split()) for item in kept(items)[1:]] == [
        ([word for word, _ in sentence], [tag for _, tag in sentence]) for sentence in good
    ]
