"""The store: what is there whole or not at all, and what is gone when it has been removed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.retrieval.places import Filter
from textmill.retrieval.search import Search
from textmill.retrieval.store import Store
from textmill.text.document import collected

MILL = "The mill stands by the river. Its wheel has turned since 1820. The miller is called Ottokar."
SHIP = "A ship lay in the harbour of Genoa. Her captain drank tea."
TOWER = "长江上的塔楼很高。守塔人叫王小明，他每天点灯。"


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store.db", create=True) as store:
        store.add(
            "notes/mill.txt", "1", [collected(MILL, "notes/mill.txt", {"language": "en"})], date="2024-05-01"
        )
        store.add(
            "notes/ship.txt", "2", [collected(SHIP, "notes/ship.txt", {"author": "Mary"})], date="2025-01-02"
        )
        store.add("塔.txt", "3", [collected(TOWER, "塔.txt", {"language": "zh", "pages": "0 9"})], size=40)
        yield store


def texts(store, query, **options):
    return [hit.place.path for hit in Search(store).find(query, **options).hits]


def test_words_are_found_in_both_languages(store):
    assert texts(store, "Who is the miller?")[0] == "notes/mill.txt"
    assert texts(store, "captain's tea") == ["notes/ship.txt"]
    assert texts(store, "守塔人是谁？")[0] == "塔.txt"
    assert texts(store, "OTTOKAR") == ["notes/mill.txt"]


def test_places_are_those_of_the_text_as_collected(store):
    documents = {"notes/mill.txt": MILL, "notes/ship.txt": SHIP, "塔.txt": TOWER}
    for stored in store.files():
        for place in store.chunks_of(stored.path):
            assert documents[stored.path][place.start : place.end] == place.text
    assert [place.page for place in store.chunks_of("塔.txt")] == [1, 2]


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (Filter(folder="notes"), {"notes/mill.txt", "notes/ship.txt"}),
        (Filter(folder="notes/mill.txt"), {"notes/mill.txt"}),
        (Filter(folder="note"), set()),
        (Filter(language="zh"), {"塔.txt"}),
        (Filter(since="2024-05-02"), {"notes/ship.txt"}),
        (Filter(until="2024-05"), {"notes/mill.txt"}),
        (Filter(metadata={"author": "Mary"}), {"notes/ship.txt"}),
        (Filter(metadata={'"; DROP TABLE files; --': "x"}), set()),
    ],
)
def test_filters(store, chosen, found):
    assert {stored.path for stored in store.files(chosen)} == found
    assert set(texts(store, "the mill ship captain river harbour 塔楼", chosen=chosen)) == found


def test_a_search_that_finds_nothing_says_why(store, tmp_path):
    search = Search(store)
    assert search.find("zeppelin").why == "no document shares a word with it"
    assert search.find("?!").why == "no document shares a word with it"
    assert search.find("mill", chosen=Filter(language="fr")).why == "no document fits the filters"
    with Store(tmp_path / "empty.db", create=True) as empty:
        assert Search(empty).find("mill").why == "the store is empty"


def everywhere(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


def test_of_what_is_removed_no_word_and_no_number_is_left_on_the_disk(tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    secret = "Zanzibaroth whispered quixotically beneath the amethyst colonnade. 秘密的琥珀宫殿无人知晓。"
    vector = np.full((1, 8), 0.123456789, np.float32)
    with Store(folder / "store.db", create=True) as store:
        for number in range(60):
            store.add(f"other/{number}", "1", [collected(f"{MILL} Number {number}.", f"other/{number}")])
        store.add("secret.txt", "1", [collected(secret, "secret.txt", {"title": "Amethystina"})])
        for document, found in list(store.without_vectors("m")):
            store.set_vectors("m", document, vector if "Zanz" in found[0] else np.ones((1, 8), np.float32))
        held = everywhere(folder).lower()
        words = [
            "zanzibaroth",
            "whispered",
            "quixotically",
            "amethyst",
            "colonnade",
            "amethystina",
            "琥",
            "宫",
            "秘",
        ]
        assert all(word.encode() in held for word in words), "the test would see them"
        assert vector.tobytes()[:16] in everywhere(folder)
        assert store.remove(["secret.txt"]) == 1
        held = everywhere(folder).lower()
        assert [word for word in words if word.encode() in held] == []
        assert vector.tobytes()[:16] not in everywhere(folder)
        assert not Search(store).find("amethyst").hits
        assert len(store.files()) == 60
        assert store.check() == []
    assert [word for word in words if word.encode() in everywhere(folder).lower()] == []


def test_replacing_a_file_leaves_nothing_of_what_it_held(store):
    store.add("notes/mill.txt", "9", [collected("The mill has burnt down.", "notes/mill.txt")])
    assert store.known("notes/mill.txt") == "9"
    assert not Search(store).find("Ottokar").hits
    assert texts(store, "burnt") == ["notes/mill.txt"]
    assert store.check() == []


def test_a_file_that_fails_half_way_is_as_it_was(store):
    def broken():
        yield collected("New words of the mill.", "notes/mill.txt")
        raise OSError("the stick was pulled out")

    with pytest.raises(OSError, match="pulled out"):
        store.add("notes/mill.txt", "9", broken())
    assert store.known("notes/mill.txt") == "1"
    assert texts(store, "Ottokar") == ["notes/mill.txt"]


class Letters:
    """Vectors of how often some letters stand in a text."""

    id = "letters"

    def embed(self, texts):
        counts = np.array(
            [[text.count(letter) for letter in "abcdefghilmnorst"] for text in texts], np.float32
        )
        return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)

    def unknown(self, text):
        return sum(not character.isascii() for character in text) / len(text)


def test_vectors_rank_by_cosine_and_are_brought_together_with_words(store):
    encoder = Letters()
    for document, found in list(store.without_vectors("letters")):
        store.set_vectors("letters", document, encoder.embed(found))
    assert list(store.without_vectors("letters")) == []
    assert store.models() == {"letters": 3}
    search = Search(store, encoder)
    hits = search.find("harbour captain", how="vectors").hits
    everything = {place.chunk: place for stored in store.files() for place in store.chunks_of(stored.path)}
    query = encoder.embed(["harbour captain"])[0]
    exact = sorted(everything.values(), key=lambda place: -float(encoder.embed([place.text])[0] @ query))
    assert [hit.place for hit in hits] == exact
    both = search.find("harbour captain").hits
    assert both[0].place.path == "notes/ship.txt"
    assert (both[0].words, both[0].near) == (1, pytest.approx(float(query @ encoder.embed([SHIP])[0])))
    assert both[0].score == pytest.approx(1 + 0.5 + 0.5 + both[0].near), "best by every way, and its cosine"
    store.add("new.txt", "1", [collected("harbour captain", "new.txt")])
    document, found = next(iter(store.without_vectors("letters")))
    with Store(store.path) as other:
        other.set_vectors("letters", document, encoder.embed(found))
    assert search.find("harbour captain", how="vectors").hits[0].place.path == "new.txt"
    store.remove(["new.txt"])
    assert search.find("harbour captain", how="vectors").hits[0].place.path == "notes/ship.txt"
    store.add("newer.txt", "1", [collected("harbour captain", "newer.txt")])
    store.set_vectors("letters", next(iter(store.without_vectors("letters")))[0], encoder.embed(found))
    assert search.find("harbour captain", how="vectors").hits[0].place.path == "newer.txt"
    with pytest.raises(RecipeError, match="needs a model"):
        Search(store).find("mill", how="vectors")


def test_every_flipped_byte_that_is_read_is_found(tmp_path):
    with Store(tmp_path / "store.db", create=True) as store:
        store.add("mill.txt", "1", [collected(MILL, "mill.txt")])
        store.compact()
    whole = (tmp_path / "store.db").read_bytes()
    wrong = 0
    for at in range(100, len(whole), 211):
        damaged = bytearray(whole)
        damaged[at] ^= 4
        (tmp_path / "store.db").write_bytes(damaged)
        try:
            with Store(tmp_path / "store.db") as store:
                found = [place.text for place in store.chunks_of("mill.txt")]
                found += [hit.place.text for hit in Search(store).find("miller").hits]
        except DamagedError:
            wrong += 1
        else:
            assert found == [MILL, MILL], at
    assert wrong > 10


def test_a_full_disk_is_told_and_what_was_stored_is_unharmed(tmp_path):
    with Store(tmp_path / "store.db", create=True) as store:
        store.add("mill.txt", "1", [collected(MILL, "mill.txt")])
        [[pages]] = store._rows("PRAGMA page_count")
        store._rows(f"PRAGMA max_page_count = {pages + 3}")  # what SQLite says of a disk that has no more
        with pytest.raises(TextmillError, match="the disk is full") as told:
            store.add("big.txt", "1", [collected(f"{SHIP} {'More words of it. ' * 9000}", "big.txt")])
        assert "what was stored before is unharmed" in str(told.value.advice)
        assert [stored.path for stored in store.files()] == ["mill.txt"]
        assert texts(store, "Ottokar") == ["mill.txt"]
        assert not Search(store).find("Genoa").hits
        assert store.check() == []
        store.add("ship.txt", "1", [collected("A ship.", "ship.txt")])
        assert texts(store, "ship") == ["ship.txt"]


def test_who_keeps_the_store_open_does_not_keep_what_is_removed(tmp_path):
    """A reader holds pages for as long as a question takes; one that waits for the next holds none."""
    folder = tmp_path / "kept"
    folder.mkdir()
    with Store(folder / "store.db", create=True) as store, Store(folder / "store.db") as reader:
        store.add("mill.txt", "1", [collected(MILL, "mill.txt")])
        store.add("ship.txt", "1", [collected("Zanzibaroth.", "ship.txt")])
        assert texts(reader, "Zanzibaroth") == ["ship.txt"]
        assert b"zanzibaroth" in everywhere(folder).lower()
        assert store.remove(["ship.txt"]) == 1
        assert b"zanzibaroth" not in everywhere(folder).lower()
        assert not Search(reader).find("Zanzibaroth").hits
        store.add("mill.txt", "2", [collected("Nothing.", "mill.txt")])
        store.compact_if_free()
        assert b"ottokar" not in everywhere(folder).lower(), "nor what was replaced"


def test_what_is_no_store_is_refused_and_left_alone(tmp_path):
    (tmp_path / "letter.db").write_text("Dear all, this is no database. " * 300)
    before = (tmp_path / "letter.db").read_bytes()
    with pytest.raises((RecipeError, DamagedError)):
        Store(tmp_path / "letter.db", create=True)
    assert (tmp_path / "letter.db").read_bytes() == before
    with pytest.raises(RecipeError, match="is not there"):
        Store(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


WRITERS = """
import os
import sys
from textmill.retrieval.store import Store
from textmill.text.document import collected

