"""Chinese text in one shape: widths, spaces, punctuation and, where asked, one script.

Japanese is left alone: its full-width forms and its characters follow other rules. So are programs, markup and data,
whole files or single lines of them, in which a full-width comma is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Literal

import numpy as np

from textmill.base.errors import TextmillError
from textmill.specs.cleaning import ChineseStep
from textmill.text.document import Item, Rejected, Step, ending, rewritten
from textmill.text.scripts import HANZI, is_chinese

Script = Literal["keep", "simplified", "traditional"]


def chinese(spec: ChineseStep) -> Callable[[str], str]:
    """What the step does to a text. Raises TextmillError when a script is asked for and opencc is missing."""
    script = spec.script
    if script != "keep":
        _converter("t2s")

    def change(text: str) -> str:
        if not is_chinese(text):
            return text
        wide_stops = _writes_wide_stops(text)
        return "".join([piece if code else prose(piece, wide_stops) for code, piece in code_apart(text)])

    def prose(text: str, wide_stops: bool) -> str:
        if spec.width:
            text = width(text)
        if spec.punctuation == "full":
            text = full_punctuation(text, wide_stops)
        elif spec.punctuation == "half":
            text = text.translate(_TO_HALF)
        if spec.width:
            text = close_up(text)
        return convert(text, script)

    return change


def step(spec: ChineseStep) -> Step:
    """The step: every text of every document, but not the files of programs, which are left as they are."""
    change = chinese(spec)

    def each(items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Rejected) or ending(item.source) in _PROGRAMS:
                yield item
                continue
            texts = {role: change(text) for role, text in item.texts.items()}
            yield item if texts == item.texts else rewritten(item, texts, spec.kind)

    return each


# --- code ---------------------------------------------------------------------------------------------------------
_PROGRAMS_TEXT = (
    ".py .js .mjs .ts .tsx .jsx .vue .java .kt .scala .c .h .cc .cpp .hpp .cs .go .rs .rb .php .swift .lua .r .jl .pl "
    ".sh .bash .zsh .ps1 .bat .sql .css .scss .less .xml .svg .yaml .yml .toml .ini .cfg .conf .properties .env"
)
_PROGRAMS = frozenset(_PROGRAMS_TEXT.split())
# Lines of code, markup or data among prose: brackets and operators of programs, quoted keys and values, tags, comments.
_CODE = re.compile(
    r"""[{}\\`]|[=!<>]=|=>|->|:=|&&|\|\||[;,]\s*$(?<=\)[;,])|"\s*[:,\]]|[\[,:(]\s*"|\w\.[A-Za-z_]\w*\(|\w\(["']"""
    r"""|</?[A-Za-z][^<>]*>|^\s*(?:\#|//|/\*|--)\s|^\s*[\w.]{1,64}(?:,\ ?[\w.]{1,64}){0,8}\s*[-+*/]?=\s*\S"""
    r"""|^\s*\w+\([^()（）]*\)\s*$"""
)
# Lines that begin as statements do: definitions, conditions that end in a colon or a bracket, queries.
_STATEMENT = re.compile(
    r"""\s*(?:(?:async\ )?(?:def|class|fn|func|function|sub|proc)\ +\w+\s*[(:{<]
    |(?:if|elif|while|for|with|except|else|try|switch|case|match)\b.*[:{]\s*$|(?:from|import)\ +[A-Za-z_][\w.]*\b
    |(?:return|print|assert|raise|yield|lambda|let|const|var)\b[^一-鿿]*[(\[+*/=<>-]
    |(?:SELECT|INSERT\ INTO|UPDATE|DELETE\ FROM|CREATE\ TABLE|ALTER\ TABLE|FROM|WHERE|ORDER\ BY|GROUP\ BY)\ )""",
    re.VERBOSE,
)
_INDENTED = re.compile(r"(?:  |\t)[ \t]*\S")
_FENCE = re.compile(r"\s{0,3}(?:```|~~~)")


def _is_code(line: str) -> bool:
    return _CODE.search(line) is not None or _STATEMENT.match(line) is not None


def code_apart(text: str) -> Iterator[tuple[bool, str]]:
    """(whether it is code, piece): the lines of a text, line ends included, neighbours of one sort together.

    Code is what stands between fences of Markdown, any line with the marks of code, markup or data, and what is
    indented below one.
    """
    pieces: list[str] = []
    fenced = coded = False
    for line in text.splitlines(keepends=True):
        fence = _FENCE.match(line) is not None
        code = fenced or fence or _is_code(line) or (coded and _INDENTED.match(line) is not None)
        fenced ^= fence
        if code != coded and pieces:
            yield coded, "".join(pieces)
            pieces = []
        coded = code
        pieces.append(line)
    if pieces:
        yield coded, "".join(pieces)


