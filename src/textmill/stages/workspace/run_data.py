"""What a run reads, opened once: tokenizer, corpus, stores, loaders, the model that reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from textmill.base.errors import DamagedError, RecipeError, TextmillError
from textmill.base.files import read_json
from textmill.data.examples import ExampleStore
from textmill.data.replay import ReplayLoader
from textmill.data.tokens import Texts, TokenStore
from textmill.specs.head import READ_ONE_WAY, HeadSpec
from textmill.specs.recipe import Recipe
from textmill.stages.workspace import starts
from textmill.stages.workspace.lineage import Artifact
from textmill.text.corpus.corpus import Corpus
from textmill.text.corpus.split import unit_of
from textmill.text.document import Document
from textmill.tokenization import extended, load
from textmill.tokenization.protocol import AnyTokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from textmill.data.loader import AnyLoader
    from textmill.data.special import SpecialTokens
    from textmill.models.model import Model
    from textmill.models.pretrained import Pretrained
    from textmill.models.prompted import Prompted
    from textmill.models.transfer import Taken
    from textmill.objectives.objective import Objective
    from textmill.tokenization.chat.template import ChatTemplate

PARTS = ("train", "validation", "test")
Store = TokenStore | ExampleStore


@dataclass(frozen=True)
class Prepared:
    """The artifacts a training run reads. start: the model it begins with, where its recipe names one and it is kept
    still. reference: what the model it begins as says of its records, where its objective compares with that."""

    corpus: Artifact
    tokenizer: Artifact
    tokens: Artifact
    start: Artifact | None = None
    reference: Artifact | None = None
    replay: tuple[Artifact, Artifact] | None = None  # corpus and tokens of the general text


@dataclass(frozen=True, eq=False)
class RunData:
    """A recipe and what was prepared for it. Everything is opened when it is first asked for, and kept."""

    recipe: Recipe
    prepared: Prepared
    _stores: dict[str, Store] = field(default_factory=dict, init=False, repr=False)
    _loaders: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def objective(self) -> Objective:
        """What the model is trained to predict."""
        from textmill.objectives.table import objective_of

        return objective_of(self.recipe.objective)

    @cached_property
    def tokenizer(self) -> AnyTokenizer:
        """What its ids mean."""
        return load.load(self.prepared.tokenizer.path)

    @cached_property
    def special(self) -> SpecialTokens:
        """What stands around texts and in place of their tokens."""
        from textmill.data.special import SpecialTokens

        usual = SpecialTokens.of(self.tokenizer, start=self.recipe.model.start)
        if self.objective.vectors is None or self.recipe.model.kind not in READ_ONE_WAY:
            return usual
        # A body that is read by itself reads what its tokenizer puts there, as it does in use (models.heads.framed).
        return dataclasses.replace(usual, lead=self.tokenizer.prefix, tail=self.tokenizer.suffix)

    @cached_property
    def corpus(self) -> Corpus:
        """The documents."""
        return Corpus(self.prepared.corpus.path)

    @cached_property
    def general(self) -> RunData | None:
        """The general text that is trained on beside the corpus; None where there is none."""
        if self.recipe.apart is None or self.prepared.replay is None:
            return None
        corpus, tokens = self.prepared.replay
        prepared = dataclasses.replace(self.prepared, corpus=corpus, tokens=tokens, replay=None)
        return RunData(self.recipe.apart[1], prepared)

    @property
    def all(self) -> list[RunData]:
        """Itself, and the general text beside it."""
        return [self] if self.general is None else [self, self.general]

    def source_of(self, document: str) -> str:
        """Where a document trained on comes from. Raises TextmillError where neither corpus holds it."""
        if self.general is None:
            return self.corpus.get(document).source
        try:
            return self.corpus.get(document).source
        except TextmillError:
            return self.general.corpus.get(document).source

    @property
    def vocabulary(self) -> int:
        """How many ids the model has rows for: as many as there are, or as the model it begins with."""
        start, ids = self.recipe.start, self.tokenizer.vocabulary
        if start is None or start.vocabulary is None:
            return ids
        grown = start.added or self.recipe.tokenizer.kind != "start"
        return max(start.vocabulary, ids) if grown else start.vocabulary

    @cached_property
    def chat(self) -> ChatTemplate | None:
        """The chat template that stands beside the tokenizer."""
        from textmill.tokenization.chat.template import read_template

        return read_template(self.prepared.tokenizer.path, self.tokenizer.names)

    @property
    def template(self) -> str | None:
        """The same, in Jinja."""
        return None if self.chat is None else self.chat.source

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Ids that end what the model writes; where it converses, those that end a turn too."""
        converses = self.recipe.objective.converses and self.chat is not None
        return self.chat.ends(self.tokenizer) if converses and self.chat else self.tokenizer.ends

    @cached_property
    def start(self) -> Pretrained | None:
        """The model it begins with; None: weights are drawn from the seed. Raises DamagedError where it is gone."""
        return None if self.recipe.start is None else starts.load(self._kept_start())

    def _kept_start(self) -> Artifact:
        if self.prepared.start is None:
            assert self.recipe.start is not None
            raise DamagedError(
                f"the copy of {self.recipe.start.model} that was kept is gone",
                where=f"run {self.recipe.name}",
                advice="put the model back where it was read, as it was then, and prepare the recipe again",
            )
        return self.prepared.start

    def store(self, part: str) -> Store:
        """What one part of the corpus holds for the objective: plain text as tokens, or records."""
        if part not in self._stores:
            path = self.prepared.tokens.path / part
            records = "fields" in read_json(path / "manifest.json")
            store = ExampleStore(path) if records else TokenStore(path)
            counted = isinstance(store, TokenStore) and self.recipe.model.kind == "ngram"
            self._stores[part] = store.after_end() if counted else store
        return self._stores[part]

    def plain(self, part: str) -> TokenStore:
        """The tokens of one part of a corpus of plain text. Raises TextmillError where it is one of records."""
        store = self.store(part)
        if isinstance(store, ExampleStore):
            raise TextmillError(
                "was trained on records, not on plain text",
                where=f"run {self.recipe.name}",
                advice="name a run of a language model",
            )
        return store

    def texts(self, part: str) -> Texts:
        """What is read of each document or record."""
        store = self.store(part)
        return store.texts() if isinstance(store, ExampleStore) else store

    def not_empty(self, part: str) -> Store:
        """The store of a split. Raises RecipeError when there is nothing in it."""
        store = self.store(part)
        if not len(store):
            raise RecipeError(
                f"the {part} split is empty",
                where="corpus.split",
                advice="give it a larger share, or add text",
            )
        return store

    def loader(self, part: str = "train") -> AnyLoader:
        """The loader of one part: `batch(step)` is a pure function of data, seed and step.

        Raises RecipeError when the part is empty, or the tokenizer lacks what the objective needs.
        """
        from textmill.data.loader import Batching

        if part == "train" and self.recipe.apart is not None and self.general is not None:
            if part not in self._loaders:
                own = RunData(self.recipe.apart[0], dataclasses.replace(self.prepared, replay=None))
                self._loaders[part] = ReplayLoader(own.loader(), self.general.loader())
            return self._loaders[part]
        if part not in self._loaders:
            recipe, training = self.recipe, self.recipe.training
            how = Batching(
                recipe.sequence,
                training.batch,
                recipe.seed,
                training.packing,
                self.special,
                self._reference(part),
            )
            self._loaders[part] = self.objective.loader(recipe.objective, self.not_empty(part), how)
        return self._loaders[part]

    def _reference(self, part: str) -> np.ndarray | None:
        """(R, 2) float64: what the model the run begins as says of each row of a part; None: it is not wanted."""
        artifact = self.prepared.reference
        return None if artifact is None else np.load(artifact.path / f"{part}.npy")

    def documents(self, part: str) -> Iterator[Document]:
        """The document each entry of a part's store was made of, in their order.

        Raises DamagedError when the store is not of this corpus.
        """
        store, index = self.store(part), 0
        positions = store.positions if isinstance(store, ExampleStore) else np.arange(len(store))
        for position, document in enumerate(self.corpus.documents(part)):
            if index < len(store) and positions[index] == position:
                if store.document_id(index) != document.id:
                    break
                yield document
                index += 1
        if index < len(store):
            raise DamagedError(
                "holds other documents than its corpus",
                where=store.directory,
                advice="prepare the data again",
            )

    def units(self, part: str) -> np.ndarray | None:
        """(entries,) int64: what each entry of a part's store was split together with (its group, or the cluster of
        its near-duplicates), numbered from 0. None where every entry stands for itself."""
        split = self.recipe.corpus.split
        names = [unit_of(document, split) for document in self.documents(part)]
        different, numbers = np.unique(names, return_inverse=True)
        return None if len(different) == len(names) else numbers

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest row trained on, at most a sequence: of records, what they really hold."""
        if self.objective.reader is None or not len(self.store("train")):
            return self.recipe.sequence
        loader = self.loader()
        view: Any = (loader.first if isinstance(loader, ReplayLoader) else loader).view  # type: ignore[attr-defined]
        most = max(int(side.max()) for side in view.lengths())
        # and what stands around it
        own = min(self.objective.texts * self.recipe.sequence, most + 4)
        return own if self.general is None else max(own, self.general.longest)

    @cached_property
    def head(self) -> HeadSpec | None:
        """What stands in place of the model's output layer, for objectives whose answer is no token."""
        make, store = self.objective.head, self.store("train")
        if make is None:
            return None
        assert isinstance(store, ExampleStore)
        return make(self.recipe.objective, self.recipe.model.kind, store)

    def model(self) -> Model:
        """A new model with its first weights, its head included: those of the seed, or of the model it begins with."""
        return self.begun()[0]

    def fresh(self) -> Model:
        """The same with the weights of the seed, whatever it begins with: for a checkpoint to replace them. Of an
        adapter a checkpoint holds no base, so that is the start's."""
        return self._new() if self.recipe.tuning is None else self.begun()[0]

    def empty(self) -> Model:
        """The model without storage, in evaluation mode, for the tensors of a checkpoint to be assigned to."""
        from textmill.models import build

        return self._body(build.empty(self.recipe.model, self.vocabulary, self.head))

    def _new(self) -> Model:
        from textmill.models import build

        recipe = self.recipe
        return self._body(build.build(recipe.model, self.vocabulary, seed=recipe.seed, head=self.head))

    def _body(self, model: Model) -> Model:
        """The model without its output layer, where the objective reads its states alone."""
        from textmill.models.vectors import bare

        return model if self.objective.vectors is None else bare(model)

    def begun(self) -> tuple[Model, Taken | None]:
        """The same, and what was taken of the model it begins with.

        Raises TextmillError where a head is to be kept that is not what the objective wants.
        """
        from textmill.models import transfer

        asked, start = self.recipe.start, self.start
        if self.recipe.tuning is not None:
            return self._adapted(packed=True), None
        model = self._new()
        if asked is None or start is None:
            return model, None
        pieces = extended.pieces(self.tokenizer, start.tokenizer)
        return model, transfer.take(model, start.model, pieces=pieces, head=asked.keep_head)

    def reference_model(self) -> Model:
        """The model as the run begins, in evaluation mode; under an adapter the base alone, over the same tensors."""
        from textmill.models import adapters

        tuning, start = self.recipe.tuning, self.start
        if tuning is None or start is None:
            return self.model().eval()
        return (adapters.rounded(start.model) if tuning.base == "int8" else start.model).eval()

    def base(self) -> Model | None:
        """The model it begins with, in evaluation mode, with rows for the tokens that were added; None where it begins
        with none, or has another output layer."""
        if self.recipe.start is None or self.start is None or self.head is not None:
            return None
        return (self.start.model if self.recipe.tuning is not None else self.begun()[0]).eval()

    def adapted(self, tensors: Mapping[str, Tensor]) -> Model:
        """The start's model with a trained adapter beside it, in evaluation mode.

        Raises DamagedError where the tensors are not those of this recipe's adapter.
        """
        from textmill.models import adapters, prompted
        from textmill.specs.head import ClassifyHead
        from textmill.specs.tuning import PromptingTuning

        if isinstance(self.recipe.tuning, PromptingTuning):
            assert isinstance(self.head, ClassifyHead)
            body, tuning = self.reference_model(), self.recipe.tuning
            return prompted.filled(body, self.head, tuning, self.tokenizer, tensors)
        return adapters.load(self._adapted(packed=False), tensors).eval()

    def prompted(self, examples: Sequence[tuple[str, int]]) -> Prompted:
        """The start's model that is asked by the recipe's prompt, with examples: texts and numbers of labels."""
        from textmill.models.prompted import Prompted
        from textmill.specs.head import ClassifyHead
        from textmill.specs.tuning import PromptingTuning

        tuning, head = self.recipe.tuning, self.head
        assert isinstance(tuning, PromptingTuning)
        assert isinstance(head, ClassifyHead)
        return Prompted(self.reference_model(), head, tuning, self.tokenizer, examples)

    def pretrained(self, model: Model, info: Mapping[str, Any]) -> Pretrained:
        """A trained model and all that comes with it. Of an adapter, the base beside it."""
        from textmill.interop.huggingface import sentences
        from textmill.models import adapters
        from textmill.models.pretrained import Adapter, Pretrained

        recipe, adapter, beside = self.recipe, None, {}
        if recipe.tuning is not None and recipe.start is not None and self.start is not None:
            base = self.start
            named = str(getattr(recipe.start.model, "written", recipe.start.model))
            adapter = Adapter(
                recipe.tuning, base, named, adapters.weights_id(base.model), recipe.start.hash or ""
            )
        if self.objective.vectors is not None:
            how = self.objective.vectors(recipe.objective, recipe.model.kind)
            how = dataclasses.replace(how, tokens=min(recipe.sequence, model.spec.context))
            beside = sentences.written(how, model.hidden_width)
        return Pretrained(
            model=model,
            tokenizer=self.tokenizer,
            spec=model.spec,
            generation=recipe.generation,
            info=info,
            template=self.template,
            beside=beside,
            adapter=adapter,
        )

    def _adapted(self, *, packed: bool) -> Model:
        """The start's model, over its own tensors, with a new head where the objective wants one, and a new adapter.

        A base of 8 bits is read as such: the model as it was trained is never whole in memory. packed: it stays so, as
        it does in training; else its matrices are float32 ones of the same values, which every way of decoding takes.
        """
        import torch

        from textmill.models import adapters
        from textmill.models.heads import attach
        from textmill.nn.shared import shared
        from textmill.specs.tuning import PromptTuning

        tuning, seed = self.recipe.tuning, self.recipe.seed
        assert tuning is not None
        if eight := tuning.base == "int8":
            self.__dict__.pop("start", None)  # which is read again when somebody asks for it
            start = starts.load(self._kept_start(), adapters.in_eight_bits)
        else:
            start = self.start
        assert start is not None
        _, body = adapters.body_of(start.model)
        states = self.objective.vectors is not None
        if (
            not states
            and self.head is None
            and body is not start.model
            and not getattr(start.spec, "tied", False)
        ):
            raise RecipeError(
                "has a head in place of its output layer, so it gives no logits of tokens",
                where="start.model",
                advice="start from a model that has its output layer",
            )
        base = shared(body) if self.head is None else attach(shared(body), self.head, seed=seed)
        prompt = None
        if isinstance(tuning, PromptTuning) and tuning.text is not None:
            prompt = torch.from_numpy(self.tokenizer.encode(tuning.text).astype(np.int64))
        if eight:
            base = adapters.in_eight_bits(base)
            base = base if packed else adapters.merged(base)
        return adapters.adapt(base.train(), tuning, seed=seed, prompt=prompt)
