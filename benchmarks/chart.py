"""Bars as an SVG that reads well on light and dark pages, whatever the reader's system says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Bar", "bars"]

WIDTH, LABELS, VALUES = 760, 300, 96  # of the whole, of the names at its left, of the figures at its right
ROW, TOP, THICK = 30, 58, 14

STYLE = """
  .card { fill: #ffffff; stroke: #d5dade; }
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #2b3238; }
  .title { font-size: 15px; font-weight: 600; }
  .note { font-size: 12px; fill: #66707a; }
  .value { font-variant-numeric: tabular-nums; }
  .track { fill: #eceff1; }
  .ours { fill: #00897b; }
  .missed { fill: #c77700; }
  .other { fill: #90a4ae; }
  .goal { stroke: #2b3238; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #1f2429; stroke: #3a424a; }
    text { fill: #e4e8eb; }
    .note { fill: #9aa5af; }
    .track { fill: #2d343b; }
    .ours { fill: #26a69a; }
    .missed { fill: #e69a2e; }
    .other { fill: #78909c; }
    .goal { stroke: #e4e8eb; }
  }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One row: its length is `value`, with a mark at `goal`; `kind` is `ours`, `missed` or `other`."""

    label: str
    value: float
    text: str
    kind: str = "ours"
    goal: float | None = None


def bars(title: str, note: str, rows: Sequence[Bar], full: float = 0) -> str:
    """The chart. All bars have one scale, from zero to the longest one, or to `full` if none is longer."""
    longest = max(full, *(max(row.value, row.goal or 0) for row in rows))
    height = TOP + ROW * len(rows) + 16
    drawn = "\n".join(_row(row, TOP + ROW * number, longest) for number, row in enumerate(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-labelledby="title note">\n'
        f"<style>{STYLE}</style>\n"
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>\n'
        f'<text id="title" class="title" x="20" y="28">{escape(title)}</text>\n'
        f'<text id="note" class="note" x="20" y="46">{escape(note)}</text>\n'
        f"{drawn}\n</svg>\n"
    )


def _row(row: Bar, y: int, longest: float) -> str:
    room = WIDTH - LABELS - VALUES
    length = max(room * row.value / longest, 1)
    top = y + (ROW - THICK) // 2
    baseline = y + ROW // 2 + 5
    parts = [
        f'<text x="{LABELS - 12}" y="{baseline}" text-anchor="end">{escape(row.label)}</text>',
        f'<rect class="track" x="{LABELS}" y="{top}" width="{room}" height="{THICK}" rx="3"/>',
        f'<rect class="{row.kind}" x="{LABELS}" y="{top}" width="{length:.1f}" height="{THICK}" rx="3"/>',
        f'<text class="value" x="{WIDTH - VALUES + 12}" y="{baseline}">{escape(row.text)}</text>',
    ]
    if row.goal is not None:
        x = LABELS + room * row.goal / longest
        parts.append(f'<line class="goal" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{top + THICK + 4}"/>')
    return "\n".join(parts)
