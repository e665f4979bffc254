from __future__ import annotations

import unicodedata

import pytest

from textmill.specs.corpus import FilesSource, WebSource
from textmill.text.sources.table import libraries

FILES = FilesSource(paths=("x",))


@pytest.mark.parametrize("place", ["a.txt", "README", "b.jsonl", "c.docx", "d.srt"])
def test_words_alone_need_the_tables_of_unicode(place):
    assert libraries(FILES, [place]) == {"unicode": unicodedata.unidata_version}


@pytest.mark.parametrize("place", ["a.html", "b.pdf", "c.zip", "d.txt.gz", "e.mbox", "f.epub", "g.warc.gz"])
def test_what_may_hold_pages_needs_their_parsers(place, monkeypatch):
    assert set(libraries(FILES, ["a.txt", place])) == {"unicode", "resiliparse", "pypdfium2"}
    known = libraries(FILES, [place])
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
    assert libraries(FILES, [place]) == known | {"resiliparse": "99", "pypdfium2": "99"}


def test_any_address_may_give_a_page():
    assert "resiliparse" in libraries(WebSource(urls=("https://a.example/text",)), ["https://a.example/text"])