def write():
    with Store(sys.argv[1], create=True) as store:
        print("ready", os.getpid(), flush=True)
        for turn in range(10_000):
            path = f"file {turn % 7}"
            if turn % 5 == 4:
                store.remove([path])
                continue
            texts = [f"Turn {turn} of part {part}. " * 20 for part in range(5)]
            store.add(path, str(turn), [collected(text, path) for text in texts], size=200)
            print(turn, flush=True)

for _ in sys.stdin:
    if child := os.fork():
        os.waitpid(child, 0)
        print("ended", flush=True)
    else:
        write()
"""  # a new process for each line, which has imported everything


def killed_at_random(tmp_path, kills):
    """Writers that are killed, each while two readers ask: nothing committed is lost, and nothing half is there."""
    rng = np.random.default_rng(5)
    path = tmp_path / "store.db"
    with (
        subprocess.Popen(
            [sys.executable, "-c", WRITERS, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as writers,
        Store(path, create=True) as reader,
        Store(path) as other,
    ):
        for _ in range(kills):
            print(file=writers.stdin, flush=True)
            ready, pid = writers.stdout.readline().split()
            assert ready == "ready"
            time.sleep(float(rng.uniform(0, 0.15)))
            reader.files()
            Search(other).find("part 3 of a turn")
            os.kill(int(pid), signal.SIGKILL)
            committed = list(iter(lambda: writers.stdout.readline().strip(), "ended"))
            assert reader.check() == []
            for stored in other.files():
                assert stored.documents == 5
                found = reader.chunks_of(stored.path)
                assert {place.text.split(" of ")[0] for place in found} == {f"Turn {stored.hash}"}
            if committed:
                hashes = {stored.hash for stored in reader.files()}
                last = int(committed[-1])
                gone = (last + 1) % 5 == 4 and (last + 1) % 7 == last % 7
                assert str(last) in hashes or gone or any(int(found) > last for found in hashes)
        writers.stdin.close()


def test_a_writer_that_is_killed_leaves_no_half_a_file(tmp_path):
    killed_at_random(tmp_path, 3)


@pytest.mark.slow
def test_two_hundred_kills(tmp_path):
    killed_at_random(tmp_path, 200)
