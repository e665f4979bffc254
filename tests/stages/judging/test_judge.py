"""Any model judged by rows: the whole way, from files to scores, against the reference implementations."""

from __future__ import annotations

import collections
import json
import random
import re
import shutil
import string
from pathlib import Path

import numpy as np
import pytest

from helpers.published import shaken
from textmill.base.console import Silent
from textmill.base.errors import RecipeError, TextmillError
from textmill.base.language import speaking
from textmill.inference.predictor import Predictor
from textmill.interop.huggingface import directory
from textmill.interop.load import load
from textmill.models import build
from textmill.specs.generation import GenerationSpec
from textmill.specs.head import ClassifyHead, SpanHead, TagHead
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, EncoderSpec
from textmill.specs.recipe import TokenizerSpec
from textmill.stages.evaluation import page
from textmill.stages.evaluation.evaluate import evaluate_run
from textmill.stages.judging import judge, rows
from textmill.stages.judging.judge import Asked
from textmill.stages.judging.rows import Files
from textmill.stages.preparation import starting
from textmill.stages.preparation.prepare import trained_on
from textmill.stages.runs import train as training
from textmill.stages.workspace.workspace import Workspace
from textmill.tasks.baselines import continuing
from textmill.tokenization.training import train

WORDS = ["the", "mill", "turns", "water", "into", "flour", "and", "bread", "Delft", "York", "New", "Ghent"]
HANZI = "磨坊流水面粉麦田风车"
LABELS = ("bad", "good", "so so")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SMALL = {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "context": 96}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A folder of small models far from zero, one a task; nobody trained them."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = train(TokenizerSpec(vocabulary=300), [" ".join(WORDS), HANZI] * 5)
    heads = {
        "classify": ClassifyHead(labels=LABELS, pooling="mean"),
        "tag": TagHead(labels=TAGS),
        "answer": SpanHead(),
    }
    for name, head in heads.items():
        for seed in range(30):  # the first that does not say the same of every text
            model = shaken(build.build(EncoderSpec(**SMALL), tokenizer.vocabulary, seed=seed, head=head), 0.6)
            for weight in model.head.parameters():
                weight.data *= 10 if weight.dim() > 1 else 0
            info = {"objective": name, "words": "spaces"}
            shutil.rmtree(folder / name, ignore_errors=True)
            directory.write_directory(folder / name, model, tokenizer, GenerationSpec(), info)
            records = [{"text": row["text"]} for row in labelled(80)]
            if (
                name != "classify"
                or len({said.label for said in Predictor(load(folder / name)).predict(records)}) == 3
            ):
                break
    for name, spec in (("translate", EncoderDecoderSpec(**SMALL)), ("generate", DecoderSpec(**SMALL))):
        model = shaken(build.build(spec, tokenizer.vocabulary, seed=1), 0.3)
        told = {"objective": "pairs", "task": "summarize"} if name == "translate" else {"objective": "causal"}
        directory.write_directory(folder / name, model, tokenizer, GenerationSpec(tokens=12), told)
    return folder


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    return Workspace(tmp_path / "work", Silent())


def write(path: Path, lines: list[dict]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


def some(draw: random.Random, least: int = 3, most: int = 9) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(least, most)))


def labelled(number: int, seed: int = 0) -> list[dict]:
    draw = random.Random(seed)
    return [
        {"text": some(draw), "label": draw.choice(LABELS), "shop": draw.choice("AB")} for _ in range(number)
    ]


