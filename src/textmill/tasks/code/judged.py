"""Whether code passes its tests, found out where it can do no harm and cannot lie.

Two confined processes, each with nothing but Python: in one the candidate's code is defined and called, in the other
the tests run. They never meet. The tests' process asks for a call, we hand it on, and hand back what came of it as
plain data; only what the tests made of it is a verdict. So an exit code, a patched `assert`, an object that equals
everything or a forged line of output proves nothing: whatever a candidate does, it can only return values.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from textmill.base.confined import Child, ChildEnded, ChildFailed, Limits, Permissions, python_files
from textmill.base.errors import TextmillError

Outcome = Literal["passed", "failed", "error", "timeout", "died"]
_HERE = Path(__file__).parent
_RECURSION = 3000
_WORDS = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True)
class Problem:
    """A function to write.

    before: code the tests may use beside it. test: Python that raises where it is wrong; `entry`, and what else the
    code defines, is the candidate's there.
    """

    id: str
    prompt: str
    entry: str
    test: str
    before: str = ""


@dataclass(frozen=True)
class Verdict:
    """passed; failed: an assertion did; error: the tests or the code raised something else, or returned what cannot
    leave its process; timeout; died: the process of the code ended, or wrote too much."""

    outcome: Outcome
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether all tests did."""
        return self.outcome == "passed"


@dataclass(frozen=True)
class Sandbox:
    """What code may use up, and whether it must be confined by the kernel.

    seconds: of the clock, for all tests of a problem; memory: bytes of address space; required: refuse to run where the
    kernel has no Landlock or no seccomp.
    """

    seconds: float = 10.0
    memory: int = 1 << 30
    required: bool = True


def humaneval(row: Mapping[str, Any]) -> Problem:
    """A problem of HumanEval's form (Chen et al. 2021): `prompt`, `entry_point`, and `test`, which defines `check`.

    Raises TextmillError where a field is missing."""
    try:
        entry, prompt = str(row["entry_point"]), str(row["prompt"])
        test = f"{row['test']}\n\ncheck({entry})\n"
    except KeyError as error:
        raise _incomplete(row, error) from None
    # What the prompt defines besides, the tests may use; the function itself ends with its description there.
    return Problem(str(row.get("task_id", entry)), prompt, entry, test, before=f"{prompt}\n    pass\n")


def mbpp(row: Mapping[str, Any]) -> Problem:
    """A problem of MBPP's form (Austin et al. 2021): `text`, `test_list`, `test_setup_code`. The prompt is theirs: the
    task, and the tests the code must pass. Raises TextmillError where a field is missing."""
    try:
        tests = [str(test) for test in row["test_list"]]
        task = str(row.get("text") or row["prompt"])
    except KeyError as error:
        raise _incomplete(row, error) from None
    before = str(row.get("test_setup_code") or "\n".join(row.get("test_imports") or ()))
    called = re.search(r"def\s+(\w+)", str(row.get("code", "")))
    names = re.findall(r"(\w+)\s*\(", tests[0]) if tests else []
    entry = next((name for name in names if name not in _NOT_ENTRIES), called[1] if called else "")
    prompt = f'"""\n{task}\n' + "\n".join(tests) + '\n"""\n'
    return Problem(str(row.get("task_id", entry)), prompt, entry, "\n".join(tests), before)


_NOT_ENTRIES = frozenset(
    (
        "assert",
        "set",
        "sorted",
        "list",
        "tuple",
        "round",
        "abs",
        "len",
        "isclose",
        "sum",
        "str",
        "dict",
        "float",
        "int",
    )
)


def _incomplete(row: Mapping[str, Any], error: KeyError) -> TextmillError:
    return TextmillError(
        f"has no {error}",
        where=f"problem {row.get('task_id', '')}".strip(),
        advice=f"it has {', '.join(row)}",
    )


def judged(problem: Problem, source: str, sandbox: Sandbox = Sandbox()) -> Verdict:
    """The verdict on `source`, Python that defines `problem.entry` (prompt and completion together).

    Raises TextmillError where the sandbox is required and the kernel cannot give it.
    """
    with tempfile.TemporaryDirectory(prefix="textmill-") as folder:
        try:
            with _child("candidate", sandbox, folder, {"recursion": _RECURSION}) as candidate:
                _check(candidate, sandbox)
                names = candidate.ask({"source": source})
                if problem.entry not in names:
                    return Verdict("error", f"it does not define {problem.entry}")
                with _child("judge", sandbox, None, None, threads=True) as judge:
                    _check(judge, sandbox)
                    deadline = time.monotonic() + sandbox.seconds  # both have begun
                    used = set(_WORDS.findall(problem.test))
                    said = judge.ask(
                        {
                            "before": problem.before,
                            "test": problem.test,
                            "entry": problem.entry,
                            "names": [name for name in names if name in used or name == problem.entry],
                        }
                    )
                    while "verdict" not in said:
                        if time.monotonic() > deadline:
                            return Verdict("timeout", f"took more than {sandbox.seconds:g} s")
                        said = judge.ask(candidate.ask(said))
                    verdict = said["verdict"]
                    return Verdict(verdict["outcome"], verdict["detail"])
        except ChildFailed as error:
            return Verdict("error", str(error))
        except ChildEnded as error:
            if error.reason == "time":
                return Verdict("timeout", f"took more than {sandbox.seconds:g} s")
            return Verdict("died", str(error))


def _child(
    program: str, sandbox: Sandbox, scratch: str | None, setting: Any, *, threads: bool = False
) -> Child:
    limits = Limits(
        seconds=sandbox.seconds,
        cpu_seconds=sandbox.seconds,
        memory=sandbox.memory,
        file_bytes=1 << 20,
        answer_bytes=4 << 20,
        scratch_bytes=4 << 20,
    )
    permissions = Permissions(
        open_files=True, read=(*python_files(), str(_HERE)), scratch=scratch, threads=threads
    )
    environment = {"TMPDIR": scratch or "/", "HOME": scratch or "/", "PYTHONHASHSEED": "0"}
    return Child(
        _HERE / f"{program}.py", setting, limits=limits, permissions=permissions, environment=environment
    )


def _check(child: Child, sandbox: Sandbox) -> None:
    given_up = child.given_up()
    missing = [name for name in ("no_reads", "no_writes", "no_calls") if not given_up[name]]
    if missing and sandbox.required:
        needs = {"no_calls": "seccomp"}
        lacking = sorted({needs.get(name, "Landlock") for name in missing})
        raise TextmillError(
            f"code is not run here: the kernel has no {' and no '.join(lacking)}, which would keep it from harm",
            advice="use Linux 5.13 or later; or run it unsandboxed, with all the rights you have",
        )
