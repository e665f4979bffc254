"""Bytes into text: what is told apart, and what is honestly refused."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.text.sources.formats.encoding import decode, refuse_binary
from textmill.text.sources.formats.stream import SetAside

CHINESE = (
    "今天的天气很好，我们一起去公园散步。中国是一个历史悠久的国家，有很多名胜古迹。他说：“学习语言需要时间。”"
)
TRADITIONAL = (
    "今天的天氣很好，我們一起去公園散步。中國是一個歷史悠久的國家，有很多名勝古蹟。學習語言需要時間。"
)
JAPANESE = "今日は天気がとても良いので、みんなで公園を散歩しました。日本語を勉強するには時間がかかります。"
KOREAN = "오늘은 날씨가 아주 좋아서 우리는 함께 공원을 산책했습니다. 언어를 배우는 데는 시간이 필요합니다."
RUSSIAN = "Сегодня очень хорошая погода, и мы вместе гуляем в парке. Чтобы выучить язык, нужно время."
FRENCH = "Le garçon a déjà mangé à l’école ; c’était « très bon », dit‑il. Où est l'été ? Noël, naïveté."
GERMAN = "Die Straße führt über die Brücke; schöne Grüße aus München, 20 € im Monat – „genug“."

text_without_controls = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff\ufffe\uffff"), min_size=1
)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE, "gb18030"),
        (CHINESE, "gb2312"),
        (TRADITIONAL, "big5"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "shift_jis"),
        (KOREAN, "euc_kr"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (FRENCH.replace("‑", "-"), "cp1252"),
        (GERMAN, "cp1252"),
        ("café", "latin-1"),
        ("5 £", "cp1252"),
        (FRENCH, "utf-8"),
        (CHINESE, "utf-8"),
        (CHINESE, "utf-8-sig"),
        (CHINESE, "utf-16"),
        (CHINESE, "utf-32"),
        (FRENCH, "utf-16-le"),
        (FRENCH, "utf-16-be"),
    ],
)
def test_text_is_recovered(text, encoding):
    assert decode(text.encode(encoding), "a.txt")[0] == text


@given(text_without_controls)
def test_unicode_encodings_round_trip(text):
    assert decode(text.encode("utf-8"))[0] == text
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        assert decode(text.encode(encoding))[0] == text
    big = codecs.BOM_UTF16_BE + text.encode("utf-16-be")
    assert decode(big)[0] == text


@given(st.binary(max_size=400), st.sampled_from(["", "a.py", "a.xml"]))
def test_any_bytes_decode_or_are_refused(data, name):
    try:
        text, _ = decode(data, name)
    except SetAside:
        return
    assert "\0" not in text
    text.encode("utf-8")  # no lone surrogates


def test_python_declarations_are_believed_before_utf8():
    source = "# -*- coding: koi8-r -*-\nname = 'Привет'\n"
    assert decode(source.encode("koi8-r"), "a.py") == (source, "koi8-r")
    both = b"# coding: latin-1\nx = '\xc3\xa9'\n"
    assert decode(both, "a.py")[0].endswith("'Ã©'\n")
    assert decode(both, "a.txt")[0].endswith("'é'\n")
    assert decode(b"# coding: rot13\nx = 1\n", "a.py")[1] == "utf-8"
    assert decode(b"# coding: no-such\nx = 1\n", "a.py")[1] == "utf-8"


def test_xml_declarations_are_believed_after_utf8():
    page = '<?xml version="1.0" encoding="iso-8859-2"?><a>Łódź</a>'
    assert decode(page.encode("iso-8859-2"), "a.xml")[0] == page
    assert decode(page.encode("utf-8"), "a.xml")[0] == page


def test_a_few_broken_bytes_do_not_cost_a_utf8_file():
    text, encoding = decode(CHINESE.encode() + b"\xe4\xbd" + b" end")
    assert text == CHINESE + "\ufffd end"
    assert encoding == "utf-8, 1 damaged"


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"%PDF-1.7 abc", "PDF"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "PNG"),
        (b"PK\x03\x04abc", "zip"),
        (b"abc\0def", "zero bytes"),
        (b"abc" + b"\x01\x02\x03\x04" * 20, "control"),
    ],
)
def test_binary_files_are_refused_with_what_they_are(data, detail):
    with pytest.raises(SetAside, match=detail):
        refuse_binary(data)


def test_sound_in_sixteen_bits_is_not_utf16():
    with pytest.raises(SetAside, match="control characters"):
        decode(b"".join(bytes([n % 23 + 1, 0]) for n in range(500)))


def test_what_cannot_be_told_is_set_aside_rather_than_guessed():
    with pytest.raises(SetAside, match="cannot be told"):
        decode("Ελληνικά γράμματα σε παλιά κωδικοποίηση".encode("iso-8859-7"))
