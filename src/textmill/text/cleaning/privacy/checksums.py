"""Numbers that carry their own proof: payment cards, IBANs, Chinese resident identity numbers.

Everything here takes bare digits (and letters), without spaces or hyphens. The checks themselves are python-stdnum's.
"""

from __future__ import annotations

import datetime
import functools
import re

from stdnum import iban, luhn, numdb
from stdnum.cn import ric

# --- payment cards (ISO/IEC 7812-1) -------------------------------------------------------------------------------
# First and last value of the leading digits, and the lengths issued with them. Maestro's and UnionPay's ranges hold
# more than what is used today; the check digit has to do the rest.
_SIXTEEN_ON = (16, 17, 18, 19)
_TWELVE_ON = tuple(range(12, 20))
ISSUERS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", (14, 16)),  # Diners Club
    ("3095", "3095", (14, 16)),
    ("36", "36", (14, 16)),
    ("38", "39", (14, 16)),
    ("35", "35", _SIXTEEN_ON),  # JCB
    ("2131", "2131", (15,)),
    ("1800", "1800", (15,)),
    ("6011", "6011", _SIXTEEN_ON),  # Discover
    ("644", "659", _SIXTEEN_ON),
    ("62", "62", _SIXTEEN_ON),  # UnionPay
    ("81", "81", _SIXTEEN_ON),
    ("9558", "9558", (19,)),  # Chinese debit cards from before UnionPay
    ("2200", "2204", _SIXTEEN_ON),  # Mir
    ("5018", "5018", _TWELVE_ON),  # Maestro
    ("5020", "5020", _TWELVE_ON),
    ("5038", "5038", _TWELVE_ON),
    ("5893", "5893", _TWELVE_ON),
    ("6304", "6304", _TWELVE_ON),
    ("6390", "6390", _TWELVE_ON),
    ("6759", "6763", _TWELVE_ON),
)


def issuer(digits: str) -> str:
    """The leading digits by which a card's issuer is known; empty when none issues such a number."""
    for low, high, lengths in ISSUERS:
        if low <= digits[: len(low)] <= high and len(digits) in lengths:
            return digits[: len(low)]
    return ""


def is_card(digits: str) -> bool:
    """Whether a number has the leading digits and length of an issuer, and the right check digit."""
    return bool(issuer(digits)) and luhn.is_valid(digits)


# --- IBAN (ISO 13616) ---------------------------------------------------------------------------------------------
@functools.cache
def iban_length(country: str) -> int:
    """How long the IBANs of a country are; 0 where there are none.

    >>> iban_length("GB"), iban_length("US")
    (22, 0)
    """
    [(_, known), *_] = numdb.get("iban").info(country)
    parts = re.findall(r"(\d+)!", known.get("bban", ""))  # such as 4!a6!n8!n
    return 4 + sum(map(int, parts)) if parts else 0


def is_iban(text: str) -> bool:
    """Whether upper-case text has the form of its country's numbers and a remainder of 1 (ISO 7064, MOD 97-10).

    >>> is_iban("GB82WEST12345698765432"), is_iban("GB82WEST12345698765431")
    (True, False)
    """
    return iban.is_valid(text, check_country=False)


def iban_digits(country: str, account: str) -> str:
    """The two check digits for the account part (BBAN) of a country's IBAN."""
    return iban.calc_check_digits(f"{country}00{account}")


# --- Chinese resident identity numbers (GB 11643-1999) ------------------------------------------------------------
# The first two digits: provinces, and 81 to 83 on residence permits of people from Hong Kong, Macao and Taiwan.
_PROVINCES = (
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83"
)
PROVINCES = frozenset(_PROVINCES.split())
_FIRST_YEAR, _LAST_YEAR = 1850, 2099


def id_cn_digit(digits: str) -> str:
    """The check character of 17 digits: 0 to 9, or X (ISO 7064, MOD 11-2)."""
    return ric.calc_check_digit(f"{digits}0")


def is_id_cn(text: str) -> bool:
    """Whether 18 characters (X in upper case) are an identity number: region, date of birth, check character."""
    return (
        len(text) == 18
        and text[:17].isdecimal()
        and text[:2] in PROVINCES
        and is_date(text[6:14])
        and id_cn_digit(text[:17]) == text[17]
    )


def is_old_id_cn(digits: str) -> bool:
    """Whether 15 digits have the form used until 1999: region and a date of the 20th century; no check digit."""
    return len(digits) == 15 and digits[:2] in PROVINCES and is_date(f"19{digits[6:12]}")


def is_date(digits: str) -> bool:
    """Whether eight digits are a day somebody may have been born on, as YYYYMMDD."""
    year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:])
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        return False
    try:
        datetime.date(year, month, day)
    except ValueError:
        return False
    return True
