"""Vectors of texts: what a query is told from, the loss by hand, groups that nothing cuts, what is published."""

from __future__ import annotations

import dataclasses
import json
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helpers.loaders import check_steps_of
from textmill.base import schema
from textmill.base.console import Silent
from textmill.base.errors import RecipeError
from textmill.data.batch import IGNORE
from textmill.data.examples import ExampleStore, write_examples
from textmill.data.loader import Batching
from textmill.models.build import build
from textmill.models.vectors import bare, pooled
from textmill.objectives.embed import EMBED
from textmill.specs.model import DecoderSpec, EncoderSpec, RecurrentSpec
from textmill.specs.objective import EmbedObjective
from textmill.specs.recipe import Recipe
from textmill.specs.training import AdamWSpec
from textmill.stages.evaluation.evaluate import evaluate_run
from textmill.stages.preparation import starting
from textmill.stages.release.publish import publish_run
from textmill.stages.runs.train import train as train_run
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace.workspace import Workspace
from textmill.text.document import collected
from textmill.training import optimizer as optimizers
from textmill.training.loop import train

SMALL = {"d_model": 16, "layers": 1, "context": 32}
FAMILIES = {
    "encoder": EncoderSpec(**SMALL, heads=2, d_ff=24, dropout=0.0),
    "decoder": DecoderSpec(**SMALL, heads=2, d_ff=24),
    "recurrent": RecurrentSpec(**SMALL, dropout=0.0),
}


@pytest.fixture
def stored(tmp_path, tokenizer):
    """A store of records (query, passages, negatives), and its manifest."""

    def make(spec, records):
        documents = []
        for number, (query, passages, negatives) in enumerate(records):
            texts = {"query": query} if query is not None else {}
            for role, several in (("passage", passages), ("negative", negatives)):
                texts |= {role if not n else f"{role} {n + 1}": text for n, text in enumerate(several)}
            documents.append(collected(texts, f"{number}"))
        manifest = write_examples(tmp_path / "store", documents, EMBED.reader(spec, tokenizer))
        return ExampleStore(tmp_path / "store"), manifest

    return make


@pytest.fixture
def loader(stored, marked):
    def make(spec, records, batch=4, sequence=32, seed=0):
        return EMBED.loader(
            spec, stored(spec, records)[0], Batching(sequence, batch, seed, "running", marked)
        )

    return make


def plain(count: int) -> list[tuple[str, list[str], list[str]]]:
    return [(f"q{n} " + "x" * (n % 5), [f"p{n} " + "y" * (n * 7 % 11)], []) for n in range(count)]


def said(batch, tokenizer, group: int) -> tuple[list[str], list[str]]:
    """The queries and the other texts of a group, decoded."""
    texts = []
    for ids, real in zip(batch.inputs[group], batch.mask[group], strict=True):
        texts.append(tokenizer.decode([token for token in ids[real].tolist() if token < 256]))
    size = batch.targets.shape[1]
    return texts[:size], texts[size:]


def test_what_is_kept_and_why_not(stored):
    spec = EmbedObjective(negative="negative")
    records = [
        ("q", ["p", "p2", " ", "p"], ["n"]),
        (None, ["p"], []),
        (" ", ["p"], []),
        ("q", [], []),
        ("q3", ["p3"], []),
    ]
    store, manifest = stored(spec, records)
    assert manifest["skipped"] == {"no query": 1, "the query is empty": 1, "no passage": 1}
    assert manifest["read"] == manifest["records"] + sum(manifest["skipped"].values())
    assert [len(store.field("ends", record)) for record in range(2)] == [2, 1]  # each text once
    assert [len(store.field("negative_ends", record)) for record in range(2)] == [1, 0]
    assert store.text_fields == ["text", "query", "negative"]


