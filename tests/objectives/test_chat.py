"""Conversations as rows of training: packed and isolated, split between turns, with templates given to models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from textmill.base import schema
from textmill.base.console import Silent
from textmill.base.errors import RecipeError
from textmill.data.batch import IGNORE
from textmill.data.conversations import ConversationView
from textmill.interop.huggingface import directory
from textmill.interop.load import load
from textmill.models import build
from textmill.objectives.chat import CHAT
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import DecoderSpec
from textmill.specs.recipe import Recipe, TokenizerSpec
from textmill.stages.evaluation.evaluate import evaluate_run
from textmill.stages.preparation.prepare import prepare
from textmill.stages.preparation.starting import load_recipe
from textmill.stages.runs.check import check
from textmill.stages.runs.train import train as train_run
from textmill.stages.use.unpublished import unpublished
from textmill.stages.workspace.workspace import Workspace
from textmill.tasks.chat import CHAT as TASK
from textmill.tasks.chat import Said
from textmill.tasks.task import Options, record_of
from textmill.tokenization.training import train

torch.set_num_threads(1)
SEQUENCE = 40


def chat(*said: str) -> dict:
    return {
        "messages": [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]
    }


ROWS = [
    *(chat(f"ab{number}", f"cd{number}", "e", f"f{number}") for number in range(12)),
    chat(*(f"turn {at}" for at in range(8))),  # longer than a sequence
]
PLAIN = {
    "name": "talk",
    "tokenizer": {"kind": "bytes"},
    "model": {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 64},
    "objective": {"kind": "chat"},
    "training": {"steps": 2, "batch": 2, "sequence": SEQUENCE, "evaluate_every": 2},
    "evaluation": {"bootstrap": 20},
    "generation": {"tokens": 4},
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("work"), Silent())


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture(scope="module")
def recipe_of(rows):
    def make(**changes) -> dict:
        source = {"kind": "files", "paths": [str(rows)], "format": "chat"}
        corpus = {"sources": [source], "steps": [], "split": {"validation": 0.1, "test": 0.2}}
        return {**PLAIN, "corpus": corpus, **changes}

    return make


@pytest.fixture(scope="module")
def data(workspace, recipe_of):
    return prepare(schema.read(Recipe, recipe_of()), workspace)


def test_conversations_are_packed_and_see_themselves_alone(data):
    store = data.store("train")
    view, alone = (ConversationView(store, SEQUENCE, 0, packed=packed) for packed in (True, False))
    assert len(view) < len(alone)
    every = np.zeros(len(view), dtype=np.uint64)
    packed, apart = view.make(np.arange(len(view)), every), alone.make(np.arange(len(alone)), every[:1])
    assert (packed.owners >= 0).sum() == (apart.owners >= 0).sum() == int(store.fields["loss"][0].sum())
    assert {tuple(pair) for pair in packed.read[:, 1:]} == {tuple(pair) for pair in apart.read[:, 1:]}
    model = build.build(data.recipe.model, data.vocabulary, seed=3).eval()
    sums = [CHAT.losses(None, sequence=SEQUENCE).validation(model, made.batch)[0] for made in (packed, apart)]
    torch.testing.assert_close(sums[0], sums[1], rtol=1e-5, atol=1e-4)
    document = data.loader().documents(0)[0][0]
    steps, tokens = data.loader().steps_of(document, 6)
    for step, count in zip(steps.tolist(), tokens.tolist(), strict=True):
        assert dict(data.loader().documents(step))[document] == count


def test_what_is_too_long_is_split_between_turns_or_left(workspace, recipe_of, data):
    noted = CHAT.notes(data.store("train")) or CHAT.notes(data.store("test"))
    assert any("1 of" in text and "split between turns into" in text for text in noted)
    part = "train" if CHAT.notes(data.store("train")) else "test"
    store, tokenizer = data.store(part), data.tokenizer
    long = int(np.argmax(store.lengths("pieces")))
    text = tokenizer.decode(store.field("text", long))
    assert [f"turn {at}" in text for at in range(8)] == [True] * 8
    assert store.field("pieces", long).max() <= SEQUENCE + 1
    said = tokenizer.decode(store.field("text", long)[store.field("loss", long) == 1])
    assert said == "turn 1turn 3turn 5turn 7"
    plain = recipe_of(objective={"kind": "chat", "too_long": "skip"})
    plain["corpus"]["limits"] = {"unfit": 0.2}
    skipped = prepare(schema.read(Recipe, plain), workspace)
    counts = [skipped.store(part).manifest["skipped"] for part in ("train", "validation", "test")]
    assert {"is longer than a sequence": 1} in counts
    last = prepare(schema.read(Recipe, recipe_of(objective={"kind": "chat", "turns": "last"})), workspace)
    store = next(last.store(name) for name in ("train", "test") if last.store(name).fields["left"][0].any())
    long = int(np.argmax(store.fields["left"][0]))
    assert tokenizer.decode(store.field("text", long)[store.field("loss", long) == 1]) == "turn 7"
    assert any("oldest" in text for text in CHAT.notes(store))


def test_five_conversations_are_shown_each_by_itself(workspace, recipe_of):
    result = check(schema.read(Recipe, recipe_of()), workspace)
    assert len(result["mask"]) == 5
    for row in result["mask"]:
        words = [token["text"] for token in row["tokens"]]
        assert words[0] == "<|user|>"
        said = "".join(token["text"] for token in row["tokens"] if token["loss"])
        assert said.endswith("<|end|>")
        assert "<|user|>" not in said
    texts = [finding["text"] for finding in result["findings"]]
    assert any(text.startswith("the token that ends a turn is trained") for text in texts)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A model without a template, whose tokenizer has no tokens for turns."""
    place = tmp_path_factory.mktemp("bare") / "model"
    document = json.loads(train(TokenizerSpec(kind="bytes"), []).data)
    document["added_tokens"] = document["added_tokens"][:2]
    for name in [name for name in document["model"]["vocab"] if name.startswith("<|")][2:]:
        del document["model"]["vocab"][name]
    from textmill.tokenization.load import of

    tokenizer = of(json.dumps(document).encode())
    spec = DecoderSpec(d_model=16, layers=1, heads=2, d_ff=32, context=64)
    model = build.build(spec, tokenizer.vocabulary, seed=1)
    directory.write_directory(place, model, tokenizer, GenerationSpec(tokens=4, temperature=0.0), {})
    return place


