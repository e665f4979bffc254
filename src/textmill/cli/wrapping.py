"""Where a line of the screen may end: rich knows spaces alone, and Chinese has none."""

from __future__ import annotations

import re

_WIDE = "⺀-⿿々-〇〡-㏿㐀-䶿一-鿿豈-﫿"  # hanzi and kana: after each a line may end …
_CLOSING = "、。〉》」』】〕！％），．：；？］｝"  # … unless one of these follows,
_OPENING = "〈《「『【〔（［｛"  # or the last of them is one of these
WORD = re.compile(
    rf"\s*(?:[{_OPENING}]*(?:[{_WIDE}]|[^\s{_WIDE}{_OPENING}{_CLOSING}]+)[{_CLOSING}]*|[{_OPENING}{_CLOSING}]+)\s*"
)


def between_hanzi() -> None:
    """Lines may end between hanzi. Otherwise a sentence is one word to rich: it is cut off in a table's cell that is
    narrower, and torn in the middle of a name that it holds."""
    from rich import _wrap

    _wrap.re_word = WORD
