"""Hyphens at the ends of lines: `exam-` `ple` is one word, `well-` `known` are two, and a page shows both alike.

The document says which, where it has the word in the middle of a line, whole or with its hyphen. For the others the
words of its language do: a word they have is joined, and so is what ends in no word that could stand alone. What may be
either, or both (`non-` `disclosure`), keeps its hyphen and its line end, as the page has them.
"""

from __future__ import annotations

import re
from collections import Counter

from textmill.text.sources.formats.lexicon import Lexicon, of_text

BROKEN = "\x02"  # where a hyphen stood at the end of a line, in the text of a page
_BREAK = re.compile(rf"([^\W\d_]+){BROKEN}\s*([^\W\d_]+)")
# A soft hyphen is drawn only where a word is broken; U+2010 is what many programs draw there.
_SOFT = re.compile("\xad(?:\n *)?")
_TYPESET = re.compile(r"(?<=[^\W\d_])‐ ?\n(?=[^\W\d_])")
_ANY = re.compile(rf"{BROKEN}\s*")
_WORD = re.compile(r"[^\W\d_]+(?:[-‐][^\W\d_]+)*")
# What stands behind a first half alone: `pre- and post-war`, `Haupt- und Nebensatz`.
_BETWEEN = frozenset(
    ("and", "or", "to", "und", "oder", "bis", "bzw", "sowie", "en", "of", "et", "ou", "och", "eller")
)
# A word met less often than its second half, and than this, may be written with a hyphen as well.
_RARE = 1000


def unbroken(pages: list[str]) -> list[str]:
    """The pages of a document with their broken words put together. Raises ImportError without the lists of words."""
    pages = [_TYPESET.sub(BROKEN, _SOFT.sub("", page)) for page in pages]
    if not any(BROKEN in page for page in pages):
        return pages
    counts: Counter[str] = Counter()
    for page in pages:
        for word in _WORD.findall(_BREAK.sub(" ", page)):
            counts[word.lower()] += 1
            if "-" in word:
                counts.update(word.lower().split("-"))
    lexicon = of_text(counts)
    return [_ANY.sub("-\n", _BREAK.sub(lambda match: _put(match, counts, lexicon), page)) for page in pages]


def _put(match: re.Match[str], counts: Counter[str], lexicon: Lexicon | None) -> str:
    """What two halves of a word, or two words, are in the text."""
    first, second = match.groups()
    whole, small = f"{first}{second}", second.lower()
    joined, hyphened = counts[whole.lower()], counts[f"{first}-{second}".lower()]
    if joined or hyphened:
        return whole if joined >= hyphened else f"{first}-{second}"
    known = lexicon.counts.get(whole.lower(), 0) if lexicon else 0
    if small in _BETWEEN and not known:
        return f"{first}- {second}"
    capital = second[0].isupper() and not first.isupper()
    if capital or len(first) == 1 or match.string[match.end() : match.end() + 1] == "-":
        return f"{first}-{second}"
    if lexicon is None:
        return f"{first}-\n{second}" if counts[small] and counts[first.lower()] else whole
    half = lexicon.counts.get(small, 0) or counts[small]
    if not half or known >= min(half, _RARE) or (lexicon.compounds and first[0].isupper()):
        return whole
    return f"{first}-\n{second}"
