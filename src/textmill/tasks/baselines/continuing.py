"""What most often came next in the training texts: an n-gram model's likeliest words, as a baseline of writing."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice

from textmill.tasks.prediction import Prediction, Text
from textmill.tasks.task import Baseline, Record

_ORDER = 4
_MOST = 1_000_000  # pieces that are counted: some ten seconds and half a GB
_LONGEST = 200  # pieces that are written, at most, where no target says how long one is
_HANZI = "\u3400-\u9fff"
_PIECE = re.compile(rf"[^\W\d_{_HANZI}]+|\d+|\s+|.", re.DOTALL)  # words, numbers, blanks; all else one by one
_END = ""


def ngram(records: Iterable[Record]) -> Baseline:
    """The longest context of up to three pieces that was seen says what comes next (backoff, Katz 1987, without its
    discounts: only the likeliest is asked for). What is written ends where training texts did, or is as long as targets
    are on average."""
    followed: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    counted, targets = 0, []
    for record in records:
        target = pieces(record.get("target", ""))
        seen = [*pieces(record["text"]), *target, _END]
        if counted + len(seen) > _MOST and counted:
            break
        counted += len(seen)
        targets += [len(target)] if target else []
        for at, piece in enumerate(seen):
            for order in range(min(_ORDER, at + 1)):
                followed[tuple(seen[at - order : at])][piece] += 1
    length = round(sum(targets) / len(targets)) if targets else _LONGEST
    next_of = {context: counts.most_common(1)[0][0] for context, counts in followed.items()}

    def predict(records: Sequence[Record]) -> list[Prediction]:
        return [Text(_written(next_of, pieces(record["text"]), length)) for record in records]

    return Baseline(f"{_ORDER}-gram", predict)


def pieces(text: str) -> list[str]:
    """A text as words, numbers, blanks and single signs and hanzi, which joined are the text again.

    >>> pieces("Two mills, 磨坊 21.")
    ['Two', ' ', 'mills', ',', ' ', '磨', '坊', ' ', '21', '.']
    """
    return _PIECE.findall(text)


def _written(next_of: dict[tuple[str, ...], str], context: list[str], length: int) -> str:
    """What comes after a context, up to an end."""
    begun = len(context)
    context = list(context)
    while len(context) < begun + length:
        known = (
            tuple(context[len(context) - order :]) for order in range(min(_ORDER - 1, len(context)), -1, -1)
        )
        piece = next((next_of[run] for run in known if run in next_of), _END)
        if piece == _END:
            break
        context.append(piece)
    return "".join(islice(context, begun, None))
