"""What commands print: tables and fields for people, JSON for programs, questions and errors beside them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import typer
from pydantic_core import to_jsonable_python
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from taskproc.cli.words import cell
from taskproc.failure import visible

__all__ = ["FAILED", "MISUSED", "Column", "Output", "console", "fields", "flat", "heading", "spaced", "tell"]

FAILED, MISUSED = 1, 2
"""Exit codes: what is asked for is not there, or was not done; the command makes no sense, or Redis is not reached."""
UNREAD = 141
"""As a shell says it of what SIGPIPE ends."""
GAP = 2  # columns between columns
LEAST = 14  # columns that a flexible one needs to be of use
WIDE = 10_000  # columns: a pipe has no edge

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[T]):
    """A column of a table: its head, and what stands in it for an item."""

    head: str
    value: Callable[[T], str | Text]
    number: bool = False
    flexible: bool = False
    """May be cut, where lines are short."""
    extra: bool = False
    """Left out where they are too short for it: the last of these first."""


class Output:
    """Prints what a command found or did, in one of two ways."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = console()

    def many(self, items: Sequence[T], columns: Sequence[Column[T]], *, empty: str) -> None:
        """A table, or an array; where there are none, people are told so."""
        if self.as_json:
            self.json(items)
        else:
            self.print(self.table(items, columns) if items else Text(visible(empty), style="dim"))

    def table(self, items: Sequence[T], columns: Sequence[Column[T]]) -> Table:
        """One line for each of some items, as wide as the terminal at most."""
        return _table(items, columns, self.console.width)

    def one(self, item: object, *shown: RenderableType | None, **more: object) -> None:
        """These parts, a line apart, or an object: the item's fields, and more."""
        if self.as_json:
            self.json(flat(item) | more)
        else:
            self.print(spaced(*shown))

    def did(self, what: str, number: int, said: str, *, otherwise: str = "") -> None:
        """`{what: number}`, or a sentence. Where `otherwise` is to be said when nothing was done, that is a failure."""
        if self.as_json:
            self.json({what: number})
        if otherwise and not number:
            raise typer.Exit(tell(otherwise))
        if not self.as_json:
            self.print(Text(visible(said)))

    def json(self, value: object, *, indent: int | None = 2) -> None:
        """The value for programs, which may be a data class, or hold some."""
        _write(json.dumps(to_jsonable_python(value), indent=indent) + "\n")

    def print(self, shown: RenderableType) -> None:
        """For people; into a pipe without the blanks that fill lines."""
        if self.console.is_terminal:
            self.console.print(shown)
            return
        with self.console.capture() as captured:
            self.console.print(shown)
        _write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _write(text: str) -> None:
    """At once: who reads a command that goes on, waits for it. Ends the command when nobody reads any more."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's last flush complains
        raise typer.Exit(UNREAD) from None


def console(*, stderr: bool = False) -> Console:
    """What prints to a terminal as wide as it is, and to a pipe as wide as it takes."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=stderr)
    if not made.is_terminal and not os.environ.get("COLUMNS"):
        made.width = WIDE
    return made


def tell(error: object) -> int:
    """Says on stderr what went wrong; FAILED."""
    console(stderr=True).print(Text("taskproc: ", style="red").append_text(_lines(str(error))))
    return FAILED


def _lines(text: str) -> Text:
    return Text("\n").join(Text(visible(line)) for line in text.splitlines())


def flat(item: object) -> dict[str, Any]:
    """A data class as the object of JSON that FastAPI makes of it."""
    made: dict[str, Any] = to_jsonable_python(item)
    return made


def _table(items: Sequence[T], columns: Sequence[Column[T]], width: int) -> Table:
    made = Table(box=None, header_style="dim", padding=(0, GAP, 0, 0), pad_edge=False)
    chosen = _fitting([(column, [_shown(column.value(item)) for item in items]) for column in columns], width)
    for column, _ in chosen:
        made.add_column(
            Text(column.head, no_wrap=True),
            justify="right" if column.number else "left",
            no_wrap=not column.flexible,
            overflow="ellipsis",
        )
    for row in zip(*(cells for _, cells in chosen), strict=True):
        made.add_row(*row)
    return made


def _fitting(columns: list[tuple[Column[T], list[Text]]], width: int) -> list[tuple[Column[T], list[Text]]]:
    """Without what is extra, as far as the rest needs its place."""
    chosen = columns[:]
    for column in reversed(columns):
        if sum(_needed(each, cells) + GAP for each, cells in chosen) - GAP <= width:
            break
        if column[0].extra:
            chosen.remove(column)
    return chosen


def _needed(column: Column[T], cells: Sequence[Text]) -> int:
    longest = max(len(column.head), *(cell.cell_len for cell in cells))
    return min(longest, LEAST) if column.flexible else longest


def _shown(value: str | Text) -> Text:
    shown = value if isinstance(value, Text) else cell(value)
    shown.no_wrap = True
    return shown


def fields(*pairs: tuple[str, str | Text | None]) -> Table:
    """Names and values, aligned; those that are None are left out."""
    made = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value is not None:
            made.add_row(name, value if isinstance(value, Text) else cell(value))
    return made


def heading(title: str, shown: RenderableType) -> Group:
    """Something under its title."""
    return Group(Text(title, style="bold"), shown)


def spaced(*parts: RenderableType | None) -> Group:
    """What there is, a line apart."""
    lines = [each for part in parts if part is not None for each in (Text(), part)]
    return Group(*lines[1:])