def started(tmp_path, rows, bare, objective: str, more: str = "") -> str:
    path = tmp_path / "recipe.toml"
    path.write_text(
        f"""name = "talk-{abs(hash((objective, more))) % 10000}"
objective = {{ kind = "chat"{objective} }}
start = {{ model = "{bare}" }}
training = {{ steps = 2, batch = 2, sequence = 60, evaluate_every = 2 }}
evaluation = {{ bootstrap = 20 }}
{more}
[corpus]
sources = [{{ kind = "files", paths = ["{rows}"], format = "chat" }}]
steps = []
split = {{ validation = 0.1, test = 0.2 }}
"""
    )
    return str(path)


def test_a_template_and_its_tokens_become_part_of_the_model(workspace, tmp_path, rows, bare):
    with pytest.raises(RecipeError, match="no chat template.*objective.template"):
        prepare(load_recipe(Path(started(tmp_path, rows, bare, "")), [], workspace), workspace)
    recipe = load_recipe(Path(started(tmp_path, rows, bare, ', template = "chatml"')), [], workspace)
    assert recipe.start.add_special_tokens == ("<|im_start|>", "<|im_end|>")
    run = train_run(recipe, workspace)
    report = evaluate_run(run, workspace)
    assert report["headline"] == "nats per assistant token"
    assert {row["name"] for row in report["table"]} == {"this model", "the model it began with"}
    assert "nats saved" in report["details"]
    place = tmp_path / "published"
    directory.write(place, unpublished(run, workspace))
    published = load(place)
    assert "<|im_start|>" in (published.template or "")
    assert published.tokenizer.special["<|im_end|>"] >= 258
    turn_end = published.tokenizer.special["<|im_end|>"]
    assert published.chat.ends(published.tokenizer)[-1] == turn_end
    theirs = AutoModelForCausalLM.from_pretrained(place)
    constant = torch.nn.functional.one_hot(torch.tensor(turn_end), theirs.vocab_size).float()
    theirs.lm_head.forward = lambda hidden: constant.expand(*hidden.shape[:-1], -1)
    wrote = theirs.generate(torch.tensor([[5]]), max_new_tokens=5, do_sample=False)
    assert wrote.tolist() == [[5, turn_end]], "whoever loads the directory stops where a turn ends"
    lora = 'tuning = { kind = "lora", rank = 2 }'
    with pytest.raises(RecipeError, match="writes special tokens that the model has not.*plain"):
        load_recipe(Path(started(tmp_path, rows, bare, ', template = "chatml"', lora)), [], workspace)
    plain = load_recipe(Path(started(tmp_path, rows, bare, ', template = "plain"', lora)), [], workspace)
    store = prepare(plain, workspace).store("train")
    said = store.field("text", 0)[store.field("loss", 0) == 1]
    assert load(bare).tokenizer.end in said.tolist()
    # What the task says of held-out conversations is what the objective measured.
    made = prepare(recipe, workspace)
    records = [record_of(document, recipe.objective) for document in made.documents("test")]
    asked = TASK.prepare(published, records, Options(scored=True))
    told = TASK.predict(published, asked, Options(scored=True))
    assert all(isinstance(one, Said) for one in told)
    value = sum(one.nats for one in told) / sum(one.tokens for one in told)
    assert value == pytest.approx(report["scores"]["nats_per_assistant_token"], rel=1e-4)
    [answer] = TASK.predict(published, TASK.prepare(published, [{"text": "ab"}], Options()), Options())
    assert isinstance(answer.text, str)


def test_a_row_of_padding_asks_for_nothing(data):
    view = ConversationView(data.store("train"), SEQUENCE, 0)
    made = view.make(np.arange(len(view)), np.zeros(len(view), dtype=np.uint64))
    if made.batch.mask is not None:
        assert (made.batch.targets[~made.batch.mask] == IGNORE).all()
    assert ((made.batch.targets != IGNORE).numpy() == (made.owners >= 0)).all()
