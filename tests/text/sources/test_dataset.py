"""Hugging Face data sets on disk, in the layouts their documentation describes, made by hand."""

from __future__ import annotations

import gzip
import itertools
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from textmill.base.errors import RecipeError
from textmill.specs.corpus import DatasetSource, LimitSpec
from textmill.text.document import Document, Rejected
from textmill.text.sources.front_matter import header
from textmill.text.sources.table import fingerprint, read_documents

CARD = """---
license: cc-by-4.0
language:
- en
- zh
pretty_name: "A mill: its words"
dataset_info:
  features:
  - name: text
    dtype: string
  splits:
  - name: train
    num_bytes: 12
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: ["data/test-*"]
---
# Words
configs: none
"""


def table(*texts, **columns):
    return pa.table({"text": list(texts), **columns})


def items(tmp_path, **more):
    return list(read_documents(DatasetSource(**({"path": "set"} | more)), LimitSpec(), tmp_path))


def texts(found):
    return [item.text for item in found if isinstance(item, Document)]


@pytest.fixture
def hub(tmp_path):
    data = tmp_path / "set" / "data"
    data.mkdir(parents=True)
    (tmp_path / "set" / "README.md").write_text(CARD)
    (tmp_path / "set" / ".gitattributes").write_text("*.parquet lfs")
    pq.write_table(table("a", "b", url=["u1", "u2"]), data / "train-00000-of-00002.parquet")
    pq.write_table(table("c", url=["u3"]), data / "train-00001-of-00002.parquet")
    pq.write_table(table("t", url=["u4"]), data / "test-00000-of-00001.parquet")
    pq.write_table(table("not named"), data / "extra.parquet")
    return tmp_path


def test_a_card_says_which_files_belong_to_which_split(hub):
    found = items(hub)
    assert texts(found) == ["a", "b", "c", "t"]
    assert [item.source for item in found] == [
        "set/data/train-00000-of-00002.parquet:row 1",
        "set/data/train-00000-of-00002.parquet:row 2",
        "set/data/train-00001-of-00002.parquet:row 1",
        "set/data/test-00000-of-00001.parquet:row 1",
    ]
    assert [item.metadata["split"] for item in found] == ["train", "train", "train", "test"]
    assert {item.metadata["licence"] for item in found} == {"cc-by-4.0"}
    assert found[0].metadata["url"] == "u1"
    (only,) = items(hub, split="test", metadata_fields=("place=url",))
    assert dict(only.metadata) == {"split": "test", "licence": "cc-by-4.0", "place": "u4"}
    with pytest.raises(RecipeError, match="it has test, train"):
        items(hub, split="validation")
    assert items(hub, path=str(hub / "set"))[0].source == f"{hub}/set/data/train-00000-of-00002.parquet:row 1"
    assert [item.text for item in items(hub, path="set/")] == texts(found)


def test_a_new_licence_is_another_fingerprint(hub):
    before = fingerprint(DatasetSource(path="set"), hub)
    (hub / "set" / "README.md").write_text(CARD.replace("cc-by-4.0", "mit"))
    assert fingerprint(DatasetSource(path="set"), hub) != before
    assert items(hub)[0].metadata["licence"] == "mit"


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train.jsonl", "test.jsonl"], {"train": ["train.jsonl"], "test": ["test.jsonl"]}),
        (["a.jsonl", "b.jsonl"], {"train": ["a.jsonl", "b.jsonl"]}),
        (["dev/a.jsonl", "training/b.jsonl"], {"train": ["training/b.jsonl"], "validation": ["dev/a.jsonl"]}),
        (["data/odd-00000-of-00001.jsonl"], {"odd": ["data/odd-00000-of-00001.jsonl"]}),
        (["x_eval.jsonl", "my-train-set.jsonl"], {"train": ["my-train-set.jsonl"], "test": ["x_eval.jsonl"]}),
    ],
)
def test_names_say_the_split_where_no_card_does(tmp_path, names, splits):
    for name in names:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"text": name}) + "\n")
    found = {}
    for item in items(tmp_path):
        found.setdefault(item.metadata["split"], []).append(item.text)
    assert found == splits


