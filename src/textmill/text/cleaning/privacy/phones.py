"""Which runs of digits are telephone numbers.

A number is taken for a telephone number by its form (a country code after `+`; the groups of North America; the
mobile and area codes of China) or, where the form alone would take too many dates, order numbers and prices, only
after a word that announces one, such as `tel`, `call` or 电话. A word that announces something else, such as
`order no.` or 订单号, speaks against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# One separator between groups of digits.
S = r"[ .\-/\u00a0\u2007\u2009\u202f\u2010-\u2013\u2212\uff0d\u3000]"
_GAP = r"[ .\-\u00a0\u2007\u2009\u202f\u2010-\u2013\u2212\uff0d\u3000]"
_OPEN, _CLOSE = r"[(（]", r"[)）]"
# A number does not go on before or after these marks, unless that is a number of its own: 13812345678/13912345678.
_OWN = r"[0-9]{7}"
_BEFORE = rf"(?<![0-9A-Za-z_])(?:(?<![0-9][-.,:/=])|(?<={_OWN}[-/]))"
_AFTER = rf"(?![0-9A-Za-z_])(?![.,:=][0-9])(?!/(?!{_OWN})[0-9])(?!-[0-9]{{6,9}}(?![0-9]))"
_NO_GROUP = rf"(?!-(?!{_OWN})[0-9])"
_EXTENSION = (
    r"(?:[ ,，]{0,2}(?:ext|extn|extension|Ext|EXT|x|转|轉|分机|分機|内线)[.:： ]{0,2}[0-9]{1,6}(?![0-9]))"
)
_CLOSED = rf"(?:{_EXTENSION}|{_AFTER})"

# ITU-T E.164: country codes in use.
_CODES_TEXT = (
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 "
    "86 90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 "
    "237 238 239 240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 "
    "266 267 268 269 290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 "
    "380 381 382 383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 "
    "597 598 599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850 852 "
    "853 855 856 870 878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 "
    "979 992 993 994 995 996 998"
)
_CODES = frozenset(_CODES_TEXT.split())
# Digits behind the country code, fewest and most, where a narrower range than the usual one is known.
_USUAL = (7, 11)
_NATIONAL: dict[str, tuple[int, int]] = {
    "1": (10, 10), "7": (10, 10), "20": (8, 10), "27": (9, 9), "30": (10, 10), "31": (9, 9), "32": (8, 9),
    "33": (9, 9), "34": (9, 9), "36": (8, 9), "39": (8, 11), "40": (9, 9), "41": (9, 9), "43": (7, 12),
    "44": (9, 10), "45": (8, 8), "46": (7, 9), "47": (8, 8), "48": (9, 9), "49": (7, 11), "52": (10, 11),
    "54": (10, 11), "55": (10, 11), "60": (8, 10), "61": (9, 9), "62": (8, 12), "64": (8, 10), "65": (8, 8),
    "66": (8, 9), "81": (9, 10), "82": (8, 10), "84": (9, 10), "86": (10, 12), "90": (10, 10), "91": (10, 10),
    "351": (9, 9), "353": (7, 9), "852": (8, 8), "853": (8, 8), "886": (8, 9), "966": (8, 9), "971": (8, 9),
}  # fmt: skip

_OPENING, _CLOSING = re.compile(_OPEN), re.compile(_CLOSE)
_MORE = re.compile(_EXTENSION)
_TRUNK_ZERO = re.compile(r"[(（]0[)）]")
_LAST_GROUP = re.compile(r"[^0-9]+[0-9]+\Z")

_CHAIN = (
    rf"[0-9](?:(?:{_GAP}{{0,2}}|/)[0-9])"  # digits with at most two spaces or hyphens, or a slash, between
)
INTERNATIONAL = re.compile(
    rf"(?:(?<![0-9A-Za-z_+)\]])(?:{_OPEN}(?=[+＋]))?[+＋](?: (?<![0-9)] [+＋] ))?{_OPEN}?"
    rf"|(?<![0-9A-Za-z_.,/:])(?<![0-9]{_GAP})00(?=[1-9]))"
    rf"[1-9][0-9]{{0,3}}{_CLOSE}?{_GAP}{{0,2}}(?:{_OPEN}[0-9]{{1,5}}{_CLOSE}{_GAP}{{0,2}})?"
    rf"{_CHAIN}{{4,14}}(?:(?=x[0-9])|(?![0-9A-Za-z_]))"
)
# Area codes and exchanges of North America begin with 2 to 9 (NANPA); which of them are given out changes.
NORTH_AMERICAN = re.compile(
    rf"(?:{_BEFORE}(?:(?<![0-9]{_GAP})|(?=[0-9]{{3}}[-.]))(?:1{_GAP}{{0,2}})?|(?<![A-Za-z_])(?={_OPEN}))"
    rf"(?:{_OPEN}[2-9][0-9]{{2}}{_CLOSE}{_GAP}{{0,2}}|[2-9][0-9]{{2}}(?P<gap>{_GAP}))"
    rf"[2-9][0-9]{{2}}(?(gap)(?P=gap)|{_GAP})[0-9]{{4}}(?!-[0-9]){_CLOSED}"
)
CHINESE_MOBILE = re.compile(
    rf"{_BEFORE}(?<!= -)(?:(?:{_OPEN}86{_CLOSE}|86){_GAP}{{0,2}})?1[3-9][0-9]"
    rf"(?:[0-9]{{8}}|(?P<gap>{_GAP})[0-9]{{4}}(?P=gap)[0-9]{{4}}|{_GAP}[0-9]{{8}}"
    rf"|{_GAP}[0-9]{{3}}{_GAP}[0-9]{{5}}|[0-9]{_GAP}[0-9]{{3}}{_GAP}[0-9]{{4}}){_AFTER}{_NO_GROUP}"
)
_AREA = r"(?:010|02[0-57-9]|0[3-9][0-9]{2})"
CHINESE_LANDLINE = re.compile(
    rf"(?:(?<![A-Za-z_]){_OPEN}{_AREA}{_CLOSE}{_GAP}?|{_BEFORE}(?<![0-9]{_GAP}){_AREA}{_GAP})[2-8][0-9]{{2,3}}{_GAP}?[0-9]{{4}}"
    rf"(?:-[0-9]{{2,5}}(?![0-9A-Za-z_-])|{_CLOSED})"
)
# Other countries' own way: a zero, the area, and 10 or 11 digits in all; or two by two, as in France.
TRUNK_ZERO = re.compile(
    rf"(?:(?<![A-Za-z_]){_OPEN}0[1-9][0-9]{{1,4}}{_CLOSE} ?|{_BEFORE}(?<![0-9]{_GAP})0[1-9][0-9]{{1,4}} )"
    rf"[0-9]{{3,8}}(?: [0-9]{{3,4}})?{_CLOSED}"
    rf"|{_BEFORE}(?<![0-9]{_GAP})0[1-9](?P<gap>[ .\-])(?:[0-9]{{2}}(?P=gap)){{3}}[0-9]{{2}}{_AFTER}"
)
CHINESE_SERVICE = re.compile(
    rf"{_BEFORE}[48]00(?:{_GAP}[0-9]{{3}}{_GAP}[0-9]{{4}}|{_GAP}[0-9]{{4}}{_GAP}[0-9]{{3}}|{_GAP}[0-9]{{7}}){_AFTER}{_NO_GROUP}"
)
# What is counted in one of these is no telephone number, whatever word stands before it.
_UNIT = (
    r"(?:[$€£¥￥]|(?:euros?|eur|usd|gbp|rmb|cny|dollars?|pounds?|yuan|kg|km|mb|gb|kb|bytes?|times|people|percent)(?![a-z])"
    r"|[元円圆块人次个個件万萬亿億美])"
)
ANNOUNCED = re.compile(
    rf"(?<![0-9A-Za-z_+])(?:{_OPEN}[0-9]{{2,5}}{_CLOSE}{_GAP}{{0,2}})?{_CHAIN}{{4,14}}"
    rf"(?:{_EXTENSION}|(?![0-9A-Za-z_]| ?[=×*^%]| ?[+] | ?{_UNIT}))",
    re.IGNORECASE,
)

# --- words before a number ----------------------------------------------------------------------------------------
_WINDOW, _REACH = 28, 16  # characters looked back at; most characters between the word and the number
_PHONE_WORDS = (
    "phone", "phones", "telephone", "cellphone", "tel", "mobile", "cell", "fax", "call", "dial", "whatsapp", "sms",
    "hotline", "helpline", "text me", "ring me", "reach me at", "reached at", "reached on", "contact", "voicemail",
    "pager", "telefon", "téléphone", "teléfono", "handy",
    "电话", "電話", "手机", "手機", "联系", "聯絡", "致电", "致電", "拨打", "撥打", "热线", "熱線", "传真", "傳真",
    "座机", "座機", "打给", "微信", "号码是", "分机",
)  # fmt: skip
_OTHER_WORDS = (
    "order", "invoice", "tracking", "serial", "reference", "isbn", "issn", "doi", "pmid", "sku", "barcode", "part no",
    "part number", "item no", "model no", "case no", "ticket", "batch", "lot no", "patent", "version",
    "transaction", "parcel", "postcode", "receipt", "user id", "uid", "checksum", "timestamp", "grid", "population",
    "file", "ref", "amount", "aktenzeichen", "az", "rechnung", "bestellung", "bestellnummer", "kundennummer", "auftrag",
    "betrag",
    "订单", "訂單", "单号", "單號", "编号", "編號", "序列号", "流水号", "货号", "批号", "条码", "条形码",
    "型号", "版本", "专利", "发票", "运单", "文号", "qq", "邮编", "学号", "工号", "时间戳", "金额", "金額", "价格",
    "费", "費",
)  # fmt: skip


def _word(word: str) -> str:
    return rf"(?<![a-z]){re.escape(word)}(?![a-z])" if word.isascii() else word


_EITHER = re.compile(
    "|".join(
        f"(?P<{name}>{'|'.join(map(_word, words))})"
        for name, words in (("phone", _PHONE_WORDS), ("other", _OTHER_WORDS))
    )
)


def announced(text: str, start: int) -> str:
    """What the words just before a number announce: `phone`, `other` (an order number and the like), or ``."""
    line = text[max(0, start - _WINDOW) : start].rpartition("\n")[2].lower()
    word = None
    for word in _EITHER.finditer(line):  # noqa: B007  the last one counts
        pass
    if word is None:
        return ""
    gap = line[word.end() :]
    return str(word.lastgroup) if len(gap) <= _REACH and not _STOPS.search(gap) else ""


# What may not stand between a word and the number it announces; NUL is where something was found before.
_STOPS = re.compile(r"[0-9$€£¥=<。！？；\x00]|[?#*/]\s*\Z")


# --- finding ------------------------------------------------------------------------------------------------------
def phones(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where telephone numbers stand in `text[start:end]`, a run of at least seven digits with their separators."""
    begin, stop = max(0, start - 3), min(len(text), end + _TAIL)
    if _ABROAD.search(text, begin, end):
        yield from _abroad(text, begin, end, stop)
    if end - start >= _SHORTEST_FORM:
        for pattern in (NORTH_AMERICAN, CHINESE_LANDLINE, CHINESE_MOBILE, CHINESE_SERVICE, TRUNK_ZERO):
            for match in pattern.finditer(text, begin, stop):
                if match.start() >= end or (pattern is TRUNK_ZERO and not 10 <= _digits(match[0]) <= 11):
                    continue
                if announced(text, match.start()) != "other":
                    yield match.span()
    if announced(text, start) == "phone":
        match = ANNOUNCED.search(text, begin, stop)
        if match and match.start() <= start and _digits(match[0]) >= 7 and not _OTHER_FORM.match(match[0]):
            yield match.span()


