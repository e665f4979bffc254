"""From files to a recipe that reads them: families, sizes, splits and starts that fit, and what is said of it."""

from __future__ import annotations

import json
import tomllib

import pytest

from helpers.commands import call
from textmill.base.console import Silent
from textmill.base.errors import RecipeError
from textmill.specs import recipe_file
from textmill.stages.preparation import suggest
from textmill.stages.preparation.finders import ROLES
from textmill.stages.preparation.guess import guess
from textmill.stages.preparation.prepare import prepare
from textmill.stages.preparation.proposal import KINDS, Start, propose
from textmill.stages.workspace.workspace import Workspace
from textmill.tasks.table import TASKS
from textmill.text.sources.sample import sample

LINES = {
    "en": [f"the mill number {n} turns beside the cold river" for n in range(60)],
    "de": [f"die Mühle Nummer {n} dreht sich neben dem kalten Fluss" for n in range(60)],
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for language, lines in LINES.items():
        for part in ("train", "test"):
            (tmp_path / f"{part}.{language}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [f"{text},{'good' if n % 3 else 'bad'}" for n, text in enumerate(LINES["en"])]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    (tmp_path / "评论").mkdir()
    said = ["很好的酒店，早餐也不错", "太差了，再也不来"]
    for part, many in (("train", 40), ("dev", 8)):
        lines = [f"{said[n % 2]}，第{n}次入住\t{'正' if n % 2 else '负'}" for n in range(many)]
        (tmp_path / "评论" / f"{part}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "评论" / "README.md").write_text("# Reviews\n")
    return tmp_path


def made(place, *names, **options):
    workspace = Workspace(place / "work", Silent())
    return suggest.suggest(workspace, [place / name for name in names], base=place, **options)


def built(made, place):
    """The recipe as it is written, read again."""
    return recipe_file.build(tomllib.loads(suggest.written(made)), base=place)


def test_every_task_has_roles_that_it_reads_and_families_that_it_trains():
    for name, roles in ROLES.items():
        task = TASKS[name]
        if name != "embed":
            assert set(KINDS[name]) <= {*task.objectives, "linear"}, name
            assert {field.role for field in task.fields if field.needed} <= set(roles), name


def test_splits_are_told_by_names_and_the_only_held_out_one_is_for_the_score(place):
    found = made(place, "评论")
    recipe = built(found, place)
    assert [source.part for source in recipe.corpus.sources] == ["train", "test"]
    assert [source.header for source in recipe.corpus.sources] == [False, False]
    assert (recipe.name, recipe.task, found.aside) == (
        "评论-classify",
        "classify",
        (str(place / "评论/README.md"),),
    )
    assert made(place, "评论", kind="encoder").recipe["tokenizer"]["kind"] == "characters"


def test_what_is_written_is_what_is_prepared(place):
    recipe = built(made(place, "reviews.csv", kind="encoder", name="reviews"), place)
    data = prepare(recipe, Workspace(place / "work", Silent()))
    counts = [len(data.store(part)) for part in ("train", "validation", "test")]
    assert sum(counts) == 60
    assert all(counts)


def test_aligned_files(place):
    found = made(place, "train.en", "train.de", "test.en", "test.de")
    recipe = built(found, place)
    assert (recipe.task, recipe.model.kind, recipe.objective.kind) == (
        "translate",
        "encoder-decoder",
        "pairs",
    )
    assert [source.paths for source in recipe.corpus.sources] == [
        (str(place / "train.en"), str(place / "train.de")),
        (str(place / "test.en"), str(place / "test.de")),
    ]
    turned = made(place, "train.en", "train.de", task="translate", columns=["source=2,target=1"])
    assert turned.recipe["corpus"]["sources"][0]["columns"] == {"source": 2, "target": 1}


def test_more_records_more_of_everything(place):
    small = built(made(place, "reviews.csv", kind="encoder"), place)
    text = "text,label\n" + "\n".join(
        f"{n} {LINES['en'][n % 60]},{'good' if n % 3 else 'bad'}" for n in range(9000)
    )
    (place / "many.csv").write_text(text + "\n")
    large = built(made(place, "many.csv", kind="encoder"), place)
    assert large.model.d_model > small.model.d_model
    assert large.training.minutes > small.training.minutes
    assert large.corpus.split.test < small.corpus.split.test
    assert made(place, "many.csv", kind="encoder", minutes=1.5).recipe["training"]["minutes"] == 1.5


def test_what_cannot_be_is_said(place):
    with pytest.raises(RecipeError, match="does not serve") as error:
        made(place, "reviews.csv", kind="encoder-decoder")
    assert "encoder" in str(error.value.advice)
    with pytest.raises(RecipeError, match="does not say which column"):
        made(place, "reviews.csv", columns=["text"])
    with pytest.raises(RecipeError, match="no such file"):
        made(place, "nothing.csv")
    with pytest.raises(RecipeError, match="aligned line by line"):
        made(place, "train.en", "reviews.csv", task="translate")


def test_conversations_are_for_chat_and_preferences_for_a_model_that_answers(place):
    talk = [{"role": "user", "content": "Does the mill turn?"}, {"role": "assistant", "content": "It does."}]
    (place / "talks.jsonl").write_text((json.dumps({"messages": talk}) + "\n") * 30)
    recipe = built(made(place, "talks.jsonl"), place)
    assert (recipe.task, recipe.objective.kind, recipe.model.kind) == ("chat", "chat", "decoder")
    assert recipe.corpus.sources[0].format == "chat"
    assert built(made(place, "talks.jsonl", task="generate"), place).objective.kind == "causal"
    with pytest.raises(RecipeError, match="no conversations"):
        made(place, "reviews.csv", task="chat")
    with pytest.raises(RecipeError, match="no conversations"):
        made(place, "train.en", task="chat")
    (place / "pairs.jsonl").write_text(
        '{"prompt": "Turns it?", "chosen": "It does.", "rejected": "No."}\n' * 30
    )
    with pytest.raises(RecipeError, match="tune a model that answers already"):
        made(place, "pairs.jsonl")
    tuned = propose(
        guess([sample(place / "pairs.jsonl")]), [], name="pairs", start=Start("mine", "decoder", 256)
    )
    assert (tuned["objective"], tuned["tuning"]) == ({"kind": "prefer"}, {"kind": "lora"})
    assert "task" not in tuned


def test_the_command_says_what_it_guessed_and_writes_it(place):
    said = call(["recipe", "new", "--data", "reviews.csv", "--work", "work"])
    assert said.code == 0, said.err
    for words in (
        "classify",
        "2 different values: bad, good",
        "--columns text=COLUMN,label=COLUMN",
        "reviews-classify.toml",
    ):
        assert words in said.out
    text = (place / "reviews-classify.toml").read_text()
    assert 'columns = { text = "text", label = "label" }' in text
    assert "What was guessed" in text
    again = call(["recipe", "new", "--data", "reviews.csv", "--work", "work"])
    assert (again.code, "is there already" in again.err) == (2, True)
    plain = json.loads(
        call(["recipe", "new", "b.toml", "--task", "regress", "--data", "reviews.csv", "--json"]).out
    )
    assert "look like" in plain["error"]["what"]
    plain = json.loads(call(["recipe", "new", "c.toml", "--data", "评论", "--json", "--work", "work"]).out)
    assert (plain["task"], plain["columns"], plain["records"]) == ("classify", {"text": 1, "label": 2}, 40)


def test_the_start_that_would_help_is_named_for_english_only(place, monkeypatch):
    monkeypatch.setenv("TEXTMILL_MODELS", str(place / "models"))
    rows = [
        f"The mill that we saw in the valley was {'fine' if n % 2 else 'dull'} and it is number {n},{n % 2}"
        for n in range(40)
    ]
    (place / "english.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    found = made(place, "english.csv")
    assert (found.start, found.at_hand) == ("minilm-l6-v2", False)
    assert suggest.offered(found) == "textmill models get minilm-l6-v2"
    assert made(place, "评论").start is None
