"""Words with a space between them, for models of words: what segments Chinese, and what splits off punctuation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from textmill.base.errors import RecipeError
from textmill.specs.cleaning import SegmentStep
from textmill.text.document import Document, Item, Step, rewritten

Words = Callable[[str], Iterable[str]]  # of a line


def segment(spec: SegmentStep) -> Step:
    """The step a recipe asks for. Lines stay lines, and within them one space stands between two words.

    Metadata `segmented` says who did it, and a document that has it is left as it is: segmenting the words found
    once more, each without its neighbours, might split them further.
    Raises RecipeError when the library asked for is not installed.
    """
    words_of = _SEGMENTERS[spec.by]()

    def step(items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Document) and "segmented" not in item.metadata:
                words = words_of(item.metadata.get("language", ""))
                texts = {role: _segmented(text, words) for role, text in item.texts.items()}
                marked = replace(item, metadata={**item.metadata, "segmented": spec.by})
                yield rewritten(marked, texts, spec.kind)
            else:
                yield item

    return step


def _segmented(text: str, words: Words) -> str:
    return "\n".join([" ".join("\t".join(words(line)).split()) for line in text.split("\n")])


def _whitespace() -> Callable[[str], Words]:
    return lambda language: str.split


def _rjieba() -> Callable[[str], Words]:
    try:
        import rjieba
    except ImportError as error:
        raise _missing("rjieba", "textmill[zh]") from error
    return lambda language: rjieba.cut


def _nltk() -> Callable[[str], Words]:
    """The Treebank rules as NLTK extends them: they need none of its data files."""
    try:
        from nltk.tokenize import NLTKWordTokenizer
    except ImportError as error:
        raise _missing("nltk", "nltk") from error
    spans = NLTKWordTokenizer().span_tokenize  # of the text itself: `tokenize` writes other quotation marks
    return lambda language: lambda line: [line[start:end] for start, end in spans(line)]


def _spacy() -> Callable[[str], Words]:
    """The rules of the document's language (metadata `language`), English where it is not known: no model is needed."""
    try:
        import spacy  # type: ignore[import-not-found]  # no extra brings it
    except ImportError as error:
        raise _missing("spacy", "spacy") from error

    @cache
    def tokenizer(language: str) -> Any:
        try:
            return spacy.blank(language).tokenizer
        except ImportError:  # a code it has no rules for, or rules that want another library
            return spacy.blank("xx").tokenizer

    def words_of(language: str) -> Words:
        tokenize = tokenizer(language if language not in ("", "und") else "en")
        return lambda line: [token.text for token in tokenize(line)]

    return words_of


def _missing(name: str, install: str) -> RecipeError:
    return RecipeError(f"{name} is not installed", where="segment.by", advice=f"pip install '{install}'")


# Who finds the words -> a function from a language to a function from a line to its words.
_SEGMENTERS: dict[str, Callable[[], Callable[[str], Words]]] = {
    "whitespace": _whitespace,
    "rjieba": _rjieba,
    "nltk": _nltk,
    "spacy": _spacy,
}
