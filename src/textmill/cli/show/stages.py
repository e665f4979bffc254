"""Results as tables and text on stdout, for a person. Machines take `--json`, which prints the same data."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import reduce
from typing import Any

from rich.markup import escape
from rich.text import Text

from textmill.base.console import amount, counted, duration
from textmill.base.language import fill, padded, say
from textmill.cli.screen import sparkline
from textmill.cli.show.output import NONE as _NONE
from textmill.cli.show.output import OUT as _OUT
from textmill.cli.show.output import columns
from textmill.cli.show.scores import of_run, scores
from textmill.text.corpus.tally import personal_data
from textmill.text.document import printable

_LABELS = 20  # shown of a data set with many


def _number(value: Any, form: str = ".4f") -> str:
    return _NONE if value is None else format(value, form)


def prepared(result: Mapping[str, Any], noted: Container[str] = ()) -> None:
    """What `prepare` made. noted: what was said already."""
    table = columns("split", "documents", "bytes", "tokens", right=(1, 2, 3))
    for part, row in result["splits"].items():
        table.add_row(part, f"{row['documents']:,}", amount(row["bytes"], "B"), f"{row['tokens']:,}")
    _OUT.print(table)
    corpus = result["corpus"]
    counts = [corpus[key]["documents"] for key in ("read", "kept", "skipped")]
    _OUT.print("\nread {:,} = kept {:,} + skipped {:,}".format(*counts))
    for row in corpus["reasons"]:
        _skipped(row["documents"], f"{row['step']}: {say(row['reason'])}", row["samples"][0])
    if corpus["reasons"]:
        _OUT.print(f"  all of them, each with its source: {escape(result['rejected'])}", soft_wrap=True)
    if faults := result["records_skipped"]:
        _OUT.print("\nrecords the objective cannot use (skipped)")
        for reason, count in faults.items():
            _skipped(count, say(reason), {"source": result["records_skipped_first"].get(reason, "")})
    if result.get("records"):
        _labels(result["records"]["labels"])
    for text in result.get("warnings", ()):
        _OUT.print(f"\n[yellow]{escape(say(text))}[/yellow]", soft_wrap=True)
    if (personal := personal_data(corpus)) not in noted:
        _OUT.print(f"\n{escape(say(personal))}", soft_wrap=True)
    _OUT.print(f"\nvocabulary {result['vocabulary']:,}, {result['bytes_per_token']:.2f} bytes per token")
    for kind, path in {**result["artifacts"], "data card": result["card"]}.items():
        _OUT.print(f"{padded(say(kind), 10)} {escape(path)}", soft_wrap=True)


def _labels(labels: Mapping[str, Mapping[str, int]]) -> None:
    """How many records, or words, have each label in each split; of many labels the commonest."""
    if not labels:
        return
    splits = list(next(iter(labels.values())))
    table = columns("label", *splits, right=tuple(range(1, len(splits) + 1)))
    ordered = sorted(labels.items(), key=lambda pair: (-pair[1]["train"], pair[0]))
    for label, counts in ordered[:_LABELS]:
        table.add_row(label, *(f"{counts[split]:,}" for split in splits))
    _OUT.print()
    _OUT.print(table)
    if len(ordered) > _LABELS:
        _OUT.print(f"and {len(ordered) - _LABELS:,} more labels")


def _skipped(count: int, reason: str, sample: Mapping[str, str]) -> None:
    """How many things were skipped for one reason, and the first of them: its place, and what is particular there."""
    _OUT.print(f"  {count:>6,}  {escape(reason)}", soft_wrap=True)
    detail = f": {say(sample['detail'])}" if sample.get("detail") else ""
    if sample["source"]:
        first = printable(f"{sample['source']}{detail}")
        _OUT.print(f"          [dim]{escape(first)}[/dim]", soft_wrap=True)


def trained(result: Mapping[str, Any]) -> None:
    """Where a run stands after training."""
    run(result)
    _OUT.print(f"\nnext: textmill evaluate {result['name']}; textmill publish {result['name']}")


def published(result: Mapping[str, Any]) -> None:
    """A published model and its proof."""
    if "scores" in result:
        scores(result["scores"])
    parity(result["parity"])
    _OUT.print(f"\nmodel      {escape(result['model'])}")
    _OUT.print(fill("next       {}", escape("; ".join(result["next"]))), soft_wrap=True)


def parity(result: Mapping[str, Any]) -> None:
    """What `verify` found."""
    _OUT.print("\nthe same numbers on every path?\n")
    table = columns("path", "max |Δ logit|", "mean KL", "", right=(1, 2))
    colours = {"ok": "green", "failed": "bold red"}
    for row in result["checks"]:
        delta, kl = _number(row["max_difference"], ".1e"), _number(row["mean_kl"], ".1e")
        note = say({"ok": "agrees", "failed": "DIFFERS"}.get(row["state"], row["state"]))
        note = fill("{}: {}", note, say(row["why"])) if row["why"] else note
        if row["first_disagreement"] is not None:
            note += say(" (another likeliest token in text {}, token {})".format(*row["first_disagreement"]))
        table.add_row(say(row["name"]), delta, kl, Text(note, style=colours.get(row["state"], "dim")))
    _OUT.print(table)
    _OUT.print(
        f"compared with the training path, on {result['tokens']:,} tokens of {counted(result['texts'], 'text')}"
    )
    if result.get("proof"):
        _OUT.print(f"written to {result['proof']}")


def check(result: Mapping[str, Any]) -> None:
    """What a recipe will cost, and which tokens are in the loss."""
    _OUT.print(f"{escape(result['name'])}, before any training\n")
    table = columns("", "")
    table.show_header = False
    for label, text in _costs(result) if "parameters" in result else ():
        table.add_row(say(label), say(text))
    table.add_row(say("data"), say(f"{result['train_tokens']:,} tokens, {result['epochs']:.2f} epochs"))
    _OUT.print(table)
    _OUT.print("\ntokens in the loss are [green]green[/green], others [dim]dim[/dim]:")
    for row in result["mask"]:
        _mask(row)
    for finding in result["findings"]:
        colour = {"ok": "green", "warning": "yellow"}[finding["level"]]
        _OUT.print(Text.assemble((f"{padded(say(finding['level']), 8)} ", colour), say(finding["text"])))
    if sweep := result.get("sweep"):
        _OUT.print(f"\nlearning-rate sweep  {sparkline([loss for _, loss in sweep['curve']], 60)}")
        _OUT.print(f"suggested learning rate {sweep['suggestion']:.2e}")


def _mask(row: Mapping[str, Any]) -> None:
    """A row as it is read: its source, its tokens with what is to be said in place of them, its label."""
    if row["source"]:
        _OUT.print(Text("  " + "".join(row["source"]), style="dim"))
    line = Text("  → " if row["source"] else "  ")
    for token in row["tokens"]:
        line.append(token["text"], style="green" if token["loss"] else "dim")
        if "target" in token:
            line.append(f"[{token['target']}]", style="bold green")
    _OUT.print(line)
    if row["label"] is not None:
        _OUT.print(Text(f"  = {row['label']}", style="bold green"))


def _cut(result: Mapping[str, Any]) -> str:
    """How an update is cut up."""
    rows = result["micro_batch"]
    if (tokens := result["batch_tokens"]) is None:
        return fill("{} of {} sequences", min(rows, result["batch"]), result["batch"])
    return (
        f"all of {tokens:,} target tokens"
        if rows >= tokens
        else f"{rows} sequences of {tokens:,} target tokens"
    )


def _costs(result: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What a recipe's steps will cost."""
    return (
        ("parameters", f"{result['parameters']:,}"),
        (
            "compute",
            f"{amount(result['flops'], 'FLOP')} in all, {amount(result['flops_per_token'], 'FLOP')} per token",
        ),
        (
            "memory",
            f"{amount(result['memory_bytes'], 'B')} at most, of {amount(result['memory_free'], 'B')} free",
        ),
        (
            "time",
            fill(
                "{} for {} of {} s",
                duration(result["seconds"]),
                counted(result["steps"], "step"),
                f"{result['seconds_per_step']:.3f}",
            )
            if result["seconds"] is not None
            else _NONE,
        ),
        ("micro-batch", _cut(result)),
    )


