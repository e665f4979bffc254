"""Textmill: a person's own text in, their own language model out.

    model = textmill.load("quickstart")
    print(model.generate("Once upon a time", tokens=40)[0].text)

Everything is loaded when it is first used, so that `import textmill` takes no time.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from textmill.base.moved import Moved

if TYPE_CHECKING:
    from textmill.base.errors import (
        BusyError,
        DamagedError,
        Interrupted,
        NonFiniteError,
        RecipeError,
        TextmillError,
    )
    from textmill.stages.use.api import load, trace
    from textmill.stages.use.chat import Conversation
    from textmill.stages.use.documents import Documents
    from textmill.stages.use.embed import Embeddings
    from textmill.stages.use.generate import Answer, Stream
    from textmill.stages.use.logprobs import Logprobs
    from textmill.stages.use.model import LanguageModel
    from textmill.text.corpus.corpus import Corpus
    from textmill.text.document import Document

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "BusyError",
    "Conversation",
    "Corpus",
    "DamagedError",
    "Document",
    "Documents",
    "Embeddings",
    "Interrupted",
    "LanguageModel",
    "Logprobs",
    "NonFiniteError",
    "RecipeError",
    "Stream",
    "TextmillError",
    "__version__",
    "load",
    "trace",
]
_HOMES = {
    "textmill.base.errors": (
        "BusyError",
        "DamagedError",
        "Interrupted",
        "NonFiniteError",
        "RecipeError",
        "TextmillError",
    ),
    "textmill.stages.use.api": ("load", "trace"),
    "textmill.stages.use.chat": ("Conversation",),
    "textmill.stages.use.documents": ("Documents",),
    "textmill.stages.use.embed": ("Embeddings",),
    "textmill.stages.use.generate": ("Answer", "Stream"),
    "textmill.stages.use.logprobs": ("Logprobs",),
    "textmill.stages.use.model": ("LanguageModel",),
    "textmill.text.corpus.corpus": ("Corpus",),
    "textmill.text.document": ("Document",),
}


sys.meta_path.append(Moved())


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
