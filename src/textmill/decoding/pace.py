"""When drafting pays: what guesses of each kind came to so far, and what reading them costs here.

A step that reads k drafted tokens costs `cost(k)` plain steps and gives 1 + a tokens, a being how many of them the
model keeps. Both are measured while text is written. Guesses of a kind that did not pay are left alone, and what is
known of them fades, so that they are tried again later; a guesser that only cost time is not even asked for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

from textmill.index.draft import Draft

LADDER = (1, 2, 4, 8, 16)  # lengths of a draft: few, so that the cost of each is soon known
_GAIN = 1.05  # expected tokens for the time of a plain step from which on a draft is read
_PLAIN_FIRST, _PLAIN_EVERY = (
    2,
    64,
)  # plain steps before the first draft; and one now and then, to know their time
_WINDOW = 8  # questions after which a guesser is judged
_PAUSES = (32, 512)  # tokens a guesser that does not pay is left alone for: the first time, and at most
_FADE, _MOST_TRIALS = 0.99, 50.0
_SMOOTH = 0.1


@dataclass
class _Kind:
    """How often drafted tokens of a kind of guess were right."""

    right: float = 0.0
    tried: float = 0.0

    @property
    def rate(self) -> float:
        """Probability that the next token is right, from a prior that lets a new kind be tried."""
        return (self.right + 1.0) / (self.tried + 1.5)

    def learn(self, right: int, tried: int) -> None:
        self.right, self.tried = self.right + right, self.tried + tried
        if self.tried > _MOST_TRIALS:
            self.right, self.tried = self.right * _MOST_TRIALS / self.tried, _MOST_TRIALS

    def fade(self) -> None:
        self.right, self.tried = self.right * _FADE, self.tried * _FADE


@dataclass
class _Guesser:
    """What one guesser has cost and saved since it was last judged."""

    questions: int = 0
    balance: float = 0.0  # seconds saved less seconds spent asking
    waits: int = 0  # tokens it is still left alone for
    pause: int = 0  # how long the last pause was


@dataclass
class Pace:
    """Decides how many drafted tokens to read, and learns from each."""

    _plain: float | None = None  # seconds of a step that reads one token
    _steps: int = 0
    _since: int = 0  # drafts read since the last plain step
    _costs: dict[int, float] = field(default_factory=dict)  # length of draft -> plain steps
    _kinds: dict[Hashable, _Kind] = field(default_factory=dict)
    _guessers: dict[str, _Guesser] = field(default_factory=dict)
    _chosen: str = ""

    def plain(self, seconds: float) -> None:
        """A plain step took so long."""
        self._steps, self._since = self._steps + 1, 0
        if self._plain is None or self._steps <= _PLAIN_FIRST:  # the first one warms up
            self._plain = seconds
        else:
            self._plain += _SMOOTH * (min(seconds, 3 * self._plain) - self._plain)

    def asks(self, name: str) -> bool:
        """Whether a guesser is to be asked now."""
        if self._steps < _PLAIN_FIRST or self._since >= _PLAIN_EVERY:
            return False
        guesser = self._guessers.setdefault(name, _Guesser())
        guesser.waits -= 1
        return guesser.waits < 0

    def asked(self, name: str, seconds: float) -> None:
        """A guesser was asked, and took so long to answer."""
        guesser = self._guessers[name]
        if guesser.questions >= _WINDOW:
            paid = guesser.balance > 0
            guesser.pause = 0 if paid else min(_PAUSES[1], max(_PAUSES[0], guesser.pause * 2))
            guesser.waits, guesser.questions, guesser.balance = guesser.pause, 0, 0.0
        guesser.questions += 1
        guesser.balance -= seconds

    def choose(
        self, drafts: Mapping[str, Draft | None], may: Callable[[int], bool] = lambda _: True
    ) -> Draft | None:
        """The draft, cut to the best length, that is expected to give most; None where a plain step does.

        may: whether drafts of a length may be read.
        """
        best, gain, chosen = None, _GAIN, ""
        for name, draft in drafts.items():
            if draft is None:
                continue
            kind = self._kinds.setdefault(draft.evidence, _Kind())
            for length in LADDER:
                if length > len(draft.ids):
                    break
                if not may(length):
                    continue
                expected = sum(kind.rate**kept for kept in range(length + 1)) / self._cost(length)
                if expected > gain:
                    best, gain, chosen = Draft(draft.ids[:length], draft.evidence), expected, name
            kind.fade()
        self._chosen = chosen
        return best

    def _cost(self, length: int) -> float:
        """Plain steps that a step with `length` drafted tokens takes; where not measured yet, a guess."""
        if length in self._costs:
            return self._costs[length]
        if not self._costs:
            return 1.1 + 0.02 * length
        near = min(self._costs, key=lambda known: abs(known - length))
        return max(1.0, self._costs[near] + 0.02 * (length - near))

    def learn(self, draft: Draft, right: int, seconds: float) -> float:
        """A draft was read in so many seconds, and so many of its tokens were right; the seconds it saved."""
        assert self._plain is not None
        self._since += 1
        length = len(draft.ids)
        self._kinds[draft.evidence].learn(right, min(right + 1, length))
        ratio = seconds / self._plain
        before = self._costs.get(length)
        if before is None:
            self._costs[length] = min(ratio, 2 * self._cost(length))
        else:
            self._costs[length] = before + _SMOOTH * 2 * (min(ratio, 3 * before) - before)
        saved = (right + 1) * self._plain - seconds
        self._guessers[self._chosen].balance += saved
        return saved

    def lost(self, seconds: float) -> None:
        """Time was spent on settling what drafts had left unsure."""
        for guesser in self._guessers.values():
            guesser.balance -= seconds / max(1, len(self._guessers))
