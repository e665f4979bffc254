"""Bytes into text: what is told apart, and what is honestly refused."""

from __future__ import annotations

import codecs
import contextlib
import io
import itertools
import random

import pytest
from hypothesis import given, settings
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

# Two sentences in each language, and code pages that have all of their letters.
OTHERS = {
    "de": (
        f"{GERMAN[:60]} Größere Schäden sind gemäß Vertrag zu melden.",
        "cp1250 cp1254 cp850 cp437 mac-roman",
    ),
    "fr": (
        "La patiente s'est présentée à la clinique ; elle a une forte fièvre depuis deux étés.",
        "cp850 cp437 mac-roman",
    ),
    "pt": ("A informação sobre a medicação está na declaração. Não há alterações.", "cp1252 cp850 mac-roman"),
    "es": (
        "El niño pequeño mañana irá al médico; ¿cuándo volverá? Será después de comer.",
        "cp1252 cp850 mac-roman",
    ),
    "pl": (
        "Pacjentka zgłosiła się do lekarza z bólem głowy i gorączką. Wyniki będą w środę.",
        "cp1250 iso8859-2 cp852",
    ),
    "cs": (
        "Pacientka přišla s bolestí hlavy a vysokou horečkou. Výsledky budou ve středu, řekla.",
        "cp1250 cp852",
    ),
    "hu": (
        "A hőmérő szerint a betegnek erős láza volt; a nő később gyógyszert kért, és jól érezte magát.",
        "cp852",
    ),
    "tr": ("Hasta baş ağrısı ve yüksek ateş şikayetiyle geldi. Doktor ilaç yazdı.", "cp1254 iso8859-9 cp857"),
    "ro": ("Aceasta este o adresă nouă, iar băiatul încă aşteaptă să fie întrebat.", "cp1250 iso8859-2"),
    "sv": (
        "Patienten kom till läkaren på måndagen; hon mår bättre nu, säger hennes mor.",
        "cp1252 cp850 mac-roman",
    ),
    "el": ("Η ασθενής ήρθε στην κλινική με πονοκέφαλο και υψηλό πυρετό.", "cp1253 iso8859-7 cp737 mac-greek"),
    "he": ("המטופלת הגיעה למרפאה עם כאבי ראש. הרופא רשם לה תרופות.", "cp1255 iso8859-8 cp862"),
    "ar": ("جاءت المريضة إلى العيادة وهي تعاني من صداع شديد.", "cp1256 iso8859-6"),
    "ru": (RUSSIAN, "cp1251 koi8-r cp866 iso8859-5 cp855"),
    "uk": ("Пацієнтка звернулася до лікарні з головним болем; її оглянув лікар.", "cp1251 koi8-u"),
    "bg": ("Пациентката дойде в клиниката с главоболие и висока температура.", "cp1251 cp866"),
    "th": ("ผู้ป่วยมาที่คลินิกด้วยอาการปวดศีรษะและมีไข้สูง", "cp874 tis-620"),
    "lt": (
        "Pacientė atėjo į kliniką skųsdamasi galvos skausmu; gydytojas išrašė vaistų.",
        "cp1257 iso8859-13",
    ),
}

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
        ("the price was £5,000", "cp1252"),
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


@settings(deadline=None, max_examples=60)  # every code page is tried on each
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
        (b"abc\0\0def", "zero bytes"),
        (b"abc" + b"\x01\x02\x03\x04" * 20, "control"),
    ],
)
def test_binary_files_are_refused_with_what_they_are(data, detail):
    with pytest.raises(SetAside, match=detail):
        refuse_binary(data)


def test_sound_in_sixteen_bits_is_not_utf16():
    with pytest.raises(SetAside, match="control characters"):
        decode(b"".join(bytes([n % 23 + 1, 0]) for n in range(500)))


@pytest.mark.parametrize(
    "data",
    [
        "Die Straße führt über die Brücke; schöne Grüße aus München.".encode("cp500"),  # EBCDIC
        bytes(random.Random(1).choices(range(0xA0, 0x100), k=400)),
        b" ".join(bytes(random.Random(n).choices(range(0xC0, 0x100), k=6)) for n in range(60)),
        "Größe".encode("mac-roman") + b" " + "Größe".encode("cp1252"),
    ],
)
def test_what_cannot_be_told_is_skipped_rather_than_guessed(data):
    with pytest.raises(SetAside, match=r"unknown encoding|control characters"):
        decode(data)


