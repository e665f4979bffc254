"""Made-up values in place of personal ones: the same value and the same secret always give the same one.

A pseudonym is a keyed hash (BLAKE2b) of the value, laid into the value's own form, with its check digits right.
Without the secret nobody can tell, or try out, what stood there. Where a range exists that is nobody's, by rule or
by custom, pseudonyms are from it; where none does, they are marked so that no real value is hit. Either way a
pseudonym is known again, and is left alone when the step meets it a second time:

    email   x...@example.com, .cn for addresses in .cn     RFC 2606 reserves the first
    phone   North America: 555-01xx, kept for fiction; Chinese mobiles: 154, given to no operator; Chinese landlines:
            9 after the area code; elsewhere, and in local forms, two zeros (three without a
            country code) where no number has them
    card    the issuer's digits, then zeros up to the sixth; right check digit
    iban    000 where the bank's digits begin, X for letters; right check digits
    id_cn   a province followed by 0000, the district of nobody; a real date, right check character
    ssn_us  000 or 666, areas never given out
    ip      240.0.0.0/4, reserved for ever; 2001:db8::/32, for documents
    key     the service's prefix, and EXAMPLE at the end
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import re
import string
from collections.abc import Callable
from dataclasses import dataclass

from stdnum import luhn

from textmill.text.cleaning.privacy import checksums
from textmill.text.cleaning.privacy.patterns import bare, fold, is_somebodys
from textmill.text.cleaning.privacy.phones import split_code

_LETTERS = string.ascii_lowercase + "234567"  # base 32, as RFC 4648 has it
_DIGITS = string.digits


class Chance:
    """Numbers that look random and follow from a value and a secret alone."""

    def __init__(self, secret: str, kind: str, value: str) -> None:
        key = hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), digest_size=32).digest()
        self._seed = hashlib.blake2b(
            f"{kind}\x00{value}".encode("utf-8", "surrogatepass"), key=key, digest_size=32
        ).digest()
        self._pool, self._block = 0, 0
        self._size = 1

    def below(self, limit: int) -> int:
        """A number from 0 to below `limit`, all as good as equally likely."""
        while self._size < limit << 64:
            block = hashlib.blake2b(
                self._block.to_bytes(8, "little"), key=self._seed, digest_size=64
            ).digest()
            self._pool += int.from_bytes(block, "little") * self._size
            self._size <<= 512
            self._block += 1
        self._pool, number = divmod(self._pool, limit)
        self._size //= limit
        return number

    def text(self, alphabet: str, size: int) -> str:
        """`size` characters of an alphabet."""
        return "".join([alphabet[self.below(len(alphabet))] for _ in range(size)])


def pseudonym(kind: str, value: str, secret: str) -> str:
    """A made-up value of a kind, of the form of `value`; a made-up one comes back as it is."""
    plain = fold(value)
    return value if made_up(kind, plain) else _MAKERS[kind](plain, secret)


def made_up(kind: str, value: str) -> bool:
    """Whether a value is in the range its kind's pseudonyms are made in."""
    return _MADE_UP[kind](value)


# --- forms --------------------------------------------------------------------------------------------------------
def _lay(digits: str, form: str) -> str:
    """Digits in the places of a form's digits (and its last X); everything else of the form stays."""
    left = iter(digits)
    return "".join([next(left, c) if c in "0123456789Xx" else c for c in form])


def _email(value: str, secret: str) -> str:
    value = value.lower()
    local = Chance(secret, "email", value).text(_LETTERS, 12)
    return f"x{local}@example.{'cn' if value.endswith('.cn') else 'com'}"


def _card(value: str, secret: str) -> str:
    digits = bare(value)
    head = checksums.issuer(digits).ljust(6, "0")
    body = head + Chance(secret, "card", digits).text(_DIGITS, len(digits) - 7)
    return _lay(body + luhn.calc_check_digit(body), value)


def _is_made_up_card(value: str) -> bool:
    digits = bare(value)
    return digits.startswith(checksums.issuer(digits).ljust(6, "0"))


