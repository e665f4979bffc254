"""What data are for, and which column is what: small data of every form, and the data sets beside the project, whose
authors say what they are."""

from __future__ import annotations

import csv
import json
import random
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.base.errors import RecipeError
from textmill.specs.corpus import FilesSource, LimitSpec, RecordSpec
from textmill.stages.preparation.guess import FINDERS, ROLES, guess
from textmill.text.document import Document
from textmill.text.sources.sample import Sample, sample
from textmill.text.sources.table import read_documents

SHARED = next(
    (found for folder in Path(__file__).parents if (found := folder / "shared/data").is_dir()),
    Path("nowhere"),
)

# data set -> (task, columns, header): as its authors describe it
KNOWN = {
    "agnews/train.tsv.gz": ("classify", {"text": 1, "label": 2}, False),
    "brown/train.jsonl.gz": ("classify", {"text": "sentences", "label": "category"}, True),
    "chnsenticorp/dev.tsv": ("classify", {"text": 1, "label": 2}, False),
    "chnsenticorp/train.tsv.gz": ("classify", {"text": 1, "label": 2}, False),
    "csl-category/dev.tsv": ("classify", {"text": 1, "label": 2}, False),
    "thucnews10/train.tsv.gz": ("classify", {"text": 1, "label": 2}, False),
    "tnews/dev.tsv.gz": ("classify", {"text": 1, "label": 2}, False),
    "tnews/train.tsv.gz": ("classify", {"text": 1, "label": 2}, False),
    "sst2/dev.tsv": ("classify", {"text": "sentence", "label": "label"}, True),
    "sst2/train.tsv.gz": ("classify", {"text": "sentence", "label": "label"}, True),
    "tatoeba-en-zh/train.tsv.gz": ("translate", {"source": 1, "target": 2}, False),
    "tatoeba-en-zh/valid.tsv": ("translate", {"source": 1, "target": 2}, False),
    "scitldr/train.jsonl.gz": ("summarize", {"source": "source", "target": "target"}, True),
    "scitldr/dev.jsonl.gz": ("summarize", {"source": "source", "target": "target"}, True),
    "csl-title/dev.jsonl.gz": ("summarize", {"source": "abstract", "target": "title"}, True),
    "dialogsum/dev.jsonl.gz": ("summarize", {"source": "dialogue", "target": "summary"}, True),
    "squad-mini/dev.json": ("answer", {}, True),
    "squad-mini/train.json.gz": ("answer", {}, True),
    "xquad/zh.dev.json": ("answer", {}, True),
    "cmrc2018/dev.json.gz": ("answer", {}, True),
    "weibo-ner/train.conll.gz": ("tag", {}, True),
    "weibo-ner/valid.conll": ("tag", {}, True),
    "wnut17/train.conll.gz": ("tag", {}, True),
    "wnut17/valid.conll": ("tag", {}, True),
    "tinyshakespeare/input.txt.gz": ("generate", {}, True),
    "english-novels/train.jsonl.gz": ("generate", {"text": "text"}, True),
    "chinese-classics/hongloumeng.txt.gz": ("generate", {}, True),
    "wikitext2/valid.txt.gz": ("generate", {}, True),
}
QUICK = [name for name in KNOWN if "train" not in name and "cmrc" not in name and "novels" not in name]
HANZI = "我们今天去北京看山水人心天地花鸟鱼虫好坏大小多少来去风雨书画"
WORDS = [
    "the",
    "mill",
    "turns",
    "slowly",
    "while",
    "a",
    "river",
    "runs",
    "under",
    "its",
    "wheel",
    "and",
    "bakes",
    "bread",
]


