"""`import textmill`: each method says what the command of its name says, and what the reference library computes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_origin, get_type_hints

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import textmill
from textmill.base import schema
from textmill.base.console import Silent
from textmill.cli.main import app
from textmill.interop.huggingface import directory
from textmill.models import build
from textmill.models.heads import Headed
from textmill.specs import recipe_file
from textmill.specs.generation import GenerationOptions, GenerationSpec
from textmill.specs.head import ClassifyHead
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, EncoderSpec
from textmill.stages import pipeline
from textmill.stages.runs import train
from textmill.stages.workspace.workspace import Workspace

RECIPE = """
name = "tiny"
[corpus]
sources = [{{ kind = "files", paths = ["{texts}"] }}]
[tokenizer]
vocabulary = 300
[model]
d_model = 16
layers = 1
heads = 2
d_ff = 32
context = 32
[training]
steps = 12
batch = 3
evaluate_tokens = 200
[evaluation]
samples = []
bootstrap = 10
baselines = []
[generation]
tokens = 12
"""
SMALL = {"d_model": 32, "layers": 2, "heads": 4, "d_ff": 48, "context": 96}
SPECS = {
    "decoder": DecoderSpec(**SMALL),
    "encoder": EncoderSpec(**SMALL),
    "encoder-decoder": EncoderDecoderSpec(**SMALL),
}
PROMPTS = ["the mill", "磨坊"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A workspace with a published run, `tiny`, and one that was only trained, `begun`."""
    folder = tmp_path_factory.mktemp("python")
    texts = folder / "texts"
    texts.mkdir()
    for number in range(40):
        words = " ".join(f"word{(number * 7 + k * k) % 91}" for k in range(30 + number))
        (texts / f"{number:03d}.txt").write_text(f"{number}\n{words}\n")
    (folder / "tiny.toml").write_text(RECIPE.format(texts=texts))
    workspace = Workspace(folder / "work", Silent())
    recipe = recipe_file.load(folder / "tiny.toml")
    pipeline.run(recipe, workspace)
    train.train(recipe_file.load(folder / "tiny.toml", ["name=begun", "training.steps=3"]), workspace)
    return workspace.root


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Where a model of random weights of each kind is published; they read bytes, 96 tokens at most."""
    from textmill.specs.recipe import TokenizerSpec
    from textmill.tokenization.training import train as learn

    folder, tokenizer = tmp_path_factory.mktemp("models"), learn(TokenizerSpec(kind="bytes"), [])
    models = {name: build.build(spec, tokenizer.vocabulary, seed=1) for name, spec in SPECS.items()}
    body = build.build(SPECS["encoder"], tokenizer.vocabulary, seed=1)
    models["headed"] = Headed(body, ClassifyHead(labels=("a", "b")))
    for name, model in models.items():
        torch.manual_seed(0)
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
        directory.write_directory(
            folder / name, model, tokenizer, GenerationSpec(tokens=8, temperature=0.7), {}
        )
    return {name: folder / name for name in models}


def verb(*words, work="nowhere"):
    """What a command prints as JSON."""
    result = CliRunner().invoke(app, [*map(str, words), "--json", "--work", str(work)])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_importing_takes_no_time_and_everything_is_found():
    code = (
        "import time; begun = time.perf_counter(); import textmill; print(time.perf_counter() - begun);"
        "import sys; print(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    seconds, heavy = min(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(3)
    )
    assert float(seconds) < 0.2
    assert heavy == "False"
    assert set(textmill.__all__) <= set(dir(textmill))
    for name in textmill.__all__:
        assert getattr(textmill, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        textmill.lod  # noqa: B018
    assert (Path(textmill.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("name", ["decoder", "encoder-decoder"])
@pytest.mark.parametrize(
    "options", [{"seed": 3}, {"temperature": 0.0}, {"temperature": 0, "beams": 3}], ids=str
)
def test_generate_is_what_the_verb_says(places, name, options):
    model = textmill.load(places[name])
    flags = [word for key, value in options.items() for word in (f"--{key}", value)]
    told = verb("generate", places[name], *PROMPTS, "--samples", 2, *flags)
    answers = model.generate(PROMPTS, samples=2, **options)
    assert [answer.plain() for answer in answers] == told["answers"]
    assert [(answer.prompt, answer.sample) for answer in answers] == [(p, s) for p in PROMPTS for s in (0, 1)]
    assert model.generate(PROMPTS, samples=2, **options) == answers


def test_a_stream_is_the_answer_in_pieces(places):
    model = textmill.load(places["decoder"])
    stream = model.stream("the mill", tokens=20, seed=1)
    heard = [next(stream).text, *(piece.text for piece in stream)]
    assert len(heard) > 1
    [answer] = stream.answers()
    assert "".join(heard) == answer.text == model.generate("the mill", tokens=20, seed=1)[0].text
    assert answer.finish in ("end", "length")
    assert model.generate([]) == []
    assert model.generate("", tokens=3)[0].tokens > 0, "an empty prompt is the beginning of a text"


def test_many_rows_and_fewer_bits(places):
    model = textmill.load(places["decoder"])
    alone = [model.generate(f"a{n}", temperature=0.0)[0].text for n in range(9)]
    assert [answer.text for answer in model.generate([f"a{n}" for n in range(9)], temperature=0.0)] == alone
    rounded = textmill.load(places["decoder"], weights="int8")
    exact, near = model.logprobs("the mill").values, rounded.logprobs("the mill").values
    assert 0 < np.abs(exact - near).max() < 0.1
    vectors = [one.embed("the mill").vectors[0] for one in (model, rounded)]
    assert vectors[0] @ vectors[1] > 0.999


def test_chat_is_what_the_verb_says(places, tmp_path):
    model = textmill.load(places["decoder"])
    told = verb("chat", places["decoder"], "-m", "Hi", "-m", "And?", "--system", "Be brief.", "--tokens", 6)
    for turn in (2, 4):
        answer = model.chat(told["messages"][:turn], tokens=6)
        assert answer.text == told["messages"][turn]["content"]
    talk = model.conversation(system="Be brief.", tokens=6)
    for text in ("Hi", "And?"):
        list(talk.say(text))
    assert talk.messages == told["messages"]
    (tmp_path / "mine.jinja").write_text("{{ messages[-1]['content'] }}")
    assert model.chat([{"role": "user", "content": "x"}], template=tmp_path / "mine.jinja").tokens > 0


@pytest.mark.parametrize("name", ["decoder", "encoder", "encoder-decoder", "headed"])
def test_embed_is_what_the_verb_says(places, name):
    model = textmill.load(places[name])
    told = verb("embed", places[name], *PROMPTS)
    embedded = model.embed(PROMPTS)
    np.testing.assert_allclose(embedded.vectors, told["embeddings"], rtol=0, atol=1e-7)
    assert embedded.tokens == told["tokens"]
    raw = model.embed(PROMPTS[0], pooling="last", normalise=False)
    assert (raw.vectors.shape, raw.pooling, raw.normalised) == ((1, 32), "last", False)
    assert model.embed(["x" * 200, "y"]).cut == 1


def test_logprobs_are_those_of_transformers(places):
    transformers = pytest.importorskip("transformers")
    model = textmill.load(places["decoder"])
    text = "the mill stood; 磨坊 👩‍🔬"
    ours = model.logprobs(text)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        places["decoder"], local_files_only=True
    ).eval()
    ids = torch.tensor([[model.tokenizer.end, *ours.ids.tolist()]])
    with torch.no_grad():
        want = theirs(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    np.testing.assert_allclose(ours.values, want.numpy(), atol=1e-5)
    assert ours.total == pytest.approx(float(want.double().sum()), abs=1e-4)
    assert model.tokenizer.decode(ours.ids) == text
    with_offsets = transformers.AutoTokenizer.from_pretrained(places["decoder"], local_files_only=True)
    again = with_offsets(text, return_offsets_mapping=True, add_special_tokens=False)
    assert again["input_ids"] == ours.ids.tolist()
    assert list(map(list, again["offset_mapping"])) == ours.offsets.tolist()
    assert ours.tokens[:3] == ["t", "h", "e"]
    assert ours.tokens[-1] == text[-1], "a part of a character stands for all of it"
    assert model.logprobs("").values.shape == (0,)
    assert model.logprobs("").total == 0


def test_logprobs_of_an_answer_are_what_it_was_written_with(places):
    model = textmill.load(places["decoder"])
    [answer] = model.generate("the mill", tokens=5, temperature=0.0)
    whole, prompt = model.logprobs("the mill" + answer.text), model.logprobs("the mill")
    if answer.finish == "length" and model.tokenizer.decode(whole.ids[-answer.tokens :]) == answer.text:
        assert whole.total - prompt.total == pytest.approx(answer.logprob, abs=1e-4)


def test_a_run_by_name_or_folder(work, monkeypatch):
    model = textmill.load("tiny", work=work)
    assert model.generation.tokens == 12
    assert model.spec.kind == "decoder"
    assert set(model.lineage) == {"weights", "tokens", "tokenizer", "corpus"}
    assert "tiny" in repr(model)
    said = model.generate("word7 word", seed=2)
    assert [answer.plain() for answer in said] == verb(
        "generate", "tiny", "word7 word", "--seed", 2, work=work
    )["answers"]
    for path in (work / "runs" / "tiny", work / "runs" / "tiny" / "model"):
        assert textmill.load(path).generate("word7 word", seed=2) == said
    monkeypatch.setenv("TEXTMILL_WORK", str(work))
    assert textmill.load("tiny").path == model.path


def test_guesses_from_the_corpus_change_nothing(work, places):
    model = textmill.load("tiny", work=work)
    plain = model.generate("word7 word", temperature=0.0)[0].text
    stream = model.stream("word7 word", temperature=0.0, speculate="both")
    assert stream.answers()[0].text == plain
    assert stream.speculation is not None
    assert stream.speculation["tokens"] > 0
    events = (work / "runs" / "tiny" / "events.jsonl").read_text().splitlines()
    assert json.loads(events[-1])["event"] == "generated"
    with pytest.raises(textmill.TextmillError, match="belongs to no run"):
        textmill.load(places["decoder"]).generate("x", speculate="corpus")


def test_the_corpus_and_the_trace(work):
    [path] = [path for path in (work / "corpus").iterdir() if not path.name.startswith(".")]
    corpus = textmill.Corpus(path)
    documents = list(corpus.documents("train"))
    assert isinstance(documents[0], textmill.Document)
    assert len(documents) == corpus.count("train") > 0
    assert corpus.get(documents[3].id).text == documents[3].text
    assert corpus.report["kept"]["documents"] >= len(documents)
    text = documents[3].text[:80]
    traced = textmill.trace("tiny", text, work=work)
    told = verb("trace", "tiny", text, work=work)["texts"][0]
    assert traced | {"seconds": 0} == told | {"seconds": 0}
    assert documents[3].source in [
        holder["source"] for span in traced["spans"] for holder in span["found_in"]
    ]


def test_wrong_use_is_said(work, places, tmp_path):
    wrong = textmill.TextmillError
    with pytest.raises(wrong, match="no such run or model; did you mean tiny?") as caught:
        textmill.load("tinny", work=work)
    assert (caught.value.what, caught.value.where) == ("no such run or model", "tinny")
    assert "begun is not published" in textmill.load("begun", work=work).pretrained.warnings[0]
    with pytest.raises(wrong, match="no such run"):
        textmill.load(tmp_path / "nowhere")
    with pytest.raises(wrong, match="holds no model"):
        textmill.load(tmp_path)
    with pytest.raises(textmill.RecipeError, match="--weights"):
        textmill.load(places["decoder"], weights="fp8")
    model = textmill.load(places["decoder"])
    with pytest.raises(textmill.RecipeError, match="temprature: unknown key; did you mean temperature?"):
        model.generate("x", temprature=1.0)  # type: ignore[call-arg]
    with pytest.raises(textmill.RecipeError, match="top_p: 2.0 is out of range"):
        model.chat([{"role": "user", "content": "x"}], top_p=2.0)
    with pytest.raises(textmill.RecipeError, match="samples: 0 is out of range"):
        model.generate("x", samples=0)
    with pytest.raises(wrong, match=r"prompts\[1\]: the prompt takes 120 tokens and the model reads 96"):
        model.generate(["x", "y" * 120])
    [answer] = model.generate("y" * 120, truncate=True)
    assert answer.cut > 0
    with pytest.raises(wrong, match="the text takes 120 tokens and the model reads 96"):
        model.logprobs("y" * 120)
    assert len(model.logprobs("y" * 96).ids) == 96
    with pytest.raises(wrong, match="the message takes 2.. tokens and there is room for 88"):
        model.chat([{"role": "user", "content": "y" * 200}])
    for messages in ([], [{"role": "assistant", "content": "x"}]):
        with pytest.raises(textmill.RecipeError, match="there is no question"):
            model.chat(messages)
    with pytest.raises(textmill.RecipeError, match=r"messages\[0\]: is not a message"):
        model.chat([{"role": "user", "text": "x"}])  # type: ignore[typeddict-item]
    with pytest.raises(textmill.RecipeError, match="no text to embed"):
        model.embed([])
    with pytest.raises(textmill.RecipeError, match="'best' is none of cls, mean"):
        model.embed("x", pooling="best")
    for name in ("encoder", "headed"):
        with pytest.raises(wrong, match="writes no text"):
            textmill.load(places[name]).generate("x")
    for name in ("encoder", "headed", "encoder-decoder"):
        other = textmill.load(places[name])
        with pytest.raises(wrong, match="does not continue text"):
            other.logprobs("x")
        with pytest.raises(wrong, match="holds no conversations"):
            other.chat([{"role": "user", "content": "x"}])
    with pytest.raises(textmill.DamagedError, match="is not a corpus|manifest"):
        textmill.Corpus(tmp_path)


def test_a_long_prompt_is_cut_by_the_verb_and_it_says_so(places):
    said = CliRunner().invoke(app, ["generate", str(places["decoder"]), "y" * 120, "--work", "nowhere"])
    assert said.exit_code == 0
    assert "the model reads 96 tokens" in said.stderr


def test_with_json_an_error_is_an_object_too(tmp_path):
    for words in (
        ["generate", "nothing"],
        ["runs", "show", "nothing"],
        ["embed", "nothing", "x"],
        ["chat", "nothing"],
    ):
        line = [sys.executable, "-m", "textmill", *words, "--json", "--work", str(tmp_path)]
        said = subprocess.run(line, check=False, capture_output=True, text=True, timeout=120)
        assert json.loads(said.stdout)["error"]["what"].startswith("no such run")
        assert json.loads(said.stdout)["error"]["where"] == "nothing"


def test_options_are_the_fields_of_a_spec():
    spec, options = get_type_hints(GenerationSpec), get_type_hints(GenerationOptions)
    assert list(options) == [field.name for field in fields(GenerationSpec)]
    for name, kind in options.items():
        if get_origin(spec[name]) is not tuple:  # any sequence will do
            assert kind == spec[name], name
    assert set(options) == set(schema.fields(GenerationSpec))


EXAMPLE = """
from typing import assert_type

