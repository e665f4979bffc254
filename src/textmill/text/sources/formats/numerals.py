"""Numbers of lists as they are shown: the forms of Office Open XML (part 1 §17.18.59), which others share."""

from __future__ import annotations

import string
from collections.abc import Callable

_ROMAN = (
    *((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl")),
    *((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")),
)
_UNITS = (
    *(
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    ),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {
    **{
        "one": "first",
        "two": "second",
        "three": "third",
        "five": "fifth",
        "eight": "eighth",
        "nine": "ninth",
    },
    "twelve": "twelfth",
}
_LARGEST = 32_767  # of a list, in Word
_CHINESE, _FORMAL, _FORMAL_TRADITIONAL = (
    "〇一二三四五六七八九",
    "零壹贰叁肆伍陆柒捌玖",
    "零壹貳參肆伍陸柒捌玖",
)
_JAPANESE_FORMAL, _KOREAN = "〇壱弐参四伍六七八九", "영일이삼사오육칠팔구"


def roman(number: int) -> str:
    """4 as `iv`."""
    out = ""
    for value, letters in _ROMAN:
        out += letters * (number // value)
        number %= value
    return out


def letters(number: int, alphabet: str = string.ascii_lowercase) -> str:
    """1, 2 … 27, 28 as `a`, `b` … `aa`, `bb`: the letter is repeated, as word processors do."""
    return alphabet[(number - 1) % len(alphabet)] * ((number - 1) // len(alphabet) + 1)


def columns(number: int) -> str:
    """1, 2 … 27, 28 as `a`, `b` … `aa`, `ab`: as the columns of a sheet are named, and the lists of OpenDocument."""
    out = ""
    while number > 0:
        number, at = divmod(number - 1, 26)
        out = string.ascii_lowercase[at] + out
    return out


def _cycle(alphabet: str) -> Callable[[int], str]:
    return lambda number: letters(number, alphabet)


def _within(alphabet: str) -> Callable[[int], str]:
    """Signs of which there are only so many; plain digits beyond."""
    return lambda number: alphabet[number - 1] if number <= len(alphabet) else str(number)


def _digits(signs: str) -> Callable[[int], str]:
    return lambda number: "".join(signs[int(digit)] for digit in str(number))


def _counted(digits: str, units: str, *, one_before_ten: bool = False) -> Callable[[int], str]:
    """Numbers as East Asians count: 105 is `一百零五`, 12 `十二`, 20 `二十`."""
    ten, hundred, thousand, myriad = units

    def below(number: int) -> str:
        out, gap = "", False
        for value, unit in ((1000, thousand), (100, hundred), (10, ten), (1, "")):
            digit, number = divmod(number, value)
            if digit:
                out += ("零" if gap and out and digits[0] in "〇零" else "") + digits[digit] + unit
                gap = False
            else:
                gap = True
        return out

    def count(number: int) -> str:
        high, low = divmod(number, 10_000)
        filler = "零" if high and 0 < low < 1000 else ""
        out = (below(high) + myriad if high else "") + filler + below(low)
        start = digits[1] + ten
        return out[1:] if out.startswith(start) and not one_before_ten else out

    return count


def _japanese(number: int) -> str:
    out = ""
    for value, unit in ((10_000, "万"), (1000, "千"), (100, "百"), (10, "十")):
        digit, number = divmod(number, value)
        if digit:
            out += (_CHINESE[digit] if digit > 1 or value == 10_000 else "") + unit
    return out + (_CHINESE[number] if number else "")


def _words(number: int) -> str:
    if number < 20:
        return _UNITS[number]
    if number < 100:
        return _TENS[number // 10 - 2] + (f"-{_UNITS[number % 10]}" if number % 10 else "")
    for value, name in ((1000, "thousand"), (100, "hundred")):
        if number >= value:
            rest = f" {_words(number % value)}" if number % value else ""
            return f"{_words(number // value)} {name}{rest}"
    return str(number)


def _ordinal_words(number: int) -> str:
    head, dash, last = (
        _words(number).rpartition("-") if "-" in _words(number) else _words(number).rpartition(" ")
    )
    ordinal = _ORDINALS.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return f"{head}{dash}{ordinal}".capitalize()


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _hebrew(number: int) -> str:
    out = "ת" * (number // 400)
    number %= 400
    for value, sign in zip(range(300, 0, -100), "שרק", strict=True):
        if number >= value:
            out, number = out + sign, number - value
    if number in (15, 16):  # never spelt as the name of God
        return out + ("טו" if number == 15 else "טז")
    tens, ones = divmod(number, 10)
    return out + " יכלמנסעפצ"[tens].strip() + " אבגדהוזחט"[ones].strip()


def _span(first: str, count: int) -> str:
    return "".join(map(chr, range(ord(first), ord(first) + count)))


_IROHA = "イロハニホヘトチリヌルヲワカヨタレソツネナラムウヰノオクヤマケフコエテアサキユメミシヱヒモセス"
_AIUEO = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン"
_FORMATS: dict[str, Callable[[int], str]] = {
    "decimal": str,
    "decimalZero": lambda number: f"{number:02d}",
    "decimalFullWidth": _digits("０１２３４５６７８９"),
    "decimalFullWidth2": _digits("０１２３４５６７８９"),
    "decimalEnclosedCircle": _within(_span("①", 20)),
    "decimalEnclosedCircleChinese": _within(_span("①", 20)),
    "decimalEnclosedParen": _within(_span("⑴", 20)),
    "decimalEnclosedFullstop": _within(_span("⒈", 20)),
    "numberInDash": lambda number: f"- {number} -",
    "hex": lambda number: f"{number:X}",
    "ordinal": _ordinal,
    "cardinalText": lambda number: _words(number).capitalize(),
    "ordinalText": _ordinal_words,
    "upperRoman": lambda number: roman(number).upper(),
    "lowerRoman": roman,
    "upperLetter": _cycle(string.ascii_uppercase),
    "lowerLetter": letters,
    "lowerColumn": columns,
    "upperColumn": lambda number: columns(number).upper(),
    "russianLower": _cycle("абвгдежзиклмнопрстуфхцчшщыэюя"),
    "russianUpper": _cycle("АБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЫЭЮЯ"),
    "chicago": _cycle("*†‡§"),
    "none": lambda number: "",
    "bullet": lambda number: "•",
    # Chinese
    "chineseCounting": _counted(_CHINESE, "十百千万"),
    "chineseCountingThousand": _counted(_CHINESE, "十百千万"),
    "taiwaneseCounting": _counted(_CHINESE, "十百千萬"),
    "taiwaneseCountingThousand": _counted(_CHINESE, "十百千萬"),
    "chineseLegalSimplified": _counted(_FORMAL, "拾佰仟万", one_before_ten=True),
    "ideographLegalTraditional": _counted(_FORMAL_TRADITIONAL, "拾佰仟萬", one_before_ten=True),
    "ideographDigital": _digits(_CHINESE),
    "taiwaneseDigital": _digits("○一二三四五六七八九"),
    "ideographTraditional": _within("甲乙丙丁戊己庚辛壬癸"),
    "ideographZodiac": _within("子丑寅卯辰巳午未申酉戌亥"),
    "ideographEnclosedCircle": _within(_span("㊀", 10)),
    # Japanese and Korean
    "japaneseCounting": _japanese,
    "japaneseDigitalTenThousand": _digits(_CHINESE),
    "japaneseLegal": _counted(_JAPANESE_FORMAL, "拾百阡萬", one_before_ten=True),
    "aiueo": _cycle(_AIUEO),
    "aiueoFullWidth": _cycle(_AIUEO),
    "iroha": _cycle(_IROHA),
    "irohaFullWidth": _cycle(_IROHA),
    "ganada": _cycle("가나다라마바사아자차카타파하"),
    "chosung": _cycle("ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ"),
    "koreanDigital": _digits(_KOREAN),
    "koreanDigital2": _digits("零一二三四五六七八九"),
    "koreanCounting": _counted(_KOREAN, "십백천만"),
    # Semitic and Indic
    "hebrew1": _hebrew,
    "hebrew2": _cycle("אבגדהוזחטיכלמנסעפצקרשת"),
    "arabicAlpha": _cycle("أبتثجحخدذرزسشصضطظعغفقكلمنهوي"),
    "arabicAbjad": _cycle("أبجدهوزحطيكلمنسعفصقرشتثخذضظغ"),
    "hindiNumbers": _digits(_span("०", 10)),
    "thaiNumbers": _digits(_span("๐", 10)),
}


def numeral(number: int, form: str) -> str:
    """A number in a form of ST_NumberFormat; in plain digits where the form is unknown or ends before it.

    `decimal3` is 001, 002: three digits at least, which Office Open XML writes as a pattern of its own.
    """
    if form.startswith("decimal") and form[7:].isdigit():
        return f"{number:0{min(int(form[7:]), 9)}d}"
    if form in ("none", "bullet"):
        return _FORMATS[form](number)
    return _FORMATS.get(form, str)(number) if 0 < number <= _LARGEST else str(number)
