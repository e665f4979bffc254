"""From sources to a corpus: in parallel, in bounded memory, to be taken up where it was killed.

Document steps run on units by as many processes as are given; what a corpus step decides is decided by one. A
finished unit is never made again, and the corpus is the same whoever made the units.
"""

from __future__ import annotations

import os
import queue
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from textmill.base.confined import Child, ChildEnded, ChildFailed, Limits, Permissions
from textmill.base.errors import ChangedError, TextmillError
from textmill.base.files import make_directory, read_json, remove_partial
from textmill.base.machine import usable_cores
from textmill.specs.corpus import CorpusSpec
from textmill.text.corpus import units
from textmill.text.corpus.corpus import Count, aside, write_records
from textmill.text.corpus.forgotten import Forget, Forgotten
from textmill.text.corpus.tally import Aside
from textmill.text.corpus.units import Plan
from textmill.text.document import Document, Rejected

Job = tuple[int, int]  # phase, unit
# Makes the units of `jobs` in the folder `parts`, and names each as it is done.
Runner = Callable[[Path, Sequence[Job]], Iterator[Job]]
Progress = Callable[[str, int, int], None]  # what, bytes done, bytes in all
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)  # each process
_WORKER = Path(__file__).with_name("worker.py")
_WORTH_A_PROCESS = 8 << 20  # bytes of input for each; starting one takes about as long as cleaning that


def build(
    directory: Path,
    spec: CorpusSpec,
    base: Path,
    parts: Path,
    *,
    run: Runner | None = None,
    forgotten: Forgotten = Forgotten(),
    home: Path | None = None,
    inputs: Mapping[str, str] | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Read the sources, prepare them and write the corpus into `directory`; the report.

    base: the folder relative paths start at; home: that of the sources, where it is another. inputs: location ->
    content hash of all that is to be read, when it is known; what is read is held against it. parts: a folder for what
    is half done; found there by a later call with the same inputs, and emptied by the caller when it wants to. run: who
    makes the units; left out: as many processes here as there are cores, where the input is worth it.
    Raises RecipeError for a path that matches nothing, ChangedError when a file changes meanwhile, and TextmillError
    when nothing is left to write.
    """
    plan = units.cut(spec, base, forgotten, home=home, inputs=inputs)
    make_directory(parts)
    for folder in (parts, *parts.glob("phase-*")):
        remove_partial(folder)
    if not units.sound(parts):  # what is damaged may have been read by what followed it
        clear(parts)
        make_directory(parts)
    units.save(plan, parts)
    total = sum(unit.bytes for unit in plan.units)
    run = run or processes(min(usable_cores(), 1 + total // _WORTH_A_PROCESS))
    last = len(plan.phases) - 1
    if last and not plan.phases[last].steps:  # nothing but verdicts: carried out while the corpus is written
        last -= 1
    for phase in range(last + 1):
        _phase(parts, plan, phase, run, lambda done: progress("preparing", done, total))
    read = Count()
    finished = _finished(parts, plan, last, read, progress)
    return write_records(directory, _kept(finished, forgotten), spec.split, read, spec.steps, spec.record)


def _kept(items: Iterator[Document | Aside], forgotten: Forgotten) -> Iterator[Document | Aside]:
    """What was finished, without what is to be forgotten as it stands now, cleaned."""
    if not forgotten:
        yield from items
        return
    for item in items:
        if isinstance(item, Document):
            for kept in Forget(forgotten)([item]):
                yield aside(kept) if isinstance(kept, Rejected) else kept
        else:
            yield item


def _phase(parts: Path, plan: Plan, phase: int, run: Runner, progress: Callable[[int], None]) -> None:
    jobs = [(phase, unit) for unit in range(len(plan.units)) if not units.place(parts, phase, unit).exists()]
    done = sum(unit.bytes for unit in plan.units) - sum(plan.units[unit].bytes for _, unit in jobs)
    for _, unit in run(parts, jobs):
        done += plan.units[unit].bytes
        progress(done)
    if phase:  # what the phase before wrote has been read by all
        for unit in range(len(plan.units)):
            for path in units.place(parts, phase - 1, unit).glob("*.parquet"):
                path.unlink()
    units.decide(parts, plan, phase)


def _finished(
    parts: Path, plan: Plan, last: int, read: Count, progress: Progress
) -> Iterator[Document | Aside]:
    """All documents and all that was skipped, unit by unit; counts what was read."""
    done, total = 0, sum(unit.bytes for unit in plan.units)
    for unit, planned in enumerate(plan.units):
        counted = read_json(units.place(parts, 0, unit) / "read.json")
        read.items += counted["items"]
        read.bytes += counted["bytes"]
        for phase in range(last + 1):
            yield from units.asides(units.place(parts, phase, unit))
        pending = last + 1 < len(plan.phases)
        folder = units.place(parts, last, unit)
        for item in units.judged(parts, plan, last + 1, unit) if pending else units.documents(folder):
            yield item if isinstance(item, Document) else aside(item)
        done += planned.bytes
        progress("writing", done, total)


def here(parts: Path, jobs: Sequence[Job]) -> Iterator[Job]:
    """Make units in this process."""
    plan = units.load(parts)
    before = Path.cwd()
    for job in jobs:
        os.chdir(plan.base)
        try:
            units.make(parts, plan, *job)
        finally:
            os.chdir(before)
        yield job


def processes(number: int) -> Runner:
    """A runner of so many processes on this machine."""
    return here if number <= 1 else lambda parts, jobs: _shared_out(parts, jobs, number)


def _shared_out(parts: Path, jobs: Sequence[Job], number: int) -> Iterator[Job]:
    """Each process is told a job, says when it is done and is told the next; it ends when we do."""
    plan = units.load(parts)
    # The same environment and packages as here, so that a unit does not depend on who makes it.
    environment = dict(os.environ, **_ONE_THREAD, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    children = [
        Child(
            _WORKER,
            str(parts.absolute()),
            limits=Limits(),
            permissions=Permissions.all(),
            environment=environment,
            cwd=plan.base,
            show_errors=True,
        )
        for _ in range(min(number, len(jobs)))
    ]
    idle: queue.SimpleQueue[Child] = queue.SimpleQueue()
    for child in children:
        idle.put(child)

    def make(job: Job) -> Job:
        child = idle.get()
        try:
            failed = child.ask(job)
        except (ChildEnded, ChildFailed) as error:
            raise TextmillError(
                f"a worker process ended unexpectedly ({error})",
                where="prepare",
                advice="it may have run out of memory; run it again: what is finished is kept. "
                "Fewer --workers need less",
            ) from error
        finally:
            idle.put(child)
        if failed is not None:
            raise (ChangedError if failed.pop("changed") else TextmillError)(**failed)
        return job

    pool = ThreadPoolExecutor(max(1, len(children)))
    try:
        for made in as_completed([pool.submit(make, job) for job in jobs]):
            yield made.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.close()
        pool.shutdown()


def clear(parts: Path) -> None:
    """Remove what was half done."""
    shutil.rmtree(parts, ignore_errors=True)
