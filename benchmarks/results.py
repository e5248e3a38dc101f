"""What the measured programs printed, and what is drawn from it: medians, and ratios of figures of the same round."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

__all__ = ["FLOOR", "OURS", "Figure", "Results", "Row"]

OURS, FLOOR = "taskproc", "floor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one program printed, once."""

    round: int
    measure: str
    program: str
    size: int = 0
    figures: dict[str, float]
    texts: dict[str, str]

    @classmethod
    def read(cls, round_: int, measure: str, program: str, size: int, line: str) -> Row:
        """From the program's line of JSON; a figure that is null is missing."""
        said: dict[str, object] = json.loads(line)
        return cls(
            round=round_,
            measure=measure,
            program=program,
            size=size,
            figures={name: float(value) for name, value in said.items() if isinstance(value, int | float)},
            texts={name: value for name, value in said.items() if isinstance(value, str)},
        )

    def line(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one program."""

    measure: str
    name: str
    program: str = OURS
    size: int = 0


class Results:
    """All rows of a run."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def by_round(self, figure: Figure) -> dict[int, float]:
        """The figure in each round that has it."""
        return {row.round: row.figures[figure.name] for row in self._of(figure) if figure.name in row.figures}

    def median(self, figure: Figure) -> float | None:
        """The median over the rounds, or None when it was not measured."""
        values = self.by_round(figure).values()
        return statistics.median(values) if values else None

    def ratios(self, top: Figure, bottom: Figure) -> list[float]:
        """`top` by `bottom`, in each round that has both, sorted."""
        above, below = self.by_round(top), self.by_round(bottom)
        return sorted(above[each] / below[each] for each in above if below.get(each))

    def sizes(self, measure: str) -> list[int]:
        """The sizes for which a curve was measured."""
        return sorted({row.size for row in self.rows if row.measure == measure})

    def programs(self, measure: str) -> list[str]:
        """The programs that were measured."""
        return list(dict.fromkeys(row.program for row in self.rows if row.measure == measure))

    def text(self, measure: str, program: str, name: str) -> str:
        """What the program said of itself."""
        return next((row.texts[name] for row in self.rows if (row.measure, row.program) == (measure, program)), "")

    def slowest(self) -> tuple[float, str] | None:
        """The longest script of ours in milliseconds, and where it was seen."""
        seen = [row for row in self.rows if row.program == OURS and "slowest_ms" in row.figures]
        if not seen:
            return None
        row = max(seen, key=lambda each: each.figures["slowest_ms"])
        size = f", {row.size:,}" if row.size else ""
        return row.figures["slowest_ms"], f"{row.texts['slowest']}, in “{row.measure}{size}”"

    def _of(self, figure: Figure) -> Iterable[Row]:
        wanted = (figure.measure, figure.program, figure.size)
        return (row for row in self.rows if (row.measure, row.program, row.size) == wanted)
