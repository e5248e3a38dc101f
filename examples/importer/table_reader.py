"""Reads delimited files as a stream: however large they are, one row is in memory at a time."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

Format = Literal["csv", "tsv"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows come as line number and cells."""

    columns: list[str]
    rows: Iterator[tuple[int, list[str]]]


def read_table(file: BinaryIO, format_: Format, columns: list[str], comment: str) -> Table:
    """The table in a file. Without `columns`, its first row names them. Lines that begin with `comment` are left out.

    UnicodeDecodeError or csv.Error, now or while rows are taken, when the file is no such table.
    """
    rows = _rows(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), format_, comment)
    if not columns:
        _, columns = next(rows, (0, columns))
    return Table(columns=columns, rows=rows)


def _rows(text: io.TextIOWrapper, format_: Format, comment: str) -> Iterator[tuple[int, list[str]]]:
    lines = ("\n" if comment and line.startswith(comment) else line for line in text)  # emptied, so that lines count
    if format_ == "tsv":
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, strict=True)
    for cells in reader:
        if cells:
            yield reader.line_num, cells
