"""The steps of cleaning, as frozen dataclasses of plain data: what each does and its thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textmill.base.errors import RecipeError
from textmill.base.schema import About


@dataclass(frozen=True, kw_only=True)
class RepairStep:
    """Repair text that was decoded wrongly, and drop control characters."""

    kind: Literal["repair"] = "repair"


@dataclass(frozen=True, kw_only=True)
class UnicodeStep:
    """Unicode normalisation (UAX #15)."""

    kind: Literal["unicode"] = "unicode"
    form: Annotated[
        Literal["NFC", "NFKC"],
        About("normal form; NFKC also folds full-width forms, and makes 105 of 10⁵ and 31⁄2 of 3½"),
    ] = "NFC"


@dataclass(frozen=True, kw_only=True)
class WhitespaceStep:
    """One kind of line end, no trailing blanks, no long runs of empty lines."""

    kind: Literal["whitespace"] = "whitespace"
    blank_lines: Annotated[int, About("consecutive empty lines kept", "lines", ge=0)] = 2


@dataclass(frozen=True, kw_only=True)
class LengthStep:
    """Skip documents that are too short or too long."""

    kind: Literal["length"] = "length"
    least: Annotated[int, About("shortest document kept", "characters", ge=0)] = 1
    most: Annotated[int | None, About("longest document kept", "characters", ge=1)] = None


@dataclass(frozen=True, kw_only=True)
class ExactDuplicatesStep:
    """Keep the first of documents whose cleaned text is the same to the byte; in splits that sources name, the first
    of each split."""

    kind: Literal["exact-duplicates"] = "exact-duplicates"
    label: Annotated[
        str | None,
        About(
            "metadata that holds the label: duplicates with another label are told apart; left out: the objective's"
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class FtfyStep:
    """Repair by ftfy: entities, lookalikes and many more wrong encodings than `repair` knows (extra `web`)."""

    kind: Literal["ftfy"] = "ftfy"


@dataclass(frozen=True, kw_only=True)
class ChineseStep:
    """Chinese text in one shape: full-width letters and digits, punctuation, and, if asked, one script."""

    kind: Literal["chinese"] = "chinese"
    width: Annotated[
        bool,
        About("full-width letters and digits become ASCII, spaces between single hanzi are removed"),
    ] = True
    punctuation: Annotated[
        Literal["keep", "full", "half"],
        About("punctuation beside hanzi: as it is, full-width (，。), or half-width"),
    ] = "full"
    script: Annotated[
        Literal["keep", "simplified", "traditional"], About("script that is written, by OpenCC (extra `zh`)")
    ] = "keep"


@dataclass(frozen=True, kw_only=True)
class BoilerplateStep:
    """Drop lines of pages that are no prose: menus, cookie notices, share buttons, page numbers, repeated headers.

    Of pages of the web all of these, of PDF page numbers and headers; of no other document anything.
    """

    kind: Literal["boilerplate"] = "boilerplate"
    repeats: Annotated[
        int, About("a short line that occurs this often in one document is a header", ge=2)
    ] = 4


@dataclass(frozen=True, kw_only=True)
class LanguageStep:
    """Say which language a document is in (metadata `language`), and keep only those wanted."""

    kind: Literal["language"] = "language"
    keep: Annotated[tuple[str, ...], About("ISO 639-1 codes kept, such as en, zh; none: all are kept")] = ()
    least: Annotated[
        float, About("probability under which the language is `und`, undetermined", ge=0, le=1)
    ] = 0.5
    paragraphs: Annotated[bool, About("also drop single paragraphs in other languages than `keep`")] = False


@dataclass(frozen=True, kw_only=True)
class GopherStep:
    """Quality and repetition rules of Gopher (Rae et al. 2021, tables A1 and A2)."""

    kind: Literal["gopher"] = "gopher"
    least_words: Annotated[int, About("fewest words", ge=0)] = 50
    most_words: Annotated[int, About("most words", ge=1)] = 100_000
    least_mean_length: Annotated[float, About("shortest mean word", "characters", ge=0)] = 3.0
    most_mean_length: Annotated[float, About("longest mean word", "characters", gt=0)] = 10.0
    most_symbols: Annotated[float, About("most # and ellipses for a word", ge=0)] = 0.1
    most_bullets: Annotated[float, About("largest share of lines that begin with a bullet", ge=0, le=1)] = 0.9
    most_ellipses: Annotated[float, About("largest share of lines that end in an ellipsis", ge=0, le=1)] = 0.3
    least_alphabetic: Annotated[float, About("least share of words with a letter", ge=0, le=1)] = 0.8
    least_stop_words: Annotated[int, About("fewest different stop words (English only)", ge=0)] = 2
    repetition: Annotated[
        bool, About("also the rules of table A1 on repeated lines, paragraphs, n-grams")
    ] = True


@dataclass(frozen=True, kw_only=True)
class C4Step:
    """Line and page rules of C4 (Raffel et al. 2020, section 2.2)."""

    kind: Literal["c4"] = "c4"
    line_words: Annotated[int, About("fewest words of a line that stays", ge=0)] = 3
    terminal: Annotated[bool, About("only lines that end in a terminal punctuation mark stay")] = True
    sentences: Annotated[int, About("fewest sentences of a page", ge=0)] = 5
    lorem_ipsum: Annotated[bool, About("skip pages with lorem ipsum")] = True
    curly: Annotated[bool, About("skip pages with a curly bracket")] = True


@dataclass(frozen=True, kw_only=True)
class FineWebStep:
    """Rules FineWeb added (Penedo et al. 2024, section 3.6)."""

    kind: Literal["fineweb"] = "fineweb"
    least_terminal: Annotated[float, About("least share of lines ending in punctuation", ge=0, le=1)] = 0.12
    most_duplicated: Annotated[float, About("largest share of characters in repeated lines", ge=0, le=1)] = (
        0.1
    )
    most_short: Annotated[float, About("largest share of lines under 30 characters", ge=0, le=1)] = 0.67


@dataclass(frozen=True, kw_only=True)
class ClassifierStep:
    """Keep what a small bag-of-n-grams model, fitted on your good and bad examples, finds good."""

    kind: Literal["classifier"] = "classifier"
    good: Annotated[str, About("file of good examples: JSON lines with `text`, or one text a line")]
    bad: Annotated[str, About("file of bad examples")]
    least: Annotated[float, About("lowest probability of being good that is kept", ge=0, le=1)] = 0.5


@dataclass(frozen=True, kw_only=True)
class PersonalDataStep:
    """Find personal data; those with checksums are verified by them."""

    kind: Literal["personal-data"] = "personal-data"
    find: Annotated[
        tuple[Literal["email", "phone", "card", "iban", "id_cn", "ssn_us", "ip", "key"], ...],
        About("kinds searched for"),
    ] = ("email", "phone", "card", "iban", "id_cn", "ssn_us", "ip", "key")
    action: Annotated[
        Literal["redact", "pseudonymise", "reject", "report"],
        About(
            "replace by [EMAIL] and the like, by consistent made-up values, skip the document, or only count"
        ),
    ] = "redact"
    secret: Annotated[
        str,
        About(
            "pseudonyms are keyed by this; env:NAME takes it from the environment, so that no recipe holds it"
        ),
    ] = ""

    def __post_init__(self) -> None:
        if self.action == "pseudonymise" and not self.secret:
            raise RecipeError(
                "is needed for pseudonyms, or anybody could compute them from a list of all numbers",
                where="secret",
                advice='set it to a long random text, or to "env:NAME"',
            )


@dataclass(frozen=True, kw_only=True)
class StopWordsStep:
    """Drop stop words, for statistical models of topics; neural models want them."""

    kind: Literal["stop-words"] = "stop-words"
    languages: Annotated[tuple[Literal["en", "zh"], ...], About("word lists used")] = ("en", "zh")


@dataclass(frozen=True, kw_only=True)
class SegmentStep:
    """Put a blank between words, for word-based models."""

    kind: Literal["segment"] = "segment"
    by: Annotated[Literal["whitespace", "rjieba", "nltk", "spacy"], About("how words are found")] = "rjieba"


@dataclass(frozen=True, kw_only=True)
class NearDuplicatesStep:
    """Find documents that nearly repeat another (MinHash and LSH; Broder 1997, Leskovec et al. 2014 chapter 3)."""

    kind: Literal["near-duplicates"] = "near-duplicates"
    similarity: Annotated[
        float,
        About("Jaccard similarity of word shingles from which two documents are near-duplicates", gt=0, le=1),
    ] = 0.8
    shingle: Annotated[int, About("words per shingle (hanzi count as words)", ge=1)] = 5
    permutations: Annotated[int, About("hash functions per signature", ge=16, le=1024)] = 128
    action: Annotated[
        Literal["reject", "mark"],
        About(
            "keep the best of each cluster, or keep all and mark the cluster, which is never divided between splits"
        ),
    ] = "reject"


@dataclass(frozen=True, kw_only=True)
class LeakageStep:
    """Find held-out documents that nearly repeat one of another split, where sources name their splits."""

    kind: Literal["leakage"] = "leakage"
    similarity: Annotated[
        float, About("Jaccard similarity of word shingles from which two are near", gt=0, le=1)
    ] = 0.8
    shingle: Annotated[int, About("words of a shingle (hanzi count as words)", ge=1)] = 5
    permutations: Annotated[int, About("hash functions of a signature", ge=16, le=1024)] = 128
    remove: Annotated[
        Literal["nothing", "training", "held-out"],
        About("only report near-duplicates, or skip the training documents, or the held-out ones"),
    ] = "nothing"


@dataclass(frozen=True, kw_only=True)
class ContainmentStep:
    """Find texts that stand inside others, word for word: a split by containment divides none of them."""

    kind: Literal["containment"] = "containment"


@dataclass(frozen=True, kw_only=True)
class SubstringsStep:
    """Cut runs of words that already stood earlier in the corpus (Lee et al. 2022, section 4.1)."""

    kind: Literal["substrings"] = "substrings"
    least: Annotated[int, About("shortest repeated run", "words (hanzi count as words)", ge=5)] = 50
    action: Annotated[Literal["remove", "mask"], About("cut them out, or replace them by [...]")] = "remove"


@dataclass(frozen=True, kw_only=True)
class ContaminationStep:
    """Find documents that hold examples of evaluation sets (GPT-3, appendix C: 13-grams)."""

    kind: Literal["contamination"] = "contamination"
    files: Annotated[tuple[str, ...], About("evaluation sets: JSON lines, CSV, Parquet or text")]
    fields: Annotated[tuple[str, ...], About("columns of records that make up an example")] = ("text",)
    ngram: Annotated[int, About("words of an n-gram that counts as overlap", ge=5)] = 13
    near: Annotated[
        float, About("Jaccard similarity from which a document nearly repeats an example", gt=0, le=1)
    ] = 0.8
    action: Annotated[Literal["reject", "report"], About("skip the documents, or only mark them")] = "reject"


# A step that looks at one document at a time, and one that must know all of them.
DocumentStep = (
    RepairStep
    | UnicodeStep
    | WhitespaceStep
    | LengthStep
    | FtfyStep
    | ChineseStep
    | BoilerplateStep
    | LanguageStep
    | GopherStep
    | C4Step
    | FineWebStep
    | ClassifierStep
    | PersonalDataStep
    | StopWordsStep
    | SegmentStep
    | ContaminationStep
)
CorpusStep = ExactDuplicatesStep | NearDuplicatesStep | LeakageStep | ContainmentStep | SubstringsStep
CleaningStep = DocumentStep | CorpusStep
