"""Units of preparing: a few files each, made by one process, whole or not at all.

    PARTS/plan.json                 what decides every unit: the corpus's spec, and the files of each unit
    PARTS/phase-0/unit-00000/       its documents, what was skipped, sketches for the corpus step that follows
    PARTS/verdicts-0/unit-00000.jsonl   what that step decided about each of them
    …/hashes.json                   of each of these folders: SHA-256 of its files, so that damage is noticed

A phase is a run of document steps up to the next corpus step. Which units there are depends on the inputs
alone, so it makes no difference how many processes share them, in which order, or how often they were killed.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from textmill.base import schema
from textmill.base.errors import ChangedError, TextmillError
from textmill.base.files import (
    atomic_directory,
    read_json,
    read_jsonl,
    read_sealed,
    sha256_file,
    write_json,
    write_sealed,
)
from textmill.specs.cleaning import CleaningStep
from textmill.specs.corpus import CorpusSpec
from textmill.text.cleaning.steps import CORPUS_STEPS, STEPS, conserved
from textmill.text.corpus.corpus import Count, aside, writable
from textmill.text.corpus.forgotten import Forget, Forgotten
from textmill.text.corpus.shards import ShardWriter, documents_in
from textmill.text.corpus.tally import Aside
from textmill.text.document import Document, Item, Rejected, Step
from textmill.text.sources import table
from textmill.text.step import CorpusStep, Cut, Mark, Reject, Sketched, Verdict, carry_out

_UNIT_BYTES, _UNIT_FILES = 4 << 20, 512  # either closes a unit; a larger file is a unit of its own
_SKETCH_CHARACTERS, _SKETCH_DOCUMENTS = 4 << 20, 4096  # sketched at once
_SKETCHES = pa.schema(
    [pa.field("id", pa.string()), pa.field("characters", pa.int64()), pa.field("sketch", pa.large_binary())]
)
_HASHES = "hashes.json"
_NONE_LEFT: tuple[int, dict[str, Any]] = (-1, {})
_VERDICTS: dict[str, type] = {"reject": Reject, "cut": Cut, "mark": Mark}


@dataclass(frozen=True)
class Phase:
    """Verdicts carried out as documents come in, steps, and the corpus step they are sketched for."""

    verdicts: CleaningStep | None
    steps: tuple[CleaningStep, ...]
    sketch: CleaningStep | None


@dataclass(frozen=True)
class Unit:
    """Files (source, path, location, content hash) read one after the other, and what could not be entered."""

    entries: tuple[dict[str, Any], ...]
    bytes: int


@dataclass(frozen=True)
class Plan:
    """All that decides what the units hold."""

    spec: CorpusSpec
    base: Path  # where the relative paths of steps start
    forgotten: Forgotten  # documents that are never to be used
    units: tuple[Unit, ...]

    @functools.cached_property
    def phases(self) -> tuple[Phase, ...]:
        """At least one; the last has no sketch."""
        phases, steps, verdicts = [], [], None
        for spec in self.spec.steps:
            if type(spec) in CORPUS_STEPS:
                phases.append(Phase(verdicts, tuple(steps), spec))
                steps, verdicts = [], spec
            else:
                steps.append(spec)
        return (*phases, Phase(verdicts, tuple(steps), None))


def cut(
    spec: CorpusSpec,
    base: Path,
    forgotten: Forgotten = Forgotten(),
    *,
    home: Path | None = None,
    inputs: Mapping[str, str] | None = None,
) -> Plan:
    """Share the files of all sources out into units.

    home: the folder the sources' relative paths start at, where that is not `base`. inputs: location -> content hash of
    all that there is to read, when it is known already; each file is then held against it once it was read.
    Raises RecipeError when a path matches nothing, ChangedError when there are other files than `inputs` says.
    """
    units: list[Unit] = []
    entries: list[dict[str, Any]] = []
    size = 0
    listed: set[str] = set()

    def close() -> None:
        nonlocal entries, size
        if entries:
            units.append(Unit(tuple(entries), size))
        entries, size = [], 0

    for number, source in enumerate(spec.sources):
        for item in table.files(source, home or base):
            if isinstance(item, Rejected):
                listed.add(item.source)
                entries.append({"place": item.source, "reason": item.reason, "detail": item.detail})
                continue
            path, location = item
            weight = path.stat().st_size if path.is_file() else 0
            if size + weight > _UNIT_BYTES:
                close()
            entry = {"source": number, "path": str(path.absolute()), "place": location}
            listed.add(location)
            entries.append(entry if inputs is None else entry | {"hash": inputs.get(location, "")})
            size += weight
            if size >= _UNIT_BYTES or len(entries) >= _UNIT_FILES:
                close()
    close()
    if inputs is not None and (other := listed ^ inputs.keys()):
        raise ChangedError("appeared or disappeared while the sources were read", where=min(other))
    return Plan(spec, Path(base).absolute(), forgotten, tuple(units))


def save(plan: Plan, parts: Path) -> None:
    """Write a plan where the processes that carry it out find it."""
    write_json(
        parts / "plan.json",
        {
            "corpus": schema.write(plan.spec),
            "base": str(plan.base),
            "forgotten": plan.forgotten.plain(),
            "units": [asdict(unit) for unit in plan.units],
        },
    )


def load(parts: Path) -> Plan:
    """The plan of a folder."""
    saved = read_json(parts / "plan.json")
    units = tuple(Unit(tuple(unit["entries"]), unit["bytes"]) for unit in saved["units"])
    spec = schema.read(CorpusSpec, saved["corpus"])
    return Plan(spec, Path(saved["base"]), Forgotten.of(saved["forgotten"]), units)


def place(parts: Path, phase: int, unit: int) -> Path:
    """Where a unit stands after a phase; it exists only when it is whole."""
    return parts / f"phase-{phase}" / f"unit-{unit:05d}"


def make(parts: Path, plan: Plan, phase: int, unit: int) -> None:
    """Carry out a phase on a unit, unless that was done before."""
    target = place(parts, phase, unit)
    if target.exists():
        return
    read, wanted = Count(), plan.phases[phase]
    arriving = _from_sources(plan, unit) if phase == 0 else judged(parts, plan, phase, unit)
    stream: Iterator[Item] = read.over(arriving) if phase == 0 else iter(arriving)
    if phase == 0 and plan.forgotten:
        stream = conserved(Forget(plan.forgotten), stream)
    for spec in wanted.steps:
        stream = conserved(_document_step(spec), stream)
    with atomic_directory(target) as folder:
        _write(folder, map(writable, stream), _corpus_step(wanted.sketch) if wanted.sketch else None)
        write_json(folder / "read.json", {"items": read.items, "bytes": read.bytes})
        _seal(folder)


def _seal(folder: Path) -> None:
    write_sealed(folder / _HASHES, {path.name: sha256_file(path) for path in sorted(folder.iterdir())})


def sound(parts: Path) -> bool:
    """Whether all that is half done in a folder is what was written. Of a phase that another followed, the documents
    may be gone."""
    try:
        return all(
            _hash_of(folder / name) == digest or (name.endswith(".parquet") and _followed(folder, name))
            for folder in (*parts.glob("phase-*/unit-*"), *parts.glob("verdicts-*"))
            for name, digest in read_sealed(folder / _HASHES).items()
        )
    except TextmillError:
        return False


def _hash_of(path: Path) -> str:
    return sha256_file(path) if path.is_file() else ""


def _followed(folder: Path, name: str) -> bool:
    phase = int(folder.parent.name.rpartition("-")[2])
    return (
        not (folder / name).exists()
        and (folder.parent.with_name(f"phase-{phase + 1}") / folder.name).exists()
    )


@functools.lru_cache(maxsize=64)
def _document_step(spec: CleaningStep) -> Step:
    """The step of a spec, kept for all units of a process: some are fitted on files first."""
    return STEPS[type(spec)](spec)


@functools.lru_cache(maxsize=16)
def _corpus_step(spec: CleaningStep) -> CorpusStep:
    return CORPUS_STEPS[type(spec)](spec)


def _from_sources(plan: Plan, unit: int) -> Iterator[Item]:
    for entry in plan.units[unit].entries:
        if "reason" in entry:
            yield Rejected(None, entry["place"], "read", entry["reason"], entry["detail"])
        else:
            source, path = plan.spec.sources[entry["source"]], Path(entry["path"])
            yield from table.documents(source, path, entry["place"], plan.spec.limits, plan.spec.record)
            if "hash" in entry and table.content_of(path) != entry["hash"]:
                raise ChangedError("changed while it was read", where=entry["place"])


def _write(folder: Path, items: Iterator[Item], step: CorpusStep | None) -> None:
    """The documents of a unit, what was skipped, and sketches for the step that follows."""
    waiting: list[Document] = []
    characters = 0
    with (
        ShardWriter(folder) as documents,
        open(folder / "aside.jsonl", "w", encoding="utf-8", newline="\n") as away,
        pa.OSFile(str(folder / "sketches.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, _SKETCHES) as sketches,
    ):
        for item in items:
            if isinstance(item, Rejected):
                away.write(json.dumps(aside(item), ensure_ascii=False) + "\n")
                continue
            documents.add("train", item)  # parts are dealt at the end
            if step is not None:
                waiting.append(item)
                characters += item.characters
                if characters >= _SKETCH_CHARACTERS or len(waiting) >= _SKETCH_DOCUMENTS:
                    sketches.write_batch(_sketch(step, waiting))
                    waiting, characters = [], 0
        if step is not None and waiting:
            sketches.write_batch(_sketch(step, waiting))


def _sketch(step: CorpusStep, documents: Sequence[Document]) -> pa.RecordBatch:
    columns = (
        pa.array([document.id for document in documents], pa.string()),
        pa.array([document.characters for document in documents], pa.int64()),
        pa.array(step.sketch(documents), pa.large_binary()),
    )
    return pa.RecordBatch.from_arrays(list(columns), schema=_SKETCHES)


def documents(folder: Path) -> Iterator[Document]:
    """The documents of a unit."""
    for path in sorted(folder.glob("*.parquet")):
        yield from documents_in(path)


def asides(folder: Path) -> Iterator[Aside]:
    """What a phase skipped in a unit."""
    return read_jsonl(folder / "aside.jsonl")


def sketched(parts: Path, plan: Plan, phase: int) -> Iterator[Sketched]:
    """The sketches of all units after a phase, numbered through."""
    number = 0
    for unit in range(len(plan.units)):
        with pa.OSFile(str(place(parts, phase, unit) / "sketches.arrow")) as source:
            for batch in pa.ipc.open_stream(source):
                for name, characters, sketch in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                    yield Sketched(number, name, characters, sketch)
                    number += 1


def decide(parts: Path, plan: Plan, phase: int) -> None:
    """Let the corpus step after a phase decide, and write its verdicts unit by unit."""
    target = parts / f"verdicts-{phase}"
    spec = plan.phases[phase].sketch
    if target.exists() or spec is None:
        return
    with atomic_directory(parts / f"scratch-{phase}") as scratch:
        with atomic_directory(target) as folder:
            decisions = _corpus_step(spec).decide(lambda: sketched(parts, plan, phase), scratch)
            waiting = next(decisions, None)
            first = 0
            for unit in range(len(plan.units)):
                after = first + _count(place(parts, phase, unit))
                with open(folder / f"unit-{unit:05d}.jsonl", "w", encoding="utf-8", newline="\n") as file:
                    while waiting is not None and waiting[0] < after:
                        number, verdict = waiting
                        file.write(json.dumps([number - first, _plain(verdict)], ensure_ascii=False) + "\n")
                        waiting = next(decisions, None)
                first = after
            _seal(folder)
        for path in scratch.iterdir():  # atomic_directory would make it durable
            path.unlink()
    (parts / f"scratch-{phase}").rmdir()


def _count(folder: Path) -> int:
    with pa.OSFile(str(folder / "sketches.arrow")) as source:
        return sum(batch.num_rows for batch in pa.ipc.open_stream(source))


def _plain(verdict: Verdict) -> dict[str, Any]:
    kind = next(name for name, kind in _VERDICTS.items() if type(verdict) is kind)
    return {"kind": kind} | {name: getattr(verdict, name) for name in verdict.__dataclass_fields__}


def _verdict(plain: Mapping[str, Any]) -> Verdict:
    values = {key: value for key, value in plain.items() if key != "kind"}
    if plain["kind"] == "cut":
        values["spans"] = {
            role: [(start, end) for start, end in spans] for role, spans in values["spans"].items()
        }
    return _VERDICTS[plain["kind"]](**values)


def judged(parts: Path, plan: Plan, phase: int, unit: int) -> Iterator[Item]:
    """The documents a phase begins with: those of the phase before, after the verdicts on them."""
    spec = plan.phases[phase].verdicts
    assert spec is not None
    name = _corpus_step(spec).name
    with open(parts / f"verdicts-{phase - 1}" / f"unit-{unit:05d}.jsonl", encoding="utf-8") as lines:
        verdicts = map(json.loads, lines)
        row, plain = next(verdicts, _NONE_LEFT)
        for number, document in enumerate(documents(place(parts, phase - 1, unit))):
            if number == row:
                yield carry_out(document, _verdict(plain), name)
                row, plain = next(verdicts, _NONE_LEFT)
            else:
                yield document