def test_a_query_is_told_from_what_is_not_known_to_belong_to_it(loader, tokenizer):
    """Duplicates, further passages of the record and those of a record with the same query are no negatives."""
    records = [
        ("a", ["A one", "A two"], ["B"]),
        ("b", ["B"], ["A one", "C"]),
        ("a", ["A three"], []),
        ("c", ["C"], ["hard"]),
        ("d", ["B"], []),
    ]
    belongs: dict[str, set[str]] = {}
    for query, passages, _ in records:
        belongs.setdefault(query, set()).update(passages)
    found = loader(EmbedObjective(negative="negative"), records, batch=6)
    hard = set()
    for step in range(4):
        batch = found.batch(step)
        assert batch.targets.tolist() == [[0, 1, 2, 3, 4, 5]]
        queries, others = said(batch, tokenizer, 0)
        for row, query in enumerate(queries):
            assert others[row] in belongs[query]
            for column, other in enumerate(others):
                told = other != "" and (column == row or other not in belongs[query])
                assert bool(batch.candidates[0, row, column]) == told, (query, other)
        hard |= {others[6 + row] for row, query in enumerate(queries) if query == "b"}
    assert hard == {"A one", "C"}  # another one in another epoch


def test_an_epoch_reads_every_passage_once(loader):
    found = loader(EmbedObjective(group=4), plain(24), batch=8)
    rows = [np.concatenate([found.rows(3 * epoch + step) for step in range(3)]) for epoch in range(2)]
    assert all(sorted(some.tolist()) == list(range(24)) for some in rows)
    assert rows[0].tolist() != rows[1].tolist()


def test_groups_of_a_window_are_neighbours_and_others_each_time(loader):
    near = loader(
        EmbedObjective(group=4, window=12), plain(50), batch=4
    )  # 13 groups, the last of them incomplete
    widths, seen = [], []
    for epoch in range(3):
        groups = [near.rows(13 * epoch + step) for step in range(13)]
        read = np.concatenate(groups)
        assert sorted(read[read >= 0].tolist()) == list(range(50))
        for group in groups:
            rows = np.sort(group[group >= 0])
            widths.append(int(50 - np.diff(np.append(rows, rows[0] + 50)).max()))
            seen.append(tuple(rows.tolist()))
    assert max(widths) < 12
    assert len(set(seen)) == len(seen)
    documents = [near.store.document_id(record) for record in (0, 17, 49)]
    check_steps_of(near, documents, 20)


def test_the_steps_of_a_document(loader):
    records = [*plain(9), ("many", ["m1", "m2", "m3"], [])]
    found = loader(EmbedObjective(), records)
    check_steps_of(found, [found.store.document_id(record) for record in (0, 5, 9)], 12)


def test_what_is_scored_is_every_row_once(loader, equal):
    found = loader(EmbedObjective(), plain(11))
    owners = [scored.documents.numpy() for scored in found.evaluation(4)]
    assert all(side.shape == (1, 4) for side in owners)
    held = np.concatenate(owners).ravel()
    assert sorted(held[held >= 0].tolist()) == list(range(11))
    last = list(found.evaluation(4))[-1].batch
    assert (last.targets == IGNORE).sum() == 1
    assert not last.candidates[0][:, last.targets[0] == IGNORE].any()
    assert all(equal(a.batch, b.batch) for a, b in zip(found.evaluation(4), found.evaluation(4), strict=True))


def model_of(family: str, loader, dtype=torch.float64):
    return bare(build(FAMILIES[family], loader.store.vocabulary, seed=3, dtype=dtype))


def vector(model, ids, real, pooling):
    """One text alone, by other means than the loss uses."""
    from textmill.data.batch import Batch

    alone = ids[real][None]
    states = model.hidden(Batch(alone, alone))[0]
    return {"mean": states.mean(0), "last": states[-1], "first": states[0]}[pooling]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("dimensions", [(), (5, 3)])
