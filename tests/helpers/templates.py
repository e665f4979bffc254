"""Every template of the program that can reach a person, found in its source; and what the catalogue lacks of them.

`python tests/helpers/templates.py` writes the entries that are missing, room by room, as they are to be filled in.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from textmill.audit import card
from textmill.base import language

SOURCE = Path(language.__file__).parents[1]
# What is said to a person: the name of a function or class, and which of its arguments (by number and name) are words.
SAYS: dict[str, tuple[int | str, ...]] = {
    "say": (0, "text"),
    "fill": (0, "template"),
    "About": (0, 1, "text", "unit"),
    "TextmillError": (0, "what", "advice"),
    "ChildFailed": (0,),
    "SetAside": (0, 1, "reason", "detail"),
    "Skipped": (0, 1, "reason", "detail"),
    "Rejected": (3, 4, "reason", "detail"),
    "Reject": (0, 1, "reason", "detail"),
    "Purpose": ("use", "limits"),
    "Check": (1, "name", "why"),
    "_finding": (1, "text"),
    "note": (0, "text"),
    "warn": (0, "text"),
    "stage": (0, 1, 2, "name", "state", "why"),
    "progress": (0, 3, "label", "unit"),
    "columns": tuple(range(20)),
    "Typer": ("help",),
    "App": ("help",),
    "Option": ("help", "rich_help_panel"),
    "Argument": ("help",),
    "command": ("rich_help_panel", "help", "epilog"),
    "add_typer": ("rich_help_panel", "help"),
    "BadParameter": (0,),
    "confirm": (0,),
}
# Names of parameters that are words, where a function hands them on to what says them.
_WORDS = {
    "what",
    "why",
    "reason",
    "problem",
    "advice",
    "detail",
    "more",
    "purpose",
    "how",
    "note",
    "message",
    "title",
}
_WORDS |= {"without", "otherwise", "label", "state", "text", "because", "said"}
# Of a method of OUT (the results of a command) all arguments.
_CONSOLES = {"OUT", "_OUT"}
_TRANSPARENT = {"escape", "say", "str"}  # calls that give back the text they get
_WORD = re.compile(r"[A-Za-z]{2,}")
_WORD_AND_SPACE = re.compile(r"[a-z]{2,} |, [a-z]{2,}")
_PHRASE = re.compile(r"(?<![\w.-])[A-Za-z]?[a-z]+,? [a-z]{2,}(?![\w-])")  # what makes a literal a message
# Literals that are no messages: arguments of these, whatever looks like code or markup, and tables of data.
_INNER = {
    "ValueError",
    "TypeError",
    "AttributeError",
    "KeyError",
    "LookupError",
    "EOFError",
    "IndexError",
    "OSError",
}
_INNER |= {
    "RuntimeError",
    "AssertionError",
    "NotImplementedError",
    "compile",
    "split",
    "frozenset",
    "event",
    "fullmatch",
}
_INNER |= {"startswith", "removeprefix", "endswith", "join_text", "strftime", "style"}
_CODE = re.compile(
    r"<\w+ \w+=|</\w+>|\{%|\|\w|\w\||;\}|^\W*textmill \w+ [^a-z]|^\s*def |\n.*\n|^(bold|dim) "
    r"|^(SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|WHERE) "
)
_DATA = {
    "cli/examples.py",
    "interop/hostile.py",
    "stages/preparation/columns.py",
    "text/cleaning/boilerplate.py",
    "text/cleaning/privacy/patterns.py",
    "text/cleaning/privacy/phones.py",
    "text/cleaning/quality/c4.py",
    "text/cleaning/stop_words.py",
    "text/sources/formats/charset.py",
    "text/sources/formats/letters.py",
    "text/sources/formats/office/symbols.py",
}
_PROGRAMS = (
    "serving/",
)  # what is told to programs, and stays English: only errors of commands are said to a person
# Phrases that no person reads as words of ours: samples of text, names that programs know, commands.
_NAMES = re.compile(
    r"^(The mill st|naïve|It did|And now|Once upon a time$|def mean|os error|interval:|over \{\} groups|starts with:)"
    r"|^(gzip, |nav, footer|index shard|end decided|end of data|# as written|not scored$|`?textmill \w+ ?[^ ]*$)"
    r"|^(generate|embed|trace|predict) \{\{run|^(out of|not enough|can't allocate) memory$|^` make|<svg"
    r"|^Answer the question from the numbered passages only"
)
_SUFFIX = 3  # letters of a word's ending that changes with a number, at most


@dataclass
class Template:
    """One template: where it stands, and what its holes are in the source."""

    text: str
    places: list[str] = field(default_factory=list)
    holes: tuple[str, ...] = ()
    ours: frozenset[int] = frozenset()  # holes that hold messages of ours

    @property
    def room(self) -> str:
        return room(self.places[0])


@dataclass(frozen=True)
class _Hole:
    source: str
    ours: bool = False


@dataclass(frozen=True)
class _Choice:
    words: tuple[str, ...]


_Piece = str | _Hole | _Choice


def room(place: str) -> str:
    """The file of the catalogue that messages of a module belong in."""
    return place.split("/", maxsplit=1)[0].split(".py", maxsplit=1)[0]


class _Module:
    """The templates of one module, given what says things."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = str(path.relative_to(SOURCE))
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.scopes: dict[ast.AST, ast.AST] = {}  # the function, or the module, that a node stands in
        self.nodes: list[ast.AST] = [self.tree]  # walked once: this is what takes the time
        for node in self.nodes:
            function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            scope = node if function else self.scopes.get(node, self.tree)
            for child in ast.iter_child_nodes(node):
                self.scopes[child] = scope
                self.nodes.append(child)
        self.calls = [node for node in self.nodes if isinstance(node, ast.Call)]
        self.classes = [node for node in self.nodes if isinstance(node, ast.ClassDef)]

    @functools.cached_property
    def assigned(self) -> dict[tuple[ast.AST, str], list[ast.expr]]:
        """What the names of each function are set to."""
        found: dict[tuple[ast.AST, str], list[ast.expr]] = defaultdict(list)
        for node in self.nodes:
            pairs: list[tuple[ast.expr, ast.expr]] = []
            if isinstance(node, ast.Assign):
                pairs = [(target, node.value) for target in node.targets]
            elif isinstance(node, (ast.AugAssign, ast.AnnAssign)) and node.value is not None:
                pairs = [(node.target, node.value)]
            for target, value in pairs:
                if isinstance(target, ast.Name):
                    found[self.scopes[node], target.id].append(value)
                elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    for one, of in zip(target.elts, value.elts, strict=False):
                        if isinstance(one, ast.Name):
                            found[self.scopes[node], one.id].append(of)
        return found

    def values(self, name: ast.Name) -> list[ast.expr]:
        """What a name may stand for, where it was set in its own function or, once, in the module."""
        return self.assigned.get((self.scopes[name], name.id)) or self.assigned.get((self.tree, name.id), [])

    def phrases(self) -> Iterator[ast.expr]:
        """Every text in the module that has words after one another, but docstrings and what no person sees."""
        queue: list[ast.AST] = [self.tree]
        while queue:
            node = queue.pop()
            match node:
                case ast.Expr(value=ast.Constant()) | ast.AnnAssign(value=None) | ast.arguments():
                    continue
                case ast.Call() if _called(node) in _INNER:
                    continue
                case ast.Call(func=ast.Attribute(value=ast.Constant(value=str() as text), attr="format")):
                    if _PHRASE.search(text):
                        yield node
                    continue
                case ast.Dict(values=values):
                    queue += values
                    continue
                case ast.Constant() | ast.JoinedStr() | ast.BinOp(op=ast.Add()):
                    literals = _literals(node)
                    if any(_PHRASE.search(text) and not _CODE.search(text) for text in literals):
                        yield node
                        continue
            whole = isinstance(node, ast.JoinedStr)  # its pieces are no messages of their own
            queue += (
                child
                for child in ast.iter_child_nodes(node)
                if not (whole and isinstance(child, ast.Constant))
            )

    def wordy(self, node: ast.expr, depth: int = 0) -> bool:
        """Whether an expression is text with words of ours in it."""
        match node:
            case ast.Constant(value=str() as text):
                return bool(_WORD.search(text))
            case ast.JoinedStr(values=values):
                return any(self.wordy(value) for value in values if isinstance(value, ast.Constant))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self.wordy(left, depth) or self.wordy(right, depth)
            case ast.IfExp(body=body, orelse=orelse):
                return self.wordy(body, depth) or self.wordy(orelse, depth)
            case ast.Call(func=ast.Name(id="counted")):
                return True
            case ast.Name() if depth < 3:
                return any(self.wordy(value, depth + 1) for value in self.values(node))
        return False

    def variants(self, node: ast.expr, subs: list[ast.expr], depth: int = 0) -> Iterator[list[_Piece]]:
        """The forms that a text of this expression may have; in `subs` the expressions whose texts stand in holes."""
        match node:
            case ast.Constant(value=str() as text):
                yield [text]
            case ast.JoinedStr(values=values):
                pieces: list[_Piece] = []
                for value in values:
                    pieces += self._piece(value, subs)
                yield pieces
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                for first in self._side(left, subs, depth):
                    for second in self._side(right, subs, depth):
                        yield first + second
            case ast.IfExp(body=body, orelse=orelse):
                yield from self.variants(body, subs, depth)
                yield from self.variants(orelse, subs, depth)
            case ast.BoolOp(values=values):
                for value in values:
                    yield from self.variants(value, subs, depth)
            case ast.Call(func=ast.Attribute(value=ast.Constant(value=str() as text), attr="format")):
                parts = re.split(r"\{[^{}]*\}", text)
                yield [parts[0], *itertools.chain(*((_Hole("…"), part) for part in parts[1:]))]
            case ast.Call(func=ast.Name(id="counted"), args=[_, ast.Constant(value=str() as what)]):
                yield [_Hole(ast.unparse(node)), f" {what}", _Choice(("", "s"))]
            case ast.Call(func=ast.Name(id=name), args=[inner]) if name in _TRANSPARENT:
                yield from self.variants(inner, subs, depth)
            case ast.Name() if depth < 3 and (values := self.values(node)):
                for value in values:
                    yield from self.variants(value, subs, depth + 1)
            case ast.Starred(value=value):
                yield from self.variants(value, subs, depth)
            case ast.List(elts=elts) | ast.Tuple(elts=elts):
                for value in elts:
                    yield from self.variants(value, subs, depth)
            case ast.Dict(values=values):
                for value in values:
                    yield from self.variants(value, subs, depth)
            case ast.Subscript(value=ast.Dict() as table):
                yield from self.variants(table, subs, depth)
            case ast.Subscript(value=ast.Name() as name) if depth < 3:
                yield from self.variants(name, subs, depth)
            case ast.Call(func=ast.Attribute(value=ast.Name() as table, attr="get")) if depth < 3:
                yield from self.variants(table, subs, depth)
            case ast.Call(func=ast.Attribute(value=ast.Dict() as table, attr="get")):
                yield from self.variants(table, subs, depth)
            case ast.Call(func=ast.Attribute(attr="join"), args=[ast.List() | ast.Tuple() as parts]):
                yield from self.variants(parts, subs, depth)
            case _:
                yield [_Hole(ast.unparse(node))]

    def _side(self, node: ast.expr, subs: list[ast.expr], depth: int) -> Iterator[list[_Piece]]:
        """A part of a sum: words that may be left out are a hole of their own."""
        if isinstance(node, (ast.IfExp, ast.Name)):
            yield self._value(node, subs)
        else:
            yield from self.variants(node, subs, depth)

    def _piece(self, value: ast.expr, subs: list[ast.expr]) -> list[_Piece]:
        if isinstance(value, ast.Constant):
            return [str(value.value)]
        assert isinstance(value, ast.FormattedValue)
        return self._value(value.value, subs, quoted=value.conversion == ord("r"))

    def _value(self, node: ast.expr, subs: list[ast.expr], quoted: bool = False) -> list[_Piece]:
        if isinstance(node, ast.IfExp):
            branches = [node.body, node.orelse]
            words = [b.value for b in branches if isinstance(b, ast.Constant) and isinstance(b.value, str)]
            if len(words) == 2 and all(len(word) <= _SUFFIX and " " not in word for word in words):
                return [_Choice(tuple(words))]
        if isinstance(node, ast.Call):
            (pieces, *others) = self.variants(node, subs)
            if not others:
                return pieces
        if not quoted and self.wordy(node):
            subs.append(node)
            return [_Hole(ast.unparse(node), ours=True)]
        return [_Hole(ast.unparse(node))]


