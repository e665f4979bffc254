r"""ARPA files: n-gram models as text, one n-gram a line, as SRILM and KenLM write and read them.

    log10 P(w | h) <tab> h w <tab> log10 of the weight by which the context (h w) backs off

Interpolated models are written as what they come to: P in full for every n-gram seen and the weight for the others, so
that backing off gives the same probabilities. No word of such a file holds a space, and our tokens stand for bytes: a
token is its text, in which every byte but the printable ASCII ones, and also %, < and >, is %xx (two hex digits), so
` the` is `%20the`. End-of-text is `<s>` where it begins an n-gram and `</s>` elsewhere; other special tokens keep
their names. A word that two tokens would share is followed by `%#` and the id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import atomic_file
from textmill.models.ngram.model import Level, NGram
from textmill.specs.model import NGramSpec
from textmill.tokenization.protocol import AnyTokenizer

BEGIN, FINISH = "<s>", "</s>"
_NEVER = -99.0  # the format's word for a probability of 0: of <s>, which is never foretold
_PLAIN = frozenset(range(0x21, 0x7F)) - frozenset(b"%<>")


def words(tokenizer: AnyTokenizer) -> list[str]:
    """The word each id is written as; no two are the same."""
    special = {number: name for name, number in tokenizer.special.items()}
    spelt = []
    for token in range(tokenizer.vocabulary):
        data = tokenizer.token_bytes(token)
        plain = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in data)
        spelt.append(special.get(token) or plain or "%")
    spelt[tokenizer.end] = FINISH
    times = Counter(spelt)
    return [word if times[word] == 1 else f"{word}%#{token}" for token, word in enumerate(spelt)]


def write_arpa(path: Path, model: NGram, tokenizer: AnyTokenizer) -> dict[str, int]:
    """Write a model, whole or not at all; returns how many n-grams it has of each length.

    Raises TextmillError for what such a file cannot say: contexts of any length, a cache, and add-k over more than
    single tokens, which does not back off to shorter contexts.
    """
    _sayable(model.spec)
    wide = NGram(model.spec, model.vocabulary)
    wide.load_state_dict(model.state_dict())
    wide.double()
    grams = torch.arange(model.vocabulary)[:, None]
    every = [grams]
    for level in _levels(wide):
        counts = level.starts.diff().long()
        grams = torch.cat([grams.repeat_interleave(counts, 0), level.tokens.long()[:, None]], 1)
        every.append(grams)
    spelt = words(tokenizer)
    sizes = {str(length): len(grams) for length, grams in enumerate(every, 1)}
    with atomic_file(path, "w", private=False) as handle:
        more = [len(every[0]) + 1, *map(len, every[1:])]  # <s> is a word of its own
        handle.write("\\data\\\n" + "".join(f"ngram {n}={size}\n" for n, size in enumerate(more, 1)))
        for length, grams in enumerate(every, 1):
            handle.write(f"\n\\{length}-grams:\n")
            weights = _levels(wide)[length - 1].gamma if length < len(every) else None
            backs = None if weights is None else weights.log10().tolist()
            if length == 1:
                handle.write(
                    f"{_NEVER}\t{BEGIN}" + ("\n" if backs is None else f"\t{backs[tokenizer.end]:.10g}\n")
                )
            logs = (wide.log_probs(_contexts(wide, grams[:, :-1]), grams[:, -1]) / np.log(10)).tolist()
            handle.writelines(_lines(grams.tolist(), logs, backs, spelt, tokenizer.end))
        handle.write("\n\\end\\\n")
    return sizes


def _lines(
    grams: list[list[int]], logs: list[float], backs: list[float] | None, spelt: list[str], end: int
) -> Iterator[str]:
    for row, gram in enumerate(grams):
        first = BEGIN if len(gram) > 1 and gram[0] == end else spelt[gram[0]]
        text = " ".join([first, *(spelt[token] for token in gram[1:])])
        # A document's end is no context: the next document begins with <s>.
        back = f"\t{backs[row]:.10g}" if backs is not None and gram[-1] != end else ""
        yield f"{logs[row]:.10g}\t{text}{back}\n"


def _sayable(spec: NGramSpec) -> None:
    why = ""
    if spec.smoothing == "infinity":
        why = "it reads contexts of any length"
    elif spec.cache:
        why = "it has a cache"
    elif spec.smoothing == "add-k" and spec.order > 1:
        why = "add-k does not back off to shorter contexts"
    if why:
        raise TextmillError(f"cannot be written as an ARPA file: {why}", where="the model")


def _levels(model: NGram) -> list[Level]:
    return [level for level in model.levels if isinstance(level, Level)]


def _contexts(model: NGram, contexts: Tensor) -> Tensor:
    """What the model's output reads after contexts (N, n) of n tokens: (N, `hidden_width`)."""
    numbers = torch.full((len(contexts), model.hidden_width), -1)
    length = contexts.shape[1]
    for size in range(1, length + 1):
        numbers[:, size - 1] = _numbers(model, contexts[:, length - size :])
    return numbers


def _numbers(model: NGram, grams: Tensor) -> Tensor:
    """The numbers of n-grams (N, n) in the model's tables; -1 where it has none."""
    node = grams[:, 0]
    for level, tokens in zip(_levels(model), grams.unbind(1)[1:], strict=False):
        node = level.child(node, tokens)
    return node


