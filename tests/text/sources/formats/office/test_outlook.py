"""Messages of Outlook are messages: subject, sender, text, attachments, and messages within them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.compound import compound
from helpers.office import message, tnef
from textmill.text.sources.formats.office import outlook

olefile = pytest.importorskip("olefile")

# The example of [MS-OXRTFCP] §4.1.1: a text compressed, and what it says.
COMPRESSED = bytes.fromhex(
    "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
)


def test_a_message_with_what_is_attached(opened):
    inner = message("Inner", "inner words", depth=1)
    streams = message(
        "Über Mühlen",
        "The mill.\r\nSecond line.",
        sender="Ada Miller",
        attachments={"notes.txt": b"attached words", "inner.msg": inner, "long.txt": b"x" * 9000},
    )
    items = opened("a.msg", compound(streams))
    body, notes, within, long = sorted(items, key=lambda item: (item.source.count("!"), item.text))
    assert body.text == "The mill.\nSecond line."
    assert body.metadata == {"title": "Über Mühlen", "author": "Ada Miller", "date": "2024-05-06T07:08:09Z"}
    assert (notes.source, notes.text) == ("a.msg!notes.txt", "attached words")
    assert (within.text, within.metadata["title"]) == ("inner words", "Inner")
    assert long.text == "x" * 9000


def test_pages_and_rich_text_where_there_is_no_plain_text(opened):
    page = "<html><body><p>Привет</p></body></html>".encode("cp1251")
    [item] = opened("a.msg", compound(message("s", page=page, code_page=1251)))
    assert item.text == "Привет"
    [item] = opened("a.msg", compound(message("s", packed=COMPRESSED)))
    assert item.text == "hello world"


def test_the_example_of_the_specification_unpacks():
    assert outlook.unpacked(COMPRESSED) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    stored = b"\0" * 8 + b"MELA" + b"\0" * 4 + b"{\\rtf1 x}"
    assert outlook.unpacked(stored) == b"{\\rtf1 x}"


@given(data=st.binary(max_size=200))
def test_compressed_bytes_of_any_kind_end(data):
    outlook.unpacked(b"\0" * 8 + b"LZFu" + b"\0" * 4 + data)


def test_what_a_sender_wrapped(opened):
    body, file = opened("winmail.tnef", tnef("Ernte", "Forty sacks.", {"报告.txt": "文字".encode()}))
    assert (body.text, body.metadata) == ("Forty sacks.", {"title": "Ernte"})
    assert (file.source, file.text) == ("winmail.tnef!报告.txt", "文字")


def test_without_the_library_it_says_what_to_install(opened, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "olefile", None)
    [item] = opened("a.msg", compound(message("s", "words")))
    assert (item.reason, item.detail) == (
        "needs the extra `office`",
        "pip install 'textmill[office]', or save it as .eml",
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_changed_files_are_accounted_for(opened, data):
    samples = {
        "a.msg": compound(
            message("s", "words", attachments={"a.txt": b"a", "b.msg": message("t", "u", depth=1)})
        ),
        "a.tnef": tnef("s", "words", {"a.txt": b"a"}),
    }
    name = data.draw(st.sampled_from(sorted(samples)))
    content = bytearray(samples[name])
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert opened(name, bytes(content)[: data.draw(st.integers(1, len(content)))])
