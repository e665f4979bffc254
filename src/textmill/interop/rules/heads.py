"""How the weights of heads are called where they stand on a published architecture."""

from __future__ import annotations

from collections.abc import Mapping

from textmill.interop.rules.rule import Rule, both

_PLAIN = both("head", "classifier")
_SPAN = both("head", "qa_outputs")
_LIKE_LLAMA = {"classify": (Rule("head.weight", ("score.weight",)),), "tag": both("head", "score")}
HEADS: Mapping[str, Mapping[str, tuple[Rule, ...]]] = {
    "bert": {"classify": _PLAIN, "tag": _PLAIN, "answer": _SPAN},
    "roberta": {
        "classify": (*both("head.dense", "classifier.dense"), *both("head", "classifier.out_proj")),
        "tag": _PLAIN,
        "answer": _SPAN,
    },
    "distilbert": {
        "classify": (*both("head.dense", "pre_classifier"), *_PLAIN),
        "tag": _PLAIN,
        "answer": _SPAN,
    },
    "gpt2": {"classify": _LIKE_LLAMA["classify"], "tag": _PLAIN},
    "llama": _LIKE_LLAMA,
    "mistral": _LIKE_LLAMA,
    "qwen2": _LIKE_LLAMA,
    "qwen3": _LIKE_LLAMA,
}


def head_rules(kind: str, head: str) -> tuple[Rule, ...]:
    """The rules of a head (`regress` is stored as `classify` is) on a published kind; () where it has none."""
    return HEADS.get(kind, {}).get("classify" if head == "regress" else head, ())