def test_all_kinds_of_files(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.csv").write_text("body,id\nfrom csv,1\n")
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(b'{"body": "packed"}\n'))
    (folder / "c.json").write_text('[{"body": "json"}, {"text": "other"}]')
    (folder / "script.py").write_text("print('not run, not read')")
    found = items(tmp_path, text_fields=("text=body",))
    assert texts(found) == ["from csv", "packed", "json"]
    assert [item.reason for item in found if isinstance(item, Rejected)] == ["has no field 'body'"]


def test_what_belongs_to_no_split_is_set_aside(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("train.csv", "labels.csv"):
        (folder / name).write_text("text\nx\n")
    assert [(i.source, i.reason) for i in items(tmp_path) if isinstance(i, Rejected)] == [
        ("set/labels.csv", "belongs to no split, while others do")
    ]


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ("- config_name: x\n  data_files: b.csv", ["b"]),
        ("- config_name: x\n  data_files:\n  - a.csv\n  - sub/*.csv", ["a", "s"]),
        ('- config_name: x\n  data_files: "**.csv"', ["a", "b", "s"]),
        ('- config_name: x\n  data_files: "*.csv"', ["a", "b"]),
        ("- config_name: x\n  data_files:\n    train: b.csv\n    test: [a.csv]", ["b", "a"]),
        ("- config_name: x\n  data_dir: sub", ["s"]),
        ("- config_name: x\n  data_dir: sub\n  data_files: c.csv", ["s"]),
        ("- config_name: x\n  data_files: a.csv\n- config_name: y\n  data_files: b.csv", ["a", "b"]),
        (
            "- config_name: x\n  data_files: a.csv\n- config_name: y\n  default: true\n  data_files: b.csv",
            ["b"],
        ),
    ],
)
def test_configs_of_many_forms(tmp_path, configs, expected):
    (tmp_path / "set" / "sub").mkdir(parents=True)
    for name in ("a.csv", "b.csv", "sub/c.csv"):
        (tmp_path / "set" / name).write_text(f"text\n{name[0]}\n")
    (tmp_path / "set" / "README.md").write_text(f"---\nconfigs:\n{configs}\n---\n")
    assert texts(items(tmp_path)) == expected


def test_files_elsewhere_are_not_read(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "secret.csv").write_text("text\nsecret\n")
    (folder / "a.csv").write_text("text\na\n")
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    files = ["a.csv", "link.csv", "../secret.csv", str(tmp_path / "secret.csv"), "https://example.org/x.csv"]
    card = json.dumps(files)
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: x\n  data_files: {card}\n---\n")
    found = items(tmp_path)
    assert texts(found) == ["a"]
    assert [i.reason for i in found if isinstance(i, Rejected)] == ["is not in this folder"] * 4


def save(folder, *tables, split="train", **info):
    """What `Dataset.save_to_disk` writes: Arrow streams, state.json, dataset_info.json."""
    folder.mkdir(parents=True)
    names = [f"data-{n:05d}-of-{len(tables):05d}.arrow" for n in range(len(tables))]
    for name, part in zip(names, tables, strict=True):
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, part.schema) as writer:
            for batch in part.to_batches(max_chunksize=2):
                writer.write_batch(batch)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "f", "_split": split}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}, "license": "mit", **info}))


def test_save_to_disk_of_a_dictionary(tmp_path):
    folder = tmp_path / "set"
    save(folder / "train", table("a", "b", "c", n=[1, 2, 3]), table("d", n=[4]))
    save(folder / "test", table("t", None, n=[5, 6]), split="test")
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    found = items(tmp_path)
    assert texts(found) == ["a", "b", "c", "d", "t"]
    assert [item.source for item in found] == [
        "set/train/data-00000-of-00002.arrow:row 1",
        "set/train/data-00000-of-00002.arrow:row 2",
        "set/train/data-00000-of-00002.arrow:row 3",
        "set/train/data-00001-of-00002.arrow:row 1",
        "set/test/data-00000-of-00001.arrow:row 1",
        "set/test/data-00000-of-00001.arrow:row 2",
    ]
    assert dict(found[3].metadata) == {"split": "train", "licence": "mit", "n": "4"}
    assert isinstance(found[5], Rejected)
    assert texts(items(tmp_path, split="test")) == ["t"]


def test_save_to_disk_of_one_split(tmp_path):
    save(tmp_path / "set", table("a"), split="validation", license="")
    (item,) = items(tmp_path)
    assert dict(item.metadata) == {"split": "validation"}
    assert texts(items(tmp_path, split="validation")) == ["a"]