def _key(pieces: Iterable[_Piece]) -> tuple[str, tuple[_Hole, ...]]:
    text, holes = "", []
    for piece in pieces:
        match piece:
            case str():
                text += piece.replace("{", "{{").replace("}", "}}")
            case _Choice(words):
                text += "{" + "|".join(words) + "}"
            case _Hole():
                text += "{}"
                holes.append(piece)
    return text.strip(), tuple(holes)


def form_of(node: ast.JoinedStr) -> str:
    """An f-string as a template."""
    return "".join(value.value if isinstance(value, ast.Constant) else "{}" for value in node.values)


def _literals(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=values):
            yield "".join(value.value if isinstance(value, ast.Constant) else "\0" for value in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            yield from _literals(left)
            yield from _literals(right)


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _arguments(call: ast.Call, which: Iterable[int | str]) -> Iterator[ast.expr]:
    chosen = set(which)
    yield from (argument for number, argument in enumerate(call.args) if number in chosen)
    yield from (keyword.value for keyword in call.keywords if keyword.arg in chosen)


class Program:
    """All modules, and everything in them that says something to a person."""

    def __init__(self) -> None:
        self.modules = [_Module(path) for path in sorted(SOURCE.rglob("*.py"))]
        self.says = {name: set(which) for name, which in SAYS.items()}
        self._classes()
        while self._wrappers():
            pass

    def _classes(self) -> None:
        """Errors, and dataclasses of what is said, take words as what they derive from does."""
        changed = True
        while changed:
            changed = False
            for module in self.modules:
                for node in module.classes:
                    if node.name not in self.says:
                        for base in node.bases:
                            if isinstance(base, ast.Name) and base.id in self.says:
                                self.says[node.name] = set(self.says[base.id])
                                changed = True

    def _wrappers(self) -> bool:
        """Functions whose parameters are said by what they call say them too."""
        changed = False
        for module in self.modules:
            for call in module.calls:
                scope = module.scopes.get(call)
                if not isinstance(scope, ast.FunctionDef):
                    continue
                parameters = [argument.arg for argument in scope.args.args]
                keywords = [argument.arg for argument in scope.args.kwonlyargs]
                method = parameters[:1] in (["self"], ["cls"])
                for argument in self.said(call):
                    for name in _names(argument):
                        if name not in _WORDS or name not in {*parameters, *keywords}:
                            continue
                        known = self.says.setdefault(_name_of(scope, module), set())
                        wanted: set[int | str] = {name}
                        if name in parameters:
                            wanted.add(parameters.index(name) - method)
                        if not wanted <= known:
                            known |= wanted
                            changed = True
        return changed

    def said(self, call: ast.Call) -> Iterator[ast.expr]:
        """The arguments of a call that are said to a person."""
        name = _called(call)
        if name == "print" and isinstance(call.func, ast.Attribute):
            if isinstance(call.func.value, ast.Name) and call.func.value.id in _CONSOLES:
                yield from call.args
            return
        yield from _arguments(call, self.says.get(name, ()))
        if "advice" in self.says.get(name, ()):  # an error; where it is may be a name, or words
            where = (keyword.value for keyword in call.keywords if keyword.arg == "where")
            yield from (
                value for value in where if any(_WORD_AND_SPACE.search(text) for text in _literals(value))
            )

    def templates(self) -> dict[str, Template]:
        """Every template, by its text."""
        found: dict[str, Template] = {}
        for module in self.modules:
            for call in module.calls:
                exact = _called(call) == "fill"
                for argument in self.said(call):
                    self._collect(module, argument, call.lineno, found, exact)
            if module.place not in _DATA and not module.place.startswith(_PROGRAMS):
                for node in module.phrases():
                    self._collect(module, node, node.lineno, found)
            for text, line in _helps(module):
                _add(found, text, (), f"{module.place}:{line}")
        for number, (text, tags) in enumerate(card.lines(), 1):
            place = f"audit/card.md.jinja:{number}"
            words = "".join(text.split("{}"))
            if _WORD.search(words) and words.isascii():
                found.setdefault(text, Template(text, holes=tuple(tags))).places.append(place)
            for tag in tags if "```" not in text else ():
                for word in re.findall(r'"([^"]+)" \| said', tag):
                    _add(found, word, (), place)
        return found

    def _collect(
        self, module: _Module, node: ast.expr, line: int, found: dict[str, Template], exact: bool = False
    ) -> None:
        queue, seen = [node], set()
        while queue:
            current = queue.pop()
            if id(current) in seen:
                continue
            seen.add(id(current))
            for pieces in module.variants(current, queue):
                text, holes = _key(pieces)
                if exact and isinstance(current, ast.Constant):  # a template that is written as such
                    text = current.value
                    found.setdefault(text, Template(text)).places.append(f"{module.place}:{line}")
                else:
                    _add(found, text, holes, f"{module.place}:{line}")


def _add(found: dict[str, Template], text: str, holes: tuple[_Hole, ...], place: str) -> None:
    if not _WORD.search(re.sub(r"\[/?[a-z ]+\]|\{[^{}]*\}", "", text)) or _NAMES.search(text):
        return
    template = found.setdefault(text, Template(text))
    template.places.append(place)
    template.holes = tuple(hole.source for hole in holes)
    template.ours |= {number for number, hole in enumerate(holes) if hole.ours}


def _names(node: ast.expr) -> Iterator[str]:
    """Parameters that an argument is, or whose text is a part of it."""
    match node:
        case ast.Name(id=name):
            yield name
        case ast.JoinedStr(values=values):
            for value in values:
                if (
                    isinstance(value, ast.FormattedValue)
                    and isinstance(value.value, ast.Name)
                    and value.conversion < 0
                ):
                    yield value.value.id
        case ast.IfExp(body=body, orelse=orelse):
            yield from _names(body)
            yield from _names(orelse)
        case ast.BinOp(left=left, right=right):
            yield from _names(left)
            yield from _names(right)
        case ast.Call(func=ast.Name(id=name), args=[inner]) if name in _TRANSPARENT:
            yield from _names(inner)


def _name_of(scope: ast.FunctionDef, module: _Module) -> str:
    if scope.name != "__init__":
        return scope.name
    return next(node.name for node in module.classes if scope in node.body)


def _helps(module: _Module) -> Iterator[tuple[str, int]]:
    """The paragraphs of the docstrings of commands."""
    if not module.place.startswith("cli/"):
        return
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef) and any(_declares(item) for item in node.decorator_list):
            text = inspect.cleandoc(ast.get_docstring(node) or "")
            for paragraph in re.split(r"\n\s*\n", text):
                yield " ".join(paragraph.split()), node.lineno


def _declares(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and _called(decorator) in ("verb", "command", "options")


def missing() -> dict[str, list[Template]]:
    """Templates without an entry, by room."""
    known = language.catalogue("zh").entries
    rooms: dict[str, list[Template]] = defaultdict(list)
    for template in Program().templates().values():
        if template.text not in known:
            rooms[template.room].append(template)
    return rooms


def entry(template: Template) -> str:
    """A template as it stands in a PO file, not translated yet."""
    lines = [f"#: {template.places[0]}"]
    if template.holes:
        marks = (
            f"{{{n}{'!t' if n in template.ours else ''}}} {source}" for n, source in enumerate(template.holes)
        )
        lines.append("#. " + "  ".join(marks))
    quoted = json.dumps(template.text, ensure_ascii=False)
    return "\n".join([*lines, f"msgid {quoted}", 'msgstr ""', ""])


if __name__ == "__main__":
    for name, templates in sorted(missing().items()):
        print(f"### {name}: {len(templates)}")
        if "-q" not in sys.argv:
            print("\n".join(map(entry, templates)))
