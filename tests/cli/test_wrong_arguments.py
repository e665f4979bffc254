"""Whatever is wrong with a command line, it ends in a message: never in a traceback.

The lines are made from the commands themselves: for every command a line that is right, and then one parameter after
the other takes every hostile value of its type. A new command or option is tried without being named here; only a
parameter with a new name and no default needs a value that is right.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator

import pytest

from conftest import RECIPE, make_texts
from helpers.commands import Said, call, commands

LONG = "x" * 300
PATHS = ["nowhere/at/all", ".", "", LONG, f"{LONG}/y", "/proc/nowhere/x", "notes.txt/x", "bytes.bin", "/dev/null", "broken", "\udcff\udcfe", "[bold]☃"]
NUMBERS = ["-1", "0", "nan", "inf", "-inf", "1e999", "9" * 25, "1.5", "", "many"]
WORDS = ["", "nonsense", LONG, "\udcff", "[/bold] \x1b[2J", "-"]
SETTINGS = ["", "a", "=", "name=", "name='../x'", f"name='{LONG}'", "training.steps=nan", "training.steps=-1", f"training.steps={'9' * 25}",
    "corpus.sources=[]", "corpus.sources=[{kind='files', paths=['a\\u0000b']}]", "model=3", "corpus.steps=[{kind='x'}]"]
RIGHT = {
    "target": "tiny", "recipe": "tiny.toml", "name": "tiny", "first": "tiny", "second": "tiny", "models": "tiny",
    "names": "tiny", "svg": "new.svg", "out": "new", "step": "1", "text": "mill", "documents": "000.txt",
    "files": "notes.txt", "source": "model", "form": "gguf", "path": "new.out", "like": "tiny", "prompt": "the", "message": "hi",
}
ALONE = {"recipe new": {"path": "new.toml"}, "import": {"target": "new"}, "ngram import": {"path": "notes.txt"},
    "forget": {"dry_run": True}, "generate": {"tokens": "3"}, "chat": {"message": "hi"}, "lineage": {"path": "tiny"}, "quickstart": {"minutes": "0.05", "corpus": "nowhere"}}


def hostile(parameter) -> list[str]:
    """Values that may be wrong for a parameter, by what it is."""
    kind = str(parameter.type_descriptor.annotation).lower()
    if parameter.name == "set_":
        return SETTINGS
    if "int" in kind or "float" in kind:
        return NUMBERS
    return [*PATHS, *WORDS]


def lines(command: str) -> Iterator[list[str]]:
    """Command lines, each with one value that is hostile."""
    parameters = [parameter for parameter in commands()[command].params if parameter.name not in ("help", "json", "quiet")]
    right = {parameter.name: str(given) for parameter in parameters if (given := ALONE.get(command, {}).get(parameter.name, RIGHT.get(parameter.name) if parameter.required or parameter.param_type_name == "argument" else None))}
    yield line(command, parameters, right)
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            yield line(command, parameters, right | {parameter.name: True})
            continue
        for value in hostile(parameter):
            yield line(command, parameters, right | {parameter.name: value})


def line(command: str, parameters, values) -> list[str]:
    options, arguments = [], []
    for parameter in parameters:
        if parameter.name not in values:
            continue
        value = values[parameter.name]
        if parameter.param_type_name == "argument":
            arguments.append(value)
        elif value is True or value == "True":
            options.append(parameter.opts[0])
        else:
            options.append(f"{parameter.opts[0]}={value}" if parameter.opts[0].startswith("--") else value)
    return [*command.split(), *options, "--", *arguments]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A workspace with a run that is published, a broken one, and some files."""
    folder = tmp_path_factory.mktemp("place")
    make_texts(folder / "texts", 40)
    (folder / "tiny.toml").write_text(RECIPE.format(texts="texts"))
    (folder / "notes.txt").write_text("the mill turns\n")
    (folder / "bytes.bin").write_bytes(bytes(range(128, 256)) * 9)
    before = os.getcwd()
    os.chdir(folder)
    sys.modules["transformers"] = None
    said = call(["run", "tiny.toml"])
    assert said.code == 0, said.err
    shutil.copytree(folder / "work/runs/tiny/model", folder / "model")
    broken = folder / "work/runs/broken"
    broken.mkdir()
    (broken / "recipe.toml").write_text("name = [")
    yield folder
    os.chdir(before)
    del sys.modules["transformers"]


def test_x(place):
    for command in os.environ.get("ONLY", "").split(",") if os.environ.get("ONLY") else commands():
        n = 0
        began0 = time.monotonic()
        for arguments in lines(command):
            n += 1
            began = time.monotonic()
            said = call(arguments, seconds=20)
            took = time.monotonic() - began
            if "Traceback" in said.err or said.code not in (0, 1, 2) or took > 4 or (said.code and not said.err.strip()):
                print("BAD", [a[:60] for a in arguments], said.code, round(took, 1), said.err[-900:].encode("ascii","replace"), flush=True)
        print("DONE", command, n, round(time.monotonic() - began0, 1), flush=True)
