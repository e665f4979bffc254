"""Where text comes from and how it is prepared, as frozen dataclasses of plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from textmill.base.errors import RecipeError
from textmill.base.schema import About
from textmill.specs.cleaning import (
    CleaningStep,
    ContainmentStep,
    ExactDuplicatesStep,
    LeakageStep,
    LengthStep,
    PersonalDataStep,
    RepairStep,
    UnicodeStep,
    WhitespaceStep,
)


def named(field: str) -> tuple[str, str]:
    """(name, column) that `name=column` stands for; a column alone keeps its name."""
    name, equals, column = field.partition("=")
    return (name.strip(), column.strip()) if equals else (field, field)


TextFields = Annotated[
    tuple[str, ...] | None,
    About(
        "columns or keys of records that hold their texts, such as text=body, or source=en and target=zh; "
        "left out: the texts the objective reads"
    ),
]
TextField = Annotated[str | None, About('the column of the only text: short for text_fields = ["text=..."]')]
Format = Literal["table", "json", "conll", "spans", "squad", "chat", "preference", "parallel"]
Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True)
class RecordSpec:
    """What an objective reads of a record beside its texts: what is to be known where records are read and counted."""

    several: Annotated[
        tuple[str, ...], About("texts of which a record may have several alternatives: references, answers")
    ] = ()
    label: Annotated[str | None, About("metadata that holds a label")] = None
    multiple: Annotated[bool, About("several labels per record, separated by spaces or commas")] = False
    tags: Annotated[str | None, About("metadata that holds a tag for each word")] = None


@dataclass(frozen=True, kw_only=True)
class RecordSource:
    """How a source's records become documents: which of their columns are texts, which are facts."""

    kind: str = ""
    format: Annotated[
        Format | None,
        About(
            "format of the files, whatever their file extension: table (CSV, TSV), json, conll, spans, squad, chat, "
            "preference or parallel; left out: detected"
        ),
    ] = None
    columns: Annotated[
        dict[str, str | int] | None,
        About(
            "columns or keys of records by role, such as { source = en, target = de, label = category }; "
            "a number counts columns from 1, or from -1 at the end"
        ),
    ] = None
    header: Annotated[bool, About("whether the first row of a table names its columns")] = True
    part: Annotated[
        Split | None,
        About("split of all documents of this source; where a source names one, none is assigned at random"),
    ] = None
    text_fields: TextFields = None
    text_field: TextField = None
    metadata_fields: Annotated[
        tuple[str, ...],
        About(
            "columns or keys of records kept as metadata, such as date or licence=license; none: all that are short"
        ),
    ] = ()

    def __post_init__(self) -> None:
        """Texts that can be told apart; `text_field` is taken into `text_fields`, so that both say the same."""
        if self.text_field is not None:
            if self.text_fields is not None:
                raise RecipeError(
                    "means the same as text_fields", where="text_field", advice="give one of them"
                )
            object.__setattr__(self, "text_fields", (f"text={self.text_field}",))
            object.__setattr__(self, "text_field", None)
        fields = self.text_fields
        roles = [named(field)[0] for field in fields or ()]
        if fields == () or len(set(roles)) < len(roles) or not all(map(all, map(named, fields or ()))):
            raise RecipeError(
                "wants at least one column, and each text once",
                where="text_fields",
                advice='write "column" or "role=column", such as ["source=en", "target=zh"]',
            )
        for name, column in self.named():
            if (
                isinstance(column, bool)
                or not isinstance(column, (str, int))
                or column in ("", 0)
                or not name
            ):
                raise RecipeError(
                    f"{column!r} is no column",
                    where=f"columns.{name}",
                    advice="give its name, or its number from 1 (from -1 at the end)",
                )
            if isinstance(column, str) and not self.header:
                raise RecipeError(
                    "is a name, and these tables have no header",
                    where=f"columns.{name}",
                    advice="give the number of the column, from 1",
                )

    def named(self) -> Iterable[tuple[str, str | int]]:
        """(what it is here, its name or number) of each of `columns`."""
        return (self.columns or {}).items()


