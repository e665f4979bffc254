"""The commands and programs of the pages are true: they run, in order, in an empty folder, and print what a page shows.

The `textmill` and `python` of the pages are forks of one warm process; a slow test runs the first tutorial as a user
would. What several pages begin with runs once, and each goes on in a copy of what came of it.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for kind in ("tutorials", "how-to", "reference")
    for page in sorted((ROOT / "docs" / kind).glob("*.md"))
]
# Pages that end in a model that has learned its task, and what makes them short; the slow tests run them whole.
LONG = {"reversing": ("steps = 600", "steps = 20"), "tang-poems": ("steps = 1200", "steps = 20")}
# Pages on what the families' and the models' own tests prove, too, and long ones whose short form proves little.
SLOW = {"choices", "families", "ngram", "recurrent", "reversing", "tang-poems", "first-model", "adapters"}
SLOW |= {
    "keras",
    "preferences",
    "resume-compare-publish",
    "chat",
    "serve",
    "use-a-service",
    "prompting",
    "decoding",
    "fine-tune",
    "embed",
    "scores",
    "forget",
}
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# What a page shows of what is printed, and is the same every time but for numbers. `…` stands for lines left out.
SHOWN = re.compile(r"^```text\n(.*?)^```", re.DOTALL | re.MULTILINE)


def commands(path):
    """What a page tells to run; Python with no command in between is one program."""
    blocks = BLOCK.findall(path.read_text(encoding="utf-8"))
    for language, group in itertools.groupby(blocks, key=lambda block: block[0]):
        code = "".join(block for _, block in group)
        yield code if language == "bash" else f"python - <<'PROGRAM'\n{code}PROGRAM"


def loosely(line):
    """A printed line without what differs from run to run: numbers, signs of them, and how wide columns are.

    >>> loosely("accuracy    0.950   0.900 to 1.000")
    'accuracy # # to #'
    """
    return " ".join(re.sub(r"[-+]?\d[\d,.]*(?:e-?\d+)?", "#", line).split())


def not_printed(path, printed):
    """The lines that a page shows and that were not printed."""
    lines = {loosely(line) for line in printed.splitlines()}
    shown = [line for block in SHOWN.findall(path.read_text(encoding="utf-8")) for line in block.splitlines()]
    return [line for line in shown if line.strip() not in ("", "…") and loosely(line) not in lines]


def poems(folder):
    """What a reader of the page on poems brings along: verses of five or of seven characters, made up."""
    chance = random.Random(0)
    first, second, third = "春秋江山風月花雲", "來去明寒深高清遠", "人心客夢歌酒舟馬樓天"
    folder.mkdir()
    with open(folder / "verses.jsonl", "w", encoding="utf-8") as file:
        for number in range(800):
            pairs = 2 if number % 2 else 3
            lines = [
                "".join(chance.choice(first) + chance.choice(second) for _ in range(pairs))
                + chance.choice(third)
                for _ in range(4)
            ]
            text = f"{lines[0]}，{lines[1]}。\n{lines[2]}，{lines[3]}。"
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


def opening(path):
    """The lines of a page up to its first run, and those after it."""
    lines = "\n".join(commands(path)).splitlines(keepends=True)
    first = next((at for at, line in enumerate(lines, 1) if line.startswith("textmill run ")), 0)
    return "".join(lines[:first]), "".join(lines[first:])


OPENINGS = Counter(opening(page)[0] for page in PAGES)


@pytest.fixture(scope="module")
def begun(tmp_path_factory, warm):
    """A folder with what the opening of a page makes, and what it printed, if others share it; None otherwise."""
    folders = {}

    def begin(lines):
        if not lines or OPENINGS[lines] < 2:
            return None
        if lines not in folders:
            folder = tmp_path_factory.mktemp("opening")
            folders[lines] = folder, execute(lines, folder, warm)
        return folders[lines]

    return begin


def execute(script, folder, warm):
    """Run the lines of a script in a folder; what they printed, on stdout and then on stderr.

    warm: where `textmill` and `python` are forks, which ask no transformers when they publish, since that takes
    seconds; None: they are everybody's.
    """
    programs = [*([str(warm)] if warm else []), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | {
        "TEXTMILL_WORK": str(folder / "work"),
        "COLUMNS": "110",
        "PATH": os.pathsep.join(programs),
        "OMP_NUM_THREADS": "1",
    }
    if warm:
        environment["TEXTMILL_TESTS_HIDE"] = "transformers"
    result = subprocess.run(
        ["bash", "-c", f"set -eu -o pipefail\n{script}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, f"{result.stdout[-3000:]}\n{result.stderr[-5000:]}"
    assert "Traceback" not in result.stderr
    return f"{result.stdout}\n{result.stderr}"


def run(path, tmp_path, warm, begun=lambda lines: None, shorten=("", "")):
    """Everything a page tells to run, run in order in an empty folder; what it printed."""
    first, rest = opening(path)
    if "`poems/`" in path.read_text(encoding="utf-8"):
        poems(tmp_path / "poems")
    printed = ""
    if (made := begun(first)) is not None:
        folder, printed = made
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        first = ""
    return printed + execute((first + rest).replace(*shorten), tmp_path, warm)


@pytest.mark.parametrize(
    "path",
    [pytest.param(page, marks=pytest.mark.slow if page.stem in SLOW else (), id=page.stem) for page in PAGES],
)
def test_tutorial_commands_run(path, tmp_path, warm, begun):
    assert not_printed(path, run(path, tmp_path, warm, begun, LONG.get(path.stem, ("", "")))) == []


@pytest.mark.slow
def test_the_first_tutorial_runs_as_a_user_would_run_it(tmp_path):
    run(ROOT / "docs/tutorials/first-model.md", tmp_path, None)


@pytest.mark.slow
def test_reversing_is_learned_without_a_mistake(tmp_path, warm):
    shown = run(ROOT / "docs/tutorials/reversing.md", tmp_path, warm)
    assert re.search(r"^exact match +1\.000 ", shown, re.MULTILINE)
    assert "d a e h" in shown
    assert "e d a c e d" in shown


@pytest.mark.slow
def test_a_model_of_verses_writes_lines_that_scan(tmp_path, warm):
    shown = run(ROOT / "docs/tutorials/tang-poems.md", tmp_path, warm)
    [scanning, lines] = map(
        int, re.search(r"^(\d+) of (\d+) lines have 5 or 7", shown, re.MULTILINE).groups()
    )
    assert lines > 100
    assert scanning / lines > 0.95


@pytest.mark.parametrize(
    "path", [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], ids=lambda path: path.name
)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_every_command_a_readme_names_exists(name):
    listed = subprocess.run(
        [sys.executable, "-m", "textmill", "--help"], capture_output=True, text=True, check=True
    ).stdout
    named = set(re.findall(r"`textmill ([a-z]+)", (ROOT / name).read_text(encoding="utf-8")))
    assert named
    for command in named:
        assert re.search(rf"\b{command}\b", listed), command


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.toml")), ids=lambda path: path.stem)
def test_recipes_are_right(path, monkeypatch):
    """As a run reads them, but for the start, which need not be here."""
    from textmill.specs import recipe_file
    from textmill.stages.preparation import starting

    def started(data, where, workspace):
        """A start as it is filled in once its model has been read, whatever that is."""
        start = {**data["start"], "hash": "0", "vocabulary": 300}
        encoders = ("classify", "tag", "answer", "embed", "extract")
        wanted = data.get("task") or data.get("objective", {}).get("kind")
        kind = "encoder" if wanted in encoders else "decoder"
        return {**data, "start": start, "model": {"kind": kind}, "tokenizer": {"kind": "start"}}

    monkeypatch.setattr(starting, "_started", started)

    def filled(data, where):
        return starting.filled(data, where, None)

    if (phases := recipe_file.phases(path)) is None:
        assert recipe_file.load(path, fill=filled).name == path.stem
        return
    for phase in phases:
        recipe = recipe_file.build(phase.data, where=phase.where, base=path.parent, fill=filled)
        assert recipe.name == f"{path.stem}-{phase.name}"


def test_the_tests_that_prove_the_promises_exist():
    named = re.findall(
        r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/promises.md").read_text(encoding="utf-8")
    )
    assert len(named) > 30
    for path, test in named:
        assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{test}"
    promises = re.findall(
        r"^\d\. \*\*(.+?)\.\*\*", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    titles = re.findall(
        r"^## \d\. (.+)$", (ROOT / "docs/promises.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert titles == promises