# --- width --------------------------------------------------------------------------------------------------------
_LETTERS = "".join(map(chr, [*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B)]))
_TO_ASCII = {ord(letter): ord(letter) - 0xFEE0 for letter in _LETTERS}
_WIDE = re.compile(f"[{_LETTERS}]")
# Marks that are part of a number: 3．14, 50％, 12：30.
_IN_NUMBER = re.compile(r"(?<=[0-9])(?:[．：／－](?=[0-9])|％)")
_NUMBER_MARKS = {"．": ".", "：": ":", "／": "/", "－": "-", "％": "%"}


def width(text: str) -> str:
    """Full-width letters and digits as ASCII, and the marks inside numbers with them.

    >>> width("ＧＰＴ－４在２０２３．５％")
    'GPT－4在2023.5%'
    """
    if _WIDE.search(text):
        text = text.translate(_TO_ASCII)
    return _IN_NUMBER.sub(lambda mark: _NUMBER_MARKS[mark[0]], text)


_BLANK = "[ \u00a0\u3000]"
_STOPS = "，。！？；：、…"  # beside these a space parts nothing
_MARKS_BESIDE = f"{_STOPS}（）《》「」『』【】〔〕“”—"
# Four hanzi or more, each alone between single spaces or marks: text that was spaced out, character by character.
_SPACED = re.compile(
    rf"(?<![{HANZI}])[{HANZI}](?:(?:{_BLANK}|{_BLANK}?[{_MARKS_BESIDE}]{{1,8}}{_BLANK}?)[{HANZI}](?![{HANZI}])){{3,}}"
)
_GAP = re.compile(
    rf"(?<=[{_STOPS}]){_BLANK}+(?=[{HANZI}{_MARKS_BESIDE}])|(?<=[{HANZI}{_MARKS_BESIDE}]){_BLANK}+(?=[{_STOPS}])"
)
_BLANKS = re.compile(_BLANK)


def close_up(text: str) -> str:
    """Text without the spaces between hanzi that are spaced one by one, nor beside Chinese stops and commas.

    Between words, names and verses a space parts something and stays, as at line ends and beside Latin letters.

    >>> close_up("今 天 天 气 ， 很 好 OK 吗"), close_up("张三 李四")
    ('今天天气，很好 OK 吗', '张三 李四')
    """
    return _GAP.sub("", _SPACED.sub(lambda run: _BLANKS.sub("", run[0]), text))


# --- punctuation --------------------------------------------------------------------------------------------------
_FULL = {",": "，", ";": "；", ":": "：", "!": "！", "?": "？", ".": "。", "．": "。", "(": "（", ")": "）"}
_TO_HALF = {ord(full): half for half, full in {k: v for k, v in _FULL.items() if k != "．"}.items()}
_URL = r"(?:[A-Za-z][A-Za-z0-9+.-]*://|www\.)[!-~]+"
_MARKS = ",;:!?，；：！？"
# A run of marks and the spaces after it. What stands on both sides decides, and those are no marks, so converting
# one run never changes what is decided about another.
_ENTITY = r"&\#?[A-Za-z0-9]{1,31};"
_RUN = re.compile(rf"{_URL}|{_ENTITY}|(?P<run>[{_MARKS}]*[,;:!?][{_MARKS}]*)(?P<blanks>[ \u00a0]*)")
_STOP = re.compile(rf"(?<=[{HANZI}])\.(?=[\s\u3000”’」』）]|$)(?!\.)", re.MULTILINE)
_WIDE_STOP = re.compile(f"(?<=[{HANZI}A-Za-z0-9”’」』）])．(?![0-9A-Za-z])")
_PAIR = re.compile(r"\(([^()（）\n]{1,200})\)")
_HAN = re.compile(f"[{HANZI}]")


def full_punctuation(text: str, wide_stops: bool | None = None) -> str:
    """Marks beside hanzi in their full-width form; numbers, addresses, file names and English stay as they are.

    wide_stops: whether `．` is a full stop here; left out: as the text itself says.

    >>> full_punctuation("你好, 世界!见 http://a.cn/x,y?z=1 和 3.14,对吗?")
    '你好，世界！见 http://a.cn/x,y?z=1 和 3.14，对吗？'
    """
    if _HALF.search(text):
        text = _STOP.sub("。", text)
        text = _RUN.sub(_full_run, text)
        text = _full_pairs(text)
    if "．" in text and (_writes_wide_stops(text) if wide_stops is None else wide_stops):
        text = _WIDE_STOP.sub("。", text)
    return text


