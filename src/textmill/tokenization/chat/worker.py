"""The program that renders one chat template, in a process that may do nothing else (see base/confined.py).

A template is a program out of a model's directory. Jinja's sandbox keeps it from attributes and from changing what
it is given; nothing inside Python keeps it from time and memory, so it runs where the system does. This imports
nothing of Textmill and knows nothing of the person but the messages.

The first request is {"source"}, each further one {"variables"}; each is answered by {"text", "marks"} or
{"error", "kind"}. marks: [start, end) of what stands in `{% generation %}`, as characters of the text.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import datetime

from jinja2 import TemplateError, nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Refused(Exception):
    """The template itself refuses the messages (`raise_exception`)."""


class TooLong(Exception):
    """The text has become longer than a prompt may be."""


class Generation(Extension):
    """`{% generation %} … {% endgeneration %}` marks what an assistant wrote: it is written as it stands, and where it
    stands is noted. What comes before it has been written when it is reached, so its place is known."""

    tags = {"generation"}  # noqa: RUF012

    def __init__(self, environment) -> None:
        super().__init__(environment)
        self.written, self.marks = 0, []  # characters of the text so far

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    def _marked(self, caller) -> str:
        text = caller()
        self.marks.append([self.written, self.written + len(text)])
        return text


def environment() -> ImmutableSandboxedEnvironment:
    """The environment templates are written for: what transformers gives them, and no more."""
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )

    def raise_exception(message: object) -> None:
        raise Refused(str(message)[:1000])

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    def strftime_now(form: str) -> str:
        return datetime.now().strftime(form)

    made.filters["tojson"] = tojson
    more: dict = {"raise_exception": raise_exception, "strftime_now": strftime_now}
    made.globals.update(more)
    return made


def warm(made: ImmutableSandboxedEnvironment) -> None:
    """Import what Jinja and Python import late, before no file can be opened any more."""
    for source in (
        "{% for a in ['\\n'] %}{{ a | trim | wordwrap | tojson | urlize }}{{ strftime_now('%d %b %Y') }}{% endfor %}",
        "{{ {'a': 1} | dictsort | pprint }}{{ 'a'.encode('latin-1').decode('ascii') }}{{ lipsum(1) | random }}",
        "{{ a.b.c }}",
        "{% a",
    ):
        with contextlib.suppress(TemplateError):
            made.from_string(source).render()


def rendered(template, variables: dict, characters: int) -> dict:
    """The text, made piece by piece, so that one without end is left early."""
    generation = template.environment.extensions[Generation.identifier]
    generation.written, generation.marks = 0, []
    pieces = []
    for piece in template.generate(**variables):
        generation.written += len(piece)
        if generation.written > characters:
            raise TooLong
        pieces.append(piece)
    return {"text": "".join(pieces), "marks": generation.marks}


def answer(work, request: dict) -> dict:
    """What `work` makes of a request, or what went wrong in words."""
    try:
        return work(request)
    except Refused as error:
        return {"error": str(error), "kind": "refused"}
    except TooLong:
        return {"error": "writes more than a prompt may hold", "kind": "limit"}
    except (MemoryError, OverflowError, RecursionError) as error:
        return {"error": f"takes more than a template may ({type(error).__name__})", "kind": "limit"}
    except TemplateSyntaxError as error:
        return {"error": f"line {error.lineno}: {error.message}"[:500], "kind": "template"}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500], "kind": "template"}


def begin(setting: dict) -> Callable[[dict], dict]:
    """setting: {"characters"}, the most a rendering may have."""
    made = environment()
    warm(made)
    kept = {}

    def work(request: dict) -> dict:
        if "source" in request:
            kept["template"] = made.from_string(request["source"])  # constants are computed here already
            return {"text": "", "marks": []}
        return rendered(kept["template"], request["variables"], setting["characters"])

    return lambda request: answer(work, request)
