"""Keys and tokens of services, by the form their makers gave them, and what source code assigns to such names."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

# Maximal runs of the characters keys are made of; `=` only as the padding of base 64.
CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+/.~-"
TOKEN = re.compile(r"[A-Za-z0-9_+/.~-]*={0,2}")
SHORTEST = 16

# The form each service documents, or that its own scanners look for. Every quantifier is bounded or runs over
# characters that cannot begin another match, so a hostile text costs linear time.
# Of Amazon's, one in thirty holds no digit, which is what the others are found by.
LETTERS_ALONE = ("AKIA", "ASIA", "AIza")
WITHOUT_DIGITS = re.compile(
    r"A(?:[KS]IA(?<![A-Za-z0-9_-]....)[A-Z0-9]{16}|Iza(?<![A-Za-z0-9_-]....)[A-Za-z0-9_-]{35})(?![A-Za-z0-9_])"
)
_SERVICES = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255}"  # GitHub
    r"|glpat-[A-Za-z0-9_-]{20,64}"  # GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,255}|xapp-[0-9]-[A-Za-z0-9-]{10,255}"  # Slack
    r"|sk-(?:ant-|proj-|svcacct-|or-)?[A-Za-z0-9_-]{20,255}"  # OpenAI, Anthropic and those that took after them
    r"|AIza[A-Za-z0-9_-]{35}"  # Google
    r"|ya29\.[A-Za-z0-9_-]{20,255}"
    r"|[rsp]k_(?:live|test)_[A-Za-z0-9]{16,255}"  # Stripe
    r"|hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,255}"  # Hugging Face, npm, PyPI
    r"|SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}"  # SendGrid
    r"|LTAI[A-Za-z0-9]{12,26}|AKID[A-Za-z0-9]{32}"  # Alibaba Cloud, Tencent Cloud
    r"|eyJ[A-Za-z0-9_-]{8,4096}\.eyJ[A-Za-z0-9_-]{8,8192}\.[A-Za-z0-9_-]{16,2048}"  # JSON Web Token (RFC 7519)
    r")(?![A-Za-z0-9_])"
)

# --- what is assigned to a name that says it is a secret ----------------------------------------------------------
_NAMED = re.compile(
    r"(?:api[_\- ]?key|apikey|secret(?:[_\- ]?key)?|access[_\- ]?key(?:[_\- ]?id)?"
    r"|private[_\- ]?key|encryption[_\- ]?key"
    r"|client[_\- ]?secret|auth[_\- ]?key|token|passw(?:or)?d|passphrase|pwd|credentials?|signature|bearer|x-api-key"
    r"|密钥|密鑰|口令|密码|密碼|令牌|凭证)"
    r"[\"'`」”\])]{0,2} {0,4}(?:=>|:=|[:=：＝]|is|是|为|為| ) {0,4}[\"'`「“<]{0,2}(?:Bearer )?\Z",
    re.IGNORECASE,
)
_LOOK_BACK = 48
_LEAST_ENTROPY = (
    3.0  # bits per character, of the characters of the token itself; random hexadecimal has 3.4 and more
)


def keys(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where in a token `text[start:end]` keys stand."""
    recognised = False
    for match in _SERVICES.finditer(text, start, end):
        recognised = True
        yield match.span()
    token = text[start:end].strip("./-~+")
    if not recognised and len(token) >= SHORTEST and _looks_random(token):
        start = text.index(token, start)
        if _NAMED.search(text[max(0, start - _LOOK_BACK) : start]):
            yield start, start + len(token)


def _looks_random(token: str) -> bool:
    """Whether letters and digits are mixed as chance mixes them: no identifier, path, date or version."""
    digits = sum(map(token.count, "0123456789"))
    letters = sum(map(str.isalpha, token))
    if (
        digits < 3
        or letters < 3
        or len(token) > 4096
        or token.count("/") + token.count(".") > len(token) // 8
    ):
        return False
    return entropy(token) >= _LEAST_ENTROPY


def entropy(text: str) -> float:
    """Bits per character of the text's own distribution of characters (Shannon 1948)."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values())


# --- private keys -------------------------------------------------------------------------------------------------
_FENCE = re.compile(r"-----(BEGIN|END) ((?:[A-Z0-9]{1,16} ){0,4}PRIVATE KEY(?: BLOCK)?)-----")
_LONGEST_BLOCK = 20_000


def private_keys(text: str) -> Iterator[tuple[int, int]]:
    """Private keys in PEM or PGP armour (RFC 7468, RFC 9580): whole blocks, or an opening line without end."""
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if fence[1] == "BEGIN":
            if opened:
                yield opened.span()
            opened = fence
        elif opened and fence[2] == opened[2] and fence.end() - opened.start() <= _LONGEST_BLOCK:
            yield opened.start(), fence.end()
            opened = None
    if opened:
        yield opened.span()
