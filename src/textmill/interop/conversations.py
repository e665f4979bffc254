"""Conversations have the same ids wherever a model goes: by our own engine, by transformers, by what a GGUF file holds.

What is said here is compared by interop/alone.py with transformers, and below with a GGUF file's own copies of the
tokenizer and the template, written and read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textmill.base.errors import TextmillError
from textmill.base.files import scratch
from textmill.interop.check import Check
from textmill.interop.gguf import reader, writer
from textmill.interop.gguf import tokenizer as in_gguf
from textmill.models.pretrained import Pretrained
from textmill.tokenization.chat.template import ChatTemplate
from textmill.tokenization.protocol import AnyTokenizer

Talk = list[dict[str, str]]
_TALKS: tuple[Talk, ...] = (
    [{"role": "user", "content": "The mill stood."}],
    [
        {"role": "user", "content": "磨坊 12?"},
        {"role": "assistant", "content": "It did.\nTwice."},
        {"role": "user", "content": "  And now? "},
    ],
    [
        {"role": "system", "content": "请简短"},
        {"role": "user", "content": "{1 + 2}?"},
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "\n\nAnd 😀?"},
        {"role": "assistant", "content": " 4 "},
        {"role": "user", "content": "是吗"},
    ],
)
_TITLE = "chat template in GGUF"


def taken(template: ChatTemplate, tokenizer: AnyTokenizer) -> list[Talk]:
    """The conversations that a template takes: it may refuse one."""
    found = []
    for talk in _TALKS:
        try:
            template.ids(tokenizer, talk)
        except TextmillError:
            continue
        found.append(talk)
    return found


def in_gguf_file(pretrained: Pretrained, beside: Path) -> list[Check]:
    """Whether what a GGUF file of this model holds, read again, writes conversations alike; nothing of a model without
    a template of its own. Only the header is written."""
    if pretrained.template is None:
        return []
    tokenizer = pretrained.tokenizer
    own = ChatTemplate(pretrained.template, tokenizer.names)
    talks = taken(own, tokenizer)
    try:
        rows = max(pretrained.model.vocabulary, tokenizer.vocabulary)
        words = in_gguf.write_tokenizer(tokenizer, rows, pretrained.template)
    except TextmillError as error:
        return [Check(_TITLE, "skipped", why=error.what)]
    with scratch(beside) as folder:
        path = folder / "header.gguf"
        writer.write_file(path, {"general.architecture": "llama", **words.metadata}, [])
        metadata = reader.read_file(path).metadata
        source = in_gguf.template(metadata)
        again = in_gguf.read_tokenizer(metadata, path)
    if source is None:
        return [Check(_TITLE, "failed", why="it holds no chat template")]
    return [_compared(own, tokenizer, ChatTemplate(source, again.names), again, talks)]


def _compared(
    own: ChatTemplate,
    tokenizer: AnyTokenizer,
    other: ChatTemplate,
    again: AnyTokenizer,
    talks: Sequence[Talk],
) -> Check:
    try:
        for talk in talks:
            for asked in (True, False):
                if own.ids(tokenizer, talk, asked) != other.ids(again, talk, asked):
                    return Check(
                        _TITLE, "failed", why=f"a conversation of {len(talk)} messages has other ids"
                    )
        if own.ends(tokenizer) != other.ends(again):
            return Check(_TITLE, "failed", why="an answer ends with other ids")
    except TextmillError as error:
        return Check(_TITLE, "failed", why=error.what)
    finally:
        other.close()
    return Check(_TITLE, "ok")
