"""The corpus on disk: complete, deterministic, checked before it is believed."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import compute as pc

from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import read_jsonl, sha256_file
from textmill.specs.cleaning import BoilerplateStep, ExactDuplicatesStep, PersonalDataStep
from textmill.specs.corpus import CorpusSpec, FilesSource, SplitSpec
from textmill.text.cleaning import steps as cleaning
from textmill.text.corpus import build, corpus, shards, tally
from textmill.text.corpus.corpus import Corpus
from textmill.text.corpus.split import PARTS, part_of
from textmill.text.document import Document, Rejected, collected


def documents(count, length=10):
    return [collected(f"document {n} " + "x" * length, f"{n}.txt", {"n": str(n)}) for n in range(count)]


def write(directory, items, split=None):
    directory.mkdir(parents=True, exist_ok=True)
    return corpus.write_corpus(directory, items, split or SplitSpec())


def test_what_is_written_is_read_back(tmp_path):
    given_documents = documents(300)
    report = write(tmp_path, [*given_documents, Rejected(None, "z", "read", "is damaged")])
    stored = Corpus(tmp_path)
    back = [document for part in PARTS for document in stored.documents(part)]
    assert sorted(back, key=lambda d: int(d.metadata["n"])) == given_documents
    assert report["read"]["documents"] == 301 == report["kept"]["documents"] + report["skipped"]["documents"]
    assert report == stored.report
    for part in PARTS:
        texts = [d.text for d in stored.documents(part)]
        assert stored.count(part) == len(texts) == report["splits"][part]["documents"]
        assert stored.bytes(part) == sum(len(t.encode()) for t in texts)
        assert all(part_of(d.id, SplitSpec()) == part for d in stored.documents(part))
    assert stored.count("train") > 240
    assert all(stored.get(d.id) == d for d in given_documents[::7])
    with pytest.raises(TextmillError, match="holds no document"):
        stored.get("0" * 32)
    with pytest.raises(TextmillError, match="not a split"):
        stored.count("dev")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    texts=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40), min_size=1, max_size=30),
    metadata=st.dictionaries(
        st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")), max_size=3
    ),
)
def test_any_text_round_trips_and_nothing_is_lost(tmp_path_factory, texts, metadata):
    directory = tmp_path_factory.mktemp("corpus")
    items = [collected(text, str(n), metadata) for n, text in enumerate(texts)]
    cleaned = list(cleaning.apply(items, CorpusSpec(sources=()).steps))
    kept = {item.id: item for item in cleaned if isinstance(item, Document)}
    if not kept:
        with pytest.raises(TextmillError):
            write(directory, cleaned)
        return
    report = write(directory, cleaned)
    stored = Corpus(directory)
    assert {d.id: d for part in PARTS for d in stored.documents(part)} == kept
    assert stored.count("train") >= 1
    assert report["read"]["documents"] == len(texts) == len(kept) + report["skipped"]["documents"]
    assert len(list(read_jsonl(directory / "rejected.jsonl"))) == report["skipped"]["documents"]


UTF8 = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    texts=st.lists(
        st.dictionaries(UTF8, UTF8, min_size=1, max_size=4),
        min_size=1,
        unique_by=lambda d: str(sorted(d.items())),
    )
)
def test_any_texts_round_trip_in_their_order(tmp_path_factory, texts):
    directory = tmp_path_factory.mktemp("corpus")
    given_documents = {d.id: d for d in (collected(some, str(n)) for n, some in enumerate(texts))}
    report = write(directory, given_documents.values())
    stored = Corpus(directory)
    back = [d for part in PARTS for d in stored.documents(part)]
    pieces = [d for d in back if "piece" in d.metadata]
    assert {d.id: d for d in back if d not in pieces} == {
        name: d for name, d in given_documents.items() if name not in {d.id for d in pieces}
    }
    assert all(list(d.texts) == list(given_documents[d.id].texts) for d in back)
    assert report["kept"]["bytes"] == sum(d.bytes for d in given_documents.values())
    assert sum(row["bytes"] for row in report["texts"].values()) == report["kept"]["bytes"]


def test_a_table_of_the_shards_reads_well(tmp_path):
    write(tmp_path, [collected({"source": f"{n}", "target": f"to {n}"}, f"{n}") for n in range(50)])
    table = pq.read_table(tmp_path / "train-00000.parquet")
    assert dict(table["texts"][0].as_py()) == {"source": "0", "target": "to 0"}
    assert pc.map_lookup(table["texts"], pa.scalar("target"), "first").to_pylist()[0] == "to 0"


def test_what_was_set_aside_shows_the_beginning_of_each_text(tmp_path):
    long = collected({"passage": "p" * 500, "question": "why?", "answer": "\ud800"}, "b")
    report = write(tmp_path, [collected("kept", "a"), long])
    [sample] = report["reasons"][0]["samples"]
    assert sample["excerpt"] == f"passage: {'p' * 66}\nquestion: why?\nanswer: \\ud800"


def test_a_record_of_several_texts_is_never_cut_in_pieces(tmp_path):
    """A corpus of few documents gives a part the end of its longest text, where one stands alone."""
    pairs = [collected({"source": "s" * 5000, "target": f"{n}" * 5000}, f"{n}") for n in range(3)]
    report = write(tmp_path / "pairs", pairs)
    assert not report["cut"]
    report = write(tmp_path / "both", [*pairs, collected("line\n" * 900, "alone")])
    assert report["cut"]["id"] == collected("line\n" * 900, "").id


def test_a_corpus_of_before_says_what_to_do(tmp_path):
    write(tmp_path, documents(3))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"version": 1}))
    with pytest.raises(DamagedError, match=r"version 1, and this Textmill reads 2.*prepare its recipe again"):
        Corpus(tmp_path)


def test_text_that_cannot_be_written_as_utf8_is_set_aside(tmp_path):
    report = write(tmp_path, [collected("fine", "a"), collected("lone \ud800", "b")])
    assert report["kept"]["documents"] == 1
    (row,) = report["reasons"]
    assert (row["step"], row["reason"], row["documents"], row["bytes"]) == (
        "corpus",
        "holds lone surrogates",
        1,
        8,
    )
    assert row["samples"][0]["source"] == "b"


def test_the_same_documents_give_the_same_bytes(tmp_path):
    items = [*documents(50), Rejected(None, "z", "read", "is damaged", "detail")]
    write(tmp_path / "a", items)
    write(tmp_path / "b", iter(items))
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert "train-00000.parquet" in files
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert Corpus(tmp_path / "a").id == Corpus(tmp_path / "b").id
    write(tmp_path / "c", items[1:])
    assert Corpus(tmp_path / "c").id != Corpus(tmp_path / "a").id


def test_a_document_never_changes_sides(tmp_path):
    def sides(directory, items):
        write(directory, items)
        return {d.id: part for part in PARTS for d in Corpus(directory).documents(part)}

    some = sides(tmp_path / "some", documents(200))
    more = sides(tmp_path / "more", reversed(documents(600)))
    assert some.items() <= more.items()


def test_shares_are_those_asked_for():
    split = SplitSpec(validation=0.2, test=0.1)
    parts = [part_of(f"{n:032x}", split) for n in range(20_000)]
    assert abs(parts.count("test") / 20_000 - 0.1) < 0.01
    assert abs(parts.count("validation") / 20_000 - 0.2) < 0.01
    assert part_of("0" * 32, SplitSpec(validation=0, test=0)) == "train"


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_training_is_never_empty(tmp_path, count, part):
    # Documents that all hash to one part.
    split = SplitSpec(validation=0.3, test=0.3)
    items = [d for d in documents(100) if part_of(d.id, split) == part][:count]
    report = write(tmp_path, items, split)
    stored = Corpus(tmp_path)
    assert stored.count("train") >= 1
    assert {d.id for p in PARTS for d in stored.documents(p)} == {d.id for d in items}
    if part != "train":
        assert list(report["moved"].values()) == ["train"]
        assert report["splits"][part]["documents"] == count - 1
        assert report["splits"]["train"]["documents"] == 1


def test_one_long_document_lends_its_end_to_the_empty_parts(tmp_path):
    text = "".join(f"line {n} of a book\n" for n in range(5000))
    report = write(tmp_path, [collected(text, "book.txt")])
    stored = Corpus(tmp_path)
    pieces = [next(stored.documents(part)) for part in PARTS]
    assert "".join(piece.text for piece in pieces) == text
    assert all(piece.text.startswith("line") for piece in pieces)
    assert len({piece.id for piece in pieces}) == 1
    assert pieces[0].metadata["piece"] == f"characters 0 to {len(pieces[0].text)}"
    for piece, share in zip(pieces, (0.9, 0.05, 0.05), strict=True):
        assert abs(len(piece.text) / len(text) - share) < 0.01
    assert set(report["cut"]) == {"id", *PARTS}
    assert stored.get(pieces[0].id) == pieces[0]
    assert report["kept"]["documents"] == 1


def test_an_empty_part_of_a_small_corpus_is_given_a_document(tmp_path):
    split = SplitSpec(validation=0.05, test=0.05)
    items = [d for d in documents(200) if part_of(d.id, split) == "train"][:40]
    report = write(tmp_path, items, split)
    assert [report["splits"][part]["documents"] for part in PARTS] == [38, 1, 1]
    assert sorted(report["moved"].values()) == ["test", "validation"]


def test_a_corpus_of_nothing_says_so(tmp_path):
    with pytest.raises(TextmillError, match="holds no document"):
        write(tmp_path, [])
    aside = [Rejected(None, f"{n}.pdf", "read", "is not text") for n in range(3)]
    with pytest.raises(TextmillError, match=r"all 3 were skipped.*is not text.*0\.pdf"):
        write(tmp_path, aside)


def test_reports_stay_small(tmp_path):
    aside = [Rejected(None, str(n), "read", f"reason {n}") for n in range(1000)]
    report = write(tmp_path, [*documents(3), *aside])
    assert len(report["reasons"]) < 300
    assert sum(entry["documents"] for entry in report["reasons"]) == 1000


def test_many_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_SHARD_BYTES", 2000)
    monkeypatch.setattr(shards, "_GROUP_ROWS", 7)
    items = documents(300, length=100)
    write(tmp_path, items)
    assert len(list(tmp_path.glob("train-*.parquet"))) > 10
    stored = Corpus(tmp_path)
    assert {d.id for part in PARTS for d in stored.documents(part)} == {d.id for d in items}
    train = [d for d in items if part_of(d.id, SplitSpec()) == "train"]
    assert list(stored.documents("train")) == train  # the order they were collected in
    assert all(stored.get(d.id) == d for d in items)


def test_damage_is_found(tmp_path):
    write(tmp_path, documents(100))
    shard = tmp_path / "train-00000.parquet"
    whole = shard.read_bytes()
    for place in (10, len(whole) // 2, len(whole) - 5):
        broken = bytearray(whole)
        broken[place] ^= 1
        shard.write_bytes(broken)
        with pytest.raises(DamagedError, match="train-00000"):
            list(Corpus(tmp_path).documents("train"))
    shard.unlink()
    with pytest.raises(DamagedError, match="missing"):
        list(Corpus(tmp_path).documents("train"))
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(DamagedError):
        Corpus(tmp_path)


def test_the_manifest_covers_every_file(tmp_path):
    write(tmp_path, documents(100))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    listed = {name: entry["sha256"] for name, entry in (manifest["shards"] | manifest["files"]).items()}
    assert listed == {p.name: sha256_file(p) for p in tmp_path.iterdir() if p.name != "manifest.json"}


def test_from_sources_to_corpus_in_one_call(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    french = "La patiente est arrivée à la clinique, déjà très fatiguée."
    (data / "a.txt").write_bytes(f"{french}\r\n".encode("cp1252") * 30)
    (data / "b.jsonl").write_text('{"text": "one"}\nbroken\n{"text": "one"}\n{"text": ""}\n')
    (data / "c.bin").write_bytes(bytes(100))
    spec = CorpusSpec(sources=(FilesSource(paths=("data",)),), split=SplitSpec(validation=0, test=0))
    out = tmp_path / "corpus"
    out.mkdir()
    report = build.build(out, spec, tmp_path, tmp_path / "parts")
    assert [d.text for d in Corpus(out).documents("train")] == [f"{french}\n" * 30, "one"]
    assert report["read"] == {"documents": 6, "bytes": 30 * len(f"{french}\r\n".encode()) + 6}
    aside = [json.loads(line) for line in (out / "rejected.jsonl").read_text().rstrip("\n").split("\n")]
    assert [(item["source"], item["step"], item["reason"]) for item in aside] == [
        ("data/b.jsonl:line 2", "read", "is not valid JSON"),
        ("data/b.jsonl:line 4", "read", "holds no text"),
        ("data/c.bin", "read", "is not text"),
        ("data/b.jsonl:line 3", "exact-duplicates", "is a duplicate of an earlier document"),
    ]
    assert report["extensions"] == {
        ".jsonl": {"documents": 1, "bytes": 3},
        ".txt": {"documents": 1, "bytes": 30 * len(f"{french}\n".encode())},
    }


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    files=st.lists(
        st.tuples(
            st.sampled_from(["txt", "jsonl", "csv", "json", "py", "gz", "zip", "parquet", "bin"]),
            st.one_of(
                st.binary(max_size=60),
                st.text(max_size=60).map(lambda t: t.encode("utf-8", "surrogatepass")),
                st.lists(
                    st.sampled_from([b'{"text": "a"}', b'{"text": "b"}', b"{", b"text", b"a,b", b""])
                ).map(b"\n".join),
            ),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_read_is_kept_and_set_aside_whatever_the_files_hold(tmp_path_factory, files):
    base = tmp_path_factory.mktemp("any")
    (base / "corpus").mkdir()
    for number, (kind, data) in enumerate(files):
        (base / f"{number}.{kind}").write_bytes(data)
    spec = CorpusSpec(sources=(FilesSource(paths=("[0-9].*",)),))
    try:
        report = build.build(base / "corpus", spec, base, base / "parts")
    except TextmillError as error:
        if "holds no document" not in str(error):
            raise
        return
    stored = Corpus(base / "corpus")
    aside = list(read_jsonl(base / "corpus" / "rejected.jsonl"))
    kept = sum(stored.count(part) for part in PARTS)
    assert report["read"]["documents"] == kept + len(aside) == report["kept"]["documents"] + len(aside)
    assert all({"source", "step", "reason"} <= set(item) for item in aside)
    assert all(document.text.encode("utf-8") for part in PARTS for document in stored.documents(part))


def test_a_document_lost_on_the_way_is_noticed(tmp_path):
    read = corpus.Count()
    items = list(read.over(documents(5)))
    with pytest.raises(TextmillError, match="5 read, but 4 kept and 0 skipped"):
        corpus.write_corpus(Path(tmp_path), items[1:], SplitSpec(), read)


@pytest.mark.figures
def test_memory_does_not_grow_with_the_corpus(tmp_path):
    def stream(count):
        for n in range(count):
            yield collected(f"{n} " + "text " * 200_000, str(n))  # a megabyte each

    write(tmp_path / "small", stream(40))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write(tmp_path / "large", stream(400))
    assert sum(1 for _ in Corpus(tmp_path / "large").documents("train")) > 300
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB, for 400 MB of text


SECRETS = ("jane.roe@example.org", "13812345678", "4111 1111 1111 1111", "x9Kd82hfKq01LmZp77aQ")


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("at", [0, 150, 185, 195])
def test_nothing_that_leaves_the_house_quotes_personal_data(tmp_path, secret, at):
    """Whatever was skipped, in whichever step, and wherever in the text the datum stands."""
    told = ("x " * 200)[:at] + f" password: {secret} " + "y " * 300
    pair = collected({"source": told[at // 2 :], "target": f"api_key = {secret}"}, "two")
    items = [
        collected("kept", "kept.txt", {"licence": f"password: {secret}", "language": "en"}),
        Rejected(
            collected(told, "a.txt"), "a.txt", "length", "is longer than 10 characters", f"password: {secret}"
        ),
        Rejected(pair, "two", "language", "is in a language that is not kept"),
        Rejected(None, "b.csv", "read", "is damaged", f"row 3 reads password: {secret}"),
    ]
    write(tmp_path, items)
    for name in ("report.json", "rejected.jsonl", "card.html"):
        text = (tmp_path / name).read_text()
        assert secret not in text
        assert secret[:6] not in text
        assert "[" in text


def test_the_card_says_whether_anybody_looked(tmp_path):
    def page(name, steps, text="nothing of note"):
        folder = tmp_path / name
        folder.mkdir()
        items = cleaning.apply([collected(text, "a.txt")], steps)
        corpus.write_corpus(folder, items, SplitSpec(), steps=steps)
        return (folder / "card.html").read_text()

    assert page("none", ()).count("No step searched for any") == 3  # personal data, duplicates, contamination
    looked = page("both", (PersonalDataStep(), ExactDuplicatesStep()))
    assert looked.count("Searched for, and none was found.") == 2
    assert looked.count("No step searched for any") == 1
    assert "Each was replaced by its kind" in page("found", (PersonalDataStep(),), "a@b.com")
    assert "are still in the texts" in page("report", (PersonalDataStep(action="report"),), "a@b.com")


def test_what_was_taken_out_of_kept_documents_is_counted(tmp_path):
    page = collected("Prose stands here.\n\nSkip to content\nHome | Search\n", "a.html")
    steps = (BoilerplateStep(),)
    report = corpus.write_corpus(tmp_path, cleaning.apply([page], steps), SplitSpec(), steps=steps)
    assert report["removed"] == {"boilerplate": {"documents": 1, "removed": 2}}
    assert "2 lines" in (tmp_path / "card.html").read_text()


def test_personal_data_are_redacted_where_a_recipe_says_nothing(tmp_path):
    (tmp_path / "letter.txt").write_text("Write to jane.roe@example.org or call +1 415 555 2671.\n" * 40)
    spec = CorpusSpec(sources=(FilesSource(paths=("letter.txt",)),), split=SplitSpec(validation=0, test=0))
    directory = tmp_path / "corpus"
    directory.mkdir()
    report = build.build(directory, spec, tmp_path, tmp_path / "parts")
    [document] = Corpus(directory).documents("train")
    assert document.text.startswith("Write to [EMAIL] or call [PHONE].\n")
    assert report["personal"] == {kind: {"documents": 1, "found": 40} for kind in ("email", "phone")}
    said = tally.personal_data(report)
    assert said.startswith("personal data: 40 email, 40 phone: replaced by their kind")
    assert "out of corpus.steps" in said
    assert "no step" in tally.personal_data(report | {"personal_action": None})
    assert "none found" in tally.personal_data(report | {"personal": {}})
