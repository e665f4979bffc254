"""Which libraries decide what a source's documents are."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from textmill.specs.corpus import FilesSource, WebSource
from textmill.text.sources.table import libraries


@pytest.fixture
def of_file(tmp_path):
    """The libraries that decide a file of this name and these bytes."""

    def call(name, data=b"words"):
        (tmp_path / name).write_bytes(data)
        return libraries(FilesSource(paths=(name,)), tmp_path)

    return call


@pytest.mark.parametrize("name", ["a.txt", "README", "b.jsonl", "c.xlsx", "d.srt"])
def test_words_alone_need_the_tables_of_unicode(name, of_file):
    assert of_file(name) == {"unicode": unicodedata.unidata_version}


@pytest.mark.parametrize(
    "name",
    ["a.html", "b.pdf", "c.zip", "d.txt.gz", "e.mbox", "f.epub", "g.warc.gz", "h.docx", "i.odp", "j.doc"],
)
def test_what_may_hold_pages_needs_their_parsers(name, of_file, monkeypatch):
    known = of_file(name)
    assert set(known) == {"unicode", "resiliparse", "pypdfium2", "pyspellchecker", "olefile", "xlrd"}
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
    assert of_file(name) == {"unicode": known["unicode"]} | dict.fromkeys(set(known) - {"unicode"}, "99")


@pytest.mark.parametrize("name", ["a.txt", "b.xls", "README"])
def test_a_page_needs_them_under_any_name(name, of_file):
    assert "resiliparse" in of_file(name, b"<!DOCTYPE html><html><p>words</html>")


def test_any_address_may_give_a_page():
    assert "resiliparse" in libraries(WebSource(urls=("https://a.example/text",)), Path())
