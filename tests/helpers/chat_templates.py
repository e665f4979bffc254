"""Chat templates in the shapes people use, and the special tokens each writes: of several test files.

`MARKED` holds the same with `{% generation %}` around what assistants say and the token that ends their turn.
"""

from __future__ import annotations

import json

from textmill.specs.recipe import TokenizerSpec
from textmill.tokenization.chat.offered import OFFERED
from textmill.tokenization.chat.template import DEFAULT
from textmill.tokenization.load import of
from textmill.tokenization.protocol import AnyTokenizer
from textmill.tokenization.training import train

# ChatML with a default system message, Llama 3, Gemma, Qwen, Mistral.
CHATML = (
    "{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "Be kind<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%Y") %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
<|start_header_id|>system<|end_header_id|>

Today: {{ date_string }}
{{ system_message }}<|eot_id|>
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if tools is not none %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
    {%- endfor %}
{%- endif %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""
GEMMA = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate") }}
    {%- endif -%}
    {%- set role = "model" if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'text' -%}{{ item['text'] }}{%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}
"""
QWEN = """{%- set ns = namespace(last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" %}{%- set ns.last = index %}{%- break %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == "assistant" and '</think>' in content %}
        {%- set content = content.split('</think>')[-1].lstrip('\n') %}
    {%- endif %}
    {%- if message.role == "assistant" %}
{% generation %}{{ '<|im_start|>assistant\n' + content + '<|im_end|>\n' }}{% endgeneration %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n<think>\n\n</think>\n\n' }}{%- endif %}
"""
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] + eos_token }}{% else %}{{ raise_exception('Only user and assistant!') }}"
    "{% endif %}{% endfor %}"
)
TEMPLATES = {"chatml": CHATML, "llama": LLAMA, "gemma": GEMMA, "qwen": QWEN, "mistral": MISTRAL}
CONTROL = {
    "chatml": ["<|im_start|>", "<|im_end|>"],
    "llama": ["<|begin|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "gemma": ["<bos>", "<start_of_turn>", "<end_of_turn>"],
    "qwen": ["<|im_start|>", "<|im_end|>"],
    "mistral": ["<s>", "</s>", "[INST]", "[/INST]"],
}
NAMES = {"bos_token": "<s>", "eos_token": "</s>"}

# Templates with a place for calls, as the models of these names have them: what is written in each is pages long, and
# this is the part of it that writes calls.
_TURN = "{{ '<|im_start|>' + m.role + '\n' + (m.content or '') }}BEFORE<|im_end|>\n"
_ENDS = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


def _calling(call: str, *, first: str = "", last: str = "", before: str = "", one: bool = False) -> str:
    """ChatML whose messages hold calls. call: of `f`, whose id is `c.id`."""
    refusal = "{% if m.tool_calls|length > 1 %}{{ raise_exception('One call at once!') }}{% endif %}"
    calls = (
        "{% if m.tool_calls %}" + (refusal if one else "") + first + "{% for c in m.tool_calls %}"
        "{% set f = c.function %}" + before + call + "{% endfor %}" + last + "{% endif %}"
    )
    turn = _TURN.replace("BEFORE", calls)
    tools = "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}"
    return tools + "{% for m in messages %}" + turn + "{% endfor %}" + _ENDS


_ARGS = "{{ f.arguments | tojson }}"
_OBJECT = '{"name": "{{ f.name }}", "KEY": ' + _ARGS + "}"
CALLING = {
    "hermes": _calling(
        "<tool_call>\n" + _OBJECT.replace("KEY", "arguments") + "\n</tool_call>",
        before="{% if m.content or not loop.first %}{{ '\n' }}{% endif %}",
    ),
    "llama": LLAMA.replace(
        "{%- for message in messages %}",
        "{%- for message in messages %}{%- if message.tool_calls %}{%- set c = message.tool_calls[0].function %}"
        "{%- if message.tool_calls | length != 1 %}{{ raise_exception('One at once!') }}{%- endif %}"
        "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}"
        "{{- '{\"name\": \"' + c.name + '\", ' }}{{- '\"parameters\": ' }}{{- c.arguments | tojson }}{{- '}' }}"
        "{{- '<|eom_id|>' }}{%- else %}",
    ).replace("{%- endfor %}\n{%- if tools", "{%- endif %}{%- endfor %}\n{%- if tools"),
    "mistral": (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{% if tools %}"
        "[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}[INST] {{ m.content }}[/INST]"
        "{% elif m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}"
        "{% if c.id | length != 9 %}{{ raise_exception('Nine letters!') }}{% endif %}"
        '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}, '
        '"id": "{{ c.id }}"}{{ \', \' if not loop.last }}{% endfor %}]{{ eos_token }}'
        "{% elif m.role == 'tool' %}[TOOL_RESULTS] {{ m.content }}[/TOOL_RESULTS]"
        "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
    ),
    "tekken": (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
        "{{ tools | tojson if tools }}[INST]{{ m.content }}[/INST]"
        "{% elif m.role == 'tool' %}[TOOL_RESULTS]{{ m.content }}[/TOOL_RESULTS]"
        "{% else %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}[TOOL_CALLS]{{ c.function.name }}"
        "[CALL_ID]{{ c.id }}[ARGS]{{ c.function.arguments | tojson }}{% endfor %}{{ eos_token }}{% endif %}{% endfor %}"
    ),
    "deepseek": _calling(
        "<|call|>function<|sep|>{{ f.name }}\n```json\n" + _ARGS + "\n```<|/call|>",
        first="<|calls|>",
        last="<|/calls|>",
        before="{{ '\n' if not loop.first }}",
    ),
    "function": _calling("<function={{ f.name }}>" + _ARGS + "</function>", one=True),
    "compact": _calling(
        '<call>{"name":"{{ f.name }}","arguments":{{ f.arguments | tojson(separators=(",",":")) }}}</call>'
    ),
    "spread": _calling("<call>" + "{{ f.name }}\n{{ f.arguments | tojson(indent=2) }}" + "</call>"),
}
CALLING_CONTROL = {
    "hermes": CONTROL["qwen"],
    "llama": [*CONTROL["llama"], "<|eom_id|>"],
    "mistral": ["<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"],
    "tekken": ["<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"],
    "deepseek": [*CONTROL["qwen"], "<|calls|>", "<|call|>", "<|sep|>", "<|/call|>", "<|/calls|>"],
    "function": CONTROL["qwen"],
    "compact": [*CONTROL["qwen"], "<call>", "</call>"],
    "spread": CONTROL["qwen"],
}

_SPOKEN = "{% if ROLE == 'assistant' %}{% generation %}SAID{% endgeneration %}{% else %}SAID{% endif %}"


def _spoken(role: str, said: str) -> str:
    return _SPOKEN.replace("ROLE", role).replace("SAID", said)


MARKED = {
    "chatml": CHATML.replace(
        "m['content'] + '<|im_end|>' + '\n' }}",
        "'' }}" + _spoken("m['role']", "{{ m['content'] + '<|im_end|>' }}") + "{{ '\n' }}",
    ),
    "llama": LLAMA.replace(
        "message['content'] | trim + '<|eot_id|>' }}",
        "'' }}" + _spoken("message['role']", "{{ message['content'] | trim + '<|eot_id|>' }}"),
    ),
    "gemma": GEMMA.replace(
        "{%- if message['content'] is string -%}\n        {{ message['content'] | trim }}",
        "{%- if message['content'] is string and role == 'model' -%}"
        "{% generation %}{{ message['content'] | trim + '<end_of_turn>' }}{% endgeneration %}"
        "{%- elif message['content'] is string -%}{{ message['content'] | trim }}",
    ).replace("{{ '<end_of_turn>\n' }}", "{{ '\n' if role == 'model' else '<end_of_turn>\n' }}"),
    "mistral": MISTRAL.replace(
        "{{ ' ' + message['content'] + eos_token }}",
        "{% generation %}{{ ' ' + message['content'] + eos_token }}{% endgeneration %}",
    ),
    "default": DEFAULT.replace(
        "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}",
        "{{- '<|' + message['role'] + '|>' -}}"
        + _spoken("message['role']", "{{- message['content'] + '<|end|>' -}}"),
    ),
    "plain": OFFERED["plain"].source.replace(
        "{{- '### ' + message['role'] | capitalize + ':' + '\n' + message['content'] -}}"
        "{%- if message['role'] == 'assistant' -%}{{- eos_token -}}{%- endif -%}",
        "{{- '### ' + message['role'] | capitalize + ':' + '\n' -}}{%- if message['role'] == 'assistant' -%}"
        "{% generation %}{{- message['content'] + eos_token -}}{% endgeneration %}"
        "{%- else -%}{{- message['content'] -}}{%- endif -%}",
    ),
}
UNMARKED = TEMPLATES | {"default": DEFAULT, "plain": OFFERED["plain"].source}


def tokenizer_with(
    special: list[str], more: tuple[str, ...] = (), texts: tuple[str, ...] = ()
) -> AnyTokenizer:
    """A tokenizer that has these special tokens, `more` as added ones: of bytes, or learnt from texts."""
    spec = TokenizerSpec(vocabulary=600) if texts else TokenizerSpec(kind="bytes")
    document = json.loads(train(spec, texts).data)
    kept = document["added_tokens"] if texts else document["added_tokens"][:1]
    number = max([*document["model"]["vocab"].values(), *(one["id"] for one in kept)]) + 1 if texts else 257
    known = {one["content"] for one in kept}
    for content in dict.fromkeys([*(name for name in special if name not in known), *more]):
        kept.append(kept[0] | {"id": number, "content": content, "special": content not in more})
        number += 1
    document["added_tokens"] = kept
    return of(json.dumps(document).encode())
