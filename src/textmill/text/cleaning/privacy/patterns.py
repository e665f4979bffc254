"""Where personal data stands in a text: addresses, numbers and keys that point at one person or open a door.

Names of people and postal addresses are not looked for: that wants a model, and none here is good enough to be
trusted with it.

One regular expression runs over the whole text. It starts at digits, since nearly everything looked for holds
some, and what it brings up is then held against exact patterns. `@`, `::` and `-----BEGIN` are found by plain
search. No quantifier runs over another of the same characters, so time is linear in the length of any text.
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from textmill.text.cleaning.privacy import checksums, keys
from textmill.text.cleaning.privacy.phones import S, announced, phones


@dataclass(frozen=True, slots=True)
class Found:
    """One personal datum: its kind, and where it stands in the text, in characters."""

    kind: str
    start: int
    end: int


# Who is believed when two overlap: forms that leave no doubt before checksums, those before mere shapes.
_RANK = {"key": 0, "email": 1, "iban": 2, "id_cn": 3, "card": 4, "ssn_us": 5, "ip": 6, "phone": 7}
KINDS = tuple(_RANK)

_CANDIDATE = re.compile(
    r"[0-9](?:"
    r"(?P<iban>[0-9](?<=(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}))"
    rf"|(?P<number>(?:(?:{S}|[()（）]){{0,3}}[0-9]){{6,}})"
    r"|(?P<ip>[0-9]{0,2}(?:\.[0-9]{1,3}){3})"
    r"|(?P<token>(?=[A-Za-z_])|(?<=[A-Za-z_].)))"
)
# Full-width letters, digits and signs, which Chinese keyboards type, in place of ASCII: same length, same places.
_WIDE = re.compile("[０-９Ａ-Ｚａ-ｚ＠]")
_WIDE_RUN = re.compile("[０-９Ａ-Ｚａ-ｚ＠．－＋（）／＿＝＃]+")
_FOLD = {
    code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))
}
_FOLD |= {ord(wide): ord(wide) - 0xFEE0 for wide in "＠．－＋（）／＿＝＃"}
_MASK = "\x00"
_ROUNDS = 64  # each finds what stood too close to what the one before found; no line of real text needs five
_PLACEHOLDER = re.compile(rf"\[(?:{'|'.join(map(str.upper, KINDS))})\]")


def placeholder(kind: str) -> str:
    """What stands for a datum that was removed.

    >>> placeholder("email")
    '[EMAIL]'
    """
    return f"[{kind.upper()}]"


def redacted(text: str) -> bool:
    """Whether something was removed of a text before."""
    return _PLACEHOLDER.search(text) is not None


def find(text: str, kinds: frozenset[str] = frozenset(KINDS)) -> list[Found]:
    """Everything found of these kinds, in the order of the text, without overlaps.

    What was found is masked and the rest looked at again, until nothing comes up: a number may hide another. All kinds
    are looked for even if few are wanted, so that part of a card number is never taken for a telephone number.

    A placeholder is a mask, too, and no pattern looks past one or cares how long it is. So a text whose data were
    replaced by placeholders holds nothing more to find, and no placeholder announces the number after it.
    """
    masked = _PLACEHOLDER.sub(lambda match: _MASK * len(match[0]), fold(text))
    found: list[Found] = []
    while True:
        matches = _all(masked)
        wanted = [item for item in matches if item.kind in kinds]
        found += wanted
        if not wanted or len(wanted) == len(matches):
            return sorted(found, key=lambda item: item.start)
        # Other kinds stay in the text, and beside them something may be found once what is wanted has gone.
        masked = _masked(masked, wanted)


def _all(text: str) -> list[Found]:
    """What is found, and what is found then, once that is masked."""
    matches = claims = _claims(text)
    for _ in range(_ROUNDS):
        if not claims:
            break
        text = _masked(text, claims)
        claims = _claims(text)
        matches = matches + claims
    return matches


def fold(text: str) -> str:
    """The text with full-width letters, digits and signs as ASCII, where it holds letters or digits of them."""
    if text.isascii() or not _WIDE.search(text):
        return text
    return _WIDE_RUN.sub(lambda run: run[0].translate(_FOLD), text)


def _masked(text: str, matches: list[Found]) -> str:
    pieces, at = [], 0
    for item in sorted(matches, key=lambda item: item.start):
        pieces += [text[at : item.start], _MASK * (item.end - item.start)]
        at = item.end
    return "".join([*pieces, text[at:]])


def _claims(text: str) -> list[Found]:
    """What one look finds; where two overlap, the one of higher rank, then the longer, stays."""
    claims = list(_candidates(text))
    if len(claims) < 2:
        return claims
    claims.sort(key=lambda item: (_RANK[item.kind], item.start - item.end, item.start))
    starts: list[int] = []
    kept: list[Found] = []
    for item in claims:
        index = bisect_left(starts, item.end)  # those before begin before this one ends
        if index == 0 or kept[index - 1].end <= item.start:
            starts.insert(index, item.start)
            kept.insert(index, item)
    return kept


def _candidates(text: str) -> Iterator[Found]:
    if "@" in text:
        yield from (Found("email", *span) for span in emails(text))
    if "-----BEGIN" in text:
        yield from (Found("key", *span) for span in keys.private_keys(text))
    if "::" in text or text.count(":") >= 7:
        yield from (Found("ip", *span) for span in _ipv6(text))
    if any(start in text for start in keys.LETTERS_ALONE):
        yield from (Found("key", *match.span()) for match in keys.WITHOUT_DIGITS.finditer(text))
    token_end = 0
    for match in _CANDIDATE.finditer(text):
        start, end = match.span()
        kind = match.lastgroup
        if kind == "number":
            yield from _numbers(text, start, end)
        elif kind == "ip":
            yield from (Found("ip", *span) for span in _ipv4(text, start, end))
        elif kind == "iban" and (length := _iban(text, start - 2)):
            yield Found("iban", start - 2, start - 2 + length)
        if end > token_end and (kind in ("token", "iban") or _beside_letter(text, start, end)):
            start, token_end = _token(text, start, token_end)
            if token_end - start >= keys.SHORTEST:
                yield from (Found("key", *span) for span in keys.keys(text, start, token_end))


def _beside_letter(text: str, start: int, end: int) -> bool:
    return text[start - 1 : start] in _LETTERS or text[end : end + 1] in _LETTERS


_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_LONGEST_START = 512  # of a token, before its first digit beside a letter


def _token(text: str, at: int, least: int) -> tuple[int, int]:
    """Start and end of the run of key characters around a position, not going back before `least`."""
    low = max(least, at - _LONGEST_START)
    start = low + len(text[low:at].rstrip(keys.CHARACTERS))
    match = keys.TOKEN.match(text, at)
    return start, match.end() if match else at


def _before(text: str, at: int, most: int) -> str:
    """What stands before a position on its line, and after the last mask on it: `most` characters of it."""
    line = text[max(0, at - most) : at]
    return line[max(line.rfind("\n"), line.rfind(_MASK)) + 1 :]


# --- numbers ------------------------------------------------------------------------------------------------------
_EDGE = r"(?<![0-9A-Za-z_])(?<![0-9][.,])"
_END = r"(?![0-9A-Za-z_])(?![.,][0-9])"
_GAP = r"[ .\-\u00a0\u2007\u2009\u202f\u2010-\u2013\u2212\uff0d\u3000]"
_CARD = re.compile(
    rf"{_EDGE}(?:[0-9]{{12,19}}"
    rf"|[0-9]{{4}}(?P<a>{_GAP})[0-9]{{4}}(?P=a)[0-9]{{4}}(?P=a)[0-9]{{4}}(?:(?P=a)?[0-9]{{1,3}})?"
    rf"|[0-9]{{4}}(?P<b>{_GAP})[0-9]{{6}}(?P=b)[0-9]{{4,5}}"
    rf"|[0-9]{{4}}(?P<c>{_GAP})[0-9]{{3}}(?P=c)[0-9]{{3}}(?P=c)[0-9]{{3}}"
    rf"|[0-9]{{6}}{_GAP}[0-9]{{10,13}}){_END}"
)
_ID_CN = re.compile(rf"{_EDGE}[1-9][0-9]{{5}}{_GAP}?[12][0-9]{{7}}{_GAP}?[0-9]{{3}}[0-9Xx]{_END}")
_OLD_ID_CN = re.compile(rf"{_EDGE}[1-9][0-9]{{14}}{_END}")
_OLD_ID_WORDS = re.compile(
    r"(?:身份证|身份證|证件|證件|identity|(?<![A-Za-z])ID(?![A-Za-z]))[^0-9\n。\x00]{0,16}\Z"
)
_SSN = re.compile(
    rf"{_EDGE}(?<![0-9A-Za-z][-/])(?!000|666|9)[0-9]{{3}}(?P<gap>[ \-\u2010-\u2013]?)(?!00)[0-9]{{2}}(?P=gap)"
    rf"(?!0000)[0-9]{{4}}{_END}(?![-/][0-9A-Za-z])"
)
_SSN_WORDS = re.compile(r"(?:SSN|social.{0,3}security|社会安全|社安)[^0-9\n。\x00]{0,16}\Z", re.IGNORECASE)
_NOT_DIGITS = re.compile("[^0-9Xx]")


def bare(text: str) -> str:
    """The digits of a number, and a last X."""
    return _NOT_DIGITS.sub("", text).upper()


def _numbers(text: str, start: int, end: int) -> Iterator[Found]:
    """Personal numbers in a run of at least seven digits with their separators."""
    size, stop = end - start, min(len(text), end + 2)  # an X may follow, and what follows must be seen
    if size >= 12:
        for match in _CARD.finditer(text, start, stop):
            if _is_card(text, match):
                yield Found("card", *match.span())
    if size >= 15:
        for match in _ID_CN.finditer(text, start, stop):
            if checksums.is_id_cn(bare(match[0])):
                yield Found("id_cn", *match.span())
        for match in _OLD_ID_CN.finditer(text, start, stop):
            before = text[max(0, match.start() - _LOOK_BACK) : match.start()]
            if checksums.is_old_id_cn(match[0]) and _OLD_ID_WORDS.search(before):
                yield Found("id_cn", *match.span())
    if size >= 9:
        for match in _SSN.finditer(text, start, stop):
            before = text[max(0, match.start() - _LOOK_BACK) : match.start()]
            formed = match["gap"] not in ("", " ") and announced(text, match.start()) != "other"
            if formed or _SSN_WORDS.search(before):
                yield Found("ssn_us", *match.span())
        if text.find(".", start, end) >= 0:
            yield from (Found("ip", *span) for span in _ipv4(text, start, stop))
    yield from (Found("phone", *span) for span in phones(text, start, end))


def _is_card(text: str, match: re.Match[str]) -> bool:
    digits = bare(match[0])
    if not checksums.is_card(digits) or _IBAN_BEFORE.search(text, max(0, match.start() - 40), match.start()):
        return False
    if len(digits) == 18 and digits[:2] in checksums.PROVINCES and checksums.is_date(digits[6:14]):
        return False  # an identity number with a slip in it
    if len(match[0]) > len(digits):  # written in groups
        return True
    # Bare, 13 digits are rather an article number (EAN-13), since no cards of that length are issued any more, and
    # one in ten numbers that somebody labelled as an order's passes the check.
    before = text[max(0, match.start() - _LOOK_BACK) : match.start()]
    return bool(_CARD_WORDS.search(before)) or (
        len(digits) > 13 and announced(text, match.start()) != "other"
    )


def _iban(text: str, start: int) -> int:
    """The length of the IBAN written at a position, single spaces or hyphens between its groups counted; 0 for none."""
    wanted = checksums.iban_length(text[start : start + 2])
    if not wanted:
        return 0
    bare_text, at = [], start
    for at in range(start, min(len(text), start + 2 * wanted)):
        character = text[at]
        if "0" <= character <= "9" or "A" <= character <= "Z":
            bare_text.append(character)
            if len(bare_text) == wanted:
                break
        elif character not in _IBAN_GAPS or text[at - 1] in _IBAN_GAPS:
            return 0
    if at + 1 < len(text) and text[at + 1].isascii() and text[at + 1].isalnum():
        return 0
    return at + 1 - start if checksums.is_iban("".join(bare_text)) else 0


_CARD_WORDS = re.compile(r"(?:card|visa|credit|debit|maestro|卡)[^0-9\n。\x00]{0,16}\Z", re.IGNORECASE)
_IBAN_BEFORE = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2} (?:[A-Z0-9]{4} ){0,6}\Z")  # four by four
_IBAN_GAPS = " -\u00a0\u202f\u2009.\u3000"

# --- Internet addresses -------------------------------------------------------------------------------------------
_IPV4 = re.compile(r"(?<![0-9A-Za-z_.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_])(?!\.[0-9]|-[A-Za-z])")
# Numbers of the same form: versions, sections, and the codes of enzymes and objects (OID), alone or in a list.
_NUMBERED_TEXT = (
    "v ver versions? release rev build firmware requires? upgraded?(?:_to)? update(?:_to)? Chrome Firefox Safari "
    "kernel sections? chapters? figures? tables? clauses? items? rules? articles? paragraphs? para appendix Abschnitt "
    "Kapitel Ziffer EC E\\.C OIDs? urn:oid object_identifiers? enzymes?"
)
_NUMBERED = re.compile(
    rf"(?:(?:(?<![a-z])(?:{_NUMBERED_TEXT.replace(' ', '|').replace('_', ' ')})\.?(?: (?:numbers?|codes?|nos?\.?))?"
    r"|版本号?|升级到|更新到|第|章节?|节|条|款|编号|§)[ :：(\"']{0,3}"
    r"(?:[0-9.]{3,20}[\"']?(?:,| to| and| or|-|–|到|至|和|、|/) ?[\"']?){0,6}"
    r"|[=<>~^]= ?|[A-Za-z][/\-])\Z",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"addr|ipv4|host|server|gateway|proxy|ping|dns|client|login|logged|://|subnet|router|visitor"
    r"|(?<![a-z])(?:ips?|from|ssh|connect(?:ed)?|listen(?:s|ing)?|port|bind|inet|remote|request)(?![a-z])"
    r"|地址|服务器|主机|网关|登录|来自|访问|请求|连接",
    re.IGNORECASE,
)
# What stands right behind an address and nothing else: a port, a network's size, the next field of a log.
_ADDRESS_TAIL = re.compile(
    r":[0-9]{2,5}(?![0-9])|/[0-9]{1,2}(?![0-9])|,? (?:- - \[|(?:GET|POST|HEAD|PUT|TCP|UDP|ICMP)\b)|\]"
)
_ALONE = re.compile(r"[\s\-*\"'\[,]*\Z"), re.compile(r"[\"'\],;]*\s*(?:#|\n|\Z)")
# Below what the first three numbers of sections and versions, and those of enzymes and objects, nearly always are.
_NUMBERED_BELOW = ((32, 32, 32), (8, 32, 100))
_LOOK_BACK, _LOOK_FAR = 32, 80
_GROUPS = r"[0-9A-Fa-f]{1,4}"
_IPV6_FULL = re.compile(rf":{_GROUPS}:{_GROUPS}:{_GROUPS}:{_GROUPS}:{_GROUPS}:{_GROUPS}:{_GROUPS}")
_IPV6_CHARACTERS = "0123456789abcdefABCDEF:."
_IPV6_RUN = re.compile(r"[0-9A-Fa-f:.]{0,46}")
# Addresses that are nobody's: this machine, no machine, groups, examples in documents, and those never given out,
# among which pseudonyms are. Private networks (10.0.0.0/8 ...) are not here: inside a house they do point at a person.
_RESERVED = (
    "0.0.0.0/8 127.0.0.0/8 192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3 "
    "::/128 ::1/128 2001:db8::/32 ff00::/8"
)
_NOBODYS = tuple(ipaddress.ip_network(network) for network in _RESERVED.split())


def _ipv4(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for match in _IPV4.finditer(text, start, min(len(text), end + 2)):
        if match[0].endswith(".0") and text[match.end() : match.end() + 1] == "/":
            continue  # a network
        if is_somebodys(match[0]) and _is_address(text, match):
            yield match.span()


def _is_address(text: str, match: re.Match[str]) -> bool:
    """Whether four numbers are an Internet address, and no section, version, or code of an enzyme or an object.

    Those are all small but perhaps the last; so small ones are an address only where something says so.
    """
    start, end = match.span()
    line = _before(text, start, _LOOK_FAR)
    if _NUMBERED.search(line):
        return False
    first, second, third, _ = map(int, match[0].split("."))
    if not any(first < a and second < b and third < c for a, b, c in _NUMBERED_BELOW):
        return True
    if _ADDRESS.search(line) or _ADDRESS_TAIL.match(text, end):
        return True
    # Alone on its line, as in lists of addresses: what stands above may say what it is.
    before, after = _ALONE
    above = text[max(0, start - _LOOK_FAR) : start].rpartition(_MASK)[2]
    return bool(before.match(line) and after.match(text, end) and _ADDRESS.search(above))


def is_somebodys(address: str) -> bool:
    """Whether text is an Internet address that may point at a machine of somebody's."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not any(parsed.version == network.version and parsed in network for network in _NOBODYS)


