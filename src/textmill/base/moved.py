"""Modules that stood elsewhere before the house had its rooms: a program that imports them by the old name goes on.

The old name gives the very module that took its place, with a `DeprecationWarning`, and is looked up only where nothing
else has the name. Nothing in the house uses one (`tests/base/test_moved.py`); version 0.2 will not know them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# Of the package: the room of before, then the module there and where it stands now.
MOVED = {
    "text": {
        "chat": "tokenization.chat.template",
        "classic": "tokenization.legacy_files",
        "marian": "tokenization.marian",
        "pretrained": "tokenization.load",
        "pretrained_tokenizer": "tokenization.pretrained",
        "protection": "tokenization.chat.protection",
        "sentencepiece_file": "tokenization.sentencepiece_model",
        "tokenizer": "tokenization.tokenizer",
        "tokenizer_base": "tokenization.file_tokenizer",
        "tokenizer_cuts": "tokenization.pre_tokenizers",
        "tokenizer_document": "tokenization.json_build",
        "tokenizer_engine": "tokenization.engines",
        "tokenizer_file": "tokenization.json_read",
        "tokenizer_merges": "tokenization.merges",
        "tokenizer_spelling": "tokenization.decoders",
        "tokenizer_training": "tokenization.training",
        "unigram": "tokenization.unigram",
    },
    "base": {
        "corpus_spec": "specs.corpus",
        "generation_spec": "specs.generation",
        "head_spec": "specs.head",
        "model_spec": "specs.model",
        "objective_spec": "specs.objective",
        "position_spec": "specs.position",
        "presets": "specs.presets",
        "recipe": "specs.recipe_file",
        "spec": "specs.recipe",
        "step_spec": "specs.cleaning",
        "training_spec": "specs.training",
    },
    "models": {"size": "models.cost", "table": "models.build"},
    "decoding": {
        "answer": "decoding.decode",
        "recall": "decoding.prefix_cache",
        "text": "decoding.stop_strings",
        "weights": "decoding.layout",
    },
    "interop": {
        "configuration": "interop.huggingface.config",
        "generation": "interop.huggingface.generation",
        "gguf_file": "interop.gguf.writer",
        "gguf_write": "interop.gguf.model",
        "onnx_runtime": "interop.onnx.runtime",
        "sentences": "interop.huggingface.sentences",
        "table": "interop.formats",
        "weights": "interop.huggingface.weights",
    },
}


def home(name: str) -> str | None:
    """Where the module of this old, whole name stands now; None for every other name."""
    package, _, rest = name.partition(".")
    room, _, module = rest.partition(".")
    now = MOVED.get(room, {}).get(module)
    return f"{package}.{now}" if now and package == "textmill" else None


class Moved(MetaPathFinder, Loader):
    """Finds and loads what `MOVED` lists; the last to be asked."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if home(fullname) else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of today in the place of an empty one of the old name."""
        now = home(module.__name__)
        assert now is not None
        warnings.warn(
            f"{module.__name__} is {now} now; version 0.2 will not know the old name",
            DeprecationWarning,
            stacklevel=2,
        )
        sys.modules[module.__name__] = importlib.import_module(now)