_SHORTEST_FORM = 11
_FRACTION = re.compile(r"[.,][0-9]{1,2}(?![0-9.\-])")
_ABROAD = re.compile("[+＋]|00[1-9]")


def _abroad(text: str, begin: int, end: int, stop: int) -> Iterator[tuple[int, int]]:
    for match in INTERNATIONAL.finditer(text, begin, stop):
        if match.start() >= end or not (length := _international(match[0])):
            continue
        written = match[0][:length]
        if "+" not in written and "＋" not in written and announced(text, match.start()) == "other":
            continue
        if _FRACTION.match(text, match.start() + length):
            continue
        stray = written[0] in "(（" and len(_OPENING.findall(written)) > len(_CLOSING.findall(written))
        more = _MORE.match(text, match.start() + length)
        yield match.start() + stray, more.end() if more else match.start() + length


_YEAR, _MARK = "(?:1[5-9]|20)[0-9]{2}", r"[ \-./\u2010-\u2013]"
_OTHER_FORM = re.compile(
    rf"{_YEAR}{_MARK}[01]?[0-9]{_MARK}[0-3]?[0-9](?![0-9])|{_YEAR}[-/\u2013]{_YEAR}(?![0-9])"
    rf"|[0-3]?[0-9]{_MARK}[0-3]?[0-9]{_MARK}{_YEAR}(?![0-9])|{_YEAR}(?:0[1-9]|1[0-2])[0-3][0-9](?![0-9])"
    rf"|{_YEAR}[-/][0-9]{{1,6}}[-/]|[0-9]{{1,7}}/{_YEAR}(?![0-9])"  # files of a year: 2024-118-42, 12345/2024
    r"|[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9])"
)
_TAIL = 24  # characters behind a number that may hold its extension