def test_hostile_states_and_arrow_files(tmp_path):
    folder = tmp_path / "set"
    save(folder, table("a" * 100, "b"))
    (tmp_path / "outside.arrow").write_bytes((folder / "data-00000-of-00001.arrow").read_bytes())
    names = ["../outside.arrow", "data-00000-of-00001.arrow", "missing.arrow", 3, "cut.arrow", "x\0y"]
    whole = (folder / "data-00000-of-00001.arrow").read_bytes()
    (folder / "cut.arrow").write_bytes(whole[: len(whole) // 2])
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": n} for n in names] + ["odd"]})
    )
    found = items(tmp_path)
    assert texts(found) == ["a" * 100, "b"]
    reasons = [item.reason for item in found if isinstance(item, Rejected)]
    assert reasons == ["is not in this folder"] * 4 + ["is damaged, or not what its file extension says"]


@given(st.data())
def test_damaged_arrow_streams_raise_nothing(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("arrow") / "set"
    save(folder, table("some words", "磨坊", None, n=[1, 2, 3]))
    path = folder / "data-00000-of-00001.arrow"
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.integers(1, len(damaged)))])
    for item in items(folder.parent):
        assert isinstance(item, (Document, Rejected))


def test_errors_say_what_is_wrong(tmp_path):
    with pytest.raises(RecipeError, match="is not a folder"):
        items(tmp_path)
    (tmp_path / "set").mkdir()
    with pytest.raises(RecipeError, match="holds no data file"):
        items(tmp_path)


# --- the header ---------------------------------------------------------------------------------------------------
HEADERS = [
    CARD,
    "---\na: 1\nb:\n  c: 'it''s'\n  d: \"q\\u00fc\"\n# note\ne: plain words:with colon\nf: x # note\n---\n",
    "---\na:\n- x\n- y: 1\n  z: 2\n-\n  w: 3\n- - deep\n  - list\nb: []\nc: {k: v, l: 'w, x'}\n---\n",
    "---\ntext: |\n  one\n  two\nafter: yes it is\nlong: some words\n  that go on\nlast: 'end'\n---\n",
    "---\nsize_categories:\n- 1K<n<10K\ntags:\n- a-b\n- 'true'\ntask_ids: [ \"x-y\" , z ]\n---\n",
]


def as_text(value):
    if isinstance(value, dict):
        return {str(key): as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    return "" if value is None else " ".join(str(value).split())


@pytest.mark.parametrize("text", HEADERS)
def test_headers_are_read_as_yaml_reads_them(text):
    theirs = yaml.load(text.split("---\n")[1], Loader=yaml.BaseLoader)
    assert as_text(header(text)) == as_text(theirs)


def test_what_yaml_would_make_more_of_stays_text():
    typed = (
        "date: 2024-05-01\nversion: 1.10\nno: no\nnull: ~\ncode: !!python/object/apply:os.system ['true']\n"
    )
    assert header(f"---\n{typed}---\n") == {
        "date": "2024-05-01",
        "version": "1.10",
        "no": "no",
        "null": "~",
        "code": ["true"],
    }


def test_aliases_are_not_followed_and_bombs_stay_small():
    bomb = "a: &a [x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}]\n" for a, b in itertools.pairwise("abcdefghij")
    )
    found = header(f"---\n{bomb}---\n")
    assert found["a"] == ["x", "x"]
    assert found["j"] == ["*i", "*i"]


def test_what_stands_before_a_mistake_is_read():
    found = header("---\nlicense: mit\ntags: [a, b]\ntitle: one: two\nlater: x\n---\n")
    assert (found["license"], found["tags"]) == ("mit", ["a", "b"])
    assert "later" not in found


@pytest.mark.parametrize("text", ["", "no header", "---\nnever: ends", "---\n---\n", "---\n- a list\n---\n"])
def test_no_header(text):
    assert header(text) == {}


@given(st.text("ab:-' \"[]{}#|>\n\t,&*", max_size=80))
def test_any_header_is_read(text):
    assert isinstance(header(f"---\n{text}\n---\n"), dict)


def test_deep_headers_end():
    header("---\n" + "- " * 5000 + "a\n---\n")
    header("---\n" + "\n".join(" " * n + "a:" for n in range(3000)) + "\n---\n")
