"""Which libraries decide what a source's documents are."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from textmill.specs.corpus import FilesSource, LimitSpec, WebSource
from textmill.text.sources.formats.office import libreoffice
from textmill.text.sources.table import libraries


@pytest.fixture
def of_file(tmp_path):
    """The libraries that decide a file of this name and these bytes."""

    def call(name, data=b"words", limits=LimitSpec()):
        (tmp_path / name).write_bytes(data)
        return libraries(FilesSource(paths=(name,)), tmp_path, limits)

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
    assert "resiliparse" in libraries(WebSource(urls=("https://a.example/text",)), Path(), LimitSpec())


def test_what_libreoffice_converts_depends_on_which_it_is(of_file, monkeypatch, tmp_path):
    program = tmp_path / "soffice"
    program.write_text("#!/bin/sh\necho LibreOffice 7.4 of a test\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    libreoffice.version.cache_clear()
    allowed = LimitSpec(libreoffice=True)
    assert of_file("a.doc", limits=allowed)["libreoffice"] == "LibreOffice 7.4 of a test"
    assert "libreoffice" not in of_file("a.txt", limits=allowed)
    libreoffice.version.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert of_file("a.doc", limits=allowed)["libreoffice"] == "missing"
    libreoffice.version.cache_clear()
