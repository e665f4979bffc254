"""The evaluation of every objective: a tiny model of each, its figures computed anew, one text at a time."""

from __future__ import annotations

import dataclasses
import json
import math
import random

import numpy as np
import pytest
import sacrebleu
import torch
import torch.nn.functional as F

from textmill.base import schema
from textmill.base.console import Reporter
from textmill.base.errors import TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.metrics import answers, baselines
from textmill.metrics.score import Bootstrap
from textmill.objectives.evaluation import EvaluationInput
from textmill.specs.recipe import Recipe
from textmill.stages.evaluation import evaluate
from textmill.stages.evaluation.judged import judged
from textmill.stages.preparation.prepare import trained_on
from textmill.stages.runs import check, history, train
from textmill.stages.workspace.weights import best_weights
from textmill.stages.workspace.workspace import Workspace

WORDS = ["mill", "flour", "bread", "wind", "river", "grain", "stone", "wheel", "sack", "field"]
PLACES = ["Delft", "York", "Ghent"]
ENCODER = {"kind": "encoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 64}
PAIR = {"kind": "encoder-decoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 64}
CASES = {
    "masked": (ENCODER, {"kind": "masked"}),
    "next-sentence": (ENCODER, {"kind": "masked", "next_sentence": True}),
    "infilling": (PAIR, {"kind": "infilling"}),
    "spans": (PAIR, {"kind": "spans"}),
    "continue": (PAIR, {"kind": "continue"}),
    "pairs": (PAIR, {"kind": "pairs", "source": "text"}),
    "recurrent pairs": (
        {"kind": "recurrent-encoder-decoder", "d_model": 16, "context": 64},
        {"kind": "pairs", "source": "text"},
    ),
    "classify": (ENCODER, {"kind": "classify"}),
    "several": (ENCODER, {"kind": "classify", "label": "labels", "multiple": True}),
    "regress": (ENCODER, {"kind": "regress", "label": "number"}),
    "tag": (ENCODER, {"kind": "tag"}),
    "tag crf": (ENCODER, {"kind": "tag", "crf": True}),
    "answer": (ENCODER, {"kind": "answer", "passage": "text"}),
}


class Quiet(Reporter):
    def note(self, text):
        pass


def record(number: int) -> dict:
    """One that serves every objective."""
    draw = random.Random(number)
    words = [draw.choice(WORDS) for _ in range(draw.randint(6, 60))]
    name = draw.choice(PLACES)
    place, called = (
        draw.randrange(len(words)),
        draw.choice([[name], ["New", name], ["Old", *WORDS, *WORDS[:5], name]]),
    )
    words[place:place] = called
    tags = ["O"] * len(words)
    tags[place : place + len(called)] = ["B-PLACE", *["I-PLACE"] * (len(called) - 1)]
    return {
        "text": " ".join(words),
        "target": " ".join(word.upper() for word in words[:6]),
        "label": name,
        "labels": " ".join(word for word in ("mill", "river", "sack") if word in words),
        "number": str(5 + sum(word == "mill" for word in words) / 2),
        "tags": " ".join(tags),
        "question": "where is it",
        "answer": " ".join(called),
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    path.write_text("".join(json.dumps(record(number)) + "\n" for number in range(90)))
    return path


@pytest.fixture(scope="module")
def evaluated(corpus, tmp_path_factory):
    """(recipe, data, model, report, run, workspace) of a case, made once."""
    torch.set_num_threads(1)
    workspace, made = Workspace(tmp_path_factory.mktemp("work"), Quiet()), {}

    def make(name: str):
        if name not in made:
            model, objective = CASES[name]
            recipe = schema.read(Recipe, _plain(name, model, objective, corpus))
            run = train.train(recipe, workspace)
            report = evaluate.evaluate_run(run, workspace)
            data = trained_on(run, workspace)
            made[name] = recipe, data, best_weights(run).build(data), report, run, workspace
        return made[name]

    return make


def _plain(name, model, objective, corpus):
    source = {
        "kind": "files",
        "paths": [str(corpus)],
        "metadata_fields": ["label", "labels", "number", "tags"],
    }
    return {
        "name": name.replace(" ", "-"),
        "corpus": {"sources": [source], "steps": [], "split": {"validation": 0.1, "test": 0.3}},
        "tokenizer": {"kind": "bpe", "vocabulary": 320, "sentinels": 24 if name == "spans" else 0},
        "model": model,
        "objective": objective,
        "training": {"steps": 8, "batch": 8, "sequence": 32, "micro_batch": 8, "evaluate_every": 8},
        "evaluation": {"bootstrap": 40, "samples": ["the mill"]},
        "generation": {"tokens": 8},
    }


def single(view, row: int) -> Batch:
    """One row alone: nothing beside it, no padding."""
    from textmill.data.order import key

    return view.make(np.array([row]), np.array([key("evaluation")], dtype=np.uint64)).batch


@pytest.mark.parametrize("name", list(CASES))
def test_reports_have_one_shape(evaluated, name):
    recipe, _, _, report, run, workspace = evaluated(name)
    assert report["objective"] == recipe.objective.kind
    headline = report["table"][0]
    assert headline["name"] == "this model"
    assert headline["value"] == report["scores"][report["headline"].replace(" ", "_")]
    assert next(iter(report["scores"])) == report["headline"].replace(" ", "_")
    for score in report["details"].values():
        assert "bootstrap, 40 resamples" in score["signature"]
        assert score["low"] <= score["value"] + 1e-9
        assert score["value"] <= score["high"] + 1e-9
    assert len(report["table"]) >= 2, "a baseline stands beside the model"
    assert all(row["signature"] for row in report["table"])
    assert report["documents"] > 5
    assert report["better"] in ("lower", "higher")
    assert run.report() == report
    assert evaluate.evaluate_run(run, workspace) == report
    row = next(row for row in history.overview(workspace) if row["name"] == run.name)
    assert (row["headline"], row["score"]) == (report["headline"], headline["value"])
    if recipe.model.kind == "encoder":
        assert report["samples"] == []
    else:
        assert [sample["prompt"] for sample in report["samples"]] == ["the mill"]


@pytest.mark.parametrize("name", ["masked", "next-sentence", "infilling", "spans", "continue"])
def test_tokens_of_plain_text(evaluated, name):
    recipe, data, model, report, _, _ = evaluated(name)
    loader = data.loader("test")
    nats, hits, targets, right, rows = 0.0, 0, 0, 0, 0
    for scored in loader.evaluation(3):  # other batches than the evaluation's
        batch = scored.batch
        with torch.no_grad():
            logits = model(batch)
            chosen = batch.targets != IGNORE
            nats += F.cross_entropy(logits[chosen], batch.targets[chosen], reduction="sum").item()
            hits += int((logits.argmax(-1) == batch.targets).sum())
            targets += int(chosen.sum())
            if batch.labels is not None:
                said = model.next_sentence(model.hidden(batch)).argmax(-1) == batch.labels
                right, rows = right + int(said[chosen.any(1)].sum()), rows + int(chosen.any(1).sum())
    scores = report["scores"]
    assert report["targets"] == targets
    if name == "continue":
        assert report["headline"] == "bits per byte"
        size = loader.store.bytes.sum()
        assert report["bytes"] == size
        assert targets == loader.store.tokens, "every token once"
        assert scores["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-5)
        assert [row["name"] for row in report["table"]] == ["this model", "unigram", "xz", "zstd"]
        return
    token = "masked_token" if recipe.objective.kind == "masked" else "token"
    accuracy = "masked_accuracy" if recipe.objective.kind == "masked" else "token_accuracy"
    assert scores[f"nats_per_{token}"] == pytest.approx(nats / targets, rel=1e-5)
    assert scores[accuracy] == pytest.approx(hits / targets, abs=1.5 / targets)
    assert report["headline"] == (
        "masked accuracy" if recipe.objective.kind == "masked" else "nats per token"
    )
    assert ("next-sentence_accuracy" in scores) == (name == "next-sentence")
    if rows:
        assert scores["next-sentence_accuracy"] == pytest.approx(right / rows, abs=1.1 / rows)


@pytest.mark.parametrize("name", ["masked", "spans"])
def test_the_unigram_model_of_targets(evaluated, name):
    """Counted from the targets the training split makes, and scored on those of the test split."""
    _, data, _, report, _, _ = evaluated(name)

    def targets(part):
        loader = data.loader(part)
        found = [scored.batch.targets for scored in loader.evaluation(5)]
        return np.concatenate([some[some != IGNORE].numpy() for some in found])

    vocabulary = data.tokenizer.vocabulary
    counts = np.bincount(targets("train"), minlength=vocabulary)
    nats = np.log(counts.sum() + vocabulary) - np.log(counts[targets("test")] + 1)
    beside = report["baselines"]["unigram"]
    token = "masked token" if name == "masked" else "token"
    assert beside[f"nats per {token}"]["value"] == pytest.approx(nats.mean())
    share = (targets("test") == counts.argmax()).mean()
    assert beside["masked accuracy" if name == "masked" else "token accuracy"]["value"] == pytest.approx(
        share
    )


def test_the_unigram_of_bits_per_byte_is_that_of_the_corpus(evaluated):
    _, data, _, report, _, _ = evaluated("continue")
    test, whole = data.store("test"), data.store("train")
    score = baselines.unigram(
        whole.ids, test.ids, test.offsets, test.bytes, test.vocabulary, bootstrap=Bootstrap(40)
    )
    assert report["table"][1]["value"] == pytest.approx(score.value)


@pytest.mark.parametrize("name", ["pairs", "recurrent pairs"])
def test_pairs_are_written_and_compared(evaluated, name):
    """Greedily, by a plain forward pass a token, then scored by sacrebleu; temperature 0.8 plays no part."""
    recipe, data, model, report, _, _ = evaluated(name)
    assert recipe.generation.temperature > 0
    tokenizer, store = data.tokenizer, data.store("test")
    loader = data.loader("test")
    targets, outputs, nats = 0, [], 0.0
    for index in range(len(store)):
        batch = single(loader.view, index)
        with torch.no_grad():
            chosen = batch.targets != IGNORE
            nats += F.cross_entropy(model(batch)[chosen], batch.targets[chosen], reduction="sum").item()
            targets += int(chosen.sum())
            ids = batch.inputs[:, :1]
            for _ in range(recipe.generation.tokens):
                read = Batch(ids, torch.full_like(ids, IGNORE), source=batch.source)
                token = model(read)[0, -1].argmax()
                if int(token) in tokenizer.ends:
                    break
                ids = torch.cat([ids, token.view(1, 1)], 1)
        outputs.append(tokenizer.decode(ids[0, 1:].tolist()))
    documents = list(data.corpus.documents("test"))
    references = [document.texts["target"] for document in documents]
    assert len(references) == len(store) == report["documents"]
    scores = report["scores"]
    assert report["headline"] == "BLEU"
    assert scores["BLEU"] == pytest.approx(sacrebleu.corpus_bleu(outputs, [references]).score, abs=1e-6)
    assert scores["chrF"] == pytest.approx(sacrebleu.corpus_chrf(outputs, [references]).score, abs=1e-6)
    assert scores["nats_per_token"] == pytest.approx(nats / targets, rel=1e-5)
    assert report["details"]["BLEU"]["signature"].endswith("greedy|tokens:8")
    assert "|tok:13a|" in report["details"]["BLEU"]["signature"]
    copied = sacrebleu.corpus_chrf([document.text for document in documents], [references]).score
    assert report["baselines"]["the source"]["chrF"]["value"] == pytest.approx(copied)
    example = report["examples"][0]
    assert (example["source"], example["reference"]) == (documents[0].text, references[0])
    assert example["output"] == outputs[0]


def _logits(model, loader):
    """Logits of each row alone, and the row's targets."""
    with torch.no_grad():
        for row in range(len(loader.view)):
            batch = single(loader.view, row)
            yield batch, model(batch)[0], batch.targets[0]


def test_labels(evaluated):
    sklearn = pytest.importorskip("sklearn.metrics")
    _, data, model, report, _, _ = evaluated("classify")
    loader = data.loader("test")
    names = loader.store.labels
    guess = [names[int(logits.argmax())] for _, logits, _ in _logits(model, loader)]
    truth = [document.metadata["label"] for document in data.corpus.documents("test")]
    assert report["headline"] == "accuracy"
    assert report["scores"]["accuracy"] == pytest.approx(sklearn.accuracy_score(truth, guess))
    assert report["scores"]["macro_F1"] == pytest.approx(sklearn.f1_score(truth, guess, average="macro"))
    for true, row in report["confusion"].items():
        for said, number in row.items():
            assert number == sum((one, two) == (true, said) for one, two in zip(truth, guess, strict=True))
    train_labels = [document.metadata["label"] for document in data.corpus.documents("train")]
    common = max(sorted(set(train_labels)), key=train_labels.count)
    assert report["table"][1]["name"] == f"always {common!r}"
    assert report["table"][1]["value"] == pytest.approx(truth.count(common) / len(truth))


def test_several_labels(evaluated):
    sklearn = pytest.importorskip("sklearn.metrics")
    _, data, model, report, _, _ = evaluated("several")
    loader = data.loader("test")
    sides = [(logits > 0, targets > 0) for _, logits, targets in _logits(model, loader)]
    guess, truth = (np.stack([side[place].numpy() for side in sides]) for place in (0, 1))
    assert report["headline"] == "micro F1"
    assert report["scores"]["micro_F1"] == pytest.approx(sklearn.f1_score(truth, guess, average="micro"))
    assert report["scores"]["subset_accuracy"] == pytest.approx(sklearn.accuracy_score(truth, guess))


def test_numbers(evaluated):
    _, data, model, report, _, _ = evaluated("regress")
    loader = data.loader("test")
    guess = np.array([float(logits[0]) for _, logits, _ in _logits(model, loader)])
    parts = {
        part: np.array([float(one.metadata["number"]) for one in data.corpus.documents(part)])
        for part in ("train", "test")
    }
    assert report["scores"]["mean_squared_error"] == pytest.approx(
        ((guess - parts["test"]) ** 2).mean(), rel=1e-5
    )
    # Its guesses hardly differ, so that the last bits of float32 count, and those depend on the batch.
    assert report["scores"]["Pearson_r"] == pytest.approx(np.corrcoef(guess, parts["test"])[0, 1], abs=3e-2)
    mean = parts["train"].mean()
    assert report["table"][1]["value"] == pytest.approx(((mean - parts["test"]) ** 2).mean())
    assert report["better"] == "lower"


@pytest.mark.parametrize("name", ["tag", "tag crf"])
@pytest.mark.filterwarnings("ignore")
def test_tags(evaluated, name):
    seqeval = pytest.importorskip("seqeval.metrics")
    recipe, data, model, report, _, _ = evaluated(name)
    loader = data.loader("test")
    names, view = loader.store.labels, loader.view
    assert len(view) > len(loader.store), "some texts are longer than a row"
    found: dict[int, list[str]] = {}
    for row, (batch, logits, targets) in enumerate(_logits(model, loader)):
        there = targets != IGNORE
        if recipe.objective.crf:
            best = (
                _brute(model.head.crf, logits[there])
                if there.sum() < 4
                else data.objective.predict(model, batch)[0][there]
            )
        else:
            best = logits[there].argmax(-1)
        found.setdefault(int(view.record[row]), []).extend(names[int(tag)] for tag in best)
    guess = [found[record] for record in sorted(found)]
    truth = [document.metadata["tags"].split() for document in data.corpus.documents("test")]
    assert list(map(len, guess)) == list(map(len, truth)), "every word of every text"
    scores = report["scores"]
    assert report["headline"] == "entity F1"
    assert scores["word_accuracy"] == pytest.approx(seqeval.accuracy_score(truth, guess))
    assert scores["entity_F1"] == pytest.approx(seqeval.f1_score(truth, guess, zero_division=0))
    assert report["by_type"][0]["entities"] == len(truth), "one a text, also where it goes over two rows"
    assert report["by_type"][0]["entities"] == len(truth), "one a text, also where it goes over two rows"
    assert report["targets"] == sum(map(len, truth))
    outside = sum(tag == "O" for text in truth for tag in text) / report["targets"]
    assert report["baselines"]["always 'O'"]["word accuracy"]["value"] == pytest.approx(outside)


def _brute(crf, logits):
    """The likeliest tags by trying all."""
    import itertools

    def score(tags):
        value = (
            crf.start[tags[0]] + crf.end[tags[-1]] + sum(logits[place, tag] for place, tag in enumerate(tags))
        )
        return value + sum(crf.transitions[pair] for pair in itertools.pairwise(tags))

    return max(itertools.product(range(logits.shape[1]), repeat=len(logits)), key=score)


class Guesser(torch.nn.Module):
    """Says of each row what its tokens draw, "not here" included: windows of one text differ as they please."""

    def forward(self, batch):
        real = batch.inputs if batch.mask is None else batch.inputs * batch.mask
        rows = [torch.Generator().manual_seed(int(row.sum())) for row in real]
        return torch.stack([10 * torch.rand(64, 2, generator=draw) for draw in rows])[:, : real.shape[1]]


@pytest.mark.parametrize("guessing", [False, True])
def test_answers(evaluated, guessing):
    """Every stretch of every window tried."""
    _, data, model, report, _, _ = evaluated("answer")
    if guessing:
        model = Guesser()
        model.spec = data.recipe.model
        report = judged(EvaluationInput(model, data, Quiet()), data).plain()
    loader, tokenizer = data.loader("test"), data.tokenizer
    view, store = loader.view, loader.store
    assert len(view) > len(store), "some texts are read in windows"
    best: dict[int, tuple[float, str]] = {}
    for row, (batch, logits, _) in enumerate(_logits(model, loader)):
        ids, record = batch.inputs[0].tolist(), int(view.record[row])
        begin = batch.segments[0].tolist().index(1)
        length = int(view.ends[row] - view.begins[row])
        assert (
            ids[begin : begin + length]
            == store.field("text", record)[view.begins[row] : view.ends[row]].tolist()
        )
        for first in range(begin, begin + length):
            for last in range(first, min(first + 30, begin + length)):
                odds = float(logits[first, 0] + logits[last, 1] - logits[0].sum())
                if odds > best.get(record, (-math.inf, ""))[0]:
                    best[record] = odds, tokenizer.decode(ids[first : last + 1])
    documents = list(data.corpus.documents("test"))
    pairs = [(document.texts["answer"], best[record][1]) for record, document in enumerate(documents)]
    assert report["headline"] == "answer F1"
    assert report["scores"]["answer_F1"] == pytest.approx(np.mean([answers.f1(*pair) for pair in pairs]))
    assert report["scores"]["exact_match"] == pytest.approx(np.mean([answers.exact(*pair) for pair in pairs]))
    given = [example["given"] for example in report["examples"]]
    assert given == [said.strip() for _, said in pairs[: len(given)]]
    assert report["table"][1]["name"].startswith("the first ")


@pytest.mark.parametrize("name", ["tag", "answer", "pairs", "masked"])
def test_a_sample_is_of_whole_records_and_always_the_same(evaluated, name):
    recipe, data, model, report, _, _ = evaluated(name)
    some = dataclasses.replace(
        recipe, evaluation=dataclasses.replace(recipe.evaluation, tokens=100, bootstrap=5)
    )
    data = dataclasses.replace(data, recipe=some)
    first, second = (judged(EvaluationInput(model, data, Quiet()), data) for _ in range(2))
    assert first.plain() == second.plain()
    assert 0 < first.documents < report["documents"]


@pytest.mark.parametrize(("name", "idle"), [("masked", True), ("next-sentence", False), ("classify", False)])
def test_check_says_where_nothing_trains_the_pooler(evaluated, name, idle):
    recipe, *_, workspace = evaluated(name)
    said = [finding["text"] for finding in check.check(recipe, workspace)["findings"]]
    assert any("nothing trains the pooler" in text for text in said) == idle


def test_plain_files_do_not_score_what_writes_no_text(evaluated, tmp_path):
    from textmill.interop.huggingface import directory

    recipe, data, model, *_, workspace = evaluated("classify")
    (tmp_path / "new.txt").write_text("mill")
    directory.write_directory(
        tmp_path / "model", model, data.tokenizer, generation=recipe.generation, info={}
    )
    with pytest.raises(TextmillError, match="does not continue text"):
        evaluate.evaluate_files(workspace, str(tmp_path / "model"), [tmp_path / "new.txt"])


@pytest.mark.parametrize(
    ("spec", "temperature", "said"),
    [
        ({"temperature": 0.7}, 0.0, "greedy|tokens:200"),
        ({"beams": 5, "length_penalty": 0.6, "tokens": 9}, 0.0, "beams:5|length:power^0.6|tokens:9"),
        ({"contrastive": 0.6, "top_k": 4}, 0.0, "contrastive:0.6|top_k:4|tokens:200"),
        (
            {"mbr": "chrf", "temperature": 0.9},
            0.9,
            "mbr:chrf of 16|temperature:0.9|seed:0|tokens:200",
        ),
    ],
)
def test_chance_plays_no_part_unless_it_is_asked_for(spec, temperature, said):
    from textmill.specs.recipe import GenerationSpec
    from textmill.tasks import writing

    settled = writing.settled(GenerationSpec(**spec))
    assert settled.temperature == temperature
    assert writing.described(settled) == said
