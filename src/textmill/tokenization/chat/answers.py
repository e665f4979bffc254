"""Which ids of a conversation an assistant says, found by rendering the conversation up to a turn and aligning ids.

    asked   what stands before an answer: the messages before it, and the template's prompt for an answer
    until   the messages up to the answer, and nothing more
    whole   the whole conversation

The ids that `whole` shares with `asked` are what a model would be asked with, those that it shares with `until` behind
them are the answer. No text is looked for, so nothing that anybody says can be taken for the end or the beginning of a
turn. Where a tokenizer joins the end of the prompt and the beginning of the answer in one id, the answer begins with
it.

The id that ends the turn is the answer's last: the last special one, where nothing but white space comes after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textmill.base.errors import TextmillError
from textmill.tokenization.chat.protection import Written
from textmill.tokenization.protocol import AnyTokenizer


@dataclass(frozen=True)
class Answer:
    """One turn of an assistant: the ids [begin, end) of a conversation, and up to `until` white space behind them.

    turn: the number of its message, from 1
    """

    turn: int
    begin: int
    end: int
    until: int


class Unaligned(TextmillError):
    """A template by which nobody can tell what is said in a turn."""

    kind = "unaligned"


def aligned(
    turn: int, asked: Written, until: Written, whole: Written, tokenizer: AnyTokenizer, where: object
) -> Answer:
    """The answer of a turn. Raises Unaligned where the whole does not begin with what was written before."""
    begin, stop = _reach(asked, whole, inside=False), _reach(until, whole, inside=True)
    if stop is None:
        raise Unaligned(
            f"writes message {turn} otherwise when others follow it, so what is said in it cannot be told",
            where=where,
            advice='set objective.turns = "last" to train on the last answer alone, or use another template',
        )
    if begin is None:
        raise Unaligned(
            f"does not write message {turn} behind its own prompt for an answer",
            where=where,
            advice="use another template",
        )
    begin = min(begin, stop)
    special = np.isin(whole.ids[begin:stop], [*tokenizer.special.values(), *tokenizer.ends])
    end = begin + int(special.nonzero()[0][-1]) + 1 if special.any() else stop
    blank = not tokenizer.decode(whole.ids[end:stop]).strip()
    return Answer(turn, begin, end if blank else stop, stop)


def _reach(part: Written, whole: Written, *, inside: bool) -> int | None:
    """How many ids of the whole stand in a conversation that it begins with; None where it does not begin so. inside:
    whether one that stands across the border does."""
    few = min(len(part.ids), len(whole.ids))
    different = (part.ids[:few] != whole.ids[:few]).nonzero()[0]
    same = int(different[0]) if len(different) else few
    if same == len(part.ids):
        return same
    if not whole.text.startswith(part.text):
        return None
    border = len(part.text)  # which stands inside of an id that the part alone has not
    starts, ends = whole.offsets[same:].T
    return same + int((starts < border).sum() if inside else (ends <= border).sum())


def agree(answers: Sequence[Answer], marks: Sequence[tuple[int, int]], whole: Written, where: object) -> None:
    """Raises Unaligned where a template marks other ids as generated than those of these answers, white space behind
    the end of a turn aside. marks: [start, end) characters of the whole; those before the first answer play no part.
    """
    if not answers:
        return
    starts, ends = whole.offsets.T
    marked, said, beside = (np.zeros(len(whole.ids), dtype=bool) for _ in range(3))
    for answer in answers:
        said[answer.begin : answer.end] = True
        beside[answer.end : answer.until] = True
    for start, end in marks:
        if end > starts[answers[0].begin]:
            marked |= (starts < end) & (ends > start)
    different = ((marked != said) & ~beside).nonzero()[0]
    if len(different):
        turn = next((answer.turn for answer in answers if different[0] < answer.until), answers[-1].turn)
        raise Unaligned(
            f"marks other tokens of message {turn} as generated than follow its prompt for an answer",
            where=where,
            advice="correct its {% generation %}, or take them out",
        )