def runs(rows: Sequence[Mapping[str, Any]]) -> None:
    """The list of runs."""
    if not rows:
        _OUT.print("no runs yet; `textmill quickstart` makes one")
        return
    headlines = {row["headline"] for row in rows if row.get("headline")}
    header = headlines.pop() if len(headlines) == 1 else "score"
    table = columns("run", "state", "step", "loss", "validation", header, "time", right=(2, 3, 4, 5, 6))
    for row in rows:
        if "damage" in row:
            table.add_row(row["name"], say(row["state"]), *[_NONE] * 5)
            continue
        table.add_row(
            row["name"],
            say(row["state"]),
            f"{row['step']:,}/{row['steps']:,}",
            _number(row["loss"]),
            _number(row["best_validation"]),
            of_run(row, named=header == "score"),
            duration(row["seconds"]),
        )
    _OUT.print(table)
    for row in rows:
        _remarks(row)


def _remarks(row: Mapping[str, Any]) -> None:
    """What is to be known of a run besides its figures."""
    if "damage" in row:
        _OUT.print(
            f"[bold red]{escape(row['name'])}: {escape(say(row['damage']))}[/bold red]", soft_wrap=True
        )
        return
    if start := row["start"]:
        _OUT.print(f"{row['name']} started from {start}")
    if count := len(row["forgotten"]):
        documents = counted(count, "document")
        _OUT.print(
            f"[yellow]{escape(row['name'])} was trained on {documents} on the list of what is to be forgotten[/yellow]",
            soft_wrap=True,
        )


def run(result: Mapping[str, Any]) -> None:
    """One run: figures and curves."""
    runs([result])
    width = max(20, min(100, _OUT.width - 14))
    for kind, points in result["curves"].items():
        if points:
            values = [value for _, value in points]
            _OUT.print(
                f"\n{padded(say(kind), 11)} "
                + say(
                    f"{values[0]:.3f} at step {points[0][0]:,} to {values[-1]:.3f} at step {points[-1][0]:,}"
                )
            )
            _OUT.print(Text(sparkline(values, width), style="cyan"))


