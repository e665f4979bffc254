"""A published model in use: the one object behind `textmill generate`, `chat` and `embed`, and behind Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from textmill import __version__
from textmill.base import schema
from textmill.base.errors import RecipeError, TextmillError
from textmill.specs.generation import GenerationOptions, GenerationSpec
from textmill.stages.use import chat as chats
from textmill.stages.use import embed as embeddings
from textmill.stages.use import logprobs
from textmill.stages.use.generate import Answer, Stream, speculation
from textmill.stages.use.tools import Toolbox
from textmill.stages.workspace import lineage
from textmill.stages.workspace.locate import checked, locate
from textmill.stages.workspace.models import load_model
from textmill.stages.workspace.models_folder import model_files
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.decoding.prompt import Prompt
    from textmill.index.search import Index
    from textmill.inference.predictor import Predictor
    from textmill.models.model import Model
    from textmill.models.pretrained import Pretrained
    from textmill.specs.model import MixtureSpec, ModelSpec
    from textmill.stages.workspace.lineage import Artifact
    from textmill.stages.workspace.run import Run
    from textmill.tasks.prediction import Prediction, Refused
    from textmill.tasks.task import Options, Record
    from textmill.tokenization.protocol import AnyTokenizer


class LanguageModel:
    """A published model, ready to be used; `textmill.load` makes one.

    How text is generated is what was published with the model (`generation`), and for one call what is given as keyword
    arguments: the fields of a GenerationSpec, by the names they have in a recipe. One that there is not, or is out of
    range, raises RecipeError with the nearest right name. Calls change nothing: the same call gives the same text.
    """

    def __init__(
        self, workspace: Workspace, target: str, *, weights: str = "fp32", checkpoint: str | None = None
    ) -> None:
        """target: the name of a run or of a model in the models folder, a run's folder, a published directory, or a
        .gguf file. weights: arithmetic of the weights, fp32, bf16 or int8. checkpoint: of a run, `latest`, `best` or a
        step, instead of what it has published; it may still be in training.

        A run that is not published is its best checkpoint so far, and `pretrained.warnings` say so. Raises
        TextmillError when there is no such model, and no checkpoint yet, RecipeError for weights or a checkpoint there
        are not.
        """
        from textmill.decoding.layout import prepare

        self._workspace, self._target, self._weights = workspace, target, weights
        found = locate(workspace, target)
        self._run = found.run
        if checkpoint is not None and found.run is None:
            raise RecipeError("is a model that belongs to no run, so it has no checkpoints", where=target)
        if found.run is not None and (checkpoint is not None or found.model is None):
            # What prepares texts and trains is loaded for this alone.
            from textmill.stages.use.unpublished import unpublished
            from textmill.stages.workspace.weights import BEST

            self.path = found.run.path
            model = unpublished(found.run, workspace, checkpoint or BEST)
        else:
            assert found.model is not None
            self.path = checked(workspace, found.model)
            model = load_model(workspace, self.path)
        self._loaded = model
        self.pretrained: Pretrained = replace(model, model=prepare(model.model, weights))
        self._layouts = {1: self.pretrained.model}  # by the rows that are decoded together

    def with_adapter(self, target: str) -> LanguageModel:
        """The same model with an adapter beside it: a run's name or folder, or an adapter's directory. Both use the
        same tensors in memory, so a model may answer with several adapters in turn.

        Raises TextmillError where that is no adapter, or one of another base.
        """
        from textmill.decoding.layout import prepare
        from textmill.interop.huggingface.peft import directory as peft

        found = locate(self._workspace, target)
        if found.model is None or not found.model.is_dir() or not peft.is_adapter(found.model):
            raise TextmillError("is not a published adapter", where=target)
        other = copy(self)
        other._target, other.path, other._run = target, checked(self._workspace, found.model), found.run
        other._loaded = peft.load(other.path, self._loaded, weights=self.weights_id)
        other.pretrained = replace(other._loaded, model=prepare(other._loaded.model, self._weights))
        other._layouts = {1: other.pretrained.model}
        return other

    @property
    def tokenizer(self) -> AnyTokenizer:
        """What turns text into ids and back: `encode`, `decode`, `vocabulary`, `end`."""
        return self.pretrained.tokenizer

    @property
    def spec(self) -> ModelSpec | MixtureSpec:
        """The architecture, as in a recipe's [model]."""
        return self.pretrained.spec

    @property
    def generation(self) -> GenerationSpec:
        """How text is generated unless a call says it otherwise."""
        return self.pretrained.generation

    @property
    def longest(self) -> int:
        """Most tokens of a prompt, or of a source, that the model reads."""
        return self.pretrained.longest

    @property
    def lineage(self) -> Mapping[str, Any]:
        """What it was made from: the hashes of its weights, tokens, tokenizer and corpus; empty for other people's."""
        return self.pretrained.info.get("lineage", {})

    def __repr__(self) -> str:
        return f"LanguageModel({str(self.path)!r}, {self.spec.kind})"

    def generate(
        self,
        prompts: str | Sequence[str],
        *,
        samples: int = 1,
        truncate: bool = False,
        **options: Unpack[GenerationOptions],
    ) -> list[Answer]:
        """Answers to prompts, `samples` to each, by prompt and then by sample: one prompt, too, gives a list.

        A model that reads a source (encoder-decoder) answers it; any other goes on from it. truncate: of a prompt
        longer than the model reads its end is taken, of a source its beginning, and `Answer.cut` counts the rest.

        Raises TextmillError for a longer prompt otherwise, and when the model writes no text.
        """
        return self.stream(prompts, samples=samples, truncate=truncate, **options).answers()

    def stream(
        self,
        prompts: str | Sequence[str],
        *,
        samples: int = 1,
        truncate: bool = False,
        **options: Unpack[GenerationOptions],
    ) -> Stream:
        """The same piece by piece, as the text becomes certain. Arguments and errors as in `generate`."""
        from textmill.decoding.prompt import of_text
        from textmill.decoding.stream import generate_text
        from textmill.models.model import Generator

        if not self.pretrained.writes:
            raise TextmillError(
                f"a model of kind {self.spec.kind!r} writes no text",
                where=self._target,
                advice="`textmill embed` makes vectors with it",
            )
        if samples < 1:
            raise RecipeError(f"{samples} is out of range: it must be >= 1", where="samples")
        spec = self.settings(**options)
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        encoded = [of_text(self.tokenizer, text, start=self.pretrained.target_start) for text in texts]
        self._fits(encoded, truncate)
        ahead = speculation(spec.speculate, self._corpus)
        together = len(texts) * max(samples, spec.beams, spec.candidates if spec.mbr else 1)
        model = self._laid_out(min(together, 32 * spec.beams))
        assert isinstance(model, Generator)
        pieces = generate_text(model, self.tokenizer, encoded, spec, samples=samples, speculation=ahead)
        return Stream(pieces, texts, samples, ahead, self._run)

    def answers(self, prompt: str, *, samples: int = 1, **options: Unpack[GenerationOptions]) -> list[Answer]:
        """Answers to one prompt, as a user's message where the model has a chat template, else as a text to go on from.

        Arguments and errors as in `generate`.
        """
        from textmill.data.codec import Codec
        from textmill.decoding.prompt import Prompt
        from textmill.decoding.stream import generate_text
        from textmill.models.model import Generator

        if self.pretrained.template is None:
            return self.generate(prompt, samples=samples, **options)
        template = chats.template_of(self.pretrained, self.path)
        codec = Codec(self.tokenizer, template=template)
        asked = Prompt(codec.chat([{"role": "user", "content": prompt}], answer=True).ids.tolist())
        self._fits([asked], truncate=False)
        model = self._laid_out(samples)
        assert isinstance(model, Generator)
        ends = template.ends(self.tokenizer)
        pieces = generate_text(
            model, self.tokenizer, [asked], self.settings(**options), samples=samples, ends=ends
        )
        return Stream(pieces, [prompt], samples).answers()

    @property
    def as_read(self) -> Pretrained:
        """The model as it was read: its matrices are not laid out for decoding."""
        return self._loaded

    @property
    def run(self) -> Run | None:
        """The run of this workspace that made it; None: it belongs to none."""
        return self._run

    @property
    def weights_id(self) -> str:
        """The content id of its weights as numbers, an adapter's among them. Of files that are as they were when it was
        last worked out, it is remembered."""
        from textmill.models import adapters
        from textmill.stages.workspace.found import facts_of, found_in

        def read() -> str:
            return adapters.weights_id(self._loaded.model)

        files = model_files(self.path)
        if self._loaded.adapter is not None or self.spec.kind == "mixture" or not files:
            return read()  # what it is made of stands in other places, too
        facts = {"textmill": __version__, "files": facts_of(files)}
        return found_in(self._workspace.root).out(f"weights of {self.path.absolute()}", facts, read)

    @property
    def artifact(self) -> Artifact | None:
        """What it is in the lineage of things made with it; None of other people's models."""
        home = self.path if self.path.is_dir() else self.path.parent
        return lineage.read_lineage(home) if (home / lineage.NAME).is_file() else None

    def predictor(self, options: Options | None = None) -> Predictor:
        """What says of records what its task says. Raises TextmillError when the model has no task."""
        from textmill.inference.predictor import Predictor
        from textmill.tasks.task import Options

        options = options or Options()
        if options.sentences is None:
            options = replace(options, sentences=embeddings.settings(self.path))
        return Predictor(self.pretrained, options)

    def predict(
        self,
        inputs: str | Mapping[str, str] | Iterable[str | Mapping[str, str]],
        *,
        top: int = 1,
        threshold: float | None = None,
        truncate: bool = False,
        why: bool = False,
        **options: Unpack[GenerationOptions],
    ) -> list[Prediction | Refused]:
        """What its task says of each input: a text, or a record of texts by role (`{"source": …}`), one or several;
        one, too, gives a list. What nothing can be said of is Refused, in its place.

        top: how many answers to each, best first. threshold: of several labels the least probability of one, of
        answers the least log odds against "it does not say"; left out: as published. truncate: sources longer than the
        model reads are cut, and say so, instead of refused. why: a linear model also says which n-grams speak most for
        its answer, or against it. options: how texts are written, as in `generate`.
        """
        from textmill.tasks.task import Options

        generation = self.settings(**options) if options else None
        asked = Options(top=top, threshold=threshold, truncate=truncate, why=why, generation=generation)
        predictor = self.predictor(asked)
        first = predictor.task.fields[0].role
        several = [cast("str | Record", inputs)] if isinstance(inputs, (str, Mapping)) else list(inputs)
        records: list[Record] = [{first: one} if isinstance(one, str) else one for one in several]
        return list(predictor.predict(records))

    def chat(
        self,
        messages: Sequence[chats.Message],
        *,
        template: Path | str | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Answer:
        """The answer to a conversation, {"role": …, "content": …} each, oldest first, the last the user's.

        Where the conversation is longer than the model reads, the oldest turns are left out. Other arguments and errors
        as in `conversation`.
        """
        talk = self.conversation(template=template, **options)
        talk.messages = chats.checked(messages)
        [answer] = Stream(talk.reply(), [chats.said(talk.messages[-1])]).answers()
        return answer

    def conversation(
        self,
        *,
        system: str | None = None,
        template: Path | str | None = None,
        tools: Path | str | None = None,
        **options: Unpack[GenerationOptions],
    ) -> chats.Conversation:
        """A conversation that goes on: each turn reads only what is new. template: a Jinja file, not the model's own.
        tools: a Python file of yours, whose functions the model may call: it is run here, with all of your rights.

        Raises TextmillError when the model holds none.
        """
        from textmill.models.model import Generator, SourceReader

        model = self.pretrained.model
        if not isinstance(model, Generator) or isinstance(model, SourceReader):
            raise TextmillError(f"a model of kind {self.spec.kind!r} holds no conversations", where=self.path)
        talk = chats.Conversation(
            model=model,
            tokenizer=self.tokenizer,
            template=chats.template_of(
                self.pretrained, self.path, None if template is None else Path(template)
            ),
            spec=self.settings(**options),
            context=self.spec.context,
            tools=None if tools is None else Toolbox(Path(tools)),
        )
        if system is not None:
            talk.system(system)
        return talk

    def embed(
        self, texts: str | Sequence[str], *, pooling: str | None = None, normalise: bool | None = None
    ) -> embeddings.Embeddings:
        """Texts as vectors: one, too, gives (1, D). pooling: cls, mean, last or max; normalise: to length 1; left out,
        what the model's directory says, or else the mean, normalised.

        Raises RecipeError for another pooling, TextmillError when the model has no states.
        """
        how = embeddings.settings(self.path, pooling, normalise)
        return embeddings.embed(self.pretrained, [texts] if isinstance(texts, str) else list(texts), how)

    def logprobs(self, text: str) -> logprobs.Logprobs:
        """How likely each token of a text is after those before it. Raises TextmillError when the text is longer than
        the model reads, or the model does not go on with text."""
        return logprobs.logprobs(self.pretrained, text)

    def settings(self, **options: Unpack[GenerationOptions]) -> GenerationSpec:
        """How text is generated when a call says this otherwise. Raises RecipeError for what there is not."""
        return schema.read(
            GenerationSpec, schema.write(self.generation) | schema.current(GenerationSpec, options), "options"
        )

    def _laid_out(self, rows: int) -> Model:
        """The model for decoding so many rows together; beside that for one, the last is kept."""
        from textmill.decoding.layout import prepare

        rows = rows if self._weights == "fp32" else 1  # others have one layout
        if rows not in self._layouts:
            self._layouts = {1: self.pretrained.model, rows: prepare(self.pretrained.model, rows=rows)}
        return self._layouts[rows]

    def _fits(self, prompts: Sequence[Prompt], truncate: bool) -> None:
        """Raises TextmillError for a prompt that is longer than the model reads, unless it may be cut, and for one that
        takes more memory to read than is free."""
        from textmill.specs.model import WHOLE

        for number, prompt in enumerate(prompts):
            length = len(prompt.ids if prompt.source is None else prompt.source)
            if length > self.longest and not truncate:
                raise TextmillError(
                    f"the prompt takes {length} tokens and the model reads {self.longest}",
                    where=f"prompts[{number}]",
                    advice="shorten it, or pass `truncate` to cut it",
                )
            if self.longest == WHOLE and length > self.spec.context:
                self._affordable(length, number)

    def _affordable(self, length: int, number: int) -> None:
        import torch

        from textmill.base.console import amount
        from textmill.models import cost
        from textmill.specs.model import EncoderDecoderSpec
        from textmill.training.memory import free_bytes

        assert isinstance(self.spec, EncoderDecoderSpec)
        need = cost.scoring_bytes(self.spec, self.pretrained.model.vocabulary, length, tokens=length)
        if need > (free := free_bytes(torch.device("cpu"))):
            raise TextmillError(
                f"to read the prompt's {length:,} tokens takes about {amount(need, 'B')} of memory, and "
                f"{amount(free, 'B')} are free",
                where=f"prompts[{number}]",
                advice="split it into shorter texts",
            )

    def _corpus(self) -> Index:
        """The index of what the model was trained on, built where it is missing."""
        from textmill.stages.tracing.index import open_index

        if (run := self._run) is None:
            raise TextmillError(
                "belongs to no run of this workspace, so its corpus is not known",
                where=self._target,
                advice="use `prompt`, which takes its drafts from the prompt",
            )
        return open_index(self._workspace, str(run.path)).index