def test_labels_as_scikit_learn_scores_them(models, workspace, tmp_path):
    from sklearn import metrics

    given = labelled(80)
    data = write(tmp_path / "rows.jsonl", [*given, {"text": "nobody says"}, {"label": "good"}])
    judged = judge.judge_files(workspace, str(models / "classify"), Files([data]), Asked(resamples=20))
    result, truth = judged.result, [row["label"] for row in given]
    said = [one.label for one in judged.predictions]
    table = np.array(
        [[dict([(one.label, one.p), *one.others])[name] for name in LABELS] for one in judged.predictions]
    )
    scores = {name: score["value"] for name, score in result["details"].items()}
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
    assert scores["macro F1"] == pytest.approx(
        metrics.f1_score(truth, said, average="macro", zero_division=np.nan)
    )
    assert scores["MCC"] == pytest.approx(metrics.matthews_corrcoef(truth, said))
    assert scores["AUROC"] == pytest.approx(
        metrics.roc_auc_score(truth, table / table.sum(1, keepdims=True), multi_class="ovr", labels=LABELS)
    )
    assert result["read"] == len(given) + sum(result["skipped"].values())
    assert sum(result["skipped"].values()) == 2
    matrix = metrics.confusion_matrix(truth, said, labels=LABELS)
    for row, true in zip(matrix, LABELS, strict=True):
        assert [result["confusion"].get(true, {}).get(name, 0) for name in LABELS] == row.tolist()
    labels = {row["slice"]: row["value"] for row in result["slices"] if row["by"] == "label"}
    assert labels == pytest.approx(
        dict(zip(LABELS, metrics.recall_score(truth, said, average=None, labels=LABELS), strict=True))
    )
    wrong = [at for at, (true, one) in enumerate(zip(truth, said, strict=True)) if true != one]
    assert len(result["errors"]) == min(20, len(wrong))
    surest = max(judged.predictions[at].p for at in wrong)
    assert result["errors"][0]["said"]["p"] == pytest.approx(surest, abs=1e-3)


def noisy_tags(draw: random.Random, tags: list[str]) -> list[str]:
    return [draw.choice(TAGS) if draw.random() < 0.2 else tag for tag in tags]


def test_entities_as_seqeval_scores_them(models, workspace, tmp_path):
    from seqeval import metrics

    draw = random.Random(2)
    texts = [some(draw).split() for _ in range(60)]
    truth = [noisy_tags(draw, ["O"] * len(words)) for words in texts]
    lines = [
        "\n".join(f"{w}\t{t}" for w, t in zip(*pair, strict=True)) for pair in zip(texts, truth, strict=True)
    ]
    data = tmp_path / "rows.conll"
    data.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    other = [noisy_tags(draw, tags) for tags in truth]
    beside = write(tmp_path / "other.jsonl", [{"prediction": {"tags": " ".join(tags)}} for tags in other])
    asked = Asked(beside=str(beside), resamples=20)
    files = Files([data], format="conll")
    result = judge.evaluate_rows(workspace, str(models / "tag"), files, asked)
    judged = judge.judge_files(workspace, str(models / "tag"), files, asked)
    said = [[word.label for word in one.words] for one in judged.predictions]
    assert result["details"]["entity F1"]["value"] == pytest.approx(metrics.f1_score(truth, said))
    assert result["beside"]["other_score"]["value"] == pytest.approx(metrics.f1_score(truth, other))
    assert result["beside"]["real"]
    assert result["beside"]["sentence"].startswith("the model is worse than")


def test_answers_as_the_squad_script_scores_them(models, workspace, tmp_path):
    def normalised(text: str) -> str:  # the published script's rule
        text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())

    def f1(truth: str, said: str) -> float:
        one, other = normalised(truth).split(), normalised(said).split()
        same = sum((collections.Counter(one) & collections.Counter(other)).values())
        return 0.0 if same == 0 else 2 * same / (len(one) + len(other))

    draw = random.Random(3)
    lines, answers = [], []
    for _ in range(40):
        words = some(draw, 12, 20).split()
        first = draw.randrange(len(words) - 3)
        right = [" ".join(words[first : first + 2]), " ".join(words[first : first + 3])]
        lines.append({"passage": " ".join(words), "question": some(draw), "answer": right})
        answers.append((right, " ".join(words[first - 1 : first + 3]) or "mill"))
    data = write(tmp_path / "rows.jsonl", lines)
    beside = write(tmp_path / "other.jsonl", [{"prediction": {"answer": said}} for _, said in answers])
    result = judge.evaluate_rows(
        workspace, str(models / "answer"), Files([data]), Asked(beside=str(beside), resamples=20)
    )
    expected = np.mean([max(f1(true, said) for true in right) for right, said in answers])
    assert result["beside"]["other_score"]["value"] == pytest.approx(expected)
    assert "BM25's best sentence" in result["baselines"]  # which learns nothing
    assert not any(name.startswith("the first") for name in result["baselines"])  # which would


