"""XML as a stream of events, in memory that does not grow with the file; entities are refused.

Straight on expat, the parser under every other of Python's: a tree of a large sheet would take gigabytes, and
names alone matter here. Documents of the formats read here declare no entities, so one that does is hostile
(a few hundred bytes of them can stand for gigabytes) and is skipped before it expands.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Literal
from xml.parsers import expat

from textmill.text.sources.formats.stream import Deadline, SetAside

_READ = 1 << 16  # bytes between two looks at the clock
_DEEPEST = 10_000  # nested elements
_DEEPEST_TREE = 200  # the same in a tree, which is walked by recursion
_LARGEST_TREE = 1_000_000  # elements; some 300 MB

Event = tuple[Literal["start", "end", "text"], str, Mapping[str, str]]
_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a small file: its name without its prefix, and the text directly in it."""

    name: str
    attributes: Mapping[str, str]
    text: str


@dataclass(slots=True)
class Node:
    """An element with everything in it; names are without their prefixes."""

    name: str
    attributes: Mapping[str, str]
    children: list[Node | str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Node]:
        """The elements directly in it."""
        return (child for child in self.children if isinstance(child, Node))

    def child(self, *path: str) -> Node | None:
        """The first element at this path below it."""
        node: Node | None = self
        for name in path:
            node = next((child for child in node if child.name == name), None) if node else None
        return node

    def all(self, name: str) -> Iterator[Node]:
        """The elements of this name within it, at any depth, in order."""
        for child in self:
            if child.name == name:
                yield child
            yield from child.all(name)

    def get(self, name: str) -> str:
        """An attribute, with whatever prefix; empty when it is not found."""
        return attribute(self.attributes, name)

    def value(self, *path: str) -> str:
        """The `val` of the first element at this path: how Office Open XML keeps settings; empty without one."""
        node = self.child(*path)
        return attribute(node.attributes, "val") if node else ""

    def text(self) -> str:
        """All characters within it."""
        return "".join(child if isinstance(child, str) else child.text() for child in self.children)


def events(stream: BinaryIO, deadline: Deadline, encoding: str | None = None) -> Iterator[Event]:
    """("start", name, attributes), ("end", name, {}) and ("text", characters, {}), names without their prefixes.

    encoding: of the bytes, whatever the document says. Raises SetAside for what is not XML or declares entities, and
    past the deadline.
    """
    parser = expat.ParserCreate(encoding, namespace_separator="\n")
    parser.buffer_text = True
    queue: list[Event] = []
    names: dict[str, str] = {}
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise SetAside("is nested too deeply", f"more than {_DEEPEST} nested elements")
        short = names.get(name) or names.setdefault(name, name.rpartition("\n")[2])
        queue.append(("start", short, attributes))

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        queue.append(("end", names[name], _NOTHING))

    def refuse(*_: object) -> None:
        raise SetAside("declares XML entities", "which may expand without limit")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = lambda text: queue.append(("text", text, _NOTHING))
    parser.EntityDeclHandler = refuse
    try:
        while block := stream.read(_READ):
            deadline.check()
            parser.Parse(block, False)
            yield from queue
            queue.clear()
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise SetAside("is not valid XML", str(error)) from error
    yield from queue


Piece = Node | Event


def tree(stream: BinaryIO, deadline: Deadline) -> Node:
    """A small file as a tree. Raises SetAside as `trees` does."""
    return next(item for item in trees(stream, deadline, None) if isinstance(item, Node))


def trees(stream: BinaryIO, deadline: Deadline, whole: Container[str] | None) -> Iterator[Piece]:
    """The elements of these names as trees (None: the outermost), and the events of those around them, in order.

    Memory is bounded by the largest tree. Raises SetAside as `events` does, and for a tree no document has.
    """
    path: list[Node] = []
    count = 0
    for event, name, attributes in events(stream, deadline):
        if event == "start":
            if not path and whole is not None and name not in whole:
                yield event, name, attributes
                continue
            count += 1
            if count > _LARGEST_TREE or len(path) >= _DEEPEST_TREE:
                raise SetAside(
                    "is nested too deeply", f"a {path[0].name} of {count} elements, {len(path)} deep"
                )
            node = Node(name, attributes)
            if path:
                path[-1].children.append(node)
            path.append(node)
        elif event == "text":
            if path:
                path[-1].children.append(name)
        elif not path:
            yield event, name, attributes
        else:
            node = path.pop()
            if not path:
                count = 0
                yield node


def replayed(node: Node, whole: Container[str]) -> Iterator[Piece]:
    """What `trees` would give of the inside of an element."""
    for child in node:
        if child.name in whole:
            yield child
        else:
            yield "start", child.name, child.attributes
            yield from replayed(child, whole)
            yield "end", child.name, _NOTHING


def elements(stream: BinaryIO, deadline: Deadline) -> list[Element]:
    """All elements of a small file, in the order they begin. Raises SetAside as `events` does."""
    begun: list[tuple[str, Mapping[str, str], list[str]]] = []
    open_ones: list[list[str]] = []
    for event, name, attributes in events(stream, deadline):
        if event == "start":
            open_ones.append([])
            begun.append((name, attributes, open_ones[-1]))
        elif event == "end":
            open_ones.pop()
        elif open_ones:
            open_ones[-1].append(name)
    return [Element(name, attributes, "".join(text)) for name, attributes, text in begun]


def related(attributes: Mapping[str, str]) -> str:
    """The id of the relation an element speaks of, such as `r:id`; elements may have an `id` of their own beside it."""
    return next((value for key, value in attributes.items() if key.endswith("/relationships\nid")), "")


def attribute(attributes: Mapping[str, str], name: str) -> str:
    """An attribute by its name, with whatever prefix; empty when it is not found."""
    if name in attributes:
        return attributes[name]
    return next((value for key, value in attributes.items() if key.endswith(f"\n{name}")), "")