def _ipv6(text: str) -> Iterator[tuple[int, int]]:
    done, at = 0, text.find("::")
    while at >= 0:
        start, done = _run(text, at, done)
        if _is_ipv6(text, start, done):
            yield start, done
        at = text.find("::", max(done, at + 2))
    for match in _IPV6_FULL.finditer(text):
        start, end = _run(text, match.start(), 0)
        if "::" not in text[start:end] and _is_ipv6(text, start, end):
            yield start, end


def _run(text: str, at: int, least: int) -> tuple[int, int]:
    """The run of characters of IPv6 addresses around a position, without a colon or a full stop that ends a clause."""
    low = max(least, at - 40)
    start = low + len(text[low:at].rstrip(_IPV6_CHARACTERS))
    match = _IPV6_RUN.match(text, at)
    end = match.end() if match else at
    while end > at and (text[end - 1] == "." or (text[end - 1] == ":" and text[end - 2] != ":")):
        end -= 1
    return start, end


def _is_ipv6(text: str, start: int, end: int) -> bool:
    run = text[start:end]
    if (start and text[start - 1] in _LETTERS) or text[end : end + 1] in _LETTERS or not is_somebodys(run):
        return False
    if run.endswith("::"):  # a network
        return False
    groups = [group for group in run.split(":") if group]
    # `a::b` is a name in some programming languages, and `aa:bb:...` an identifier of hardware.
    long = any(len(group) > 2 for group in groups)
    return any(c.isdecimal() for c in run) and long and (len(groups) > 2 or run[:1] in "23f")