def _iban(value: str, secret: str) -> str:
    plain = "".join([c for c in value if c.isalnum()])
    chance, zeros, account = Chance(secret, "iban", plain), 3, []
    for character in plain[4:]:
        if character.isalpha():
            account.append("X")
        elif zeros:
            zeros -= 1
            account.append("0")
        else:
            account.append(chance.text(_DIGITS, 1))
    made = iter(plain[:2] + checksums.iban_digits(plain[:2], "".join(account)) + "".join(account))
    return "".join([next(made) if c.isalnum() else c for c in value])


def _is_made_up_iban(value: str) -> bool:
    account = [c for c in value if c.isalnum()][4:]
    digits = "".join([c for c in account if c.isdecimal()])
    return digits.startswith("000") and all(c == "X" for c in account if c.isalpha())


_PROVINCES = sorted(checksums.PROVINCES - {"81", "82", "83"})
_FIRST_DAY = datetime.date(1940, 1, 1).toordinal()
_LAST_DAY = datetime.date(1999, 12, 31).toordinal()


def _id_cn(value: str, secret: str) -> str:
    digits = bare(value)
    chance = Chance(secret, "id_cn", digits)
    region = f"{_PROVINCES[chance.below(len(_PROVINCES))]}0000"
    born = datetime.date.fromordinal(_FIRST_DAY + chance.below(_LAST_DAY - _FIRST_DAY + 1))
    order = chance.text(_DIGITS, 3)
    if len(digits) == 15:
        return _lay(f"{region}{born:%y%m%d}{order}", value)
    body = f"{region}{born:%Y%m%d}{order}"
    return _lay(body + checksums.id_cn_digit(body), value)


def _ssn_us(value: str, secret: str) -> str:
    chance = Chance(secret, "ssn_us", bare(value))
    area = ("000", "666")[chance.below(2)]
    return _lay(f"{area}{1 + chance.below(99):02d}{1 + chance.below(9999):04d}", value)


def _ip(value: str, secret: str) -> str:
    address = ipaddress.ip_address(value)
    chance = Chance(secret, "ip", address.compressed)
    if address.version == 4:
        return str(ipaddress.IPv4Address(0xF0000000 + chance.below((1 << 28) - 1)))
    return str(ipaddress.IPv6Address((0x20010DB8 << 96) + chance.below(1 << 96)))


# --- telephone numbers --------------------------------------------------------------------------------------------
_AREA_CN = re.compile(r"(?:10|2[0-57-9]|[3-9][0-9]{2})(?=[0-9]{7,8}\Z)")
_NANP = re.compile(r"[2-9][0-8][0-9][2-9][0-9]{6}\Z")
_MOBILE_CN = re.compile(r"1[3-9][0-9]{9}\Z")
_EXTENSION = re.compile(r"[ ,，]*(?:ext|x|转|轉|分机|分機|内线).*\Z", re.IGNORECASE | re.DOTALL)
_SHORT_EXTENSION = re.compile(r"-[0-9]{2,5}\Z")


@dataclass(frozen=True, slots=True)
class _Number:
    """A telephone number taken apart: `head` + `trunk` + `national` are its digits as written."""

    head: str  # 00 and the country code
    trunk: str  # the zero before an area code
    national: str
    code: str  # country code, guessed from the form where it is not written; empty where that cannot be
    tail: str  # the extension, as written


def _take_apart(value: str) -> _Number:
    extension = _EXTENSION.search(value)
    number = value[: extension.start()] if extension else value
    short = None if extension else _SHORT_EXTENSION.search(number)
    if short and _AREA_CN.match(bare(number[: short.start()]).removeprefix("0")):
        number = number[: short.start()]
    digits, head, code = bare(number), "", ""
    if number.lstrip("(（ ").startswith(("+", "00")):
        code = split_code(number)[0]
        head = digits[: digits.find(code) + len(code)] if code else ""
    elif len(digits) == 13 and digits.startswith("86") and _MOBILE_CN.match(digits, 2):
        head = code = "86"
    elif len(digits) == 11 and re.match("1[^0-9]", number) and _NANP.match(digits, 1):
        head = code = "1"
    elif _NANP.match(digits):
        code = "1"
    elif _MOBILE_CN.match(digits) or (digits.startswith("0") and _AREA_CN.match(digits, 1)):
        code = "86"
    national = digits[len(head) :]
    trunk = "0" if code and national.startswith("0") and not national.startswith("00") else ""
    return _Number(head, trunk, national[len(trunk) :], code, value[len(number) :])