def test_summaries_and_translations_as_their_packages_score_them(models, workspace, tmp_path):
    import sacrebleu
    from rouge_score import rouge_scorer

    draw = random.Random(4)
    lines = [{"source": some(draw), "target": [some(draw), some(draw)]} for _ in range(12)]
    data = write(tmp_path / "rows.jsonl", lines)
    other = [" ".join(draw.sample(line["target"][0].split(), 3)) for line in lines]
    beside = write(tmp_path / "other.jsonl", [{"text": text} for text in other])
    found = {}
    for task in ("summarize", "translate"):
        asked = Asked(task=task, beside=str(beside), resamples=10)
        found[task] = judge.evaluate_rows(workspace, str(models / "translate"), Files([data]), asked)
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    best = [
        max(scorer.score(true, said)["rougeL"].fmeasure for true in line["target"])
        for line, said in zip(lines, other, strict=True)
    ]
    assert found["summarize"]["beside"]["other_score"]["value"] == pytest.approx(100 * np.mean(best))
    references = [list(side) for side in zip(*(line["target"] for line in lines), strict=True)]
    assert found["translate"]["beside"]["other_score"]["value"] == pytest.approx(
        sacrebleu.corpus_bleu(other, references).score
    )
    assert {"the first sentence", "BM25's best sentence", "the source"} <= set(
        found["summarize"]["baselines"]
    )
    assert "nrefs:2" in found["translate"]["details"]["BLEU"]["signature"]


def test_choices_are_seen_from_the_rows(models, workspace, tmp_path):
    draw = random.Random(5)
    lines = [{"query": some(draw), "choices": [some(draw), some(draw)], "gold": 1} for _ in range(9)]
    data = write(tmp_path / "rows.jsonl", lines)
    result = judge.evaluate_rows(workspace, str(models / "generate"), Files([data]), Asked(resamples=10))
    assert result["task"] == "choice"
    assert {"accuracy", "accuracy per character"} <= set(result["details"])
    assert {"the shortest option", "a random option"} == set(result["baselines"])
    shortest = np.mean([len(line["choices"][1]) < len(line["choices"][0]) for line in lines])
    assert result["baselines"]["the shortest option"]["accuracy"]["value"] == pytest.approx(shortest)


def test_writing_stands_beside_what_most_often_came_next(models, workspace, tmp_path):
    words = ["the", "mill", "turns", "and", "grinds", "all", "the", "corn"]
    lines = [{"text": " ".join(words[:at]), "target": " " + " ".join(words[at:])} for at in range(2, 7)] * 4
    files = Files([write(tmp_path / "rows.jsonl", lines)])
    asked = Asked(task="generate", train=Files([write(tmp_path / "train.jsonl", lines)]), resamples=10)
    result = judge.evaluate_rows(workspace, str(models / "generate"), files, asked)
    assert set(result["baselines"]) == {"4-gram"}
    texts = [one.text for one in continuing.ngram(lines).predict(lines)]
    assert texts[0] == " turns and grinds all"  # as long as targets are on average, in pieces
    alone = continuing.ngram({"text": "ab, cd"} for _ in range(2)).predict([{"text": "ab"}, {"text": "zz"}])
    assert [one.text for one in alone] == [", cd", "ab, cd"]