def _digits(text: str) -> int:
    return sum(c.isdecimal() for c in text)


def _international(text: str) -> int:
    """How many characters of a number after `+` or `00` are a telephone number: all, or all but the last groups."""
    while text:
        if _is_international(text):
            return len(text)
        group = _LAST_GROUP.search(text)
        text = text[: group.start()] if group else ""
    return 0


def _is_international(text: str) -> bool:
    code, national = split_code(text)
    least, most = _NATIONAL.get(code, _USUAL)
    if not code or not least <= len(national) <= most:
        return False
    if code == "1":
        return bool(re.match(r"[2-9][0-9]{2}[2-9]", national))
    if code == "86":
        return bool(re.match(r"1[3-9][0-9]{9}\Z|(?:10|2[0-57-9]|[3-9][0-9]{2})[2-8][0-9]{6,7}\Z", national))
    return national[0] != "0" or (code == "39" and national[1] != "0")  # only Italy keeps its trunk zero


def split_code(text: str) -> tuple[str, str]:
    """(country code, the digits behind it) of a number written with `+` or `00`; ("", "") when no country has it."""
    digits = "".join([c for c in _TRUNK_ZERO.sub("", text) if c.isdecimal()]).removeprefix("00")
    for length in (1, 2, 3):  # no code begins another
        code, national = digits[:length], digits[length:]
        if code in _CODES:
            trunk = code != "39" and national[:1] == "0" and national[1:2] != "0"
            return code, national[1:] if trunk else national
    return "", ""
