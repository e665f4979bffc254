"""Where text comes from and how it is prepared, as frozen dataclasses of plain data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from textmill.base.errors import RecipeError
from textmill.base.schema import About
from textmill.specs.cleaning import (
    CleaningStep,
    ExactDuplicatesStep,
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


def _check_text_fields(source: FilesSource | DatasetSource) -> None:
    """Texts that can be told apart; `text_field` is taken into `text_fields`, so that both say the same."""
    if source.text_field is not None:
        if source.text_fields is not None:
            raise RecipeError("means the same as text_fields", where="text_field", advice="give one of them")
        object.__setattr__(source, "text_fields", (f"text={source.text_field}",))
        object.__setattr__(source, "text_field", None)
    fields = source.text_fields
    roles = [named(field)[0] for field in fields or ()]
    if fields == () or len(set(roles)) < len(roles) or not all(map(all, map(named, fields or ()))):
        raise RecipeError(
            "wants at least one column, and each text once",
            where="text_fields",
            advice='write "column" or "role=column", such as ["source=en", "target=zh"]',
        )


@dataclass(frozen=True, kw_only=True)
class FilesSource:
    """Files, folders and globs on this machine."""

    kind: Literal["files"] = "files"
    paths: Annotated[
        tuple[str, ...], About("files, folders or globs; relative ones start at the recipe's folder")
    ]
    exclude: Annotated[tuple[str, ...], About("globs of paths or names to leave out")] = ()
    text_fields: TextFields = None
    text_field: TextField = None
    metadata_fields: Annotated[
        tuple[str, ...],
        About(
            "columns or keys of records kept as metadata, such as date or licence=license; none: all that are short"
        ),
    ] = ()

    def __post_init__(self) -> None:
        _check_text_fields(self)


@dataclass(frozen=True, kw_only=True)
class StdlibSource:
    """The standard library of the running Python: real code and prose on every machine."""

    kind: Literal["python-stdlib"] = "python-stdlib"
    tests: Annotated[bool, About("include its test packages")] = False


@dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """A Hugging Face data set on disk: a folder of its hub layout, or one written by `save_to_disk`."""

    kind: Literal["dataset"] = "dataset"
    path: Annotated[str, About("folder of the data set")]
    split: Annotated[str | None, About("split to read; left out: all of them")] = None
    text_fields: TextFields = None
    text_field: TextField = None
    metadata_fields: Annotated[
        tuple[str, ...], About("columns kept as metadata, such as date; none: all that are short")
    ] = ()

    def __post_init__(self) -> None:
        _check_text_fields(self)


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
        Literal["document", "group", "time"],
        About(
            "assign single documents, whole groups (an author, a patient, a site), or the newest to the test split"
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
        if (self.by == "document") != (self.field is None):
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

    def read_as(self, roles: tuple[str, ...]) -> CorpusSpec:
        """The same with every source's `text_fields` filled in: what an objective reads, where they were left out.

        Raises RecipeError where a source leaves out one of these roles, or does not begin with the first of them, which
        is the text of what is no record.
        """
        return replace(self, sources=tuple(_read_as(source, roles) for source in self.sources))


def _read_as(source: Source, roles: tuple[str, ...]) -> Source:
    if not isinstance(source, (FilesSource, DatasetSource)):
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
