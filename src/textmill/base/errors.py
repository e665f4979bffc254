"""The errors a person meets. Each says what is wrong, where, and what to do about it."""

from __future__ import annotations

from textmill.base.language import fill, say

# Exit codes of every command (DESIGN §7).
DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130


class TextmillError(Exception):
    """Something a person can act on; the command line prints it without a traceback.

    `str(error)` reads `where: what; advice`, on one screen. `kind` is its class in one word, for programs.
    """

    kind = "failed"
    exit_code = FAILED

    def __init__(self, what: str, *, where: object = "", advice: str = "") -> None:
        self.what, self.where, self.advice = what, str(where), advice
        text = f"{where}: {what}" if str(where) else what
        super().__init__(f"{text}{_between(text, advice)}{advice}")

    def plain(self) -> dict[str, str | int]:
        """The same for programs, as `--json` prints it."""
        return {
            "kind": self.kind,
            "what": self.what,
            "where": self.where,
            "advice": self.advice,
            "exit_code": self.exit_code,
        }

    def said(self) -> str:
        """The same in the language a person chose."""
        text = say(self.what)
        if self.where:  # a name (of a key, an option, a file) is the same in every language
            text = fill("{}: {}", say(self.where) if " " in self.where else self.where, text)
        if _between(text, self.advice):
            return fill("{}; {}", text, say(self.advice))
        return text + say(self.advice)


def _between(text: str, advice: str) -> str:
    """What joins the two; where a list of lines ends the text, its advice stands on a line of its own."""
    return "; " if advice and not text.endswith("\n") else ""


class RecipeError(TextmillError):
    """A recipe or an option that cannot be used as written (exit code 2)."""

    kind = "usage"
    exit_code = WRONG_USE


class DamagedError(TextmillError):
    """A file that is not what it was when it was written: a wrong hash, a missing part, a lying header."""

    kind = "damaged"


class ChangedError(TextmillError):
    """An input that became another while it was read."""

    kind = "changed"


class BusyError(TextmillError):
    """Somebody else is writing here."""

    kind = "busy"


class NonFiniteError(TextmillError):
    """A loss or a gradient that is NaN or infinite; raised before the update of `step` is made."""

    kind = "non-finite"

    def __init__(self, what: str, *, step: int = -1, where: object = "", advice: str = "") -> None:
        super().__init__(what, where=where, advice=advice)
        self.step = step


class Interrupted(TextmillError):
    """The person, or the machine, asked the work to stop; what was done so far is saved."""

    kind = "interrupted"
    exit_code = INTERRUPTED
