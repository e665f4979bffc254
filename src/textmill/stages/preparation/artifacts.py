"""The three artifacts a run reads: what decides each, and how it is made.

`decides` is plain data. With the ids of its parents it is the key an artifact is found by, so it names whatever its
content depends on and nothing else. `make` writes the files into a directory that appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from textmill.base import schema
from textmill.base.errors import ChangedError, RecipeError
from textmill.base.files import content_id, sha256_file, value_id, write_json, write_text
from textmill.specs import recipe_file
from textmill.specs.cleaning import PersonalDataStep
from textmill.specs.corpus import StdlibSource
from textmill.specs.recipe import Recipe
from textmill.stages.workspace import starts
from textmill.stages.workspace.forget_list import forgotten
from textmill.stages.workspace.lineage import Artifact
from textmill.stages.workspace.run_data import PARTS
from textmill.stages.workspace.workspace import Workspace
from textmill.text.cleaning.duplicates import containment
from textmill.text.cleaning.privacy.step import secret_id
from textmill.text.cleaning.steps import STEP_FILES
from textmill.text.corpus import build
from textmill.text.corpus.build import Runner
from textmill.text.corpus.corpus import Corpus, write_cards
from textmill.text.corpus.forgotten import Forgotten
from textmill.text.corpus.tally import personal_data
from textmill.text.sources import table
from textmill.tokenization import extended, load
from textmill.tokenization.chat import template as templates
from textmill.tokenization.chat.offered import OFFERED, Offer
from textmill.tokenization.protocol import AnyTokenizer

if TYPE_CHECKING:
    from textmill.data.codec import Codec

_LATER = ("unfit", "unknown_labels")  # limits that records are held against once the corpus stands
RECORDS = "records.json"  # how the records fit their objective; the data cards beside it say so
_PARTS_SECONDS = 7 * 24 * 3600  # how long what was half done is kept when another corpus is made
Parents = Mapping[str, Artifact]  # by kind


class Preparation(Protocol):
    """One artifact to be found or made. `parents`: the kinds it is made from."""

    kind: str
    version: int

    @property
    def parents(self) -> tuple[str, ...]: ...
    def decides(self) -> dict[str, Any]: ...
    def make(self, directory: Path, parents: Parents) -> None: ...


@dataclass
class Collection:
    """The corpus: sources read, prepared, split. What cannot be used is skipped with its reason.

    run: who makes the units of it; None: as many processes as there are cores. Killed and called again, it goes on
    with the units that were finished.
    """

    recipe: Recipe
    workspace: Workspace
    run: Runner | None = None
    kind = "corpus"
    version = 5
    parents = ()

    def __post_init__(self) -> None:
        """Raises RecipeError when a file that a step reads is missing."""
        base = Path.cwd()
        self.home = home = recipe_file.home_of(self.recipe) or base
        # Sources are named as they were written, so that a corpus is the same wherever their folder stands.
        self.spec = spec = recipe_file.as_written(self.recipe).corpus
        self.inputs: list[list[str]] = []
        self.libraries: dict[str, str] = {}
        for source in spec.sources:
            self.inputs += map(list, table.fingerprint(source, home))
            self.libraries |= table.libraries(source, home, spec.limits)
        self.sources = dict(self.inputs)  # location -> content hash
        self.inputs += [[f"step {name}", digest] for name, digest in _step_files(self.recipe, base)]
        self.forgotten = forgotten(self.workspace)

    def decides(self) -> dict[str, Any]:
        """The recipe's corpus table, the hashes of all that is read, what reads it, and what is to be left out."""
        decided = schema.write(self.spec) | {"libraries": self.libraries}
        decided["limits"] = {key: value for key, value in decided["limits"].items() if key not in _LATER}
        decided["inputs"] = content_id(json.dumps(self.inputs))
        if self.spec.split.by == "containment":
            decided["containment"] = containment.RULES
        return decided | ({"forgotten": value_id(self.forgotten.plain())} if self.forgotten else {})

    def _forgotten_here(self) -> Forgotten:
        """What is to be forgotten, its places named as this recipe's sources name them."""
        here = set()
        for place in self.forgotten.places:
            if "://" in place:
                here.add(place)
                continue
            path = os.path.normpath(self.workspace.project / place)
            here |= {path, os.path.relpath(path, self.home)}
            if any(isinstance(source, StdlibSource) for source in self.spec.sources):
                here.add(place)
        return replace(self.forgotten, places=frozenset(here))

    @property
    def units(self) -> Path:
        """Where finished units of it are kept until all are."""
        return self.workspace.root / "corpus" / f".parts-{value_id(self.decides())[:16]}"

    def make(self, directory: Path, parents: Parents) -> None:
        """Read, clean and split. Raises ChangedError when a source changes meanwhile."""
        for folder in self.units.parent.glob(".parts-*"):  # what other recipes left half done long ago
            if folder != self.units and time.time() - folder.stat().st_mtime > _PARTS_SECONDS:
                build.clear(folder)
        try:
            report = build.build(
                directory,
                self.spec,
                Path.cwd(),
                self.units,
                run=self.run,
                forgotten=self._forgotten_here(),
                home=self.home,
                inputs=self.sources,
                progress=self.workspace.reporter.bytes,
            )
        except ChangedError:
            build.clear(self.units)  # nobody goes on from what was read of files that are others now
            raise
        if report["personal"]:
            self.workspace.reporter.note_once(personal_data(report))
        lines = (
            json.dumps({"place": location, "hash": digest}, ensure_ascii=False)
            for location, digest in self.inputs
        )
        write_text(directory / "inputs.jsonl", "".join(f"{line}\n" for line in lines))


