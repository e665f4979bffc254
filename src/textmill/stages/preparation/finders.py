"""How each task is told by the columns of a table: which column would be what, and why; None where none fits.

A finder takes the columns, those that a person named (by role), and whether the task was asked for: then less is
enough. All of them stand in one table, in the order in which they are tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from textmill.stages.preparation.columns import Column, alike, is_language, proportional

_SHORTER = 0.5  # a summary is at most so long, as a share of what it sums up
_SHARED = 0.3  # share of a summary's words that what it sums up has, at least
_APART = 0.25  # share of the words that two languages of one script have in common, at most
_TOGETHER = 0.5  # correlation of the lengths of translations, at least
_SAID = 3  # words of a summary, at least: fewer are a name or an answer
_BODY = 100  # characters of a text that is worth a summary, at least
BEGINNINGS = ("B-", "I-", "E-", "M-", "S-", "L-", "U-")


@dataclass(frozen=True)
class Found:
    """A task, the column of each of its roles, and why: by role, and for the task as `task`."""

    task: str
    columns: Mapping[str, Column]
    why: Mapping[str, str] = field(default_factory=dict)


Finder = Callable[[Sequence[Column], Mapping[str, Column], bool], Found | None]


def _by_name(columns: Sequence[Column], role: str, taken: Sequence[Column] = ()) -> Column | None:
    """The column whose name is the likeliest for a role, of those that hold something."""
    there = [c for c in columns if c not in taken and c.place(role) is not None and c.filled > 0]
    return min(there, key=lambda column: column.place(role) or 0, default=None)


def _texts(columns: Sequence[Column], taken: Sequence[Column] = ()) -> list[Column]:
    return [column for column in columns if column.is_text and not column.counted and column not in taken]


def _longest(columns: Sequence[Column], taken: Sequence[Column] = ()) -> Column | None:
    texts = _texts(columns, taken) or [
        c for c in columns if c not in taken and c.letters and c.numbers is None
    ]
    return max(texts, key=lambda column: column.characters, default=None)


def _text(columns: Sequence[Column], taken: Sequence[Column]) -> tuple[Column | None, str]:
    """The column of the text, and why: a usual name, unless another column is many times longer; else the longest."""
    named, longest = _by_name(_texts(columns, taken), "text"), _longest(columns, taken)
    if named is not None and longest is not None and named.characters * 3 >= longest.characters:
        return named, "its name"
    return (
        longest,
        "" if longest is None else f"the longest text, {longest.characters:.0f} characters on average",
    )


def _classify(columns: Sequence[Column], given: Mapping[str, Column], asked: bool) -> Found | None:
    label, why = given.get("label"), {}
    if label is None:
        named = _by_name([c for c in columns if not c.counted], "label", list(given.values()))
        if named is not None and (named.is_label or (asked and named.filled > 0.5)):
            label = named
        else:
            candidates = [c for c in columns if c.is_label and not c.listed and c not in given.values()]
            label = candidates[-1] if candidates else None
        if label is None:
            return None
        known = label.labels
        some = ", ".join(known[:5]) + (" …" if len(known) > 5 else "")
        why["label"] = f"{len(known)} different values: {some}"
    taken = [label, *given.values()]
    first, second = given.get("text"), given.get("pair")
    if first is None and second is None:
        first, second = _by_name(columns, "first", taken), _by_name(columns, "second", taken)
        if first is None or second is None:
            first, second = None, None
        else:
            why |= {"text": "its name", "pair": "its name"}
    if first is None:
        first, why["text"] = _text(columns, taken)
    if first is None or not first.letters:
        return None
    why["task"] = "a column of few values beside a text"
    found = {"text": first} | ({"pair": second} if second is not None else {}) | {"label": label}
    return Found("classify", found, why)


def _regress(columns: Sequence[Column], given: Mapping[str, Column], asked: bool) -> Found | None:
    label, why = given.get("label"), {}
    if label is None:
        numbers = [c for c in columns if c.numbers is not None and not c.counted and c not in given.values()]
        if not asked:  # whole numbers are labels, unless someone says that they are not
            numbers = [c for c in numbers if c.numbers is not None and any(c.numbers != c.numbers.round())]
        label = _by_name(numbers, "number") or (numbers[-1] if numbers else None)
        if label is None:
            return None
        why["label"] = f"numbers from {label.numbers.min():g} to {label.numbers.max():g}"  # type: ignore[union-attr]
    elif label.numbers is None or not (asked or any(label.numbers != label.numbers.round())):
        return None
    taken = [label, *given.values()]
    text = given.get("text")
    if text is None:
        text, why["text"] = _text(columns, taken)
    if text is None or not text.letters:
        return None
    why["task"] = "a column of numbers beside a text"
    pair = {"pair": given["pair"]} if "pair" in given else {}
    return Found("regress", {"text": text, **pair, "label": label}, why)


def _translate(columns: Sequence[Column], given: Mapping[str, Column], asked: bool) -> Found | None:
    texts = _texts(columns)
    pairs: list[tuple[Column, Column, str, str]] = []
    if {"source", "target"} <= set(given):
        pairs.append((given["source"], given["target"], "", ""))
    elif given and not {"source", "target"} & set(given):
        return None
    elif given:
        other = next(iter({"source", "target"} - set(given)))
        [known] = given.values()
        rest = [c for c in texts if c is not known]
        best = max(rest, key=lambda column: proportional(known, column), default=None)
        if best is None:
            return None
        pairs.append((best, known, "", "") if other == "source" else (known, best, "", ""))
    else:
        languages = [column for column in columns if is_language(column.name) and column.letters]
        source, target = _by_name(columns, "source"), _by_name(columns, "target")
        if len(languages) == 2:
            pairs.append((*languages, "its name", "its name"))  # type: ignore[arg-type]
        elif (
            source is not None
            and target is not None
            and source is not target
            and (asked or not sums_up(target, source))
        ):
            pairs.append((source, target, "its name", "its name"))
        elif candidates := [
            (proportional(a, b), a, b) for a, b in itertools.combinations(texts, 2) if _two_languages(a, b)
        ]:
            _, a, b = max(candidates, key=lambda one: one[0])
            pairs.append(
                (
                    a,
                    b,
                    f"the first of two languages ({a.script})",
                    f"the second of two languages ({b.script})",
                )
            )
        elif asked and len(texts) > 1:
            pairs.append((texts[0], texts[1], "the first text", "the second text"))
    if not pairs:
        return None
    source, target, first, second = pairs[0]
    why = {"task": "two columns that say the same in two languages"}
    why |= {role: text for role, text in (("source", first), ("target", second)) if text}
    return Found("translate", {"source": source, "target": target}, why)


def _two_languages(a: Column, b: Column) -> bool:
    """Whether texts may be translations of each other: their lengths go together, their letters or words do not."""
    if proportional(a, b) < _TOGETHER:
        return False
    return a.script != b.script or (alike(a, b) < _APART and 0.5 < a.characters / max(b.characters, 1e-9) < 2)


def sums_up(short: Column, long: Column) -> bool:
    """Whether one text sums up another: much shorter, in its words."""
    return (
        short.script == long.script
        and long.characters >= _BODY
        and short.characters <= _SHORTER * long.characters
        and _words(short) >= _SAID
        and alike(long, short) >= _SHARED
    )


def _words(column: Column) -> float:
    """Different words of a text, on average."""
    return sum(map(len, column.words)) / max(1, len(column.words))


def _summarize(columns: Sequence[Column], given: Mapping[str, Column], asked: bool) -> Found | None:
    why = {"task": "a text, and a much shorter one in its words"}
    source, target = given.get("source"), given.get("target")
    if given and source is None and target is None:
        return None
    texts = [c for c in columns if c.letters and c.numbers is None and c.filled > 0.5]
    if target is None and source is None:
        by_name = [
            (long, short)
            for short in sorted(
                (c for c in texts if c.place("summary") is not None), key=lambda c: c.place("summary") or 0
            )
            for long in sorted(
                (c for c in texts if c.place("document") is not None), key=lambda c: c.place("document") or 0
            )
            if short is not long and short.characters < long.characters
        ]
        fitting = [pair for pair in by_name if sums_up(pair[1], pair[0])]
        fitting = fitting or [(a, b) for a, b in itertools.permutations(_texts(columns), 2) if sums_up(b, a)]
        if not (chosen := fitting or (by_name if asked else [])):
            return None
        source, target = chosen[0]
        why["source"] = f"a text of {source.characters:.0f} characters on average"
        why["target"] = f"in its words, {target.characters:.0f} characters"
    elif source is None:
        source = _longest(columns, [target] if target else ())
    elif target is None:
        target = _by_name(texts, "summary", [source]) or min(
            (c for c in texts if c is not source), key=lambda c: c.characters, default=None
        )
    if source is None or target is None:
        return None
    return Found("summarize", {"source": source, "target": target}, why)


def _answer(columns: Sequence[Column], given: Mapping[str, Column], asked: bool) -> Found | None:
    return _by_roles("answer", columns, given, "a passage, a question and an answer")


def _embed(columns: Sequence[Column], given: Mapping[str, Column], asked: bool) -> Found | None:
    found = _by_roles("embed", columns, given, "pairs of texts that belong together")
    if found is not None or not asked or given:
        return found
    texts = _texts(columns)
    if len(texts) < 2:
        return None
    return Found(
        "embed",
        {"passage": texts[1], "query": texts[0]},
        {"query": "the first text", "passage": "the second text"},
    )


def _by_roles(task: str, columns: Sequence[Column], given: Mapping[str, Column], why: str) -> Found | None:
    """A task whose every role has a column of a usual name."""
    known: dict[str, Column] = {}
    for role in ROLES[task]:
        usual = "found" if (task, role) == ("embed", "passage") else role
        column = given.get(role) or _by_name(columns, usual, [*known.values(), *given.values()])
        if column is None:
            return None
        known[role] = column
    return Found(task, known, {"task": why} | {role: "its name" for role in ROLES[task] if role not in given})


def _tag(columns: Sequence[Column], given: Mapping[str, Column], asked: bool) -> Found | None:
    tags = given.get("tags")
    text = given.get("text")
    if tags is None:
        there = [c for c in columns if c is not text and _looks_tagged(c)]
        tags = _by_name(there, "tags") or (there[0] if there else None)
    if tags is None:
        return None
    count = [len(value.split()) for value in tags.texts]
    if text is None:
        fitting = [c for c in columns if c is not tags and [len(t.split()) for t in c.texts] == count]
        text = _by_name(fitting, "words") or (fitting[0] if fitting else None)
    if text is None:
        return None
    kinds = sorted({tag for value in tags.texts[:200] for tag in value.split()})
    return Found(
        "tag",
        {"text": text, "tags": tags},
        {
            "task": "a tag for each word",
            "text": "as many words as tags",
            "tags": f"tags such as {', '.join(kinds[:4])}",
        },
    )


def _looks_tagged(column: Column) -> bool:
    """Whether most words of a column are O, or begin as tags do."""
    words = [word for text in column.texts[:200] for word in text.split()]
    return len(words) > len(column.texts[:200]) and all(
        word == "O" or word.startswith(BEGINNINGS) for word in words[:200]
    )


def _generate(columns: Sequence[Column], given: Mapping[str, Column], asked: bool) -> Found | None:
    text = given.get("text")
    why = {"task": "texts, and nothing that is said of them"}
    if text is None:
        text, why["text"] = _text(columns, ())
    return None if text is None else Found("generate", {"text": text}, why)


ROLES: Mapping[str, tuple[str, ...]] = {
    "tag": ("text", "tags"),
    "answer": ("passage", "question", "answer"),
    "translate": ("source", "target"),
    "classify": ("text", "label"),
    "regress": ("text", "label"),
    "summarize": ("source", "target"),
    "embed": ("passage", "query"),
    "chat": ("text",),
    "generate": ("text",),
}
# In this order they are tried where no task was named.
FINDERS: Mapping[str, Finder] = {
    "tag": _tag,
    "answer": _answer,
    "translate": _translate,
    "regress": _regress,
    "classify": _classify,
    "summarize": _summarize,
    "embed": _embed,
    "generate": _generate,
}