def test_people_and_a_model_agree_so_far(models, workspace, tmp_path):
    from sklearn.metrics import cohen_kappa_score

    given = labelled(60, seed=6)
    data = write(tmp_path / "rows.jsonl", given)
    human = [{"text": row["text"], "label": row["label"]} for row in given]
    human[3]["label"] = "so so"
    beside = write(tmp_path / "human.jsonl", human)
    asked = Asked(beside=str(beside), resamples=20)
    result = judge.evaluate_rows(workspace, str(models / "classify"), Files([data]), asked)
    said = [
        one.label
        for one in judge.judge_files(workspace, str(models / "classify"), Files([data]), asked).predictions
    ]
    people = [row["label"] for row in human]
    agreed = result["beside"]["agreement"]
    assert agreed["Cohen's kappa"]["value"] == pytest.approx(cohen_kappa_score(said, people))
    assert agreed["agreement"]["value"] == pytest.approx(
        np.mean([a == b for a, b in zip(said, people, strict=True)])
    )
    assert "McNemar" in result["beside"]["signature"]
    assert -1 <= agreed["Krippendorff's alpha"]["value"] <= 1

    write(beside, human[:-1])
    with pytest.raises(TextmillError, match="holds 59 rows, and 60 are scored"):
        judge.evaluate_rows(workspace, str(models / "classify"), Files([data]), asked)
    write(beside, [*human[1:], human[0]])
    with pytest.raises(TextmillError, match="is of another text"):
        judge.evaluate_rows(workspace, str(models / "classify"), Files([data]), asked)


def test_a_model_that_is_not_there_is_missed_before_anything_is_scored(
    models, workspace, tmp_path, monkeypatch
):
    monkeypatch.setattr(judge, "judge_files", None)
    rows_file = write(tmp_path / "rows.jsonl", [{"text": "mill", "label": "x"}])
    with pytest.raises(TextmillError, match="no such run or model"):
        judge.evaluate_rows(workspace, "mine", Files([rows_file]), Asked(beside="nothing.jsonl"))


def test_a_model_beside_itself_is_no_better(models, workspace, tmp_path):
    data = write(tmp_path / "rows.jsonl", labelled(30, seed=7))
    asked = Asked(beside=str(models / "classify"), resamples=10)
    result = judge.evaluate_rows(workspace, str(models / "classify"), Files([data]), asked)["beside"]
    assert (result["difference"], result["p"], result["real"]) == (0.0, 1.0, False)
    assert result["sentence"].startswith("both have the same accuracy")


def test_columns_are_told_and_nothing_is_dropped(models, workspace, tmp_path):
    data = tmp_path / "rows.csv"
    data.write_text("review,stars\nthe mill,good\n,bad\nbread,\n", encoding="utf-8")
    named = Files([data], rows.columns_of(["text=review,label=stars"]))
    result = judge.evaluate_rows(workspace, str(models / "classify"), named, Asked(resamples=10))
    assert result["documents"] + sum(result["skipped"].values()) == result["read"] == 3
    with pytest.raises(TextmillError, match="no row can be scored"):
        judge.evaluate_rows(workspace, str(models / "classify"), Files([data]), Asked(resamples=10))
    with pytest.raises(RecipeError, match="is not ROLE=COLUMN"):
        rows.columns_of(["text"])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A classifier of a few steps, and where it is."""
    folder = tmp_path_factory.mktemp("run")
    write(folder / "train.jsonl", labelled(120, seed=8))
    (folder / "mine.toml").write_text(
        """