def test_the_loss_by_hand(loader, family, symmetric, dimensions):
    """The softmax of each query over what it may be compared with, and of each passage, written out."""
    spec = EmbedObjective(
        negative="negative", group=3, symmetric=symmetric, dimensions=dimensions, temperature=0.2
    )
    records = [("a", ["A", "AA"], ["N", "M"]), ("b", ["B"], []), ("c", ["A"], ["C"]), ("d", ["DDDD"], ["E"])]
    found = loader(spec, records, batch=6)
    model, batch = model_of(family, found), found.batch(1)
    nats, number = EMBED.losses(spec, sequence=32).training(model, batch)
    pooling, total = "mean" if family == "encoder" else "last", 0.0
    for group in range(2):
        states = [
            vector(model, ids, real, pooling)
            for ids, real in zip(batch.inputs[group], batch.mask[group], strict=True)
        ]
        for size in (16, *dimensions):
            short = [state[:size] / state[:size].norm() for state in states]
            queries, others, told = short[:3], short[3:], batch.candidates[group]
            for row in (batch.targets[group] >= 0).nonzero().flatten().tolist():  # one place is empty
                terms = [
                    queries[row] @ other / 0.2 for column, other in enumerate(others) if told[row, column]
                ]
                one = torch.logsumexp(torch.stack(terms), 0) - queries[row] @ others[row] / 0.2
                back = [queries[q] @ others[row] / 0.2 for q in range(3) if told[q, row]]
                two = torch.logsumexp(torch.stack(back), 0) - queries[row] @ others[row] / 0.2
                total = total + ((one + two) / 2 if symmetric else one) / (1 + len(dimensions))
    assert number == 5
    torch.testing.assert_close(nats, total, rtol=1e-9, atol=1e-9)


def test_it_is_the_loss_of_multiple_negatives_ranking(loader):
    """Where every text stands once: cross-entropy of cosines · 20 over the batch (Henderson et al. 2017)."""
    spec = EmbedObjective(symmetric=False, temperature=0.05)
    found = loader(spec, plain(8), batch=8)
    model, batch = model_of("encoder", found), found.batch(0)
    states = pooled(model, batch.inputs[0], batch.mask[0], "mean")
    scores = F.cosine_similarity(states[:8, None], states[None, 8:], dim=-1) * 20
    expected = F.cross_entropy(scores, torch.arange(8), reduction="sum")
    nats, _ = EMBED.losses(spec, sequence=32).training(model, batch)
    torch.testing.assert_close(nats, expected, rtol=1e-9, atol=1e-9)


class Recorder(optimizers.Optimizer):
    """Keeps the gradients of the last step; changes nothing."""

    def __init__(self, model) -> None:
        made = optimizers.build(model, AdamWSpec())
        super().__init__(made.parts, made.names)

    def step(self, rate: float) -> None:
        self.gradients = {
            self.names[one]: one.grad.clone() for one in self.parameters() if one.grad is not None
        }


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_cut_between_its_groups_gives_the_same_gradient(loader, family):
    spec = EmbedObjective(group=4, negative="negative")
    records = [(f"q{n}", [f"passage {n}" + "x" * n], ["hard"] * (n % 2)) for n in range(30)]
    found = loader(spec, records, batch=12)
    model, losses = model_of(family, found), EMBED.losses(spec, sequence=32)
    results = []
    for rows in (None, 1, 2):
        recorder = Recorder(model)
        options = {"steps": range(1), "rates": lambda step: 1.0, "count": losses.count, "micro_batch": rows}
        (result,) = train(model, losses.training, found, recorder, **options)
        results.append((result, recorder.gradients))
    whole, gradients = results[0]
    assert whole.targets == (found.rows(0) >= 0).sum() == 11  # one place is empty
    for cut, other in results[1:]:
        assert cut.nats == pytest.approx(whole.nats, rel=1e-10)
        assert (
            gradients.keys() == other.keys() == dict(model.named_parameters()).keys()
        )  # every weight is trained
        for name in gradients:
            torch.testing.assert_close(gradients[name], other[name], rtol=1e-9, atol=1e-12)


