"""A conversation: its turns, what is forgotten, what is stopped, and the command."""

from __future__ import annotations

import io
import json

import pytest
import torch
from typer.testing import CliRunner

from textmill.base.console import Silent
from textmill.base.errors import RecipeError, TextmillError
from textmill.cli import chat as verb
from textmill.cli.main import app
from textmill.decoding.generate import generate
from textmill.interop.huggingface import directory as huggingface
from textmill.models import build
from textmill.specs.model import DecoderSpec
from textmill.specs.recipe import GenerationSpec, TokenizerSpec
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace.workspace import Workspace
from textmill.tokenization.training import train

torch.set_num_threads(1)
TALKATIVE = {"tokens": 40, "temperature": 1.0, "suppressed_tokens": [256, 261]}  # never ends by itself


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A model of random weights that reads bytes, and 96 tokens at most."""
    place = tmp_path_factory.mktemp("chat") / "model"
    tokenizer = train(TokenizerSpec(kind="bytes"), [])
    spec = DecoderSpec(d_model=32, layers=2, heads=2, d_ff=64, context=96)
    model = build.build(spec, tokenizer.vocabulary, seed=1)
    huggingface.write_directory(place, model, tokenizer, GenerationSpec(tokens=8, temperature=0.0), {})
    return place


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "work", Silent())


def begin(workspace, directory, **options):
    weights = options.pop("weights", "fp32")
    changes = options.pop("changes", {})
    return LanguageModel(workspace, str(directory), weights=weights).conversation(**options, **changes)


def answer(conversation, text):
    pieces = list(conversation.say(text))
    assert pieces[-1].finish is not None
    return "".join(piece.text for piece in pieces)


def test_a_turn_reads_what_is_new_of_the_conversation(workspace, directory, monkeypatch):
    talk = begin(workspace, directory, changes={"tokens": 4})
    answer(talk, "Good morning to you")
    read = []
    plain = talk.model.hidden_step
    monkeypatch.setattr(
        talk.model, "hidden_step", lambda tokens, state: read.append(tokens.shape[1]) or plain(tokens, state)
    )
    monkeypatch.setattr(talk.model, "begin", None)  # it need not begin again
    answer(talk, "Hi")
    whole = len(talk.template.ids(talk.tokenizer, talk.messages[:3]))
    assert max(read) < whole - len("Good morning to you")


def test_each_turn_is_read_with_those_before(workspace, directory):
    talk = begin(workspace, directory, system="Be brief.")
    first = answer(talk, "Hi")
    second = answer(talk, "And <|end|> now?")
    assert [message["role"] for message in talk.messages] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert [message["content"] for message in talk.messages[2::2]] == [first, second]
    prompt = talk.template.ids(talk.tokenizer, talk.messages[:-1])
    plain = list(generate(talk.model, [prompt], talk.spec, ends=talk.ends))
    assert talk.tokenizer.decode([piece.id for piece in plain]) == second
    assert talk.ends == (talk.tokenizer.end, talk.tokenizer.special["<|end|>"])
    talk.reset()
    assert talk.messages == [{"role": "system", "content": "Be brief."}]


def test_the_oldest_turns_are_forgotten_and_the_system_message_stays(workspace, directory):
    talk = begin(workspace, directory, system="S")
    read = []
    for turn in range(6):
        answer(talk, f"message number {turn}")
        read.append(talk.forgotten)
    assert read[0] == 0
    assert read == sorted(read)
    assert read[-1] > 0
    assert all(count % 2 == 0 for count in read)
    assert len(talk.messages) == 13
    ids = talk._fitting() if talk.messages[-1]["role"] == "user" else None
    assert ids is None
    talk.messages.append({"role": "user", "content": "x"})
    kept = talk.tokenizer.decode(talk._fitting())
    assert kept.startswith("S")
    assert len(talk._fitting()) <= 96 - 8


def test_a_message_too_long_is_not_said(workspace, directory):
    talk = begin(workspace, directory)
    with pytest.raises(TextmillError, match="there is room for 88"):
        answer(talk, "x" * 200)
    assert talk.messages == []
    answer(talk, "hi")
    assert len(talk.messages) == 2


def test_a_stopped_answer_is_what_has_come(workspace, directory):
    talk = begin(workspace, directory, changes=TALKATIVE)
    pieces = talk.say("Hi")
    heard = "".join(next(pieces).text for _ in range(3))
    pieces.close()
    assert talk.messages[-1] == {"role": "assistant", "content": heard}
    assert answer(talk, "Go on") == talk.messages[-1]["content"]


def test_a_template_of_ones_own(workspace, directory, tmp_path):
    (tmp_path / "mine.jinja").write_text(
        "{{ messages[-1]['content'] + '<|end|>' }}"
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    )
    talk = begin(workspace, directory, template=tmp_path / "mine.jinja")
    answer(talk, "Hi")
    with pytest.raises(TextmillError, match="takes no system message"):
        talk.system("S")
    assert len(talk.messages) == 2
    with pytest.raises(TextmillError, match=r"nothing\.jinja"):
        begin(workspace, directory, template=tmp_path / "nothing.jinja")


def test_wrong_use_is_said(workspace, directory):
    with pytest.raises(RecipeError, match="--weights"):
        begin(workspace, directory, weights="fp8")
    with pytest.raises(RecipeError, match="temperature"):
        begin(workspace, directory, changes={"temperature": -1})
    with pytest.raises(TextmillError, match="no such run"):
        begin(workspace, "nothing")


def run(directory, tmp_path, *arguments, lines=""):
    return CliRunner().invoke(app, ["chat", str(directory), "--work", str(tmp_path), *arguments], input=lines)


def test_the_verb(directory, tmp_path):
    said = run(directory, tmp_path, "-m", "Hi", "-m", "Again", "--json", "-n", "4")
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    assert [message["role"] for message in told["messages"]] == ["user", "assistant"] * 2
    assert [one["tokens"] for one in told["answers"]] == [4, 4]
    lines = "Hi\n\n/system Be kind.\nHello\n/nonsense\n" + "y" * 300 + "\n/reset\n/quit\nnot said\n"
    said = run(directory, tmp_path, "--json", lines=lines)
    assert said.exit_code == 0
    told = json.loads(said.stdout)
    assert told["messages"] == [{"role": "system", "content": "Be kind."}]
    assert len(told["answers"]) == 2
    assert "there is room" in said.stderr
    assert "/quit ends" in said.stderr
    said = run(directory, tmp_path, "-m", "y" * 300)
    assert said.exit_code != 0


def test_ctrl_c_stops_the_answer_and_not_the_session(workspace, directory, monkeypatch, capsys):
    talk = begin(workspace, directory, changes=TALKATIVE)
    before = talk.say

    def interrupted(text):
        for count, piece in enumerate(before(text)):
            if count == 2:
                raise KeyboardInterrupt
            yield piece

    monkeypatch.setattr(talk, "say", interrupted)
    told = verb._answer(talk, "Hi", shown=True)
    assert told.finish == "stopped"
    assert "you stopped it" in capsys.readouterr().err
    assert [message["role"] for message in talk.messages] == ["user", "assistant"]
    typed = iter(["one", KeyboardInterrupt(), "/quit"])

    def line(_prompt=""):
        value = next(typed)
        if isinstance(value, BaseException):
            raise value
        return value

    monkeypatch.setattr("builtins.input", line)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert list(verb._lines(talk)) == ["one"]


def test_a_conversation_that_no_template_shows_is_refused_and_so_is_what_is_no_text(
    workspace, directory, tmp_path
):
    deaf = tmp_path / "deaf.jinja"
    deaf.write_text("{% for m in messages %}{{ m.role }}{% endfor %}")
    with pytest.raises(TextmillError, match="leaves out the content of messages"):
        begin(workspace, directory, template=deaf)
    model = LanguageModel(workspace, str(directory))
    parts = [{"type": "text", "text": "Good "}, {"type": "text", "text": "morning"}]
    whole = model.chat([{"role": "user", "content": "Good morning"}])
    assert model.chat([{"role": "user", "content": parts}]) == whole
    for wrong in ([{"type": "image"}], ["Good"], None, 3):
        with pytest.raises(RecipeError):
            model.chat([{"role": "user", "content": wrong}])
