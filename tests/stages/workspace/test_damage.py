"""Nothing damaged is used: a bit flipped in any file of a workspace is found by whoever would use it, or made good."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from helpers.listener import Listener
from textmill.base import files
from textmill.base.errors import DamagedError, TextmillError
from textmill.interop.load import load
from textmill.specs import recipe_file
from textmill.stages import pipeline
from textmill.stages.evaluation import evaluate
from textmill.stages.preparation.prepare import prepare
from textmill.stages.release import exchange
from textmill.stages.runs import history
from textmill.stages.tracing import ancestry, forget, sightings
from textmill.stages.tracing import index as indexing
from textmill.stages.workspace import verified
from textmill.stages.workspace.locate import locate_model
from textmill.stages.workspace.workspace import Workspace

COMMON = """
name = "{name}"
[corpus]
sources = [{{ kind = "files", paths = ["{source}"]{fields} }}]
split = {{ validation = 0.15, test = 0.15, least_bytes = 0 }}
[tokenizer]
kind = "bytes"
[model]
{model}
context = 32
[objective]
kind = "{objective}"
[training]
steps = 4
batch = 4
evaluate_every = 2
evaluate_tokens = 200
save = {{ every = 2, keep = 9 }}
[evaluation]
bootstrap = 5
baselines = []
[generation]
tokens = 4
"""
BLOCKS = "d_model = 8\nlayers = 1\nheads = 1\nd_ff = 8"
RECIPES = {
    "writer": ("texts", "", 'kind = "decoder"\n' + BLOCKS, "causal"),
    "judge": ("records.jsonl", ', metadata_fields = ["label"]', 'kind = "encoder"\n' + BLOCKS, "classify"),
    "counter": ("texts", "", 'kind = "ngram"\norder = 2', "causal"),
}
# What decides nothing: curves for people, who holds a lock, why something was made, what was read before.
FOR_PEOPLE = ("tensorboard/", ".lock", ".last-", ".verified/")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A workspace with a published run of each objective, an index and a list of what is forgotten."""
    folder = tmp_path_factory.mktemp("damage")
    rng = random.Random(3)
    words = ["mill", "river", "flour", "bread", "wind", "grain", "stone", "wheel"]
    (folder / "texts").mkdir()
    for number in range(24):
        (folder / f"texts/{number:02d}.txt").write_text(f"{number} " + " ".join(rng.choices(words, k=12)))
    lines = (
        f'{{"text": "{" ".join(rng.choices(words, k=5))} {n}", "label": "{words[n % 2]}"}}' for n in range(40)
    )
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    workspace = Workspace(folder / "work", Listener())
    (folder / "texts/99.txt").write_text("to be forgotten, these few words")
    forget.forget(workspace, [str(folder / "texts/99.txt")])
    for name, (source, fields, model, objective) in RECIPES.items():
        path = folder / f"{name}.toml"
        path.write_text(
            COMMON.format(name=name, source=source, fields=fields, model=model, objective=objective)
        )
        pipeline.run(recipe_file.load(path), workspace)
    indexing.build(workspace, "writer")
    return folder


def used(folder, name):
    """What each command says of a run: its data, or why it does not say any."""
    workspace = Workspace(folder / "work", Listener())
    run = workspace.run(name)
    said = {}

    def ask(verb, act):
        try:
            said[verb] = act()
        except TextmillError as error:
            said[verb] = f"refused: {error}"

    def model():
        published = load(locate_model(workspace, name))
        weights = {key: value.double().sum().item() for key, value in published.model.state_dict().items()}
        return weights, published.tokenizer.id, published.generation, published.spec

    ask("evaluate", lambda: evaluate.evaluate_run(run, workspace))
    ask("model", model)
    ask("runs", lambda: history.overview(workspace))
    ask("compare", lambda: history.compare(workspace, name, name))
    ask("where", lambda: ancestry.batch_documents(workspace, name, 1))
    ask("saw", lambda: sightings.sightings(workspace, "texts/05.txt", run=name))
    ask("forget", lambda: forget.forget(workspace, ["texts/06.txt"], dry_run=True))
    ask("lineage", lambda: ancestry.tree(workspace, name))
    if name == "writer":
        ask("count", lambda: indexing.count(workspace, name, ["mill river", " flour"]))
    ask("prepare", lambda: prepare(recipe_file.load(folder / f"{name}.toml"), workspace).prepared)
    return said, workspace.reporter.said


def flip(path, rng):
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def differing(before, now):
    return {
        verb: now[verb]
        for verb in before
        if now[verb] != before[verb] and not str(now[verb]).startswith("refused: ")
    }


