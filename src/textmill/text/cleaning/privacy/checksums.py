"""Numbers that carry their own proof: payment cards, IBANs, Chinese resident identity numbers.

Everything here takes bare digits (and letters), without blanks or hyphens.
"""

from __future__ import annotations

import datetime

# --- payment cards (ISO/IEC 7812-1) -------------------------------------------------------------------------------
_DOUBLED = str.maketrans("0123456789", "0246813579")  # twice a digit, and the digits of that added up


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B).

    >>> luhn("79927398713"), luhn("79927398710")
    (True, False)
    """
    return sum(map(int, digits[-1::-2] + digits[-2::-2].translate(_DOUBLED))) % 10 == 0


def luhn_digit(digits: str) -> str:
    """The digit to put behind these."""
    total = sum(map(int, digits[-1::-2].translate(_DOUBLED) + digits[-2::-2]))
    return str(-total % 10)


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
    return bool(issuer(digits)) and luhn(digits)


# --- IBAN (ISO 13616) ---------------------------------------------------------------------------------------------
_LENGTHS = (
    "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 "
    "DE:22 DJ:27 DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 "
    "GT:28 HN:28 HR:21 HU:28 IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 "
    "LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 MN:20 MR:27 MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 "
    "PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 RU:33 SA:24 SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 SO:23 ST:25 "
    "SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20 YE:30"
)
IBAN_LENGTHS: dict[str, int] = {pair[:2]: int(pair[3:]) for pair in _LENGTHS.split()}


def _remainder(text: str) -> int:
    """What ISO 7064 calls the number modulo 97: letters count from A = 10."""
    return int("".join([str(int(character, 36)) for character in text])) % 97


def is_iban(text: str) -> bool:
    """Whether upper-case text has the length of its country and a remainder of 1 (ISO 7064, MOD 97-10).

    >>> is_iban("GB82WEST12345698765432"), is_iban("GB82WEST12345698765431")
    (True, False)
    """
    return (
        IBAN_LENGTHS.get(text[:2]) == len(text)
        and text.isascii()
        and text.isalnum()
        and _remainder(text[4:] + text[:4]) == 1
    )


def iban_digits(country: str, account: str) -> str:
    """The two check digits for the account part (BBAN) of a country's IBAN."""
    return f"{98 - _remainder(f'{account}{country}00'):02d}"


# --- Chinese resident identity numbers (GB 11643-1999) ------------------------------------------------------------
# The first two digits: provinces, and 81 to 83 on residence permits of people from Hong Kong, Macao and Taiwan.
_PROVINCES = (
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83"
)
PROVINCES = frozenset(_PROVINCES.split())
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_FIRST_YEAR, _LAST_YEAR = 1850, 2099


def id_cn_digit(digits: str) -> str:
    """The check character of 17 digits: 0 to 9, or X (ISO 7064, MOD 11-2)."""
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, digits, strict=True))
    return "10X98765432"[total % 11]


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