def read_arpa(path: Path, tokenizer: AnyTokenizer) -> NGram:
    """The model of an ARPA file whose words are this tokenizer's, spelt as above; float64, in eval mode.

    Tokens the file does not have share what its single words leave, <unk> among it. Raises DamagedError where the
    file is not whole, TextmillError where a word is no token, or where so much is taken that nothing is left.
    """
    sections = _sections(path, {word: token for token, word in enumerate(words(tokenizer))}, tokenizer.end)
    tokens, logs, backs = next(sections)
    unigram, gamma = _unigrams(tokens[:, 0], logs, backs, tokenizer, path)
    tables: list[dict[str, Tensor]] = []
    model = _model(tables, unigram, tokenizer, order=1)
    for order, (tokens, logs, backs) in enumerate(sections, 2):
        rank = np.lexsort(tokens.T[::-1])
        grams, known = torch.from_numpy(tokens[rank]), torch.from_numpy(10.0 ** logs[rank])
        parents = _numbers(model, grams[:, :-1]) if order > 2 else grams[:, 0]
        if bool((parents < 0).any()):
            raise DamagedError(f"has {order}-grams whose prefix is not a {order - 1}-gram", where=path)
        lower = model.log_probs(_contexts(model, grams[:, 1:-1]), grams[:, -1]).exp()
        counts = torch.bincount(parents, minlength=len(gamma))
        tables.append(
            {
                "tokens": grams[:, -1].int(),
                "starts": _starts(counts),
                "alpha": known - gamma[parents] * lower,
                "gamma": gamma,
            }
        )
        gamma = torch.from_numpy(10.0 ** backs[rank])
        model = _model(tables, unigram, tokenizer, order=order)
    return model


def _starts(counts: Tensor) -> Tensor:
    """(M + 1,) int32: where the n-grams of each context begin."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()


def _model(tables: list[dict[str, Tensor]], unigram: Tensor, tokenizer: AnyTokenizer, *, order: int) -> NGram:
    model = NGram(NGramSpec(order=order, context=max(1024, order)), tokenizer.vocabulary)
    state = {
        f"levels.{number}.{name}": table
        for number, level in enumerate(tables)
        for name, table in level.items()
    }
    model.load_state_dict(state | {"unigram": unigram, "end": torch.tensor([tokenizer.end])})
    return model.eval()


def _unigrams(
    tokens: np.ndarray, logs: np.ndarray, backs: np.ndarray, tokenizer: AnyTokenizer, path: Path
) -> tuple[Tensor, Tensor]:
    """P (V,) and the weights (V,) of single tokens. <s>, which stands in no sum, gives end-of-text its weight."""
    begins = logs <= _NEVER
    known = np.zeros(tokenizer.vocabulary)
    known[tokens[~begins]] = 10.0 ** logs[~begins]
    weights = np.ones(tokenizer.vocabulary)
    weights[tokens[~begins]] = 10.0 ** backs[~begins]
    weights[tokens[begins]] = 10.0 ** backs[begins]
    missing = known == 0
    if missing.any():
        left = 1 - known.sum()
        if left <= 0:
            raise TextmillError(
                f"leaves nothing for the {int(missing.sum())} tokens it does not have", where=path
            )
        known[missing] = left / missing.sum()
    return torch.from_numpy(known), torch.from_numpy(weights)


def _sections(
    path: Path, ids: dict[str, int], end: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each length: tokens (N, n), log10 probabilities (N,), log10 weights (N,)."""
    ids = ids | {BEGIN: end}
    sizes: list[int] = []
    try:
        with open(path, encoding="utf-8") as handle:
            for line in handle:
                if line.startswith("ngram "):
                    sizes.append(int(line.partition("=")[2]))
                elif line.startswith("\\1-grams:"):
                    break
            for length, size in enumerate(sizes, 1):
                yield _section(handle, path, ids, length, size)
                for line in handle:  # on to the next section's head
                    if line.startswith("\\"):
                        break
                else:
                    raise DamagedError(f"ends after its {length}-grams: \\end\\ is missing", where=path)
    except ValueError as error:  # of a number, or of UTF-8
        raise DamagedError(f"is not an ARPA file: {error}", where=path) from error
    if not sizes:
        raise DamagedError("is not an ARPA file: it has no line `ngram 1=`", where=path)


def _section(
    handle: Iterator[str], path: Path, ids: dict[str, int], length: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    tokens, logs, backs = [], [], []
    for _ in range(size):
        line = next(handle, "").split()
        if not length < len(line) <= length + 2:
            raise DamagedError(f"has fewer than the {size} {length}-grams it names", where=path)
        if length == 1 and line[1] in ("<unk>", "<UNK>"):
            continue
        try:
            tokens.append([ids[word] for word in line[1 : length + 1]])
            logs.append(float(line[0]))
            backs.append(float(line[length + 1]) if len(line) > length + 1 else 0.0)
        except KeyError as error:
            raise TextmillError(
                f"has the word {error.args[0]!r}, which is not a token",
                where=path,
                advice="give the tokenizer the file was made with",
            ) from None
        except ValueError as error:
            raise DamagedError(f"has a line that is not an n-gram ({error})", where=path) from None
    rows = np.array(tokens, dtype=np.int64).reshape(-1, length)
    return rows, np.array(logs), np.array(backs)