import numpy as np
import textmill

model = textmill.load("tiny", work="work")
assert_type(model, textmill.LanguageModel)
answers = model.generate(["a", "b"], samples=2, temperature=0.0, stop=["."], seed=1)
assert_type(answers, list[textmill.Answer])
assert_type(answers[0].text, str)
for piece in model.stream("a", tokens=4):
    assert_type(piece.text, str)
assert_type(model.chat([{"role": "user", "content": "Hi"}]), textmill.Answer)
assert_type(model.conversation(system="Be brief."), textmill.Conversation)
assert_type(model.embed("a"), textmill.Embeddings)
assert_type(model.logprobs("a"), textmill.Logprobs)
assert_type(model.generation.tokens, int)
assert_type(textmill.trace("tiny", "a")["spans"][0]["found_in"][0]["source"], str)
for document in textmill.Corpus("work/corpus/x").documents("train"):
    assert_type(document, textmill.Document)
try:
    model.generate("a")
except textmill.RecipeError as error:
    assert_type(error.what, str)
"""


def test_a_type_checker_knows_it_all(tmp_path):
    assert check_types(tmp_path, EXAMPLE) == ""
    wrong = check_types(tmp_path, EXAMPLE + "model.generate('a', temprature=1.0)\nmodel.chat('Hi')\n")
    assert "temprature" in wrong
    assert wrong.count("ERROR") == 2


def check_types(folder, text) -> str:
    """What pyrefly has to say against a program."""
    pytest.importorskip("pyrefly")
    path = folder / "example.py"
    path.write_text(text)
    result = subprocess.run(
        [
            Path(sys.executable).parent / "pyrefly",
            "check",
            "--preset",
            "default",
            "--python-interpreter-path",
            sys.executable,
            path,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert result.returncode in (0, 1), result.stderr
    return result.stdout if result.returncode else ""
