"""Examples in `--help`: every command has some, and each is a line that the command takes."""

from __future__ import annotations

import importlib.util
import itertools
import json
import shlex
import shutil
import sys
import zlib

import pytest

from conftest import RECIPE, make_texts
from helpers.commands import ROOT, call, commands, walk
from textmill.cli import examples

LINES = [(name, line) for name, lines in examples.EXAMPLES.items() for line in lines]
GROUPS = {" ".join(words) for words, _ in walk()} - set(commands())
WIDTH = 76  # what a panel leaves of 80 columns


def test_every_command_has_examples_and_no_other():
    assert set(commands()) <= set(examples.EXAMPLES) <= set(commands()) | GROUPS


def words_of(line: str) -> list[str]:
    """The words after `textmill` of a line of a shell, up to what the shell makes of its streams."""
    words = list(itertools.takewhile(lambda word: word not in ("<", ">", "|"), shlex.split(line)))
    return words[words.index("textmill") + 1 :]


def parsed(line: str) -> tuple[str, dict]:
    """The command that a line of a shell calls, and its parameters, as typer reads them."""
    words = words_of(line)
    context = ROOT.make_context("textmill", words)
    while hasattr(context.command, "commands"):
        rest = [*context._protected_args, *context.args]
        if not rest:
            break
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return context.command_path.partition(" ")[2], context.params


@pytest.mark.parametrize(("name", "line"), LINES)
def test_each_example_parses(name, line):
    command, _ = parsed(line)
    assert command == name or name in GROUPS  # whose examples go on with other commands
    assert len(line) <= WIDTH


def test_a_wrong_example_does_not_parse():
    with pytest.raises(Exception, match="No such option"):
        parsed("textmill train mine.toml --stpes 3")


@pytest.mark.parametrize("words", [words for words, _ in walk()], ids=" ".join)
def test_help_shows_them(words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = call([*words, "--help"])
    assert said.code == 0
    below = said.out.partition("Examples")[2]
    wanted = examples.EXAMPLES.get(" ".join(words)) or [f"textmill {' '.join(words)} "]
    for line in wanted:
        assert line in below


# What takes minutes, the network or several processes. The lines of `textmill --help` are those of commands, too.
ELSEWHERE = ("quickstart", "minutes", "--remote", "torchrun", "models get", "smollm2")


@pytest.mark.slow
def test_each_example_works(tmp_path, monkeypatch):
    """All of them one after the other, in a folder that has what they name; those that begin a recipe, in one of their
    own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setenv("TEXTMILL_MODELS", str(tmp_path / "models"))
    make_texts(tmp_path / "notes", 60)
    letter = "Dear miller, the wheel turns slowly and the water is low; send flour before winter comes.\n"
    for name in (
        "notes/letter.txt",
        "letter.txt",
        "prompt.txt",
        "answer.txt",
        "questions.txt",
        "sentences.txt",
    ):
        (tmp_path / name).write_text(letter)
    (tmp_path / "questions.jsonl").write_text(json.dumps({"text": letter}) + "\n")
    (tmp_path / "answers.csv").write_text(f"text\n{json.dumps(letter.strip())}\n")
    (tmp_path / "mine.toml").write_text(
        RECIPE.format(texts="notes").replace("tiny", "mine").replace("context = 32", "context = 128")
    )
    (tmp_path / "downloads").mkdir()

    def done(*words: str, given: str = "") -> None:
        said = call(list(words), given=given)
        assert said.code == 0, f"{words}\n{said.out}\n{said.err}"

    done("run", "mine.toml")
    done("run", "mine.toml", "--set", "name=other", "--set", "seed=3")
    done(
        "run",
        "mine.toml",
        "--set",
        "name=counts",
        "--set",
        "model={kind='ngram'}",
        "--set",
        "evaluation.samples=[]",
    )
    done("ngram", "export", "counts", "words.arpa")
    done("export", "mine", "gguf", "downloads/model.gguf")
    shutil.copytree(tmp_path / "work/runs/mine/model", tmp_path / "downloads/gpt2")
    for name, line in LINES:
        if (
            not name
            or any(word in line for word in ELSEWHERE)
            or ("onnx" in line and not importlib.util.find_spec("onnxscript"))
        ):
            continue
        given = (tmp_path / line.partition("< ")[2]).read_text() if "<" in line else ""
        if name == "recipe new":
            folder = tmp_path / f"new-{zlib.crc32(line.encode())}"
            folder.mkdir()
            shutil.copytree(tmp_path / "notes", folder / "notes")
            monkeypatch.chdir(folder)
        done(*words_of(line.replace("2000", "30")), given=given)
        monkeypatch.chdir(tmp_path)
