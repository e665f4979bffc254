"""What a corpus report says of labels: spellings of one label, and records that contradict each other."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Any

from textmill.specs.corpus import RecordSpec
from textmill.text.cleaning.duplicates.exact import OTHER_LABEL
from textmill.text.document import Document, digest

_SHOWN = 20  # variants and places that are listed
_MOST = 100_000  # different labels that are compared; with more, they are no labels
_SPACES_OR_COMMAS = re.compile(r"[\s,，、]+")
_JOINTS = re.compile(r"[\s_\-‐-―]+")


class Labels:
    """Follows the labels of records as a corpus is written. Memory: some 150 bytes a record that has one."""

    def __init__(self, record: RecordSpec | None) -> None:
        self._name = record.label if record else None
        self._several = bool(record and record.multiple)
        self._spellings: dict[str, Counter[str]] = {}  # a label as it is compared -> as it is written
        self._said: dict[bytes, str] = {}  # hash of a record's texts -> its label
        self._contradictions, self._places = 0, list[str]()

    def keep(self, document: Document) -> None:
        """The next record that stays."""
        label = document.metadata.get(self._name) if self._name else None
        if label is None:
            return
        for one in _SPACES_OR_COMMAS.split(label) if self._several else (label,):
            key = compared(one)
            if key in self._spellings or len(self._spellings) < _MOST:
                self._spellings.setdefault(key, Counter())[one] += 1
        if self._said.setdefault(digest(document.texts), compared(label)) != compared(label):
            self._contradicts(document.source)

    def skip(self, place: str, reason: str) -> None:
        """The next record that does not."""
        if reason == OTHER_LABEL:
            self._contradicts(place)

    def _contradicts(self, place: str) -> None:
        self._contradictions += 1
        if len(self._places) < _SHOWN:
            self._places.append(place)

    def plain(self) -> dict[str, Any]:
        """`variants`: labels that differ only in how they are written; `contradictions`: how many records have the
        texts of another and not its label, and where the first are."""
        variants = [sorted(some) for _, some in sorted(self._spellings.items()) if len(some) > 1]
        return {
            "variants": variants[:_SHOWN],
            "contradictions": {"records": self._contradictions, "places": self._places},
        }


def compared(label: str) -> str:
    """A label without what may differ between spellings of one: case, width, white space and joints.

    >>> compared(" Very_Good") == compared("very good")
    True
    """
    return _JOINTS.sub(" ", unicodedata.normalize("NFKC", label)).strip().casefold()
