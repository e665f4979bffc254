"""Time, for tests of figures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any


def median_seconds(call: Callable[[Any], Any], arguments: Iterable[Any]) -> float:
    """The median time of a call over these arguments."""
    times = []
    for argument in arguments:
        began = time.perf_counter()
        call(argument)
        times.append(time.perf_counter() - began)
    return statistics.median(times)
