"""The description of the routes as a page of its own: it loads nothing, so it can be read without a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;"
    "background:#fff}code{font-family:ui-monospace,monospace}h2{margin-top:2.5rem;border-top:1px solid #ccc;"
    "padding-top:1rem}table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.15rem .8rem "
    ".15rem 0}@media(prefers-color-scheme:dark){body{color:#ddd;background:#1a1a1a}}"
)


def described(openapi: Mapping[str, Any]) -> str:
    """The page of an OpenAPI description."""
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(openapi['info']['title'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(openapi['info']['title'])}</h1><p>{escape(openapi['info'].get('description', ''))}</p>",
    ]
    for path, methods in openapi["paths"].items():
        for method, route in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(route.get('description', route.get('summary', '')))}</p>")
            parts += _fields(route, openapi["components"]["schemas"])
    return "\n".join(parts)


def _fields(route: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    """The fields of a route's body, a row each."""
    content = route.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = schemas.get(content.get("schema", {}).get("$ref", "").rpartition("/")[2])
    if schema is None:
        return
    yield "<table><tr><th>field</th><th>type</th><th></th></tr>"
    needed = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        about = field.get("description", "") or ("decides nothing" if "x-textmill-unheeded" in field else "")
        mark = " <b>(needed)</b>" if name in needed else ""
        kind = escape(_kind(field))
        yield f"<tr><td><code>{escape(name)}</code>{mark}</td><td>{kind}</td><td>{escape(about)}</td></tr>"
    yield "</table>"


def _kind(field: Mapping[str, Any]) -> str:
    """A type in a few words."""
    if "$ref" in field:
        return field["$ref"].rpartition("/")[2]
    if "enum" in field or "const" in field:
        return " | ".join(map(repr, field.get("enum", [field.get("const")])))
    if "anyOf" in field:
        kinds = (_kind(one) for one in field["anyOf"] if one.get("type") != "null")
        return " | ".join(dict.fromkeys(kinds))
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}))}"
    low, high = (field.get(name) for name in ("minimum", "maximum"))
    bounds = f" {low} … {high}" if low is not None and high is not None else ""
    return f"{field.get('type', 'any')}{bounds}"