@dataclass(frozen=True, kw_only=True)
class FilesSource(RecordSource):
    """Files, folders and globs on this machine."""

    kind: Literal["files"] = "files"
    paths: Annotated[
        tuple[str, ...], About("files, folders or globs; relative ones start at the recipe's folder")
    ]
    exclude: Annotated[tuple[str, ...], About("globs of paths or names to leave out")] = ()

    def __post_init__(self) -> None:
        """Raises RecipeError for fields that say nothing, or two things."""
        super().__post_init__()
        if self.format == "parallel" and len(self.paths) < 2:
            raise RecipeError(
                "needs two aligned files or more",
                where="paths",
                advice='such as ["train.en", "train.de"]',
            )


@dataclass(frozen=True, kw_only=True)
class StdlibSource:
    """The standard library of the running Python: real code and prose on every machine."""

    kind: Literal["python-stdlib"] = "python-stdlib"
    tests: Annotated[bool, About("include its test packages")] = False


@dataclass(frozen=True, kw_only=True)
class DatasetSource(RecordSource):
    """A Hugging Face data set on disk: a folder of its hub layout, or one written by `save_to_disk`."""

    kind: Literal["dataset"] = "dataset"
    path: Annotated[str, About("folder of the data set")]
    split: Annotated[str | None, About("split to read; left out: all of them")] = None

    def __post_init__(self) -> None:
        """Raises RecipeError for fields that say nothing, or two things, and for files beside each other."""
        super().__post_init__()
        if self.format == "parallel":
            raise RecipeError('parallel files are no data set: use kind = "files"', where="format")


@dataclass(frozen=True, kw_only=True)
class WebSource:
    """Pages of the web that the recipe names: nothing else ever touches the network."""

    kind: Literal["web"] = "web"
    urls: Annotated[tuple[str, ...], About("pages or files, http or https")] = ()
    sitemaps: Annotated[tuple[str, ...], About("sitemaps (or their indexes) whose pages are read")] = ()
    folder: Annotated[
        str, About("where fetched files are kept; what is there already is not fetched again")
    ] = "web"
    pages: Annotated[int, About("most files fetched", ge=1)] = 10_000
    seconds_between: Annotated[
        float, About("least time between two requests to one host", "seconds", ge=0)
    ] = 1.0
    file_bytes: Annotated[int, About("largest file fetched", "bytes", ge=1)] = 1 << 26
    content_types: Annotated[tuple[str, ...], About("what may be fetched")] = (
        "text/html",
        "application/xhtml+xml",
        "text/plain",
        "text/markdown",
        "application/pdf",
        "application/json",
        "application/xml",
        "text/xml",
    )
    private_addresses: Annotated[bool, About("allow addresses of this machine and of private networks")] = (
        False
    )


Source = FilesSource | StdlibSource | DatasetSource | WebSource


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """Parts of the corpus, chosen by a hash of each document, so a document never changes sides.

    Documents that a near-duplicates step marked as one cluster always stay together.
    """

    validation: Annotated[float, About("share of documents for validation while training", ge=0, lt=1)] = 0.05
    test: Annotated[float, About("share of documents held out for the final evaluation", ge=0, lt=1)] = 0.05

    by: Annotated[
        Literal["document", "group", "time", "source", "containment"],
        About(
            "assign single documents, whole groups (an author, a patient, a site), or the newest to the test split; "
            "use the split that each source names (part), the default where one names any; or keep texts that stand "
            "inside one another together, and hold out whole ones only (containment)"
        ),
    ] = "document"
    field: Annotated[
        str | None, About("metadata that names the group, or the time (ISO 8601, so that text sorts as time)")
    ] = None
    least_bytes: Annotated[
        int, About("fewest bytes of plain text in a validation or test split; 0: any", "bytes", ge=0)
    ] = 400

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise RecipeError("validation and test together leave nothing to train on", where="validation")
        if (self.by not in ("group", "time")) != (self.field is None):
            raise RecipeError('goes with by = "group" or "time", and those need it', where="field")