# --- e-mail (RFC 5321, the forms in use) --------------------------------------------------------------------------
_LOCAL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+/=?^_`{|}~.-"
_LONGEST_LOCAL, _LONGEST_DOMAIN = 64, 255
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}(?:[A-Za-z]{2,24}|xn--[A-Za-z0-9-]{2,59})"
)
# After these an @ does not make an address: pictures for dense screens, packages, source files.
_FILES = "png jpg jpeg gif svg webp bmp ico css js ts jsx tsx json html htm xml yml yaml txt md csv zip"
_ENDINGS = frozenset(_FILES.split())


def emails(text: str) -> Iterator[tuple[int, int]]:
    """E-mail addresses with an ASCII name and domain."""
    done, at = 0, text.find("@")
    while at >= 0:
        low = max(done, at - _LONGEST_LOCAL)
        local = text[low:at]
        local = local[len(local.rstrip(_LOCAL)) :].lstrip("!#$%&'*+/=?^`{|}~.-")
        match = _DOMAIN.match(text, at + 1, at + 1 + _LONGEST_DOMAIN) if local and local[-1] != "." else None
        if match and _is_domain(text, match) and local != "git" and ".." not in local:
            for (
                mark
            ) in "=/|'":  # `mailto=a@b.com`, `path/a@b.com`: what stands before belongs to something else
                local = local.rpartition(mark)[2]
            done = match.end()
            if local:
                yield at - len(local), done
        at = text.find("@", at + 1)


def _is_domain(text: str, match: re.Match[str]) -> bool:
    after = text[match.end() : match.end() + 2]
    if after[:1].isascii() and (after[:1].isalnum() or after[:1] in ("_", "@")):
        return False
    if after[:1] == "-" and after[1:].isascii() and after[1:].isalnum():
        return False
    return match[0].rpartition(".")[2].lower() not in _ENDINGS