def sentence(chance, words=8, source=WORDS):
    return " ".join(chance.choices(source, k=chance.randint(max(1, words // 2), words)))


def write(path, rows, header=None, delimiter=","):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([*([header] if header else []), *rows])
    return path


def write_json(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def documents(path, found):
    """What a source reads that is as the guess says."""
    source = FilesSource(
        paths=(str(path),),
        format=found.format,
        header=found.header,
        columns=dict(found.columns) or None,
        text_fields=tuple(role for role in ROLES[found.task] if role not in ("label", "tags")),
    )
    record = RecordSpec(several=("target", "answer"), label="label", tags="tags")
    return list(islice(read_documents(source, LimitSpec(), Path("/"), record), 200))


def check(path, found):
    """Roles are columns of the file, no two the same one, and what is read so has all of them."""
    assert set(found.columns) <= {*ROLES[found.task], "pair"}
    assert len(set(found.columns.values())) == len(found.columns)
    assert not set(found.columns.values()) & set(found.left)
    read = documents(path, found)
    kept = [item for item in read if isinstance(item, Document)]
    assert len(kept) >= 0.85 * len(read)
    if found.task == "classify":
        assert {document.metadata["label"] for document in kept} <= set(found.labels)
    if found.task == "tag":
        assert all(document.metadata["tags"] for document in kept)


def known(names):
    if not SHARED.is_dir():
        pytest.skip("shared/data is not here")
    for name in names:
        task, columns, header = KNOWN[name]
        found = guess([sample(SHARED / name)])
        assert (name, found.task, dict(found.columns), found.header) == (name, task, columns, header)
        check(SHARED / name, found)


def test_data_sets_are_for_what_their_authors_say():
    known(QUICK)


@pytest.mark.slow
def test_large_data_sets_are_for_what_their_authors_say():
    known(name for name in KNOWN if name not in QUICK)


@pytest.mark.slow
def test_every_data_set_is_for_something():
    if not SHARED.is_dir():
        pytest.skip("shared/data is not here")
    for path in sorted(SHARED.rglob("*")):
        if path.is_file():
            check(path, guess([sample(path)]))


def test_aligned_files_of_the_data_sets():
    names = [SHARED / "multi30k" / f"val.{language}.txt" for language in ("en", "de")]
    if not names[0].is_file():
        pytest.skip("shared/data is not here")
    found = guess(list(map(sample, names)))
    assert (found.task, found.format, found.columns) == ("translate", "parallel", {"source": 1, "target": 2})
    assert found.rows == 1014
    with pytest.raises(RecipeError, match="aligned line by line"):
        guess([sample(names[0]), sample(SHARED / "multi30k/test_2016_flickr.de.txt")])


# --- small data of one's own --------------------------------------------------------------------------------------
def reviews(chance, rows=60):
    return [(i, sentence(chance), chance.choice(["good", "bad"]), "2024-01-02") for i in range(rows)]


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_labels_beside_texts_in_every_form(ending, tmp_path):
    rows, header = reviews(random.Random(0)), ["id", "review", "verdict", "day"]
    path = tmp_path / f"reviews.{ending}"
    if ending in ("csv", "tsv"):
        write(path, rows, header, "\t" if ending == "tsv" else ",")
    elif ending == "jsonl":
        write_json(path, [dict(zip(header, row, strict=True)) for row in rows])
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({name: [row[at] for row in rows] for at, name in enumerate(header)}), path)
    found = guess([sample(path)])
    assert (found.task, found.columns, found.rows) == ("classify", {"text": "review", "label": "verdict"}, 60)
    assert found.labels == ("bad", "good")
    assert set(found.left) == {"id", "day"}
    assert "bad, good" in found.why["label"]
    check(path, found)


def test_a_table_without_a_header(tmp_path):
    path = write(tmp_path / "reviews.csv", reviews(random.Random(1)))
    found = guess([sample(path)])
    assert (found.header, found.columns) == (False, {"text": 2, "label": 3})
    check(path, found)


def test_a_table_whose_name_does_not_say_so(tmp_path):
    path = write(tmp_path / "reviews.txt", reviews(random.Random(1)), delimiter="\t")
    found = guess([sample(path)])
    assert (found.format, found.header, found.columns) == ("table", False, {"text": 2, "label": 3})
    check(path, found)


def test_what_a_person_says_is_taken(tmp_path):
    path = write(tmp_path / "r.csv", reviews(random.Random(0)), ["id", "review", "verdict", "day"])
    found = guess([sample(path)], "generate")
    assert (found.task, found.columns) == ("generate", {"text": "review"})
    assert found.why["task"] == "as you said"
    found = guess([sample(path)], None, {"label": "day", "text": "review"})
    assert found.columns == {"text": "review", "label": "day"}
    found = guess([sample(path)], "classify", {"label": 1})  # by its number
    assert found.columns["label"] == "id"
    with pytest.raises(RecipeError, match="no column 'stars'.*") as error:
        guess([sample(path)], "classify", {"label": "stars"})
    assert "id, review, verdict, day" in str(error.value.advice)


@pytest.mark.parametrize(
    ("names", "task", "columns"),
    [
        (("en", "de", "note"), "translate", {"source": "en", "target": "de"}),
        (("中文", "英文", "note"), "translate", {"source": "中文", "target": "英文"}),
        (("src", "tgt", "note"), "translate", {"source": "src", "target": "tgt"}),
        (
            ("context", "question", "answer"),
            "answer",
            {"passage": "context", "question": "question", "answer": "answer"},
        ),
        (
            ("premise", "hypothesis", "label"),
            "classify",
            {"text": "premise", "pair": "hypothesis", "label": "label"},
        ),
        (("anchor", "positive", "note"), "embed", {"passage": "positive", "query": "anchor"}),
    ],
)
def test_columns_are_known_by_their_names(names, task, columns, tmp_path):
    chance = random.Random(2)
    last = ["yes", "no"] if "label" in names else [sentence(chance) for _ in range(40)]
    rows = [
        dict(zip(names, (sentence(chance), sentence(chance), chance.choice(last)), strict=True))
        for _ in range(40)
    ]
    found = guess([sample(write_json(tmp_path / "rows.jsonl", rows))])
    assert (found.task, found.columns) == (task, columns)


def test_translations_are_known_by_their_letters_and_lengths(tmp_path):
    chance = random.Random(3)
    rows = []
    for number in range(80):
        text = sentence(chance, 12)
        rows.append(
            (number, text, "".join(chance.choices(HANZI, k=len(text) // 3)), f"#{number} ({text[:3]})")
        )
    found = guess([sample(write(tmp_path / "pairs.tsv", rows, delimiter="\t"))])
    assert (found.task, found.columns) == ("translate", {"source": 2, "target": 3})
    turned = guess([sample(tmp_path / "pairs.tsv")], "translate", {"source": 3})
    assert turned.columns == {"source": 3, "target": 2}


def test_numbers_beside_texts(tmp_path):
    chance = random.Random(4)
    rows = [(sentence(chance), round(chance.uniform(0, 5), 2)) for _ in range(50)]
    path = write(tmp_path / "scores.csv", rows, ["essay", "mark"])
    found = guess([sample(path)])
    assert (found.task, found.columns) == ("regress", {"text": "essay", "label": "mark"})
    whole = write(tmp_path / "stars.csv", [(text, round(mark)) for text, mark in rows], ["essay", "mark"])
    assert guess([sample(whole)]).task == "classify"
    assert guess([sample(whole)], "regress").columns == {"text": "essay", "label": "mark"}


def test_summaries_are_shorter_and_in_the_words_of_their_texts(tmp_path):
    chance = random.Random(5)
    rows = []
    for _ in range(40):
        text = sentence(chance, 60)
        rows.append(
            {"body": text + " " + sentence(chance, 30), "gist": " ".join(chance.sample(text.split(), 8))}
        )
    found = guess([sample(write_json(tmp_path / "news.jsonl", rows))])
    assert (found.task, found.columns) == ("summarize", {"source": "body", "target": "gist"})


def test_tags(tmp_path):
    rows = [{"id": i, "tokens": ["Ada", "is", "here"], "ner": ["B-PER", "O", "O"]} for i in range(10)]
    found = guess([sample(write_json(tmp_path / "tags.jsonl", rows))])
    assert (found.task, found.columns) == ("tag", {"text": "tokens", "tags": "ner"})
    spans = [{"text": "Zoë lives in Bern.", "label": [[0, 3, "PER"], [13, 17, "LOC"]]}] * 4
    found = guess([sample(write_json(tmp_path / "spans.jsonl", spans))])
    assert (found.task, found.format, found.labels) == ("tag", "spans", ("LOC", "PER"))
    (tmp_path / "train.conll").write_text("Ada B-PER\nis O\n\nhere O\n", encoding="utf-8")
    found = guess([sample(tmp_path / "train.conll")])
    assert (found.task, found.format, found.rows) == ("tag", "conll", 2)


def test_one_question_a_record(tmp_path):
    row = {
        "context": "Ada lives in Bern.",
        "question": "Where?",
        "answers": {"text": ["Bern"], "answer_start": [13]},
    }
    found = guess([sample(write_json(tmp_path / "asked.jsonl", [row] * 5))])
    assert (found.task, found.format) == ("answer", "squad")
    assert found.texts["passage"].texts[0] == row["context"]


def test_what_is_lacking_is_said(tmp_path):
    path = write(tmp_path / "numbers.csv", [(i, i * i % 7) for i in range(20)], ["a", "b"])
    with pytest.raises(RecipeError, match="fits no task"):
        guess([sample(path)])
    with pytest.raises(RecipeError, match="look like source and target") as error:
        guess([sample(path)], "translate")
    assert "--columns source=COLUMN,target=COLUMN" in str(error.value.advice)
    with pytest.raises(RecipeError, match="no task"):
        guess([sample(path)], "dance")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(RecipeError, match="nothing that can be read"):
        guess([sample(tmp_path / "empty.csv")])
    (tmp_path / "plain.txt").write_text("The mill.\n")
    with pytest.raises(RecipeError, match="plain text"):
        guess([sample(tmp_path / "plain.txt")], "classify")


VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(-1, 1),
    st.text("ab 中.1\t", max_size=12),
    st.lists(st.text("ab 中", max_size=4), max_size=3),
    st.dictionaries(st.sampled_from("abc"), st.text("ab", max_size=3), max_size=2),
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["text", "label", "a", "source", "tags", "data"]), VALUE), max_size=12
    )
)
def test_whatever_records_hold_it_is_guessed_or_refused(rows):
    held = Sample("rows.jsonl", records=tuple(rows), rows=len(rows))
    for task in (None, *FINDERS):
        try:
            found = guess([held], task)
        except RecipeError:
            continue
        assert task in (None, found.task)
        assert not set(found.columns.values()) & set(found.left)
