"""Best of n and rejection sampling: the best answers of a model are a new data set that says where it comes from."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.records import kept, read
from textmill.base.console import Silent
from textmill.cli.main import app
from textmill.interop.huggingface.directory import write_directory
from textmill.models import adapters
from textmill.models.build import build
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import DecoderSpec
from textmill.stages.use import sample as stage
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace import lineage
from textmill.stages.workspace.workspace import Workspace
from textmill.text.chats import CHOSEN, put_together

REWARD = "def early(prompt, answer):\n    return sum(map(ord, answer)) / 100 - len(prompt)\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer):
    """The directory of a tiny language model."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    small = build(
        DecoderSpec(d_model=16, layers=1, heads=2, d_ff=16, context=64), tokenizer.vocabulary, seed=2
    )
    write_directory(folder, small, tokenizer, GenerationSpec(), {})
    return folder


@pytest.fixture(scope="module")
def made(model, tmp_path_factory):
    """(folder of the data set, what the command said, folder of the reward)."""
    folder = tmp_path_factory.mktemp("samples")
    (folder / "reward.py").write_text(REWARD)
    (folder / "prompts.jsonl").write_text(
        '{"prompt": "the mill", "topic": "mills"}\n{"prompt": " "}\n{"prompt": "wind"}\n'
    )
    arguments = ["sample", str(model), str(folder / "best"), str(folder / "prompts.jsonl")]
    more = ["--reward", f"{folder / 'reward.py'}:early", "--samples", "4", "--tokens", "12", "--seed", "3"]
    done = CliRunner().invoke(app, [*arguments, *more, "--json", "--work", str(folder / "work")])
    assert done.exit_code == 0, (done.output, done.exception)
    return folder, json.loads(done.stdout[done.stdout.index("{") :])


def rows_of(folder):
    return [json.loads(line) for line in (folder / stage.ROWS).read_text().splitlines()]


def test_each_row_is_the_best_draw_and_can_be_drawn_again(made, model):
    folder, said = made
    rows = rows_of(folder / "best")
    assert (said["read"], said["kept"]) == (2, 2)
    language = LanguageModel(Workspace(folder / "work", Silent()), str(model))
    names: dict = {}
    exec(REWARD, names)
    gains = []
    for row in rows:
        draws = language.generate(row["prompt"], samples=4, tokens=12, temperature=1.0, seed=row["seed"])
        rewards = [names["early"](row["prompt"], draw.text) for draw in draws]
        assert row["reward"] == max(rewards)
        assert row["sample"] == int(np.argmax(rewards))
        assert row["chosen"] == draws[row["sample"]].text
        assert row["rejected_reward"] == min(rewards)
        assert row["model"] == adapters.weights_id(language.pretrained.model)
        gains.append((rewards[0], max(rewards)))
    assert rows[0]["topic"] == "mills"
    one, best = np.mean(gains, axis=0)
    assert (said["mean_reward_of_one"], said["mean_reward_of_best"]) == pytest.approx((one, best))
    assert said["kl_at_most"] == pytest.approx(np.log(4) - 0.75)
    artifact = lineage.read_lineage(folder / "best")
    assert not lineage.damage(artifact)
    assert artifact.spec["reward"]["by"] == "reward.py:early"
    assert artifact.spec["reward"]["sha256"]


def test_the_rows_are_preferences(made):
    folder, _ = made
    rows = rows_of(folder / "best")
    data = {"rows.jsonl": (folder / "best" / stage.ROWS).read_bytes()}
    documents = kept(read(folder, data, format="preference"))
    chat = kept(read(folder, data, format="chat"))
    assert len(documents) == len(chat) == len(rows)
    assert put_together(chat[0].texts, chat[0].metadata)["messages"][1].content == rows[0]["chosen"]
    sections = put_together(documents[0].texts, documents[0].metadata)
    assert sections[CHOSEN][0].content == rows[0]["chosen"]


def test_rejection_sampling_keeps_what_is_good_enough_only(made, model):
    folder, _ = made
    rows = rows_of(folder / "best")
    least = float(np.mean([row["reward"] for row in rows]))
    workspace = Workspace(folder / "work", Silent())
    reward = stage.reward_of(workspace, f"{folder / 'reward.py'}:early")
    options = {"samples": 4, "tokens": 12, "temperature": 1.0, "seed": 3}
    records = [{"prompt": row["prompt"]} for row in rows]
    language = LanguageModel(workspace, str(model))
    said = stage.sample(workspace, language, records, reward, folder / "some", least=least, **options)
    good = [row for row in rows if row["reward"] >= least]
    assert [row["chosen"] for row in rows_of(folder / "some")] == [row["chosen"] for row in good]
    assert said["read"] == said["kept"] + sum(said["skipped"].values())


def test_a_task_and_a_model_are_rewards(made, model):
    folder, _ = made
    workspace = Workspace(folder / "work", Silent())
    by_task = stage.reward_of(workspace, "translate")
    right, wrong = by_task.score(
        {"prompt": "a", "target": "der Wind weht heute"}, ["der Wind weht heute", "nein"]
    )
    assert right > wrong
    likely = stage.reward_of(workspace, str(model))
    language = LanguageModel(workspace, str(model))
    [found] = likely.score({"prompt": "the mill"}, [" turns"])
    both, before = language.logprobs("the mill turns"), language.logprobs("the mill")
    tokens = len(both.values) - len(before.values)
    assert found == pytest.approx((both.total - before.total) / tokens, rel=1e-4)


@pytest.mark.parametrize(
    ("reward", "more", "told"),
    [
        ("nothing.py:f", [], "no such file"),
        ("reward.py:none", [], "has no function 'none'"),
        ("reward.py:fails", [], "fails failed: ZeroDivisionError"),
        ("reward.py:early", ["--temperature", "0"], "has no chance in it"),
    ],
)
def test_what_is_wrong_is_said(made, model, reward, more, told):
    folder, _ = made
    (folder / "reward.py").write_text(REWARD + "def fails(prompt, answer):\n    return 1 / 0\n")
    arguments = ["sample", str(model), str(folder / "other"), "the mill", "--reward", str(folder / reward)]
    done = CliRunner().invoke(app, [*arguments, *more, "--work", str(folder / "work")])
    assert done.exit_code in (1, 2)
    assert told in str(done.exception) + done.output
    assert not (folder / "other").exists()
