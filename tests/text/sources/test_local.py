"""Files, folders and globs, and the standard library."""

from __future__ import annotations

import os

import pytest

from textmill.base.errors import RecipeError
from textmill.specs.corpus import FilesSource, LimitSpec, StdlibSource
from textmill.text.document import Document, Rejected
from textmill.text.sources.table import fingerprint, read_documents


@pytest.fixture
def folder(tmp_path):
    for name in (
        "b.txt",
        "a.md",
        "code/x.py",
        "code/__pycache__/x.py",
        ".hidden/secret.txt",
        ".env",
        "node_modules/n.js",
        "venv/pyvenv.cfg",
        "venv/lib.py",
        "work/corpus/lineage.json",
        "work/corpus/a.txt",
        "deep/one/two/three.txt",
    ):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def places(base, *paths, exclude=()):
    return [
        item.source for item in read_documents(FilesSource(paths=paths, exclude=exclude), LimitSpec(), base)
    ]


def test_a_folder_is_walked_in_order_without_junk(folder):
    expected = ["data/a.md", "data/b.txt", "data/code/x.py", "data/deep/one/two/three.txt"]
    assert places(folder, "data") == expected
    assert places(folder, "data/") == expected
    assert places(folder, str(folder / "data")) == [str(folder / name) for name in expected]


def test_what_is_named_is_read_even_when_hidden_or_junk(folder):
    assert places(folder, "data/.env", "data/.hidden", "data/node_modules", "data/venv/lib.py") == [
        "data/.env",
        "data/.hidden/secret.txt",
        "data/node_modules/n.js",
        "data/venv/lib.py",
    ]


def test_globs(folder):
    assert places(folder, "data/*.txt") == ["data/b.txt"]
    assert places(folder, "data/**/*.py") == ["data/code/x.py"]
    assert places(folder, "data/venv/*.py") == ["data/venv/lib.py"]
    assert places(folder, "data/node_modules/*.js") == ["data/node_modules/n.js"]
    assert places(folder, "data/d*") == ["data/deep/one/two/three.txt"]
    assert places(folder, "data/**") == places(folder, "data")


def test_a_name_with_the_marks_of_a_glob(folder):
    (folder / "a[1].txt").write_text("x")
    assert places(folder, "a[1].txt") == ["a[1].txt"]


def test_a_file_named_twice_is_read_once(folder):
    assert places(folder, "data/b.txt", "data/*.txt", "data", "./data/b.txt")[0] == "data/b.txt"
    assert len(places(folder, "data/b.txt", "data")) == len(places(folder, "data"))


def test_exclusions(folder):
    assert places(folder, "data", exclude=("*.md", "deep")) == ["data/b.txt", "data/code/x.py"]
    assert places(folder, "data", exclude=("code/*.py", "data/deep/*")) == ["data/a.md", "data/b.txt"]


@pytest.mark.parametrize("path", ["missing.txt", "data/*.nothing", "no/such/folder"])
def test_a_path_that_matches_nothing(folder, path):
    with pytest.raises(RecipeError) as error:
        places(folder, path)
    assert path in str(error.value)


def test_links_pipes_and_closed_folders_are_set_aside_or_followed(folder):
    data = folder / "data"
    (data / "linked.txt").symlink_to(data / "b.txt")  # the same file under another name: read once
    (data / "loop").symlink_to(data)
    (data / "broken.txt").symlink_to(data / "nowhere")
    os.mkfifo(data / "pipe.txt")
    items = list(read_documents(FilesSource(paths=("data",)), LimitSpec(), folder))
    aside = {item.source: item.reason for item in items if isinstance(item, Rejected)}
    assert aside == {
        "data/loop": "is a link to a folder",
        "data/broken.txt": "cannot be opened",
        "data/pipe.txt": "is not a regular file",
    }
    assert sum(isinstance(item, Document) for item in items) == 4


def test_files_larger_than_the_limit_and_empty_files(folder):
    (folder / "big.txt").write_text("x" * 101)
    (folder / "empty.txt").write_text("")
    source = FilesSource(paths=("big.txt", "empty.txt"))
    big, empty = read_documents(source, LimitSpec(file_bytes=100), folder)
    assert big.reason == "is larger than limits.file_bytes"
    assert empty.text == ""


def test_inputs_are_never_changed(folder):
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}
    places(folder, "data")
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def test_fingerprints_follow_content_and_place_only(folder):
    source = FilesSource(paths=("data",))
    first = fingerprint(source, folder)
    os.utime(folder / "data/b.txt", (1, 1))
    assert fingerprint(source, folder) == first == sorted(first)
    assert [place for place, _ in first] == places(folder, "data")
    (folder / "data/b.txt").write_text("other")
    assert [a == b for a, b in zip(first, fingerprint(source, folder), strict=True)] == [
        True,
        False,
        True,
        True,
    ]
    (folder / "data").rename(folder / "moved")
    assert fingerprint(FilesSource(paths=("moved",)), folder)[0][1] == first[0][1]


def test_the_standard_library_is_real_code_and_prose():
    items = list(read_documents(StdlibSource(), LimitSpec(), "."))
    documents = [item for item in items if isinstance(item, Document)]
    sources = [document.source for document in documents]
    assert len(documents) == len(items)
    assert sum(len(document.text) for document in documents) > 5_000_000
    assert "python-stdlib:json/decoder.py" in sources
    assert not [
        s for s in sources if "site-packages" in s or "__pycache__" in s or "/test/" in s or ":test/" in s
    ]
    assert sources == [item.source for item in read_documents(StdlibSource(), LimitSpec(), ".")]
    if any(":topic " in source for source in sources):  # some systems ship Python without pydoc's topics
        page = next(d for d in documents if d.metadata.get("title") == "with")
        assert "context manager" in page.text
    assert len(set(sources)) == len(sources)


def test_the_standard_library_with_tests_is_more():
    with_tests = {place for place, _ in fingerprint(StdlibSource(tests=True), ".")}
    assert {place for place, _ in fingerprint(StdlibSource(), ".")} < with_tests


def test_a_name_that_is_not_utf8_has_a_place_that_can_be_written(tmp_path):
    (tmp_path / "data").mkdir()
    raw = os.fsencode(tmp_path / "data") + b"/caf\xe9.txt"
    try:
        with open(raw, "wb") as file:
            file.write(b"words")
    except OSError:
        pytest.skip("this file system has no such names")
    assert places(tmp_path, "data") == ["data/caf\\udce9.txt"]