def test_ranks_share_whole_groups(loader):
    spec = EmbedObjective(group=4)
    found = loader(spec, plain(40), batch=12)
    model, loss = model_of("encoder", found), EMBED.losses(spec, sequence=32).training
    shares = [loss(model, found.batch(1, rank, 3)) for rank in range(3)]
    nats, number = loss(model, found.batch(1))
    torch.testing.assert_close(sum(share for share, _ in shares), nats, rtol=1e-10, atol=0)
    assert sum(int(count) for _, count in shares) == number
    with pytest.raises(RecipeError, match="never cut"):
        found.batch(0, 0, 2)


def recipe_of(**changes):
    made = {
        "name": "vectors",
        "corpus": {"sources": [{"kind": "files", "paths": ["records.jsonl"]}]},
        "model": {"kind": "encoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 24, "context": 32},
        "objective": {"kind": "embed"},
        "training": {"batch": 8},
    }
    for name, more in changes.items():
        made[name] = {**made.get(name, {}), **more}
    return schema.read(Recipe, made)


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"objective": {"group": 3}}, "objective.group", "no whole number of groups"),
        (
            {"objective": {"group": 4}, "training": {"micro_batch": 2}},
            "training.micro_batch",
            "would cut groups",
        ),
        ({"training": {"micro_batch": 4}}, "training.micro_batch", "would cut groups"),
        ({"objective": {"group": 4, "window": 10}}, "objective.window", "no whole number"),
        ({"objective": {"dimensions": [0]}}, "objective.dimensions", "at least 1"),
        (
            {"replay": {"corpus": {"sources": [{"kind": "python-stdlib"}]}}},
            "replay",
            "compared with each other",
        ),
    ],
)
def test_what_would_change_the_loss_is_refused(changes, where, what):
    with pytest.raises(RecipeError, match=what) as refused:
        recipe_of(**changes)
    assert where in str(refused.value)


def test_what_no_vector_can_be_is_refused(loader):
    with pytest.raises(RecipeError, match="only one token at its first state"):
        EMBED.vectors(EmbedObjective(pooling="first"), "decoder")
    found = loader(EmbedObjective(dimensions=(17,)), plain(4))
    with pytest.raises(RecipeError, match="17 are more than a vector has: 16"):
        EMBED.losses(EmbedObjective(dimensions=(17,)), sequence=32).training(
            model_of("encoder", found), found.batch(0)
        )


