"""Heads as config.json says them: labels, and what kind of problem they answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from textmill.base import schema
from textmill.base.errors import DamagedError
from textmill.interop.huggingface.configs.common import differences
from textmill.interop.huggingface.rules.table import head_rules
from textmill.specs.head import ClassifyHead, HeadSpec, RegressHead, SpanHead, TagHead
from textmill.specs.model import ModelSpec

_ENDINGS = {
    "classify": "ForSequenceClassification",
    "regress": "ForSequenceClassification",
    "tag": "ForTokenClassification",
    "answer": "ForQuestionAnswering",
}
_STEMS = {
    "bert": "Bert",
    "roberta": "Roberta",
    "distilbert": "DistilBert",
    "gpt2": "GPT2",
    "llama": "Llama",
    "mistral": "Mistral",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
}
_DENSE = {"roberta": "tanh", "distilbert": "relu"}  # before the logits of a whole text
_SPECS: dict[str, type] = {schema.kind_of(spec): spec for spec in get_args(HeadSpec)}
_MOST_LABELS = 1_000_000
OWN_KEY = "textmill_head"  # where a configuration of ours holds one


def departures(kind: str, spec: ModelSpec, head: HeadSpec) -> list[str]:
    """What a published architecture's head has otherwise: nothing, where its config.json gives the head back."""
    if not head_rules(kind, head.kind):
        return [f"no head of the kind {head.kind}"]
    there = read(write(kind, head), kind, kind)
    assert there is not None
    if kind == "bert" and isinstance(head, (ClassifyHead, RegressHead)) and not spec.pooler:
        return ["pooler = true under its head, not false"]
    return differences(vars(head), vars(there) | {"dropout": head.dropout})  # which no logit depends on


def write(kind: str, head: HeadSpec) -> dict[str, Any]:
    """The fields of config.json that are the head's own."""
    fields: dict[str, Any] = {"architectures": [_STEMS[kind] + _ENDINGS[head.kind]]}
    if isinstance(head, (ClassifyHead, TagHead)):
        labels: tuple[str, ...] = head.labels
    else:
        labels = tuple(
            f"LABEL_{number}" for number in range(head.outputs if isinstance(head, RegressHead) else 2)
        )
    fields["id2label"] = {str(number): label for number, label in enumerate(labels)}
    fields["label2id"] = {label: number for number, label in enumerate(labels)}
    if isinstance(head, RegressHead):
        fields["problem_type"] = "regression"
    elif isinstance(head, ClassifyHead):
        fields["problem_type"] = f"{'multi' if head.multiple else 'single'}_label_classification"
    dropouts = ("seq_classif_dropout", "qa_dropout") if kind == "distilbert" else ("classifier_dropout",)
    return fields | dict.fromkeys(dropouts, head.dropout)


def read(config: Mapping[str, Any], kind: str, where: object) -> HeadSpec | None:
    """The head a config.json names by its class; None where it is a model without one.

    Raises DamagedError when its labels are none.
    """
    own = config.get(OWN_KEY)
    if own is not None:
        if not isinstance(own, Mapping) or own.get("kind") not in _SPECS:
            raise DamagedError(f"{OWN_KEY} is not a head", where=where)
        if own.get("outputs", 1) > _MOST_LABELS:
            raise DamagedError(f"{OWN_KEY}.outputs is {own['outputs']}", where=where)
        return schema.read(_SPECS[own["kind"]], own, str(where), OWN_KEY)
    named = config.get("architectures") or [""]
    name = str(named[0]) if isinstance(named, list) and named else ""
    kind_of_head = next((head for head, ending in _ENDINGS.items() if name.endswith(ending)), None)
    if kind_of_head is None or not head_rules(kind, kind_of_head):
        return None
    fields: dict[str, Any] = {"kind": kind_of_head, "dropout": _dropout(config, kind, kind_of_head)}
    if kind_of_head == "answer":
        return schema.read(SpanHead, fields, str(where))
    labels = _labels(config, where)
    decoder = kind in ("gpt2", "llama", "mistral", "qwen2", "qwen3")
    if kind_of_head == "tag":
        return schema.read(TagHead, fields | {"labels": labels}, str(where))
    fields |= {"bias": not decoder, "pooling": "last" if decoder else "first"}
    fields |= {"dense": _DENSE.get(kind, "none")}
    problem = config.get("problem_type")
    if problem == "regression" or (problem is None and len(labels) == 1):
        return schema.read(RegressHead, fields | {"kind": "regress", "outputs": len(labels)}, str(where))
    multiple = problem == "multi_label_classification"
    return schema.read(ClassifyHead, fields | {"labels": labels, "multiple": multiple}, str(where))


def _labels(config: Mapping[str, Any], where: object) -> list[str]:
    """The labels in the order of the logits. A configuration that names none means two."""
    named = config.get("id2label")
    if named is None:
        return ["LABEL_0", "LABEL_1"]
    try:
        by_number = {int(number): str(label) for number, label in named.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise DamagedError(f"id2label is not a table of labels ({error})", where=where) from error
    if not by_number or len(by_number) > _MOST_LABELS or set(by_number) != set(range(len(by_number))):
        raise DamagedError("id2label does not number its labels from 0 on", where=where)
    return [by_number[number] for number in range(len(by_number))]


def _dropout(config: Mapping[str, Any], kind: str, head: str) -> float:
    if kind == "distilbert":
        usual = 0.2 if head in ("classify", "regress") else 0.1
        return config.get("qa_dropout" if head == "answer" else "seq_classif_dropout", usual)
    given = config.get("classifier_dropout")
    return given if given is not None else 0.0 if head == "answer" else config.get("hidden_dropout_prob", 0.1)