name = "mine"
[corpus]
sources = [{ kind = "files", paths = ["train.jsonl"], metadata_fields = ["label", "shop"] }]
steps = [{ kind = "unicode" }]
split = { validation = 0.1, test = 0.3, least_bytes = 0 }
[tokenizer]
vocabulary = 300
[model]
kind = "encoder"
d_model = 16
layers = 1
heads = 2
context = 64
[objective]
kind = "classify"
[training]
steps = 3
batch = 8
[evaluation]
bootstrap = 20
""",
        encoding="utf-8",
    )
    workspace = Workspace(folder / "work", Silent())
    recipe = starting.load_recipe(folder / "mine.toml", (), workspace)
    return workspace, training.train(recipe, workspace)


def test_a_run_and_its_test_rows_give_the_same_numbers(run, tmp_path):
    workspace, _ = run
    report = evaluate_run(workspace.run("mine"), workspace)
    data = trained_on(workspace.run("mine"), workspace)
    held_out = [
        {"text": document.text, **{k: v for k, v in document.metadata.items() if k[0] != "@"}}
        for document in data.documents("test")
    ]
    rows_file = write(tmp_path / "test.jsonl", held_out)
    found = judge.evaluate_rows(workspace, "mine", Files([rows_file]), Asked(resamples=20))
    for name in ("accuracy", "macro F1", "AUROC"):
        if name in report["details"] or name in found["details"]:
            assert found["details"][name]["value"] == pytest.approx(
                report["details"][name]["value"], abs=1e-6
            )
    assert set(found["baselines"]) == set(report["baselines"])
    assert found["trained_on"] == 0
    trained = [{"text": f"{one.text} !", **one.metadata} for one in list(data.documents("train"))[:3]]
    rows_file = write(tmp_path / "seen.jsonl", [*held_out, *trained])
    seen = judge.evaluate_rows(workspace, "mine", Files([rows_file]), Asked(resamples=20))
    assert seen["trained_on"] == 3
    assert any("flatters" in line for line in seen["next"])
    assert found["searched"] == report["searched"] == len(list(data.documents("train")))
    for error in report["errors"]:
        for near in error["nearest"]:
            document = data.corpus.get(near["document"])
            assert near["text"] == document.text
            assert near["right"] == document.metadata["label"]


def test_the_page_says_it_all_in_both_languages(run, tmp_path):
    workspace, _ = run
    rows_file = write(
        tmp_path / "rows.jsonl", [*labelled(40, seed=9), {"text": "<b>bold</b>", "label": "good"}]
    )
    result = judge.evaluate_rows(
        workspace, "mine", Files([rows_file]), Asked(resamples=10), out=tmp_path / "page.html"
    )
    made = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<b>bold</b>" not in made
    for title in ("Beside baselines", "Slices", "Confusion", "Worst errors", "What to do next"):
        assert title in made
    with speaking("zh"):
        chinese = page.whole(result)
    for title in ("与基线比较", "分组", "混淆", "最差的错误", "下一步"):
        assert title in chinese
    assert 'lang="zh"' in chinese
    with pytest.raises(TextmillError, match="exists"):
        judge.evaluate_rows(workspace, "mine", Files([rows_file]), Asked(), out=tmp_path / "page.html")


def test_passages_are_found_by_vectors_and_by_words(models, workspace, tmp_path):
    from sklearn.metrics.pairwise import cosine_similarity

    from textmill.stages.use.model import LanguageModel

    draw = random.Random(10)
    passages = [f"{some(draw, 6, 12)} {HANZI[at]}" for at in range(10)]
    lines = [{"query": f"{HANZI[at]} {some(draw, 1, 2)}", "passage": passages[at]} for at in range(10)]
    data = write(tmp_path / "rows.jsonl", lines)
    result = judge.evaluate_rows(
        workspace, str(models / "tag"), Files([data]), Asked(task="retrieve", resamples=10)
    )
    model = LanguageModel(workspace, str(models / "tag"))
    queries, texts = (model.embed([line[role] for line in lines]).vectors for role in ("query", "passage"))
    ranks = (-cosine_similarity(queries, texts)).argsort(1)
    first = [int(np.flatnonzero(row == at)[0]) + 1 for at, row in enumerate(ranks)]
    assert result["headline"] == "recall@1"
    assert result["details"]["recall@1"]["value"] == pytest.approx(np.mean([rank == 1 for rank in first]))
    assert result["details"]["MRR"]["value"] == pytest.approx(np.mean([1 / rank for rank in first]))
    assert result["baselines"]["BM25"]["recall@1"]["value"] >= 0.9


@pytest.mark.parametrize("asked", [Asked(), Asked(train=Files([Path("gone.jsonl")]))])
def test_a_file_that_is_not_there_is_said_before_a_model_is_loaded(tmp_path, workspace, monkeypatch, asked):
    (tmp_path / "rows.jsonl").write_text('{"text": "mill", "label": "good"}\n')
    given = Files([tmp_path / "rows.jsonl" if asked.train else Path("gone.jsonl")])
    monkeypatch.setattr(judge, "LanguageModel", None)
    with pytest.raises(RecipeError, match=r"gone\.jsonl: does not exist"):
        judge.judge_files(workspace, "any", given, asked)