def _writes_wide_stops(text: str) -> bool:
    """Whether a text writes `．` for the full stop, as many older digital texts do; in others it parts a foreigner's
    names here and there."""
    return "．" in text and len(_WIDE_STOP.findall(text)) > max(2, text.count("。"))


_HALF = re.compile(r"[,;:!?.(]")


def _full_run(match: re.Match[str]) -> str:
    run = match["run"]
    if run is None:  # an address or an entity
        return match[0]
    text, start, end = match.string, match.start(), match.end()
    before, after = text[start - 1 : start], text[end : end + 1]
    # Between hanzi and anything; or after a letter or digit and close before a hanzi.
    if not (
        _HAN.match(before)
        or (before.isascii() and before.isalnum() and _HAN.match(text[match.end("run") :][:1]))
    ):
        return match[0]
    if before.isascii() and run[:1] in ":：":  # `key:值`, `12:三`
        return match[0]
    full = run.translate(_TO_FULL)
    # A full-width mark brings its own space; one before another mark stays, or the two would be one run the next time.
    return full if after and not after.isspace() and after not in _MARKS else full + match["blanks"]


_TO_FULL = {ord(half): full for half, full in _FULL.items() if half in _MARKS}


def _full_pairs(text: str) -> str:
    """Round brackets of a Chinese sentence, from the inside out."""
    while True:
        changed = _PAIR.sub(_full_pair, text)
        if changed == text:
            return text
        text = changed


def _full_pair(match: re.Match[str]) -> str:
    text, inner = match.string, match[1]
    before, after = (
        text[match.start() - 1 : match.start()] if match.start() else "",
        text[match.end() : match.end() + 1],
    )
    chinese_before, chinese_after = bool(_HAN.match(before)), bool(_HAN.match(after))
    if chinese_before or (chinese_after and _HAN.search(inner)):
        return f"（{inner}）"
    return match[0]


# --- script -------------------------------------------------------------------------------------------------------
@cache
def _converter(direction: Literal["s2t", "t2s"]) -> Callable[[str], str]:
    """OpenCC's conversion, by phrases and by characters. Raises TextmillError when opencc is missing."""
    try:
        import opencc
    except ImportError as error:
        raise TextmillError(
            "needs opencc", where="corpus.steps: chinese, script", advice="pip install 'textmill[zh]'"
        ) from error
    convert = opencc.OpenCC(direction).convert

    def converted(text: str) -> str:
        if text.isascii() or not _SURROGATES.search(text):
            return convert(text)
        return "".join(
            [part if _SURROGATES.match(part) else convert(part) for part in _SURROGATES.split(text)]
        )

    return converted


_SURROGATES = re.compile("([\ud800-\udfff]+)")  # no text, and opencc does not take them


_URO = (*range(0x3400, 0x4DC0), *range(0x4E00, 0xA000))  # the hanzi of the basic plane


@cache
def _only_simplified() -> dict[int, str]:
    """Characters that no traditional text holds, and what each becomes.

    OpenCC would change them, and Big5, the character set of traditional Chinese, lacks them: 国, but not 里.
    """
    to_traditional = _converter("s2t")
    simplified = {}
    for code in _URO:
        character = chr(code)
        try:
            character.encode("big5")
        except UnicodeEncodeError:
            if (other := to_traditional(character)) != character:
                simplified[code] = other
    return {code: other for code, other in simplified.items() if not any(ord(c) in simplified for c in other)}


@cache
def _telling() -> np.ndarray:
    """Of each code point of the basic plane: 1 where only simplified text has it, 2 only traditional, else 0."""
    to_simplified, table = _converter("t2s"), np.zeros(0x10000, np.uint8)
    table[[code for code in _URO if to_simplified(chr(code)) != chr(code)]] = 2
    table[list(_only_simplified())] = 1
    return table


def _tell(text: str) -> tuple[int, int]:
    """How many characters of a text only simplified Chinese has, and how many only traditional Chinese."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    counts = np.bincount(_telling()[codes[codes < 0x10000]], minlength=3)
    return int(counts[1]), int(counts[2])


def convert(text: str, script: Script) -> str:
    """Text in one script, by OpenCC.

    To traditional, the phrases are looked up only in text that is simplified (头发 and 发现 differ); in text that is
    traditional already, only stray simplified characters are changed, since its 里 and 后 may be meant.
    """
    if script == "keep":
        return text
    to_simplified, to_traditional = _converter("t2s"), _converter("s2t")
    if script == "simplified":
        for _ in range(4):
            changed = to_simplified(text)
            if changed == text:
                break
            text = changed
        return text
    simplified, traditional = _tell(text)
    if simplified > traditional:
        text = to_traditional(text)
        simplified, _ = _tell(text)
    return text.translate(_only_simplified()) if simplified else text
