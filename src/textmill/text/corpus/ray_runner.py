"""The same units made on a cluster: Ray hands them out, and every machine sees the same folders.

Ray's own files are its affair; ours are as elsewhere, so a corpus has the same hashes whoever made its units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from textmill.base.errors import TextmillError
from textmill.text.corpus import units
from textmill.text.corpus.build import Job, Runner


def ray(workers: int) -> Runner:
    """A runner of `workers` Ray tasks at a time, on the cluster of RAY_ADDRESS or one started here.

    Raises TextmillError when Ray is not installed.
    """
    try:
        from ray import data
    except ImportError as error:
        raise TextmillError(
            "Ray is not installed", where="--engine ray", advice="pip install 'textmill[cluster]'"
        ) from error

    def run(parts: Path, jobs: Sequence[Job]) -> Iterator[Job]:
        import ray as system

        if not system.is_initialized():
            system.init(
                num_cpus=None if _elsewhere() else workers, log_to_driver=False, include_dashboard=False
            )
        if not jobs:
            return
        rows = [{"parts": str(parts.absolute()), "phase": phase, "unit": unit} for phase, unit in jobs]
        units_of: Any = data.from_items(rows, override_num_blocks=len(rows))
        made = units_of.map_batches(make, batch_size=1, concurrency=workers)
        for row in made.iter_rows():
            yield int(row["phase"]), int(row["unit"])

    return run


def make(batch: dict[str, Any]) -> dict[str, Any]:
    """Make the units of a batch, columns parts, phase, unit; what `map_batches` calls on a machine of the cluster."""
    import os

    for parts, phase, unit in zip(batch["parts"], batch["phase"], batch["unit"], strict=True):
        plan = units.load(Path(parts))
        os.chdir(plan.base)
        units.make(Path(parts), plan, int(phase), int(unit))
    return batch


def _elsewhere() -> bool:
    import os

    return "RAY_ADDRESS" in os.environ