def _phone(value: str, secret: str) -> str:
    """Country code, area code of a Chinese landline and the form stay; an extension becomes zeros."""
    number = _take_apart(value)
    chance = Chance(secret, "phone", f"{number.code} {number.national}")
    fixed = _nobodys_start(number, chance)
    made = fixed + chance.text(_DIGITS, len(number.national) - len(fixed))
    form = value[: len(value) - len(number.tail)]
    return _lay(number.head + number.trunk + made, form) + re.sub("[0-9]", "0", number.tail)


def _nobodys_start(number: _Number, chance: Chance) -> str:
    """The first digits of a number that is nobody's."""
    if number.code == "1":
        while (area := f"{2 + chance.below(8)}{chance.below(9)}{chance.below(10)}").endswith("11"):
            pass
        return f"{area}55501"
    if number.code == "86" and _MOBILE_CN.match(number.national):
        return "154"
    if number.code == "86" and (area := _AREA_CN.match(number.national)):
        return f"{area[0]}9"
    return "00" if number.code else "000"


_MADE_UP_SSN = re.compile(r"(?:000|666)(?P<gap>[- ]?)[0-9]{2}(?P=gap)[0-9]{4}\Z")


def _is_made_up_phone(value: str) -> bool:
    if _MADE_UP_SSN.match(
        value
    ):  # which looks like a telephone number once it is no more a social security number
        return True
    number = _take_apart(value)
    if number.code == "1":
        return number.national[3:8] == "55501"
    if number.code == "86" and _MOBILE_CN.match(number.national):
        return number.national.startswith("154")
    if number.code == "86" and (area := _AREA_CN.match(number.national)):
        return number.national.startswith("9", area.end())
    return number.national.startswith("00" if number.code else "000")


# --- keys ---------------------------------------------------------------------------------------------------------
_PREFIX = re.compile(
    r"AKIA|ASIA|ABIA|ACCA|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|xapp-|sk-(?:ant-|proj-|svcacct-|or-)?|AIza|ya29\."
    r"|[rsp]k_(?:live|test)_|hf_|npm_|pypi-|SG\.|LTAI|AKID|eyJ|-----BEGIN [^-]*-----"
)
_END = re.compile(r"[=\s]*(?:-----END [^-]*-----)?\Z")
_MARK = "EXAMPLE"


def _key(value: str, secret: str) -> str:
    """Prefix, fences and signs stay; capitals, small letters and digits become others of their kind."""
    head, end = _ends(value)
    chance = Chance(secret, "key", value)
    body = [_another(c, chance) for c in value[head:end]]
    positions = [i for i, c in enumerate(body) if c.isalnum()][-len(_MARK) :]
    for position, character in zip(positions, _MARK[-len(positions) :], strict=True):
        body[position] = character
    return value[:head] + "".join(body) + value[end:]


def _ends(value: str) -> tuple[int, int]:
    """Where the part of a key that is secret begins and ends."""
    prefix, end = _PREFIX.match(value), _END.search(value)
    head = prefix.end() if prefix else 0
    return head, max(head, end.start() if end else len(value))


def _another(character: str, chance: Chance) -> str:
    for alphabet in (string.ascii_uppercase, string.ascii_lowercase, _DIGITS):
        if character in alphabet:
            return chance.text(alphabet, 1)
    return character


def _is_made_up_key(value: str) -> bool:
    head, end = _ends(value)
    body = "".join([c for c in value[head:end][-64:] if c.isalnum()])
    return not body or body.endswith(_MARK)


_MAKERS: dict[str, Callable[[str, str], str]] = {
    "email": _email,
    "phone": _phone,
    "card": _card,
    "iban": _iban,
    "id_cn": _id_cn,
    "ssn_us": _ssn_us,
    "ip": _ip,
    "key": _key,
}
_MADE_UP: dict[str, Callable[[str], bool]] = {
    "email": lambda value: value.lower().endswith(("@example.com", "@example.cn")),
    "phone": _is_made_up_phone,
    "card": _is_made_up_card,
    "iban": _is_made_up_iban,
    "id_cn": lambda value: bare(value)[2:6] == "0000",
    "ssn_us": lambda value: bare(value)[:3] in ("000", "666"),
    "ip": lambda value: not is_somebodys(value),
    "key": _is_made_up_key,
}