def report(result: Mapping[str, Any]) -> None:
    """Where a run's page is."""
    line = fill("page       {}, {}", escape(result["page"]), amount(result["bytes"], "B"))
    _OUT.print(line, soft_wrap=True)


def comparison(result: Mapping[str, Any]) -> None:
    """Two runs side by side."""
    first, second = result["runs"]
    runs(result["runs"])
    table = columns("key", Text(first["name"]), Text(second["name"]))
    _OUT.print("\nrecipes differ in" if result["differences"] else "\nthe recipes are the same")
    for row in result["differences"]:
        table.add_row(row["key"], _value(row["first"]), _value(row["second"]))
    if result["differences"]:
        _OUT.print(table)
    for what, same in result["same"].items():
        if same is False:
            _OUT.print(f"[yellow]the {what} differs: the scores cannot be compared[/yellow]")
        elif same is None:
            _OUT.print(
                f"[yellow]the {what} no longer exists, so whether it was the same is not known[/yellow]"
            )


def _value(value: Any) -> str:
    return _NONE if value is None else str(value)


def lineage(result: Mapping[str, Any]) -> None:
    """The chain from an artifact back to its sources."""
    for row in result["artifacts"]:
        indent = "   " * row["depth"] + ("└─ " if row["depth"] else "")
        line = Text.assemble(indent, (say(row["kind"]), "bold"), f" {row['id'][:16]}  {row['path']}")
        if "state" in row:
            line.append(f"  {say(row['state'])}", style="bold red")
        if "inputs" in row:
            line.append(say(f"  from {counted(row['inputs'], 'source file')}"), style="dim")
        if count := row.get("forgotten"):
            line.append(say(f", {counted(count, 'document')} forgotten on request"), style="dim")
        if start := row.get("start"):
            line.append(say(f"  started from {start}"), style="dim")
        if known := row.get("trained_on"):
            line.append(say(f"  trained on: {known}"), style="dim")
        if result["verified"] and "damaged" in row:
            bad = row["damaged"]
            line.append(
                say(f"  damaged: {', '.join(bad)}" if bad else "  every hash matches"),
                style="bold red" if bad else "green",
            )
        _OUT.print(line, soft_wrap=True)
        if sources := row.get("sources"):
            _OUT.print(_sources(sources, "   " * (row["depth"] + 1)), soft_wrap=True)


def _sources(sources: Mapping[str, Any], indent: str) -> Text:
    """What became of the files a corpus was read from."""
    states = [say(f"unchanged: {counted(sources['same'], 'source file')}")]
    for state, words in (("changed", "changed since"), ("gone", "gone"), ("new", "new")):
        if names := sources[state]:
            more = say(f" and {len(names) - 3:,} more") if len(names) > 3 else ""
            states.append(fill("{} {} ({})", f"{len(names):,}", say(words), f"{', '.join(names[:3])}{more}"))
    style = "yellow" if sources["changed"] or sources["gone"] else "green"
    return Text(indent + reduce(lambda all, one: fill("{}; {}", all, one), states), style=style)


def documents(result: Mapping[str, Any]) -> None:
    """The documents of a batch."""
    table = columns("document", "tokens", "source", right=(1,))
    for row in result["documents"]:
        table.add_row(row["document"], f"{row['tokens']:,}", row["source"])
    _OUT.print(table)


def doctor(result: Mapping[str, Any]) -> None:
    """What this machine can do."""
    gpus = (
        ", ".join(f"{gpu['name']} ({amount(gpu['memory_bytes'], 'B')})" for gpu in result["gpus"]) or "none"
    )
    memory = amount(result["memory_bytes"], "B") if result["memory_bytes"] else _NONE
    for label, text in (
        ("textmill", f"{result['textmill']}, Python {result['python']}, torch {result['torch']}"),
        ("machine", result["platform"]),
        ("cores", f"{result['cores']}, {result['threads']} threads, {result['cpu']}"),
        ("bfloat16", "fast on this processor" if result["bf16_on_cpu"] else "slow on this processor"),
        ("memory", memory),
        ("GPU", gpus),
        ("disk", f"{amount(result['disk_free_bytes'], 'B')} free for {result['work']}"),
        ("compiler", result["compiler"] or "none"),
    ):
        _OUT.print(f"{padded(say(label), 10)} {escape(say(text))}", soft_wrap=True)
    table = columns("extra", "state", "for")
    for row in result["extras"]:
        state = (
            Text(say("installed"), style="green")
            if not row["missing"]
            else Text(say(f"lacks {', '.join(row['missing'])}"), style="yellow")
        )
        table.add_row(row["name"], state, say(row["purpose"]))
    _OUT.print()
    _OUT.print(table)
    for line in result["advice"]:
        _OUT.print(f"• {escape(say(line))}", soft_wrap=True)
