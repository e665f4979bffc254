"""The Chinese catalogue is whole: every message has an entry, no entry is stale, and terms are used alike."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache

import pytest

from helpers.templates import Program, Template, form_of
from textmill.base import language
from textmill.base.language import CATALOGUE, catalogue, holes, read

ZH = CATALOGUE / "zh"
FILES = sorted(ZH.glob("*.po"))
LIBRARIES = "typer"  # entries for what libraries say, which no source of ours holds
NAMES = "names"  # words that stand for values in tables, wherever they are made

# English term -> what its translation holds; each a whole word, in the singular or the plural.
GLOSSARY = {
    "token": "词元",
    "tokenizer": "分词器",
    "checkpoint": "检查点",
    "corpus": "语料",
    "recipe": "配方",
    "vocabulary": "词表",
    "learning rate": "学习率",
    "perplexity": "困惑度",
}


@cache
def program() -> Program:
    return Program()


@cache
def templates() -> dict[str, Template]:
    return program().templates()


@cache
def words() -> set[str]:
    """Every text that stands in the program by itself, and every template."""
    nodes = [node for module in program().modules for node in module.nodes]
    constants = (node.value for node in nodes if isinstance(node, ast.Constant))
    forms = (form_of(node) for node in nodes if isinstance(node, ast.JoinedStr))
    return {text for text in constants if isinstance(text, str)} | {*forms}


@cache
def entries() -> dict[str, str]:
    return catalogue("zh").entries


def test_every_message_has_a_chinese_entry():
    missing = [
        f"{template.places[0]}: {text}" for text, template in templates().items() if text not in entries()
    ]
    assert not missing, (
        f"{len(missing)} messages lack an entry in src/textmill/base/catalogue/zh (run `python "
        f"tests/helpers/templates.py` for a form to fill in):\n" + "\n".join(missing[:40])
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_entry_is_stale(path):
    if path.stem == LIBRARIES:
        return
    known = words() if path.stem == NAMES else templates()
    stale = [text for text in read(path.read_text(encoding="utf-8")) if text not in known]
    assert not stale, "no message of the program is:\n" + "\n".join(stale)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_read_whole(path):
    text = path.read_text(encoding="utf-8")
    assert len(re.findall(r"^msgid ", text, re.MULTILINE)) == len(read(text)), (
        "a message stands twice, or lacks its translation"
    )


def test_an_english_text_has_one_translation():
    found = Counter(text for path in FILES for text in read(path.read_text(encoding="utf-8")))
    assert [text for text, number in found.items() if number > 1] == []


def test_holes_are_those_of_the_english():
    """Each hole stands once in the translation; those that hold messages of ours are marked so."""
    wrong = []
    for english, chinese in entries().items():
        number = sum(1 for _ in re.finditer(r"(?<!\{)\{\}", english.replace("{{", "").replace("}}", "")))
        numbers = [int(hole.removesuffix("!t")) for hole in holes(chinese)]
        if sorted(numbers) != list(range(number)):
            wrong.append(f"{english} -> {chinese}")
            continue
        template = templates().get(english)
        marked = {int(hole.removesuffix("!t")) for hole in holes(chinese) if hole.endswith("!t")}
        if template and not template.ours <= marked:
            wrong.append(
                f"{english} -> {chinese}: {sorted(template.ours - marked)} hold messages: write {{n!t}}"
            )
    assert not wrong, "\n".join(wrong)


def test_markup_commands_and_options_are_kept():
    """What is typed as it stands, and the marks of the screen, are the same in both."""
    kept = re.compile(
        r"\[/?(?:dim|bold|red|green|yellow|bold red)\]|--[a-z][a-z-]+|`[^`{}]*`|[a-z_]+\.[a-z_]+(?= = )"
    )
    wrong = [
        f"{english} -> {chinese}"
        for english, chinese in entries().items()
        if Counter(kept.findall(english)) - Counter(kept.findall(chinese))
    ]
    assert not wrong, "\n".join(wrong)


def test_terms_are_used_alike():
    wrong = []
    for english, chinese in entries().items():
        words = re.sub(r"`[^`]*`|[\w-]*[._]\w+|--[\w-]+|\[\w+\]", " ", english.lower())
        for term, meant in GLOSSARY.items():
            if re.search(rf"(?<![\w-]){term}s?(?![\w-])", words) and meant not in chinese:
                wrong.append(f"{term} is {meant}: {english} -> {chinese}")
    assert not wrong, "\n".join(wrong)


def test_punctuation_is_chinese():
    """Sentences have full-width punctuation, and Chinese and Latin words a space between them."""
    wrong = []
    for english, chinese in entries().items():
        text = re.sub(r"`[^`]*`|\{[^{}]*\}|\"[^\"]*\"|\[[^\]]*\]", "0", chinese)
        if re.search(r"[一-鿿][,;:?!](?:\s|$)|[一-鿿]\.(?:\s|$)|[一-鿿][A-Za-z]|[A-Za-z][一-鿿]", text):
            wrong.append(f"{english} -> {chinese}")
    assert not wrong, "\n".join(wrong)


def test_a_message_is_found_by_its_own_entry():
    """No other template takes a message away: filled with names, each gives its own translation."""
    wrong = []
    known = catalogue("zh")
    for english, chinese in entries().items():
        for literals in language.forms(english):
            text = (
                "".join(f"{literal}<{number}>" for number, literal in enumerate(literals[:-1])) + literals[-1]
            )
            if sum(map(str.isalpha, "".join(literals))) < 5 or len(literals) == 1:
                continue
            values = tuple(f"<{number}>" for number in range(len(literals) - 1))
            meant = language.filled(chinese, values, str)
            if known.say(text) != meant:
                wrong.append(f"{text} -> {known.say(text)}, not {meant}")
    assert not wrong, "\n".join(wrong)
