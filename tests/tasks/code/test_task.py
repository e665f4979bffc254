"""Code as a task: what is asked, what is taken of an answer, and its verdicts as pass@k."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from typer.testing import CliRunner

from textmill.cli.main import app
from textmill.interop.huggingface import directory
from textmill.interop.load import load
from textmill.metrics.score import Bootstrap
from textmill.models import build
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import DecoderSpec
from textmill.specs.recipe import TokenizerSpec
from textmill.tasks.code import task as code
from textmill.tasks.code.judged import Verdict
from textmill.tasks.prediction import Refused
from textmill.tasks.task import Options
from textmill.tokenization.chat.template import DEFAULT
from textmill.tokenization.training import train

torch.set_num_threads(1)
HUMANEVAL = {
    "task_id": "Own/0",
    "prompt": 'def half(n):\n    """Half of n."""\n',
    "entry_point": "half",
    "test": "def check(candidate):\n    assert candidate(3) == 1.5\n",
}
MBPP = {
    "task_id": 1,
    "text": "Write a function to double a number.",
    "test_list": ["assert double(2) == 4", "assert double(0) == 0"],
    "code": "def double(n):\n    return 2 * n",
}
RIGHT = "    return n / 2\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model of random weights that reads bytes."""
    path = tmp_path_factory.mktemp("code") / "model"
    tokenizer = train(TokenizerSpec(kind="bytes"), [])
    spec = DecoderSpec(d_model=16, layers=1, heads=2, d_ff=32, context=400)
    model = build.build(spec, tokenizer.vocabulary, seed=1)
    directory.write_directory(path, model, tokenizer, GenerationSpec(tokens=4, temperature=0.0), {})
    return path


def test_problems_are_asked_as_they_stand_or_in_words(place):
    pretrained = load(place)
    records = [
        HUMANEVAL,
        {**MBPP, "test_list": MBPP["test_list"][0], "test_list 2": MBPP["test_list"][1]},
        {},
    ]
    as_they_stand, mbpp, refused = code.prepare(pretrained, records, Options())
    assert pretrained.tokenizer.decode(as_they_stand.prompt.ids) == HUMANEVAL["prompt"]
    assert "\ndef " in as_they_stand.stops
    assert "\ndef " not in mbpp.stops
    assert mbpp.problem.entry == "double"
    assert all(test in mbpp.problem.test for test in MBPP["test_list"])
    assert isinstance(refused, Refused)
    talking = dataclasses.replace(pretrained, template=DEFAULT)
    [told] = code.prepare(talking, records[:1], Options())
    assert told.told
    assert "Write the Python function `half`" in talking.tokenizer.decode(told.prompt.ids)
    assert talking.tokenizer.decode(told.prompt.ids).endswith("```python\n")  # it goes on from there
    assert "\n```" in told.stops
    assert "\ndef " not in told.stops  # it may write what its function needs first
    [complete] = code.prepare(talking, records[:1], Options(instruct=False))
    assert not complete.told


def test_the_code_of_an_answer_is_taken():
    problem = code.problem_of(HUMANEVAL)
    whole = f"import math\n\ndef half(n):\n{RIGHT}"
    for text, told in ((RIGHT, False), (whole, True), (RIGHT, True)):
        source = code.source_of(problem, text, told=told)
        space: dict = {}
        exec(source, space)
        assert space["half"](3) == 1.5
        assert source.startswith(problem.prompt)  # what it imports and defines is there


def test_samples_are_judged_and_counted(place, monkeypatch):
    pretrained = load(place)
    sources = [[RIGHT, "    return n\n", RIGHT, "  ?"], ["    pass\n"] * 4]
    monkeypatch.setattr(
        code,
        "_written",
        lambda pretrained, asked, spec, samples: [
            [one.problem.prompt + text for text in some] for one, some in zip(asked, sources, strict=True)
        ],
    )
    calls = []

    def verdict(problem, source, sandbox):
        calls.append(sandbox.required)
        return Verdict("passed" if RIGHT in source else "failed")

    monkeypatch.setattr(code, "judged", verdict)
    options = Options(samples=4, unsandboxed=True)
    asked = code.prepare(pretrained, [HUMANEVAL] * 2, options)
    said = code.predict(pretrained, asked, options)
    assert [one.right for one in said] == [2, 0]
    assert calls == [False] * 4  # what was said twice is judged once
    scores = code.metrics(said, [HUMANEVAL] * 2, Bootstrap(20))
    assert list(scores) == ["pass@1"]
    assert scores["pass@1"].value == pytest.approx(0.25)
    assert code.figures(said, []).score(Bootstrap(20)).value == pytest.approx(0.25)
    assert code.details(said, [])["outcomes"] == {"failed": 6, "passed": 2}
    with_refused = code.metrics([*said, Refused("x")], [], Bootstrap(20))
    assert with_refused["pass@1"].value == pytest.approx(0.5 / 3)


def test_what_is_written_does_not_depend_on_the_problems_beside_it(place):
    pretrained, options = load(place), Options(samples=2)
    longer = {**HUMANEVAL, "prompt": "import math\n" + HUMANEVAL["prompt"]}
    asked = code.prepare(pretrained, [longer, MBPP, HUMANEVAL], options)
    assert sorted(len(some) for some in code._batches(asked, 3)) == [1, 2]  # those of MBPP end otherwise
    spec = GenerationSpec(tokens=12, temperature=1.0)
    alone = [code._written(pretrained, [one], spec, 2)[0] for one in asked]
    assert code._written(pretrained, asked, spec, 2) == alone
    assert len({text for row in alone for text in row}) == 6


def test_a_model_is_evaluated_on_files_of_problems(place, tmp_path):
    for name, row in (("humaneval", HUMANEVAL), ("mbpp", MBPP)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
        said = CliRunner().invoke(
            app,
            [
                *("evaluate", str(place), "--data", str(tmp_path / f"{name}.jsonl"), "--unsandboxed"),
                *("--json", "--work", str(tmp_path / "work")),
            ],
        )
        assert said.exit_code == 0, said.output
        report = json.loads(said.stdout)
        assert report["task"] == "code"
        assert report["headline"] == "pass@1"
        assert report["scores"]["pass@1"] == 0.0
        assert sum(report["outcomes"].values()) == 1
        assert "with all your rights" in said.stderr
