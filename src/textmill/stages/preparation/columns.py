"""What the columns of some records are like: how long their values are, how many different ones, in which script, and
what people call such columns. Plain counting over values; nothing is read here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from textmill.text import scripts
from textmill.text.cleaning.stop_words import STOP_WORDS
from textmill.text.sources.formats.records import USUAL, said

_LOOKED_AT = 500  # values by which words and scripts are told
_LONGEST = 5000  # characters of a value in which words are looked for
_SHORT = 40  # characters of a label, or of the name of a column
_MOST_LABELS = 150
_HANZI = 0.3  # share of the letters from which a column is Chinese
_ENGLISH = 0.25  # share of the words that are English function words, from which it is English
_WORDS = re.compile(rf"[{scripts.HANZI}]|[^\W_]+(?:['’][^\W_]+)*")
_LIKE_A_NAME = re.compile(r"[^\W\d][\w \-/()#]*(?:\.\w+)*")
_ENOUGH = 10  # rows from which a first row that is unlike them all is believed to be a header
_LANGUAGES = """
ar arabic bg cs czech da danish de deu deutsch german el en eng english es spanish fa fi finnish fr fra french he hi
hindi hu id it italian ja jp japanese ko kr korean nl dutch no pl polish pt portuguese ro ru russian sk sv swedish th tr
turkish uk ukrainian vi vietnamese zh zh_cn zho cn chinese 中文 英文 德文 法文 日文 英语 汉语 德语 法语 日语 韩语
"""
# Role -> what people call the column of it, the likeliest first, in lower case and with `_` for blanks and dashes.
NAMES: Mapping[str, tuple[str, ...]] = {
    role: tuple(names.split())
    for role, names in {
        "label": "label labels class category categories topic topics sentiment polarity intent gold gold_label stars "
        "rating emotion 标签 类别 分类 情感 主题 意图 评分 星级 label_text label_name",
        "number": "score rating similarity value number price grade 分数 得分 评分 相似度 target label",
        "text": " ".join(
            [
                "text",
                "sentence",
                *sorted(USUAL),
                "headline",
                "title",
                "utterance",
                "标题",
                "评论",
                "comment_text",
            ]
        ),
        "first": "sentence1 text1 text_a premise sentence_a question1 s1 first 前提 句子1 文本1",
        "second": "sentence2 text2 text_b hypothesis sentence_b question2 s2 second 假设 句子2 文本2",
        "source": "source src source_text src_text original input 原文 源文",
        "target": "target tgt trg target_text tgt_text translation output 译文 翻译 目标",
        "document": "document article abstract dialogue text body content source passage story 正文 文章 内容 摘要",
        "summary": "summary summaries highlights tldr headline target abstract title 摘要 概要 总结 标题",
        "passage": "passage context paragraph 篇章 段落 上下文 文章",
        "question": "question query 问题 提问",
        "answer": "answer answers answer_text 答案 回答",
        "tags": "tags ner_tags tag labels bio ner pos_tags 标注 标记",
        "words": "tokens words token word text sentence 词 分词",
        "query": "query question anchor sentence1 问题 查询",
        "found": "passage positive context document pos sentence2 段落 正例 文档",
    }.items()
}


def plain(name: Any) -> str:
    """A column's name as the lists above have it."""
    return re.sub(r"[\s\-]+", "_", str(name).strip().lower())


def is_language(name: Any) -> bool:
    """Whether a column is called by a language: `en`, `de_text`, `中文`."""
    parts = [plain(name), *plain(name).split("_")]
    return any(part in _LANGUAGE_NAMES for part in parts[:2])


_LANGUAGE_NAMES = frozenset(_LANGUAGES.split())


