"""Messages in another language: templates matched, holes filled, what is a person's left alone."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.base import language
from textmill.base.errors import TextmillError
from textmill.base.language import Catalogue, chosen, padded, read, say, speaking

ENTRIES = {
    "train": "训练",
    "no such file": "没有这个文件",
    "kept {} of {} documents": "共 {1} 篇，保留 {0} 篇",
    "{} document{|s} forgotten": "已遗忘 {0} 篇",
    "{}: reading it again": "{0!t}：重新读取",
    "the run {} has a {}": "运行 {0} 有一个{1!t}",
    "checkpoint of step {}": "第 {0} 步的检查点",
    "{} of {}": " {0} / {1}",
    "wrote {}{}": "已写入{0!t}{1!t}",
    "must be {}{}": "必须是{0!t}{1}",
    "a number": "数字",
    "; to keep them, say so": "；若要保留，请说明",
    "{} to {}": "{0} 至 {1}",
    'leave {{ kind = "x" }} out': '去掉 {{ kind = "x" }}',
}


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(ENTRIES)


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("no such file", "没有这个文件"),
        ("must be a number", "必须是数字"),
        ("\n  no such file\n", "\n  没有这个文件\n"),
        ("kept 3 of 5 documents", "共 5 篇，保留 3 篇"),
        ("1 document forgotten", "已遗忘 1 篇"),
        ("2 documents forgotten", "已遗忘 2 篇"),
        ("a.txt: no such file", "a.txt：没有这个文件"),
        ("a.txt: no such file: reading it again", "a.txt：没有这个文件：重新读取"),
        ("no such file; kept 1 of 2 documents", "没有这个文件；共 2 篇，保留 1 篇"),
        ("the run train has a checkpoint of step 3", "运行 train 有一个第 3 步的检查点"),
        ('leave { kind = "x" } out', '去掉 { kind = "x" }'),
        ("the run a has a checkpoint of step 3; no such file", "运行 a 有一个第 3 步的检查点；没有这个文件"),
        ("wrote 3 of 4; to keep them, say so", "已写入 3 / 4；若要保留，请说明"),
        ("wrote them", "已写入 them"),
        ("no such file (kept 1 of 2 documents)", "没有这个文件（共 2 篇，保留 1 篇）"),
        ("a.txt: no such file (line 3 (of 4))", "a.txt：没有这个文件（line 3 (of 4)）"),
        ("no such file (a) or (b)", "no such file (a) or (b)"),
        ("checkpoint of step 3 (at end of document)", "第 3 (at end of document) 步的检查点"),  # of the hole
        ("what nobody translated", "what nobody translated"),
        ("3 of 4", "3 of 4"),  # too few words of ours to be known by them
    ],
)
def test_a_message_is_known_by_its_template(catalogue, english, chinese):
    assert catalogue.say(english) == chinese


def test_a_template_of_few_words_is_filled_by_name(catalogue):
    assert catalogue.fill("{} of {}", ("3", "4")) == " 3 / 4"
    assert language.fill("{} of {}", 3, 4) == "3 of 4"


def test_names_of_a_person_are_never_translated(catalogue):
    """A file that is called like a message of ours stays what it is, wherever it stands."""
    assert (
        catalogue.say("the run no such file has a checkpoint of step 3")
        == "运行 no such file 有一个第 3 步的检查点"
    )
    assert catalogue.say("kept train of no such file documents") == "共 no such file 篇，保留 train 篇"


@given(st.text(), st.text())
def test_holes_come_out_as_they_went_in(first, second):
    said = Catalogue({"before {} between {} after": "后{1}中{0}前"}).say(
        f"before {first} between {second} after"
    )
    if " between " not in first and " between " not in second:
        assert said == f"后{second}中{first}前"


@given(st.text())
def test_no_text_is_an_error(text):
    assert isinstance(Catalogue(ENTRIES).say(text), str)


def test_the_more_particular_template_wins():
    catalogue = Catalogue({"{} is here": "有 {0}", "the file {} is here": "有文件 {0}"})
    assert catalogue.say("the file a is here") == "有文件 a"


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({}, "en"),
        ({"TEXTMILL_LANG": "zh"}, "zh"),
        ({"TEXTMILL_LANG": "zh_CN"}, "zh"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LC_MESSAGES": "zh_TW.UTF-8", "LANG": "en_US.UTF-8"}, "zh"),
        ({"LC_ALL": "en_US.UTF-8", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"TEXTMILL_LANG": "en", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"TEXTMILL_LANG": "", "LANG": "zh_CN.UTF-8"}, "zh"),
        ({"TEXTMILL_LANG": "fr"}, "en"),
        ({"LANG": "C"}, "en"),
    ],
)
def test_the_language_is_the_variable_then_the_locale(monkeypatch, variables, language):
    for name in ("TEXTMILL_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert chosen() == language


def test_a_block_may_speak_another_language(monkeypatch):
    monkeypatch.setenv("TEXTMILL_LANG", "zh")
    with speaking("en"):
        assert chosen() == "en"
        assert say("no such file") == "no such file"
    assert chosen() == "zh"


def test_columns_of_wide_characters():
    assert padded("训练", 8) == "训练    "
    assert padded("train", 8) == "train   "
    assert padded("too long", 4) == "too long"


def test_an_error_in_english_is_as_it_was():
    error = TextmillError("is missing", where="a.txt", advice="make it")
    with speaking("en"):
        assert error.said() == str(error) == "a.txt: is missing; make it"


def test_a_po_file_is_read():
    text = '#: a.py\n#. {0} name\nmsgid "a {} \\"b\\""\nmsgstr "甲{0}"\n\nmsgid ""\n"long "\n"text"\nmsgstr ""\n"长"\n'
    assert read(text) == {'a {} "b"': "甲{0}", "long text": "长"}


def test_english_loads_no_catalogue():
    program = "from textmill.base import language; language.say('x'); print(language.catalogue.cache_info().currsize)"
    environment = {"TEXTMILL_LANG": "en", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0\n"
