"""The house keeps its plan: imports go down the floors, in no circle, and only to what is declared."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "textmill"
FLOORS = {
    "base": 0,
    "specs": 1,
    "tokenization": 2,
    "text": 2,
    "metrics": 2,
    "index": 3,
    "data": 4,
    "nn": 4,
    "models": 5,
    "decoding": 6,
    "objectives": 7,
    "training": 8,
    "tasks": 8,
    "inference": 9,
    "interop": 9,
    "audit": 9,
    "retrieval": 10,
    "stages": 11,
    "serving": 12,
    "cli": 13,
}
CORE = {
    "torch",
    "numpy",
    "pyarrow",
    "safetensors",
    "tokenizers",
    "tiktoken",
    "typer",
    "rich",
    "jinja2",
    "pydivsufsort",
    "sacrebleu",
    "resiliparse",
    "yaml",
    "stdnum",
}
# Extras a module may import, always inside the function that needs them.
OPTIONAL = {
    "apsw",
    "ctranslate2",
    "ftfy",
    "gguf",
    "huggingface_hub",
    "llguidance",
    "nltk",
    "olefile",
    "onnxruntime",
    "opencc",
    "peft",
    "py3langid",
    "pypdfium2",
    "ray",
    "rjieba",
    "spacy",
    "spellchecker",
    "tensorboard",
    "transformers",
    "xlrd",
}
# A room that is an extra itself: nobody imports it but inside a function, and what it stands on is its own.
SERVE = {"fastapi", "h11", "prometheus_client", "pydantic", "starlette", "uvicorn"}
TORCH_FREE = ("base", "specs", "tokenization", "text", "metrics", "index")
FILES = sorted(SOURCE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path) for path in FILES}


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    """What a file consists of, read once; a file is asked about several times."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@functools.cache
def imports(path: Path, *, top_level: bool = False) -> set[str]:
    """Dotted names of the modules a file imports; `top_level` leaves out imports inside functions."""
    hidden: set[ast.AST] = set()
    for node in nodes(path) if top_level else ():
        lazy = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) in (
            "TYPE_CHECKING",
            "typing.TYPE_CHECKING",
        )
        if lazy or typing_only:
            hidden |= set(ast.walk(node)) - {node}
    names = set()
    for node in nodes(path):
        if top_level and node in hidden:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in MODULES else str(node.module))
    return names


def room(module: str) -> str:
    """The room a module is in; the package itself and `__main__` are in none."""
    return module.split(".")[1] if module.count(".") and module != "textmill.__main__" else ""


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_down(path):
    here = room(module_name(path))
    for name in imports(path):
        if name.startswith("textmill.") and here and room(name) != here:
            assert FLOORS[room(name)] < FLOORS[here], (
                f"{module_name(path)} imports {name}, which is not below it"
            )


def test_every_room_has_a_floor():
    assert {room(name) for name in MODULES} - {""} == set(FLOORS)


PACKAGES = {module_name(path.parent / "__init__.py") for path in FILES}
GRAPH = {module_name(p): {n for n in imports(p) if n in MODULES and n != module_name(p)} for p in FILES}


def within(package: str) -> dict[str, set[str]]:
    """What a package's own modules and sub-packages import of each other, each sub-package seen as one."""
    graph: dict[str, set[str]] = {}
    for name, below in GRAPH.items():
        if name.startswith(f"{package}."):
            child = name[len(package) + 1 :].split(".")[0]
            inside = {n[len(package) + 1 :].split(".")[0] for n in below if n.startswith(f"{package}.")}
            graph.setdefault(child, set()).update(inside - {child})
    return graph


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_no_circles(package):
    """Neither among modules nor among sub-rooms: a sub-room is a floor of its own within its room."""
    graph, done, path = within(package), set(), []

    def visit(name):
        assert name not in path, f"circle in {package}: {' -> '.join([*path[path.index(name) :], name])}"
        if name in done:
            return
        path.append(name)
        for below in sorted(graph.get(name, ())):
            visit(below)
        path.pop()
        done.add(name)

    for name in sorted(graph):
        visit(name)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_only_declared_libraries(path):
    outside = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - {"textmill"}
    serving = room(module_name(path)) == "serving"
    assert outside <= CORE | OPTIONAL | (SERVE if serving else set())
    at_top = {name.split(".")[0] for name in imports(path, top_level=True)}
    assert not at_top & OPTIONAL, "an extra is imported where it is used, not at the top"
    if not serving:
        inner = {room(name) for name in imports(path, top_level=True) if name.startswith("textmill.")}
        assert "serving" not in inner, "an extra is imported where it is used, not at the top"
    if room(module_name(path)) in TORCH_FREE:
        assert "torch" not in outside, "this room is torch-free"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_modules_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


def test_no_pickle():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert "torch.save(" not in text, path
        calls = text.count("torch.load(")
        if (
            path.name == "pickle_worker.py"
        ):  # a program of its own, run sandboxed and only when a person asks for it
            assert calls == text.count("weights_only=True") == 1
            assert not {name for name in imports(path) if name.startswith("textmill")}
        else:
            assert calls == 0, path
        assert not {"pickle", "marshal", "shelve", "dill"} & {name.split(".")[0] for name in imports(path)}, (
            path
        )
        assert "allow_pickle=True" not in text, path


def test_command_line_starts_light():
    heavy = {
        "torch",
        "numpy",
        "pyarrow",
        "tokenizers",
        "transformers",
        "yaml",
        "stdnum",
        "resiliparse",
        "fastapi",
    }
    code = f"import sys, textmill.cli.main; print({heavy} & {{*sys.modules}} or '')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"\n"
