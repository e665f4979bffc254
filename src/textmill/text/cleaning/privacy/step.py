"""The step that looks for personal data: redact, pseudonymise, reject, or only report.

It looks into every text and into metadata (the author of a mail, a column of a record), not into the names of files.
What is found in one text of a document is personal in its others too, where nothing may stand beside it that says so.
What was found is counted in the document's metadata, `personal`, such as `email:2 phone:1`. Kinds, forms and what
is not looked for (names and postal addresses of people): `text/cleaning/privacy/patterns.py`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from textmill.base.errors import RecipeError
from textmill.specs.cleaning import PersonalDataStep
from textmill.text.chats import CHAT
from textmill.text.cleaning.privacy.patterns import Found, find, placeholder
from textmill.text.cleaning.privacy.pseudonyms import pseudonym
from textmill.text.document import Document, Item, Step, read_counts, reject, rewritten, write_counts
from textmill.text.marks import MARKS

_ENVIRONMENT = "env:"


def personal_data(spec: PersonalDataStep) -> Step:
    """The step a recipe asks for. Raises RecipeError when the secret's environment variable is not set."""
    kinds = frozenset(spec.find)
    change = _change(spec)

    def step(items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if not isinstance(item, Document):
                yield item
                continue
            in_texts = _in_all(item.texts, kinds)
            in_metadata = {
                key: find("\n".join(_leaves(text)) if key == CHAT else text, kinds)
                for key, text in item.metadata.items()
                if key not in MARKS
            }
            counts = count(itertools.chain(*in_texts.values(), *in_metadata.values()))
            if not counts:
                yield item
            elif spec.action == "reject":
                yield reject(item, spec.kind, "holds personal data", write_counts(counts))
            else:
                changed = {
                    key: _changed(key, item.metadata[key], some, kinds, change)
                    for key, some in in_metadata.items()
                    if some
                }
                metadata = _merge({**item.metadata, **changed}, counts)
                texts = {role: change(text, in_texts[role]) for role, text in item.texts.items()}
                yield rewritten(replace(item, metadata=metadata), texts, spec.kind)

    return step


def _leaves(text: str) -> list[str]:
    """What people wrote in a JSON value: its texts and numbers, but no names of keys."""
    found: list[str] = []

    def note(leaf: str) -> str:
        found.append(leaf)
        return leaf

    _mapped(json.loads(text), note)
    return found


def _changed(
    key: str, text: str, found: list[Found], kinds: frozenset[str], change: Callable[[str, list[Found]], str]
) -> str:
    """Metadata with what was found in it changed; of JSON the texts and numbers, each by itself."""
    if key != CHAT:
        return change(text, found)
    value = _mapped(json.loads(text), lambda leaf: change(leaf, find(leaf, kinds)))
    return json.dumps(value, ensure_ascii=False)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with each text changed, and each number that changes as text."""
    if isinstance(value, dict):
        return {key: _mapped(below, change) for key, below in value.items()}
    if isinstance(value, list):
        return [_mapped(below, change) for below in value]
    if isinstance(value, str):
        return change(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        said = str(value)
        return value if change(said) == said else change(said)
    return value


def redact(text: str, kinds: frozenset[str]) -> str:
    """The text with every datum of these kinds replaced by its kind: [EMAIL]. A second time changes nothing."""
    return _redacted(text, find(text, kinds))


def _redacted(text: str, matches: list[Found]) -> str:
    return _replace(text, matches, lambda item: placeholder(item.kind))


def pseudonymise(text: str, kinds: frozenset[str], secret: str) -> str:
    """The text with every datum of these kinds replaced by a made-up one (see `pseudonyms`)."""
    return _replace(
        text, find(text, kinds), lambda item: pseudonym(item.kind, text[item.start : item.end], secret)
    )


def excerpt(text: str, most: int) -> str:
    """The beginning of a text that is shown to people: `most` characters at most, without personal data of any kind.

    >>> excerpt("Write to jane.roe@example.org", 18)
    'Write to [EMAIL]'
    """
    head = text[: most + (_LONGEST_KEY if "-----BEGIN" in text[:most] else _LONGEST)]
    pieces, at, size = [], 0, 0
    for item in [*find(head), None]:  # what may be cut off where `head` ends begins behind what is shown
        piece = head[at : item.start if item else None][: most - size]
        pieces.append(piece)
        size += len(piece)
        if item is None or size >= most:
            break
        pieces.append(placeholder(item.kind))
        size, at = size + item.end - item.start, item.end
    return "".join(pieces)


_LONGEST, _LONGEST_KEY = 1000, 20_000  # characters of a datum, and of a private key with its fences


def count(matches: Iterable[Found]) -> dict[str, int]:
    """How many of each kind."""
    return dict(Counter(item.kind for item in matches))


def _in_all(texts: Mapping[str, str], kinds: frozenset[str]) -> dict[str, list[Found]]:
    """What is found in each text, and what was found in another one wherever it stands by itself."""
    matches = {role: find(text, kinds) for role, text in texts.items()}
    if len(texts) == 1 or not any(matches.values()):
        return matches
    known = {texts[role][item.start : item.end]: item.kind for role, some in matches.items() for item in some}
    longest_first = "|".join(map(re.escape, sorted(known, key=len, reverse=True)))
    again = re.compile(rf"(?<![^\W_])(?:{longest_first})(?![^\W_])")
    for role, text in texts.items():
        there = matches[role]
        more = [Found(known[match[0]], *match.span()) for match in again.finditer(text)]
        more = [item for item in more if all(item.end <= o.start or o.end <= item.start for o in there)]
        matches[role] = sorted([*there, *more], key=lambda item: item.start)
    return matches


def _merge(metadata: Mapping[str, str], counts: dict[str, int]) -> dict[str, str]:
    """Metadata with these counts; of what an earlier step found, the larger number stays."""
    before = read_counts(metadata.get("personal", ""))
    merged = {kind: max(before.get(kind, 0), counts.get(kind, 0)) for kind in before.keys() | counts.keys()}
    return {**metadata, "personal": write_counts(merged)}


def _replace(text: str, matches: list[Found], by: Callable[[Found], str]) -> str:
    pieces, at = [], 0
    for item in matches:
        pieces += [text[at : item.start], by(item)]
        at = item.end
    return "".join([*pieces, text[at:]])


def _change(spec: PersonalDataStep) -> Callable[[str, list[Found]], str]:
    """What happens to a text in which something was found."""
    if spec.action == "redact":
        return _redacted
    if spec.action == "pseudonymise":
        secret = _secret(spec.secret)
        return lambda text, matches: _replace(
            text, matches, lambda item: pseudonym(item.kind, text[item.start : item.end], secret)
        )
    return lambda text, matches: text


def secret_id(spec: PersonalDataStep) -> str:
    """What tells one secret from another without giving it away; empty where none is used. Raises as the step does."""
    if spec.action != "pseudonymise":
        return ""
    return hashlib.blake2b(_secret(spec.secret).encode(), digest_size=8, person=b"textmill").hexdigest()


def _secret(secret: str) -> str:
    if not secret.startswith(_ENVIRONMENT):
        return secret
    name = secret.removeprefix(_ENVIRONMENT)
    if not os.environ.get(name):
        raise RecipeError(
            f"the environment variable {name} is not set", where="secret", advice=f"export {name}=..."
        )
    return os.environ[name]
