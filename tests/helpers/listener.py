"""Somebody to report to, who keeps what they are told."""

from __future__ import annotations

from textmill.base.console import Reporter


class Listener(Reporter):
    """said: the notes, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)