@dataclass(frozen=True, kw_only=True)
class LimitSpec:
    """Caps on what one input may cost; what exceeds one is skipped with its source and reason."""

    file_bytes: Annotated[
        int, About("largest text file, or record of a longer file, read", "bytes", ge=1)
    ] = 1 << 30
    archive_bytes: Annotated[int, About("most bytes unpacked from one archive", "bytes", ge=1)] = 16 << 30
    ratio: Annotated[float, About("largest ratio of unpacked to packed bytes", ge=1)] = 200.0
    members: Annotated[int, About("most members read from one archive", ge=1)] = 1_000_000
    file_seconds: Annotated[
        float, About("most time spent on one page, book, message or sheet", "seconds", gt=0)
    ] = 120.0
    unfit: Annotated[
        float, About("largest share of records that may not fit the objective, each named", ge=0, le=1)
    ] = 0.05
    unknown_labels: Annotated[
        bool, About("let held-out records have labels that no training record has; they count as wrong")
    ] = False
    libreoffice: Annotated[
        bool, About("let LibreOffice, where it is installed, convert old Word and PowerPoint files")
    ] = False


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """Where the text comes from and how it is prepared."""

    sources: Annotated[tuple[Source, ...], About("where the text comes from")]
    steps: Annotated[tuple[CleaningStep, ...], About("cleaning, in this order")] = (
        RepairStep(),
        UnicodeStep(),
        WhitespaceStep(),
        LengthStep(),
        PersonalDataStep(),
        ExactDuplicatesStep(),
    )
    split: Annotated[SplitSpec, About("splits of the corpus")] = SplitSpec()
    limits: Annotated[LimitSpec, About("limits on what one input may cost")] = LimitSpec()

    record: Annotated[
        RecordSpec | None,
        About("what the objective reads of a record beside its texts; left out: from the recipe's objective"),
    ] = None

    def __post_init__(self) -> None:
        """Where a source names its split, all do: the others are for training, and nothing is dealt. A split by
        containment comes with the step that finds it.

        Raises RecipeError where documents are to be dealt in another way all the same.
        """
        if self.split.by == "containment" and not any(
            isinstance(step, ContainmentStep) for step in self.steps
        ):
            object.__setattr__(self, "steps", (*self.steps, ContainmentStep()))
        if not any(isinstance(source, RecordSource) and source.part for source in self.sources):
            if self.split.by == "source":
                raise RecipeError(
                    "no source names its split", where="split.by", advice='write part = "test" in a source'
                )
            return
        if self.split.by not in ("document", "source"):
            raise RecipeError(
                f"documents are split by {self.split.by}, and a source names its split (part)",
                where="split.by",
                advice="use one or the other",
            )
        object.__setattr__(self, "split", replace(self.split, by="source"))
        if not any(isinstance(step, LeakageStep) for step in self.steps):
            object.__setattr__(self, "steps", (*self.steps, LeakageStep()))

    def read_as(self, roles: tuple[str, ...], record: RecordSpec | None = None) -> CorpusSpec:
        """The same with what an objective reads filled in where it was left out: every source's `text_fields`, and
        `record`.

        Raises RecipeError where a source leaves out one of these roles, or does not begin with the first of them, which
        is the text of what is no record.
        """
        sources = tuple(_read_as(source, roles) for source in self.sources)
        record = self.record or record
        label = record.label if record else None
        steps = tuple(
            replace(step, label=step.label or label) if isinstance(step, ExactDuplicatesStep) else step
            for step in self.steps
        )
        return replace(self, sources=sources, record=record, steps=steps)


def _read_as(source: Source, roles: tuple[str, ...]) -> Source:
    if not isinstance(source, RecordSource):
        return source
    if source.text_fields is None:
        return replace(source, text_fields=roles)
    field_roles = [named(field)[0] for field in source.text_fields]
    if field_roles[0] != roles[0] or not set(roles) <= set(field_roles):
        raise RecipeError(
            f"give {', '.join(field_roles)}, but the objective reads {', '.join(roles)}",
            where="corpus.sources.text_fields",
            advice=f'name its texts, in this order, such as text_fields = ["{roles[0]}=COLUMN", …], or its roles in '
            "[objective]",
        )
    return source