def _step_files(recipe: Recipe, base: Path) -> Iterator[tuple[str, str]]:
    """(name, hash) of what steps read beside documents: files, a secret. Raises RecipeError when one is missing."""
    for step in recipe.corpus.steps:
        for name in STEP_FILES.get(type(step), lambda spec: ())(step):
            path = base / Path(name).expanduser()
            if not path.is_file():
                raise RecipeError("no such file", where=f"corpus.steps, {step.kind}: {name}")
            yield name, sha256_file(path)
        if isinstance(step, PersonalDataStep) and (digest := secret_id(step)):
            yield "secret", digest


@dataclass
class LearntTokenizer:
    """The tokenizer: trained on the training part, the start's, or the one the recipe names."""

    recipe: Recipe
    kind = "tokenizer"
    version = 1

    @property
    def parents(self) -> tuple[str, ...]:
        """The corpus, where it is trained; the start, where it is that one's or extends it."""
        if self.recipe.start is not None:
            return (starts.KIND,)
        return () if self.recipe.tokenizer.path is not None else ("corpus",)

    def decides(self) -> dict[str, Any]:
        """The recipe's tokenizer table, and the file it names.

        Raises RecipeError when there is no such file.
        """
        spec = schema.write(recipe_file.as_written(self.recipe).tokenizer)
        if (start := self.recipe.start) is not None:
            spec |= {
                "add_tokens": list(start.add_tokens),
                "add_special_tokens": list(start.add_special_tokens),
            }
        if self.recipe.objective.converses:
            spec["template"] = self._offer.source if self._offer else "its own"
        if (named := self.recipe.tokenizer.path) is None:
            return spec
        if not Path(named).is_file():
            raise RecipeError("no such file", where=f"tokenizer.path: {named}")
        return spec | {"file": sha256_file(Path(named))}

    @property
    def _offer(self) -> Offer | None:
        """The chat template that the objective gives the model."""
        return OFFERED.get(self.recipe.objective.template or "")

    def make(self, directory: Path, parents: Parents) -> None:
        """Learn it, or take it over, its chat template beside it. Raises RecipeError for another than the start's, and
        where conversations are to be read and there is no template."""
        from textmill.tokenization import training

        template = None
        if (spec := self.recipe.start) is not None:
            start = starts.described(parents[starts.KIND])
            named = self.recipe.tokenizer.path
            tokenizer = start.tokenizer if named is None else load.load(Path(named))
            extended.check(tokenizer, start.tokenizer, "tokenizer.path")
            tokenizer = extended.extend(tokenizer, spec.add_tokens, spec.add_special_tokens)
            template = start.template
        else:
            documents = Corpus(parents["corpus"].path).documents("train") if parents else ()
            texts = (text for document in documents for text in document.texts.values())
            tokenizer = training.train(self.recipe.tokenizer, texts)
            if self._offer is not None:
                tokenizer = extended.extend(tokenizer, (), self._offer.lacking(tokenizer))
        if self._offer is not None:
            template = self._offer.written(tokenizer)
        elif template is None and self.recipe.objective.converses:
            usual = templates.default(tokenizer)
            if usual is None:
                raise RecipeError(
                    "has no chat template, so how it reads conversations is not known",
                    where="start.model",
                    advice='give it one: objective.template = "chatml", "llama3" or "plain"',
                )
            template = usual.source
        if template is not None:
            write_text(directory / "chat_template.jinja", template)
            if self.recipe.objective.converses:  # whatever ends a turn, whoever reads the model stops there
                ends = templates.ChatTemplate(template, tokenizer.names).ends(tokenizer)
                tokenizer = extended.ending(tokenizer, ends)
        tokenizer.save(directory if spec is not None else directory / "tokenizer.json")


@dataclass
class EncodedTokens:
    """Every part of the corpus as numbers: plain text in a token store, records in an example store."""

    recipe: Recipe
    kind = "tokens"
    version = 3
    parents = ("corpus", "tokenizer")

    @property
    def reader(self) -> Any:
        """What the objective takes from documents as records; None: it reads plain text."""
        from textmill.objectives.table import objective_of

        return objective_of(self.recipe.objective).reader

    def decides(self) -> dict[str, Any]:
        """What records hold, by the objective; plain text is the same for all."""
        reader, spec = self.reader, self.recipe.objective
        if reader is None:
            return {}
        rows = {"sequence": self.recipe.sequence} if spec.converses else {}
        return {"kind": spec.kind, **rows} | {
            name: value for name, value in schema.write(spec).items() if name in reader.decided
        }

    def _codec(self, tokenizer: AnyTokenizer, directory: Path) -> Codec:
        """What reads records: where they are conversations, by the template beside the tokenizer, in rows whose last id
        is said and not read."""
        from textmill.data.codec import Codec

        if not self.recipe.objective.converses:
            return Codec(tokenizer)
        template = templates.read_template(directory, tokenizer.names)
        return Codec(tokenizer, context=self.recipe.sequence + 1, template=template)

    def make(self, directory: Path, parents: Parents) -> None:
        """Encode. The labels of the training split are those of all parts."""
        from textmill.data import examples, tokens
        from textmill.stages.preparation import fit

        tokenizer, corpus = load.load(parents["tokenizer"].path), Corpus(parents["corpus"].path)
        reader, labels, codec = self.reader, None, self._codec(tokenizer, parents["tokenizer"].path)
        for part in PARTS:
            if reader is None:
                tokens.write_tokens(directory / part, corpus.documents(part), tokenizer)
                continue
            made = examples.write_examples(
                directory / part,
                corpus.documents(part),
                reader(self.recipe.objective, tokenizer, labels, codec),
            )
            if part == "train" and made["labels"] is not None:
                labels = tuple(made["labels"])
        if reader is not None:
            found = fit.fit(directory, corpus)
            write_json(directory / RECORDS, found)
            write_cards(directory, corpus.report, found)
