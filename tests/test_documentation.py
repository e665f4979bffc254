"""The commands and programs of the pages are true: they run, in order, in an empty folder.

The first tutorial runs as a user would run it; the `textmill` and `python` of the other pages are forks of one warm
process.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for kind in ("tutorials", "how-to", "reference")
    for page in sorted((ROOT / "docs" / kind).glob("*.md"))
]
FRESH = "first-model"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def commands(path):
    """What a page tells to run; Python with no command in between is one program."""
    blocks = BLOCK.findall(path.read_text(encoding="utf-8"))
    for language, group in itertools.groupby(blocks, key=lambda block: block[0]):
        code = "".join(block for _, block in group)
        yield code if language == "bash" else f"python - <<'PROGRAM'\n{code}PROGRAM"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_tutorial_commands_run(path, tmp_path, warm):
    script = "set -eu -o pipefail\n" + "\n".join(commands(path))
    programs = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | {"TEXTMILL_WORK": str(tmp_path / "work"), "COLUMNS": "110"}
    if "transformers" not in path.read_text(encoding="utf-8"):
        environment["TEXTMILL_TESTS_HIDE"] = "transformers"  # which publishing would ask, for seconds
    if path.stem != FRESH:
        programs.insert(0, str(warm))
        environment["OMP_NUM_THREADS"] = "1"
    environment["PATH"] = os.pathsep.join(programs)
    result = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, f"{result.stdout[-3000:]}\n{result.stderr[-5000:]}"
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "path", [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], ids=lambda path: path.name
)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_every_verb_a_readme_names_exists(name):
    listed = subprocess.run(
        [sys.executable, "-m", "textmill", "--help"], capture_output=True, text=True, check=True
    ).stdout
    verbs = set(re.findall(r"`textmill ([a-z]+)", (ROOT / name).read_text(encoding="utf-8")))
    assert verbs
    for verb in verbs:
        assert re.search(rf"\b{verb}\b", listed), verb


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.toml")), ids=lambda path: path.stem)
def test_recipes_are_right(path):
    from textmill.specs import recipe_file

    def read(plain, where):
        """What the model of [start] says, as if it had been read: it is fetched by whoever runs the recipe."""
        kind = "encoder" if plain.get("objective", {}).get("kind") == "classify" else "decoder"
        known = {"start": plain["start"] | {"hash": "0" * 32, "vocabulary": 1000}, "model": {"kind": kind}}
        return plain | known | {"tokenizer": {"kind": "start"}}

    assert recipe_file.load(path, fill=read).name == path.stem


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
