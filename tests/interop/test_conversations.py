"""A GGUF file's copies of tokenizer and chat template write conversations as our own do; and verify says so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from helpers.chat_templates import CONTROL, TEMPLATES, tokenizer_with
from textmill.interop import conversations
from textmill.tokenization.chat.offered import OFFERED
from textmill.tokenization.chat.template import DEFAULT


def checked(template, tokenizer, tmp_path) -> Any:
    model: Any = SimpleNamespace(
        model=SimpleNamespace(vocabulary=tokenizer.vocabulary + 3), template=template, tokenizer=tokenizer
    )
    found = conversations.in_gguf_file(model, tmp_path)
    assert not list(tmp_path.iterdir())
    return found


@pytest.mark.parametrize("name", [*OFFERED, "default", "qwen"])
def test_templates_are_the_same_in_a_gguf_file(name, tmp_path):
    offer = OFFERED.get(name)
    special = (
        list(offer.special)
        if offer
        else CONTROL.get(name, ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"])
    )
    tokenizer = tokenizer_with(special)
    source = offer.written(tokenizer) if offer else {**TEMPLATES, "default": DEFAULT}[name]
    [check] = checked(source, tokenizer, tmp_path)
    assert (check.state, check.why) == ("ok", "")


def test_what_a_gguf_file_would_write_otherwise_fails(tmp_path):
    """A template that begins with what the tokenizer has no name for: a GGUF file gives it one."""
    [check] = checked(TEMPLATES["llama"], tokenizer_with(CONTROL["llama"]), tmp_path)
    assert check.state == "failed"
    assert "has other ids" in check.why
    assert checked(None, tokenizer_with([]), tmp_path) == []
