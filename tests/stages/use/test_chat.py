"""A conversation: its turns, what is forgotten, what is stopped, and the command."""

from __future__ import annotations

import dataclasses
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
from textmill.decoding.stream import TextPiece
from textmill.interop.huggingface import directory as huggingface
from textmill.interop.huggingface.peft import directory as peft
from textmill.interop.load import load
from textmill.models import adapters, build
from textmill.models.pretrained import Adapter
from textmill.specs.corpus import FilesSource, LimitSpec
from textmill.specs.model import DecoderSpec
from textmill.specs.recipe import GenerationSpec, TokenizerSpec
from textmill.specs.tuning import LoRATuning
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace.workspace import Workspace
from textmill.text.sources import table
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


@pytest.mark.slow
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
    assert "no command /nonsense" in said.stderr
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
    told = verb._answer(talk, talk.say("Hi"), shown=True)
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
    monkeypatch.setattr(talk, "say", lambda text: [text])
    assert [turn(talk) for turn in verb._turns({"one": talk})] == [["one"]]


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


def test_an_answer_is_asked_for_anew_and_a_message_corrected(workspace, directory, tmp_path):
    talk = begin(workspace, directory, changes={"tokens": 8, "temperature": 1.0})
    with pytest.raises(RecipeError, match="nothing has been said"):
        list(talk.retry())
    first = answer(talk, "Hi")
    again = "".join(piece.text for piece in talk.retry())
    assert again != first
    assert talk.messages == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": again}]
    other = "".join(piece.text for piece in talk.edit("Ho"))
    assert [message["content"] for message in talk.messages] == ["Ho", other]
    talk.change("temperature", 0.0)
    greedy = ["".join(piece.text for piece in talk.retry()) for _ in range(2)]
    assert greedy[0] == greedy[1]
    with pytest.raises(RecipeError, match="temperature"):
        talk.change("temperature", -1)
    with pytest.raises(RecipeError, match="warmth"):
        talk.change("warmth", 1)
    talk.save(tmp_path / "talk.jsonl")
    talk.save(tmp_path / "talk.jsonl")
    source = FilesSource(paths=(str(tmp_path / "talk.jsonl"),), format="chat")
    read = list(table.read_documents(source, LimitSpec(), tmp_path))
    assert [document.texts["user 1"] for document in read] == ["Ho", "Ho"]
    with pytest.raises(TextmillError, match="cannot be written"):
        talk.save(tmp_path)


TOOLS = '''
def add(a: int, b: int = 2) -> int:
    """The sum of two numbers."""
    return a + b

def _hidden(): pass
'''


class Scripted:
    """A conversation whose answers are given; `asked` is what each was asked with."""

    def __init__(self, talk, answers):
        self.talk, self.answers, self.asked = talk, iter(answers), []
        talk.reply = self.reply

    def reply(self):
        self.asked.append(self.talk.tokenizer.decode(self.talk._fitting()))
        text = next(self.answers)
        yield TextPiece(row=0, sample=0, text=text, tokens=len(text), logprob=0.0, finish="end")


def test_functions_of_a_named_file_are_called(workspace, directory, tmp_path):
    (tmp_path / "tools.py").write_text(TOOLS)
    talk = begin(workspace, directory, tools=tmp_path / "tools.py")
    talk.context = 4096
    [offered] = talk.tools.offered
    described = offered["function"]
    assert (described["name"], described["description"]) == ("add", "The sum of two numbers.")
    assert described["parameters"]["properties"] == {"a": {"type": "integer"}, "b": {"type": "integer"}}
    assert described["parameters"]["required"] == ["a"]
    heard = []
    talk.called = lambda call, result: heard.append((call.name, dict(call.arguments), result))
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    wrong = '<tool_call>{"name": "sub", "arguments": {}}</tool_call>'
    model = Scripted(talk, [f"Let me see.{call}", wrong, "It is 3."])
    list(talk.say("1 + 2?"))
    roles = [message["role"] for message in talk.messages]
    assert roles == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert heard[0] == ("add", {"a": 1}, "3")
    assert "there is no function sub" in heard[1][2]
    assert '"name": "add"' in model.asked[0]
    assert "<tool_call>" in model.asked[1]
    assert talk.messages[-1]["content"] == "It is 3."
    for text, wrong in (("x = 1\n", "defines no function"), ("1 / 0\n", "ZeroDivisionError")):
        (tmp_path / "bad.py").write_text(text)
        with pytest.raises(TextmillError, match=wrong):
            begin(workspace, directory, tools=tmp_path / "bad.py")


def test_commands_of_a_session(directory, tmp_path):
    typed = ["Hi", "/set temperature 0", "/retry", "/edit Ho", f"/save {tmp_path}/talk.jsonl", "/history"]
    lines = "".join(f"{line}\n" for line in (*typed, "/set tokens none", "/set tokens", "/help", "/quit"))
    said = run(directory, tmp_path, "--json", lines=lines)
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    assert len(told["answers"]) == 3
    assert told["messages"][0]["content"] == "Ho"
    assert "user: Ho" in said.stderr
    assert "(/set NAME VALUE is how it is written)" in said.stderr
    assert "  /edit TEXT       says something else instead\n" in said.stderr
    assert "tokens" in said.stderr
    saved = json.loads((tmp_path / "talk.jsonl").read_text())
    assert saved == {"messages": told["messages"]}


def test_adapters_answer_beside_each_other(directory, tmp_path):
    base, tuning = load(directory), LoRATuning(rank=2)
    model = adapters.adapt(base.model, tuning, seed=1)
    for tensor in adapters.tensors(model).values():
        torch.nn.init.normal_(tensor, std=0.5)
    beside = Adapter(tuning, base, str(directory), adapters.weights_id(base.model), "")
    peft.write_pretrained(tmp_path / "adapter", dataclasses.replace(base, model=model, adapter=beside))
    said = run(directory, tmp_path, "-m", "Hi", "--json", "--beside", str(tmp_path / "adapter"))
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    [other] = told["beside"].values()
    assert other["messages"][0] == told["messages"][0]
    assert other["answers"][0]["text"] != told["answers"][0]["text"]
    shown = run(directory, tmp_path, "-m", "Hi", "--beside", str(tmp_path / "adapter"))
    assert f"[{directory}]" in shown.stdout
    assert f"[{tmp_path}/adapter]" in shown.stdout
