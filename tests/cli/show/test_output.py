"""A table of the screen."""

from __future__ import annotations

from textmill.cli.show.output import OUT, columns


def test_a_name_that_looks_like_markup_is_shown_as_it_is(capsys):
    table = columns("name", "size", right=(1,))
    table.add_row("[/bold]", "[red]3")
    OUT.print(table)
    assert capsys.readouterr().out.splitlines()[1].split() == ["[/bold]", "[red]3"]
