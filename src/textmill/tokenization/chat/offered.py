"""Chat templates for models that have none, and the special tokens each of them writes.

    chatml   <|im_start|>user⏎Hello<|im_end|>⏎          as many models have it since OpenAI's ChatML
    llama3   <|start_header_id|>user<|end_header_id|>⏎⏎Hello<|eot_id|>
    plain    ### User:⏎Hello⏎⏎### Assistant:⏎Hi<end of text>⏎⏎        with no token but the tokenizer's own

The token that ends an answer is special in each, so that nobody can write it. In `plain` who speaks is said in plain
text, which a person can write as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from textmill.tokenization.protocol import AnyTokenizer

_BEGIN = "{{- bos_token -}}"
_CHATML = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant' + '\n' -}}{%- endif -%}"
)
_LLAMA3 = (
    "{%- for message in messages -%}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>' + '\n\n' + message['content'] + '<|eot_id|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>' + '\n\n' -}}"
    "{%- endif -%}"
)
_PLAIN = (
    "{%- for message in messages -%}"
    "{{- '### ' + message['role'] | capitalize + ':' + '\n' + message['content'] -}}"
    "{%- if message['role'] == 'assistant' -%}{{- eos_token -}}{%- endif -%}{{- '\n\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '### Assistant:' + '\n' -}}{%- endif -%}"
)


@dataclass(frozen=True)
class Offer:
    """A template in Jinja, and the special tokens it writes besides those that every tokenizer names. begins: whether
    what a tokenizer calls the beginning of a text stands before a conversation."""

    source: str
    special: tuple[str, ...] = ()
    begins: bool = True

    def lacking(self, tokenizer: AnyTokenizer) -> tuple[str, ...]:
        """Those of its special tokens that a tokenizer has not."""
        return tuple(name for name in self.special if name not in tokenizer.special)

    def written(self, tokenizer: AnyTokenizer) -> str:
        """The template as a model with this tokenizer is given it."""
        return (_BEGIN if self.begins and tokenizer.names.get("bos_token") else "") + self.source


OFFERED: dict[str, Offer] = {
    "chatml": Offer(_CHATML, ("<|im_start|>", "<|im_end|>"), begins=False),
    "llama3": Offer(_LLAMA3, ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")),
    "plain": Offer(_PLAIN),
}