# ---- a run, from records to vectors
WORDS = ["mill", "flour", "bread", "wind", "river", "grain", "stone", "wheel", "sack", "field"]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """(run, its report, workspace, test records) of a small encoder."""
    torch.set_num_threads(1)
    draw, rows = random.Random(5), []
    for _ in range(120):
        words = draw.sample(WORDS, 4)
        rows.append(
            {"query": " ".join(reversed(words[:3])), "passage": [" ".join(words), " ".join(words[::-1])]}
        )
    path = tmp_path_factory.mktemp("records") / "records.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    workspace = Workspace(tmp_path_factory.mktemp("work"), Silent())
    recipe = schema.read(
        Recipe,
        {
            "name": "vectors",
            "corpus": {
                "sources": [{"kind": "files", "paths": [str(path)]}],
                "steps": [],
                "split": {"validation": 0.1, "test": 0.3},
            },
            "tokenizer": {"vocabulary": 320},
            "model": {"kind": "encoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 48},
            "objective": {"kind": "embed", "dimensions": [8], "group": 8},
            "training": {"steps": 40, "batch": 16, "evaluate_every": 20, "optimizer": {"lr": 0.01}},
            "evaluation": {"bootstrap": 20},
        },
    )
    run = train_run(recipe, workspace)
    report = evaluate_run(run, workspace)
    publish_run(run, workspace)
    data = train_run.__globals__["trained_on"](run, workspace)
    return run, report, workspace, list(data.documents("test"))


def test_the_report_is_what_a_search_by_its_vectors_finds(published):
    """Texts of the test part, embedded by the published model, ranked by their cosines."""
    run, report, workspace, documents = published
    model = LanguageModel(workspace, run.name)
    pool = list(
        dict.fromkeys(text for one in documents for role, text in one.texts.items() if role != "query")
    )
    belongs: dict[str, set[str]] = {}
    for one in documents:
        belongs.setdefault(one.texts["query"], set()).update(
            text for role, text in one.texts.items() if role != "query"
        )
    queries = [one.texts["query"] for one in documents]
    found = model.embed([*queries, *pool]).vectors
    for size, label in ((16, ""), (8, ", 8 dimensions")):
        short = found[:, :size] / np.linalg.norm(found[:, :size], axis=1, keepdims=True)
        order = np.argsort(-(short[: len(queries)] @ short[len(queries) :].T), axis=1, kind="stable")
        for k in (1, 5):
            recall = [
                len({pool[place] for place in places[:k]} & belongs[query]) / len(belongs[query])
                for query, places in zip(queries, order.tolist(), strict=True)
            ]
            assert report["details"][f"recall@{k}{label}"]["value"] == pytest.approx(
                np.mean(recall), abs=0.03
            )
    assert report["headline"] == "recall@1"
    assert list(report["baselines"]) == ["BM25", "the model before training"]
    untrained = report["baselines"]["the model before training"]["MRR"]["value"]
    assert report["details"]["MRR"]["value"] > untrained + 0.05


def test_transformers_and_the_files_beside_it_give_the_same_vectors(published):
    """As sentence-transformers reads the directory: AutoTokenizer, AutoModel, pooling, normalisation by its files."""
    transformers = pytest.importorskip("transformers")
    run, _, workspace, documents = published
    texts = [one.texts["query"] for one in documents[:5]] + ["磨坊", "mill " * 80]
    modules = json.loads((run.model / "modules.json").read_text())
    assert [module["type"].rpartition(".")[2] for module in modules] == [
        "Transformer",
        "Pooling",
        "Normalize",
    ]
    pooling = json.loads((run.model / "1_Pooling" / "config.json").read_text())
    assert pooling["pooling_mode_mean_tokens"]
    assert pooling["word_embedding_dimension"] == 16
    most = json.loads((run.model / "sentence_bert_config.json").read_text())["max_seq_length"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(run.model)
    theirs = transformers.AutoModel.from_pretrained(run.model).eval()
    read = tokenizer(texts, padding=True, truncation=True, max_length=most, return_tensors="pt")
    with torch.no_grad():
        states = theirs(**read).last_hidden_state
    mask = read["attention_mask"][..., None]
    vectors = F.normalize((states * mask).sum(1) / mask.sum(1), dim=1)
    ours = LanguageModel(workspace, run.name).embed(texts)
    np.testing.assert_allclose(ours.vectors, vectors.numpy(), atol=1e-5)
    assert (ours.pooling, ours.normalised, ours.longest) == ("mean", True, most)


def test_a_start_is_trained_on_as_its_own_files_say(published, tmp_path):
    run, _, workspace, _ = published
    start = tmp_path / "start"
    start.mkdir()
    for path in run.model.rglob("*"):
        if path.is_file() and path.name != "lineage.json":
            (start / path.relative_to(run.model)).parent.mkdir(exist_ok=True)
            (start / path.relative_to(run.model)).write_bytes(path.read_bytes())
    (start / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    (start / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20}))
    text = dataclasses.asdict(run.recipe().corpus)["sources"][0]["paths"][0]
    recipe = tmp_path / "again.toml"
    recipe.write_text(
        f'name = "again"\n[start]\nmodel = "{start}/"\n[corpus]\nsources = [{{kind = "files", paths = ["{text}"]}}]\n'
        '[objective]\nkind = "embed"\n'
    )
    read = starting.load_recipe(recipe, (), workspace)
    assert (read.objective.pooling, read.objective.normalise, read.sequence) == ("first", True, 20)
    mine = starting.load_recipe(recipe, ("objective.pooling=last", "training.sequence=12"), workspace)
    assert (mine.objective.pooling, mine.sequence) == ("last", 12)
    (start / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "find: "}, "default_prompt_name": "query"})
    )
    with pytest.raises(RecipeError, match="with a prompt before them"):
        starting.load_recipe(recipe, ("name=other",), workspace)