@pytest.mark.parametrize(
    ("language", "encoding"), [(k, e) for k, (_, es) in OTHERS.items() for e in es.split()]
)
def test_code_pages_are_told_by_the_letters_of_their_languages(language, encoding):
    """Every one of these was once read as Cyrillic, or as Windows-1252."""
    text = OTHERS[language][0]
    assert decode(text.encode(encoding))[0] == text


@pytest.mark.parametrize(
    ("text", "encoding", "bytes_"),
    [
        ("裏恒粧銹", "big5", "f9d8f9daf9dbf9d7"),  # as Windows writes them
        ("佢喺咗", "big5-hkscs", "ca5c9df69df7"),  # as Hong Kong does
        ("①㈱髙﨑", "shift_jis", "8740878aeee0ed95"),
        ("①髙﨑", "euc-jp", "ada1fce2f9f5"),
        ("똠펲", "ks_c_5601-1987", "8c63bc84"),
        ("①番の", "iso-2022-jp", "1b24422d21485624 4e1b2842"),
        ("朱镕基繁體", "gb2312", "d6ece946bbf9b7b1f377"),
        ("“€”", "us-ascii", "938094"),
        ("Ж", "x-mac-cyrillic", "86"),
        ("א", "iso-8859-8-i", "e0"),
        ("ก“", "tis-620", "a193"),
    ],
)
def test_labels_mean_what_browsers_take_them_for(text, encoding, bytes_):
    assert decode(bytes.fromhex(bytes_), "a.txt", encoding)[0] == text


@pytest.mark.parametrize(
    ("encoding", "text"), [("iso2022_jp", JAPANESE), ("hz", CHINESE), ("iso2022_kr", KOREAN)]
)
def test_seven_bit_encodings_are_told_by_their_escapes(encoding, text):
    assert decode(text.encode(encoding))[0] == text


def test_what_only_looks_like_escapes_stays():
    assert decode(b"f~{x} and ~{ab~} \x1b[31mred\x1b[0m")[0] == "f~{x} and ~{ab~} \x1b[31mred\x1b[0m"


@pytest.mark.parametrize(
    "text", [CHINESE, TRADITIONAL, JAPANESE, KOREAN, RUSSIAN, OTHERS["el"][0], OTHERS["ar"][0]]
)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_encodings_need_no_mark(text, encoding):
    assert decode(text.encode(encoding)) == (text, encoding)


def test_a_label_that_nobody_chose_is_doubted():
    assert decode(RUSSIAN.encode("cp1251"), "a.txt", "iso-8859-1")[0] == RUSSIAN
    assert decode(FRENCH.replace("‑", "-").encode("cp1252"), "a.txt", "us-ascii")[0] == FRENCH.replace(
        "‑", "-"
    )
    assert decode("ÀÁÂ ÃÄÅ".encode("latin-1"), "a.txt", "iso-8859-1")[0] == "ÀÁÂ ÃÄÅ"


@pytest.mark.parametrize(
    ("text", "encoding", "label"),
    [
        (RUSSIAN, "cp1251", "koi8-r"),
        (RUSSIAN, "koi8-r", "windows-1251"),
        (TRADITIONAL, "big5", "gb2312"),
        (GERMAN, "cp1252", "windows-1251"),
        (OTHERS["el"][0], "cp1253", "iso-8859-2"),
    ],
)
def test_a_label_that_makes_no_words_is_doubted(text, encoding, label):
    assert decode(text.encode(encoding), "a.txt", label)[0] == text
    assert decode(text.encode(encoding), "a.txt", encoding)[0] == text


def test_a_stray_zero_byte_is_dropped():
    assert decode(b"a\0b") == ("ab", "utf-8")
    assert decode(b"A line.\n" * 500 + b"\0") == ("A line.\n" * 500, "utf-8")


def test_what_fills_up_a_file_is_no_text():
    assert decode(b"A line.\n" + bytes(500))[0] == "A line.\n"
    assert decode(b"A line.\r\n\x1a")[0] == "A line.\r\n"
    with pytest.raises(SetAside):
        decode(b"A" + bytes(9) + b"b" + bytes(9))


def test_a_last_word_is_no_half_of_a_character():
    for text, encoding in (("Prices are now from £5", "cp1252"), ("Договор №5", "cp866")):
        assert decode(text.encode(encoding)) == (text, encoding)


def test_marks_between_joined_files_are_dropped():
    assert decode(b"\xef\xbb\xbfone\n\xef\xbb\xbftwo\n")[0] == "one\ntwo\n"
    assert decode("a\ufeffb".encode())[0] == "a\ufeffb"  # nobody's mark: a cleaning step may drop it