@dataclass(frozen=True)
class Column:
    """The values of a column, None where a record has none; `name` is what a recipe calls it, or its number."""

    name: str | int
    values: tuple[Any, ...]

    @cached_property
    def texts(self) -> list[str]:
        """Its values as text, lists of words or sentences with spaces; without those that are missing or blank."""
        return [text for value in self.values if (text := _as_text(value)).strip()]

    @property
    def filled(self) -> float:
        """Share of the records that have a value."""
        return len(self.texts) / max(1, len(self.values))

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each of its values stands there."""
        return Counter(self.texts)

    @cached_property
    def lengths(self) -> np.ndarray:
        """(n,) characters of each value."""
        return np.array([len(text) for text in self.texts] or [0])

    @property
    def characters(self) -> float:
        """Mean length of its values, in characters."""
        return float(self.lengths.mean())

    @cached_property
    def letters(self) -> Counter[str]:
        """Letters by script."""
        return sum((scripts.count(text[:_LONGEST]) for text in self.texts[:_LOOKED_AT]), Counter())

    @property
    def script(self) -> str:
        """The script of most of its letters; empty where it has none. Chinese text is full of Latin names, so hanzi
        need no majority."""
        total = sum(self.letters.values())
        if not total:
            return ""
        return "hanzi" if self.letters["hanzi"] > _HANZI * total else self.letters.most_common(1)[0][0]

    @cached_property
    def words(self) -> list[frozenset[str]]:
        """The different words of each of the first values, hanzi one by one."""
        return [frozenset(_words_of(text)) for text in self.texts[:_LOOKED_AT]]

    @property
    def english(self) -> bool:
        """Whether this reads as English: a good part of its words are English function words."""
        found = [word for text in self.texts[:_LOOKED_AT] for word in _words_of(text)]
        return bool(found) and sum(word in STOP_WORDS["en"] for word in found) > _ENGLISH * len(found)

    @cached_property
    def numbers(self) -> np.ndarray | None:
        """(n,) its values as numbers; None where one is none."""
        try:
            found = np.array([float(text) for text in self.texts])
        except ValueError:
            return None
        return found if len(found) and np.isfinite(found).all() else None

    @property
    def listed(self) -> bool:
        """Whether its values are lists."""
        there = [value for value in self.values if value is not None]
        return bool(there) and all(isinstance(value, list) for value in there)

    @property
    def counted(self) -> bool:
        """Whether it numbers the records: an id, which says nothing."""
        if plain(self.name) in ("id", "index", "idx", "uid", "uuid", "序号", "编号"):
            return True
        numbers = self.numbers
        return (
            numbers is not None
            and len(numbers) > 3
            and bool((np.diff(numbers) > 0).all())
            and bool((numbers == numbers.round()).all())
        )

    @property
    def is_text(self) -> bool:
        """Whether its values are texts: mostly there, mostly different, and no numbers."""
        if self.filled < 0.5 or self.numbers is not None or not self.letters:
            return False
        return len(self.counts) > len(self.texts) / 2 and self.characters >= 2

    @property
    def is_label(self) -> bool:
        """Whether its values are few, short and come again."""
        if self.filled < 0.9 or self.counted:
            return False
        most = min(_MOST_LABELS, max(2, len(self.texts) // 5))
        return 2 <= len(self.labels) <= most and max(map(len, self.labels)) <= _SHORT and len(self.texts) > 3

    @property
    def labels(self) -> list[str]:
        """Its different values, those in lists one by one."""
        if self.listed:
            return sorted({part for value in self.values for part in value or () if isinstance(part, str)})
        return sorted(self.counts)

    def place(self, role: str) -> int | None:
        """How likely its name is for a role: 0 is the likeliest; None: not at all."""
        name = plain(self.name)
        return NAMES[role].index(name) if name in NAMES[role] else None


def _words_of(text: str) -> list[str]:
    return _WORDS.findall(text[:_LONGEST].lower())


def _as_text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return " ".join(value)
    return said(value) or ""


def columns_of(records: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns of records, in the order in which they first come; those that hold records of their own are left
    out."""
    names = dict.fromkeys(str(name) for record in records for name in record)
    found = [Column(name, tuple(record.get(name) for record in records)) for name in names]
    return [column for column in found if not any(isinstance(value, dict) for value in column.values)]


def is_header(rows: Sequence[Sequence[Any]]) -> bool:
    """Whether the first row of a table names its columns: its cells look like names, and one of them is a name that
    people use, or stands where there are only numbers below it, or where a few values come again and again.

    >>> is_header([["text", "label"], ["A fine mill.", "good"]])
    True
    >>> is_header([["Fine.", "good"], ["Dull.", "bad"], ["So fine.", "good"]])
    False
    """
    if len(rows) < 2:
        return False
    first, below = [str(cell or "").strip() for cell in rows[0]], rows[1:]
    named = [cell for cell in first if cell]
    if not named or not all(len(cell) <= _SHORT and _LIKE_A_NAME.fullmatch(cell) for cell in named):
        return False
    if len(set(map(plain, named))) < len(named) or len(named) < len(first) - 1:
        return False
    beneath = [
        Column(number, tuple(row[number] if number < len(row) else None for row in below))
        for number in range(len(first))
    ]
    usual = {name for names in NAMES.values() for name in names} | _LANGUAGE_NAMES
    for cell, column in zip(first, beneath, strict=True):
        if not cell or cell in column.counts:
            continue
        if plain(cell) in usual or (
            len(below) >= _ENOUGH and (column.numbers is not None or column.is_label)
        ):
            return True
    return False


def alike(first: Column, second: Column) -> float:
    """Mean share of the words of the second that the first has, record by record, from 0 to 1."""
    shares = [len(a & b) / len(b) for a, b in zip(_words(first), _words(second), strict=True) if b]
    return float(np.mean(shares)) if shares else 0.0


def proportional(first: Column, second: Column) -> float:
    """Correlation of the lengths of two columns, record by record: near 1 for translations of each other."""
    pairs = np.array(
        [[len(_as_text(a)), len(_as_text(b))] for a, b in zip(first.values, second.values, strict=True)]
    )
    pairs = pairs[(pairs > 0).all(axis=1)]
    if len(pairs) < 5 or (pairs.std(axis=0) == 0).any():
        return 0.0
    return float(np.corrcoef(np.log(pairs.T))[0, 1])


def _words(column: Column) -> Iterable[frozenset[str]]:
    return [frozenset(_words_of(_as_text(value))) for value in column.values[:_LOOKED_AT]]
