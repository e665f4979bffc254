"""What every body has in common: only what is known, no value of another type, and nothing dropped silently.

A field that decides the answer is honoured, or the request is refused. Fields that do not (who asks, labels, hints for
somebody's cache) are declared as `Unheeded`; the answer's header `x-textmill-unheeded` names those that were given. A
field that is null says nothing, and is as if it had been left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from textmill.serving.refusals import Refusal

HEADER = "x-textmill-unheeded"
MOST = 128  # items of a list in a body: prompts, choices, stops …
_MARK = {"x-textmill-unheeded": True}
Unheeded = Annotated[Any, Field(default=None, json_schema_extra=_MARK)]
Model = Annotated[
    str, Field(min_length=1, max_length=200, description="Name of a served model: GET /v1/models")
]
Text = Annotated[str, Field(max_length=4_000_000)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Body(BaseModel):
    """A JSON object. Python's own conversions between types are not made: "3" is no number."""

    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        return (
            {name: one for name, one in value.items() if one is not None}
            if isinstance(value, dict)
            else value
        )

    def unheeded(self, *more: str) -> dict[str, str]:
        """The header that names fields which were given and decide nothing, and `more`; none where there are none."""
        names = sorted({*_unheeded(self), *more})
        return {HEADER: ", ".join(names)} if names else {}


def _unheeded(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _unheeded(one)
    elif isinstance(value, Body):
        fields = type(value).model_fields
        for name in value.model_fields_set:
            if fields[name].json_schema_extra == _MARK:
                yield name
            else:
                yield from _unheeded(getattr(value, name))


class TextPart(Body):
    """A part of a message: text. Pictures and files are not read, and no address is ever fetched."""

    type: Literal["text", "input_text", "output_text"]
    text: Text
    cache_control: Unheeded
    annotations: Unheeded
    logprobs: Unheeded


Content = Text | Annotated[list[TextPart], Field(max_length=1024)]


def plain(content: Content | None) -> str:
    """A content as one text."""
    if content is None:
        return ""
    return content if isinstance(content, str) else "".join(part.text for part in content)


def check_only(value: Any, allowed: tuple[Any, ...], param: str) -> None:
    """Raises Refusal for a value that would have to change the answer, and cannot here."""
    if value is not None and value not in allowed:
        said = ", ".join(repr(one) for one in allowed) or "nothing"
        raise Refusal(400, f"{param} can be {said} here.", code="unsupported_value", param=param)
