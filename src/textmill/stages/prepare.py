"""From sources to token ids: the corpus, the tokenizer and the tokens, each made once for what decides it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textmill.base import lineage, schema
from textmill.base.errors import RecipeError, TextmillError
from textmill.base.files import content_id, sha256_file, write_text
from textmill.base.lineage import Artifact
from textmill.base.run import Run
from textmill.base.spec import Recipe
from textmill.stages.workspace import Workspace
from textmill.text import clean
from textmill.text.corpus import Collected, Corpus
from textmill.text.corpus import write as write_corpus
from textmill.text.document import Item
from textmill.text.sources import table
from textmill.text.tokenizer import Tokenizer

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Prepared:
    """The three artifacts a training run reads."""

    corpus: Artifact
    tokenizer: Artifact
    tokens: Artifact

    def open_tokenizer(self) -> Tokenizer:
        return Tokenizer.load(self.tokenizer.path / "tokenizer.json")

    def open_corpus(self) -> Corpus:
        return Corpus(self.corpus.path)


def prepare(recipe: Recipe, space: Workspace) -> Prepared:
    """Whatever is out of date of corpus, tokenizer and tokens is made; the rest is found."""
    corpus = collect(recipe, space)
    tokenizer = learn_tokenizer(recipe, space, corpus)
    return Prepared(corpus, tokenizer, tokenise(recipe, space, corpus, tokenizer))


def trained_on(run: Run, space: Workspace) -> Prepared:
    """What a run was trained on, found through its lineage: its sources may be gone, or others by now.

    Where the artifacts are gone too, its recipe is prepared again. Raises TextmillError when that gives other text.
    """
    record = lineage.read(run.path)
    above = {item.kind: item for _, item in lineage.walk(record) if isinstance(item, Artifact)}
    if {"corpus", "tokenizer", "tokens"} <= above.keys():
        return Prepared(above["corpus"], above["tokenizer"], above["tokens"])
    space.reporter.warn(f"what {run.name} was trained on is gone; its recipe is prepared again")
    prepared = prepare(run.recipe(), space)
    if prepared.tokens.id != record.spec["tokens"]:
        raise TextmillError(
            "was trained on text that is gone, and its sources have changed since",
            where=f"run {run.name}",
            advice="put the sources back as they were",
        )
    return prepared


def collect(recipe: Recipe, space: Workspace) -> Artifact:
    """Read the sources, clean, split, and write the corpus. What cannot be used is set aside with its reason."""
    spec, base = recipe.corpus, Path.cwd()
    inputs = [list(pair) for source in spec.sources for pair in table.fingerprint(source, base)]

    def items() -> Iterator[Item]:
        for source in spec.sources:
            for number, item in enumerate(table.read(source, spec.limits, base), 1):
                if number % 200 == 0:
                    space.reporter.progress("collecting", number, unit="documents")
                yield item

    def make(directory: Path) -> None:
        collected = Collected(items())
        write_corpus(directory, clean.apply(collected, spec.steps), spec.split, collected)
        lines = (json.dumps({"place": place, "hash": digest}, ensure_ascii=False) for place, digest in inputs)
        write_text(directory / "inputs.jsonl", "".join(f"{line}\n" for line in lines))

    decided = schema.write(spec) | {"inputs": content_id(json.dumps(inputs))}
    return space.artifact("corpus", version=1, spec=decided, parents=(), make=make, name=recipe.name)


def learn_tokenizer(recipe: Recipe, space: Workspace, corpus: Artifact) -> Artifact:
    """Train the tokenizer on the training part, or take the one the recipe names."""
    from textmill.text import tokenizer_training

    spec = schema.write(recipe.tokenizer)
    if recipe.tokenizer.path is not None:
        path = Path(recipe.tokenizer.path)
        if not path.is_file():
            raise RecipeError("there is no such file", where=f"tokenizer.path: {path}")
        spec |= {"file": sha256_file(path)}

    def make(directory: Path) -> None:
        texts = (document.text for document in Corpus(corpus.path).documents("train"))
        tokenizer_training.train(recipe.tokenizer, texts).save(directory / "tokenizer.json")

    parents = () if recipe.tokenizer.path is not None else (corpus,)
    return space.artifact("tokenizer", version=1, spec=spec, parents=parents, make=make, name=recipe.name)


def tokenise(recipe: Recipe, space: Workspace, corpus: Artifact, tokenizer: Artifact) -> Artifact:
    """Encode every part of the corpus into a token store."""
    from textmill.data import tokens

    def make(directory: Path) -> None:
        encoder = Tokenizer.load(tokenizer.path / "tokenizer.json")
        source = Corpus(corpus.path)
        for part in PARTS:
            tokens.write(directory / part, source.documents(part), encoder)

    return space.artifact(
        "tokens", version=1, spec={}, parents=(corpus, tokenizer), make=make, name=recipe.name
    )


def summary(prepared: Prepared) -> dict[str, Any]:
    """What was prepared: counts by part, what was set aside and why, and where the artifacts are."""
    from textmill.data.tokens import TokenStore

    report = prepared.open_corpus().report
    stores = {part: TokenStore(prepared.tokens.path / part) for part in PARTS}
    size, tokens = (
        sum(store.bytes.sum() for store in stores.values()),
        sum(store.tokens for store in stores.values()),
    )
    return {
        "corpus": report,
        "parts": {part: report["parts"][part] | {"tokens": stores[part].tokens} for part in PARTS},
        "vocabulary": stores["train"].vocabulary,
        "bytes_per_token": float(size / tokens),
        "artifacts": {
            item.kind: str(item.path) for item in (prepared.corpus, prepared.tokenizer, prepared.tokens)
        },
    }
