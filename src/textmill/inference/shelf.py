"""Models in memory: let go when nobody has asked for them for a while, and read again when somebody does.

Models that share a base are a group: they are read together, laid out together, and let go together. What is known of a
model without its weights (its tokenizer, its limits, what its answers cost) stays, so a request is checked, and waits,
while they are read.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from textmill.base import machine
from textmill.base.errors import TextmillError
from textmill.inference.served import Given, Served

LayOut = Callable[[Mapping[str, Given]], dict[str, Served]]


@dataclass(frozen=True)
class Group:
    """Models that share a base. read: gives them by name, and anew each time, so that they may be used up."""

    read: Callable[[], Mapping[str, Given]]


@dataclass
class _Held:
    """A group, as it stands on the shelf. group: None: its models belong to somebody else, and are never let go."""

    names: frozenset[str]
    group: Group | None
    used: float  # second of time.monotonic
    users: int = 0
    coming: Future[None] | None = None


class Shelf:
    """Models by name. May be used from any thread."""

    def __init__(self, lay_out: LayOut, idle: float | None, changed: Callable[[], object]) -> None:
        """lay_out: makes models ready to be served. idle: seconds without a request after which models are let go;
        None: never. changed: is called when models are there, or cannot be read, or are used no more."""
        self.served: dict[str, Served] = {}
        self._lay_out, self._idle, self._changed = lay_out, idle, changed
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()
        self._reading = ThreadPoolExecutor(1, "reading")
        self._reloads = self._unloads = 0

    def keep(self, given: Mapping[str, Given]) -> None:
        """Put up models that stay."""
        self._put(self._lay_out(given), None)

    def add(self, group: Group) -> None:
        """Read a group, and put it up."""
        with machine.lasting_memory():
            self._put(self._lay_out(group.read()), group)

    def _put(self, served: dict[str, Served], group: Group | None) -> None:
        held = _Held(frozenset(served), group, time.monotonic())
        self.served |= served
        self._held |= dict.fromkeys(served, held)

    def there(self, name: str) -> bool:
        """Whether `take` gives a model at once. Where it does not, it begins to be read."""
        with self._lock:
            held = self._held[name]
            held.used = time.monotonic()
            return self.served[name].there or self._begun(held).done()

    def take(self, name: str) -> Served:
        """A model with its weights, once they are there. Raises what reading them raised."""
        with self._lock:
            held = self._held[name]
            coming = None if self.served[name].there else self._begun(held)
        if coming is not None:
            try:
                coming.result()
            finally:
                with self._lock:
                    held.coming = None if held.coming is coming else held.coming
        return self.served[name]

    @contextlib.contextmanager
    def using(self, name: str) -> Iterator[Served]:
        """A model with its weights, which stay there for as long."""
        held = self._held[name]
        with self._lock:
            held.users += 1
        try:
            yield self.take(name)
        finally:
            with self._lock:
                held.users -= 1
                held.used = time.monotonic()
            self._changed()

    def let_go(self, busy: Collection[str]) -> bool:
        """Let go of those that nobody has asked for in a while; whether there were any. busy: who is asked now."""
        with self._lock:
            for held in self._whole():
                if not held.names.isdisjoint(busy):
                    held.used = time.monotonic()
            gone = [held for held in self._whole() if self._left(held) <= 0]
            for held in gone:
                self.served |= {name: self.served[name].let_go() for name in held.names}
                held.coming = None  # what was read then is gone
            self._unloads += len(gone)
        if gone:
            gc.collect()
            machine.give_back_memory()
        return bool(gone)

    def seconds_left(self) -> float | None:
        """Until something may have to be let go; None: nothing will."""
        with self._lock:
            return min(map(self._left, self._whole()), default=None)

    def figures(self) -> dict[str, float]:
        """How many models are loaded, and how often groups of them were unloaded and loaded again."""
        there = sum(one.there for one in self.served.values())
        return {"models_loaded": there, "reloads": self._reloads, "unloads": self._unloads}

    def close(self) -> None:
        """Read nothing more."""
        self._reading.shutdown(cancel_futures=True)

    def _begun(self, held: _Held) -> Future[None]:
        if held.coming is None:
            held.coming = self._reading.submit(self._again, held)
            held.coming.add_done_callback(lambda done: self._changed())
        return held.coming

    def _again(self, held: _Held) -> None:
        assert held.group is not None
        with machine.lasting_memory():
            given = held.group.read()
            for name in held.names:
                if given[name].weights[:16] != self.served[name].fingerprint:
                    raise TextmillError(
                        "is another model than when the service began",
                        where=name,
                        advice="start the service again",
                    )
            served = self._lay_out(given)
        with self._lock:
            self.served |= served
            held.used, held.coming = time.monotonic(), None
            self._reloads += 1

    def _whole(self) -> list[_Held]:
        """The groups in memory that may be let go, as far as they are not used now."""
        if self._idle is None:
            return []
        held = {id(one): one for one in self._held.values() if one.group is not None and not one.users}
        return [one for one in held.values() if all(self.served[name].there for name in one.names)]

    def _left(self, held: _Held) -> float:
        assert self._idle is not None
        return max(0.0, held.used + self._idle - time.monotonic())