def test_a_few_broken_characters_do_not_cost_a_file():
    text, encoding = decode((CHINESE * 40).encode("gb18030") + b"\xd6")
    assert (text, encoding) == (CHINESE * 40 + "\ufffd", "gb18030, 1 damaged")


def test_our_codecs_stream_as_they_decode():
    for encoding, source in [
        ("big5_extended", "big5"),
        ("euc_jp_extended", "euc_jp"),
        ("iso2022_jp_extended", "iso2022_jp"),
    ]:
        text = (TRADITIONAL if "big5" in encoding else JAPANESE) + "\n"
        stream = io.TextIOWrapper(io.BytesIO((text * 300).encode(source)), encoding=encoding, newline="")
        assert "".join(iter(lambda stream=stream: stream.read(100), "")) == text * 300


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_what_a_code_page_wrote_is_read_as_written_or_skipped(data):
    """The property that Cyrillic for German broke: whatever words, whatever code page, never another text."""
    language = data.draw(st.sampled_from(sorted(OTHERS)))
    text, pages = OTHERS[language]
    words = text.split()
    first = data.draw(st.integers(0, len(words) - 1))
    piece = " ".join(words[first : first + data.draw(st.integers(3, 12))])
    encoded = piece.encode(data.draw(st.sampled_from(pages.split())))
    with contextlib.suppress(SetAside):
        assert decode(encoded)[0] == piece


# Names and places as forms hold them, and the code pages of their countries.
FORMS = {
    "de": (
        "Jürgen Müller|Köln|Grüße aus Würzburg|Bürgermeister|Größe|Schäfer|Straße",
        "cp1252 cp850 mac-roman",
    ),
    "fr": ("Thérèse|Élodie Lefèvre|Besançon|employé|à rappeler|théâtre|Hélène", "cp1252 cp850"),
    "es": ("José Núñez|Málaga|Compañía|Peña|camión|niño|Logroño", "cp1252 cp850"),
    "pt": ("João|São Paulo|Conceição|informação|maçã|Goiânia|reunião", "cp1252 cp850"),
    "sv": ("Håkansson|Malmö|Västerås|Björk|kött|Åsa|år", "cp1252 cp850"),
    "pl": ("Łukasz|Łódź|Gdańsk|świetny|Kraków|Błażej|księgowa", "cp1250 iso8859-2"),
    "cs": ("Jiří Dvořák|Plzeň|účetní|Růžena|Třebíč|děkuji|příští týden", "cp1250 iso8859-2"),
    "hu": ("Erdős|Győr|időszak|megfelelő|Könyvelő|Székesfehérvár|bútor", "cp1250 cp852"),
    "tr": ("Ayşe Yılmaz|İstanbul|Eskişehir|müdür|teşekkürler|Gökçe|iş", "cp1254"),
    "el": ("Γιώργος|Αθήνα|όνομα|Θεσσαλονίκη|λογιστής|ευχαριστώ", "cp1253 cp737"),
    "ru": ("Иван Петров|Москва|хорошо|бухгалтер|Новосибирск|плохо", "cp1251 koi8-r cp866"),
    "zh": ("张三|北京|很好|会计|上海市|不太满意", "gb18030"),
    "ja": ("田中太郎|東京都|とても良い|会計|大阪市", "cp932 euc_jp"),
}


def test_tables_of_few_words_are_read_as_written_or_skipped():
    """None is read wrongly, and of those of eight rows most are read: a page that lacks a language's letters is not
    what that language is written in, however alike one word looks."""
    draw = random.Random(0)
    read: dict[int, list[bool]] = {1: [], 3: [], 8: []}
    for cells, pages in FORMS.values():
        for encoding, rows in itertools.product(pages.split(), read):
            separator = draw.choice(",;\t")
            lines = [
                separator.join([str(row), *draw.sample(cells.split("|"), 2)]) for row in range(1, rows + 1)
            ]
            table = "\n".join([separator.join(("id", "name", "text")), *lines, ""])
            try:
                text, _ = decode(table.encode(encoding), "a.csv")
            except SetAside:
                read[rows].append(False)
            else:
                assert text == table, encoding
                read[rows].append(True)
    share = {rows: sum(each) / len(each) for rows, each in read.items()}
    assert all(share[rows] >= least for rows, least in ((1, 0.6), (3, 0.75), (8, 0.85))), share