def files_of(folder, name):
    """The files a run uses: its own, those of what it was made from, and those that all runs share. What opens an index
    is asked of the writer alone."""
    work = folder / "work"
    rows = ancestry.tree(Workspace(work), name)["artifacts"]
    roots = {Path(row["path"]) for row in rows if "path" in row} | {work / "runs" / name}
    shared = {"forget.jsonl"} | (
        {path.name for path in work.glob("*")}
        - {"runs", "corpus", "tokenizer", "tokens"}
        - (set() if name == "writer" else {"index"})
    )
    return [
        path
        for path in sorted(work.rglob("*"))
        if path.is_file()
        and path.stat().st_size
        and (roots & set(path.parents) or path.relative_to(work).parts[0] in shared)
    ]


SLOW = pytest.mark.slow
WALKS = [("writer", False), *(pytest.param(name, True, marks=SLOW) for name in RECIPES)]


@pytest.mark.parametrize(("name", "every"), WALKS)
def test_a_flipped_bit_in_any_file_is_never_used(made, monkeypatch, name, every):
    """Each command says what it said before, or refuses; what was damaged is told, or is made again as it was. Of every
    file there is, or, in the fast suite, of one of each name."""
    monkeypatch.chdir(made)
    rng = random.Random(4)
    before, _ = used(made, name)
    assert not [verb for verb, result in before.items() if str(result).startswith("refused")], before
    walked = files_of(made, name)
    if not every:
        walked = list({(path.relative_to(made).parts[1], path.name): path for path in walked}.values())
    for path in walked:
        inside = path.relative_to(made / "work").as_posix()
        kept = path.read_bytes()
        flip(path, rng)
        now, warned = used(made, name)
        told = str(now).count("refused: ") or any("damaged" in line for line in [str(now["runs"]), *warned])
        for verb, result in differing(before, now).items():
            assert told, f"{inside}: {verb} says {result}, and nothing is said"
            assert verb in ("runs", "lineage"), f"{inside}: {verb} says {result}"
            assert "damaged" in str(result), f"{inside}: {verb} says {result}"
        if not (told or (path.is_file() and path.read_bytes() == kept)):
            sound = ancestry.tree(Workspace(made / "work"), name, verify=True)["ok"]
            assert not sound or any(mark in f"/{inside}" for mark in FOR_PEOPLE), inside
        path.write_bytes(kept)
        verified._known.clear()
    kinds = {path.relative_to(made / "work").parts[0] for path in walked}
    assert {"corpus", "tokenizer", "tokens", "runs", "forget.jsonl"} <= kinds
    assert len(walked) > (40 if every else 20), len(walked)


def test_what_is_damaged_of_a_model_is_published_again(made, monkeypatch):
    monkeypatch.chdir(made)
    workspace = Workspace(made / "work", Listener())
    weights = workspace.run("counter").model / "model.safetensors"
    kept = weights.read_bytes()
    flip(weights, random.Random(1))
    pipeline.publish_run(workspace.run("counter"), workspace)
    assert weights.read_bytes() == kept


def test_every_byte_is_read_by_lineage(made, monkeypatch):
    """A flip that leaves inode, size and time as they were is what `lineage --verify` is for."""
    monkeypatch.chdir(made)
    workspace = Workspace(made / "work", Listener())
    tokens = next((made / "work").glob("tokens/*/train/*.bin"))
    kept, state = tokens.read_bytes(), tokens.stat()
    assert ancestry.tree(workspace, "writer", verify=True)["ok"]
    flip(tokens, random.Random(2))
    os.utime(tokens, ns=(state.st_atime_ns, state.st_mtime_ns))
    rows = [ancestry.tree(workspace, name, verify=True) for name in RECIPES]
    assert not all(row["ok"] for row in rows)
    tokens.write_bytes(kept)


def test_what_was_read_once_is_not_read_again(made, monkeypatch):
    monkeypatch.chdir(made)
    workspace = Workspace(made / "work", Listener())
    recipes = [recipe_file.load(made / f"{name}.toml") for name in RECIPES]
    for recipe in recipes:
        prepare(recipe, workspace)
    verified._known.clear()  # as another process
    read = []
    honest = files.sha256_file
    monkeypatch.setattr(files, "sha256_file", lambda path: read.append(path) or honest(path))
    for recipe in recipes:
        prepare(recipe, workspace)
    assert read == []
    tokens = next((made / "work").glob("tokens/*/train/tokens.bin"))
    os.utime(tokens)
    for recipe in recipes:
        prepare(recipe, workspace)
    assert read == [tokens], "what is younger is read, once"


def test_an_imported_model_is_held_against_the_hashes_of_its_files(made, tmp_path):
    workspace, theirs = Workspace(tmp_path / "work", Listener()), tmp_path / "theirs"
    exchange.bring_in(workspace, str(made / "work/runs/writer/model"), theirs)
    assert locate_model(workspace, str(theirs)) == theirs
    rng = random.Random(5)
    for path in sorted(path for path in theirs.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        flip(path, rng)
        with pytest.raises(DamagedError) as caught:
            locate_model(workspace, str(theirs))
        assert str(path) in str(caught.value)
        path.write_bytes(whole)
    assert load(locate_model(workspace, str(theirs))).writes
