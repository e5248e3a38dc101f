"""Writes what was measured: RESULTS.md and charts beside this file, and the short of it into the documentation."""

from __future__ import annotations

import os
import platform
import re
import statistics
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.chart import Bar, bars
from benchmarks.goals import Outcome, all_outcomes
from benchmarks.plan import CURVES, Curve
from benchmarks.results import FLOOR, OURS, Figure, Results

__all__ = ["goals_table", "machine", "peers_table", "render", "write"]

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
PACKAGES = ("taskproc", "redis", "hiredis", "uvloop", "msgspec", "dependency-injector")

METHOD = (
    "Medians of up to {} rounds, in which floor and taskproc took turns part by part. A ratio is the median of those "
    "of each round, with the lowest and the highest. [What is measured](../docs/performance.md)."
)

OTHERS = "## Others on the same work"

PEER_COLUMNS = (
    ("one by one /s", "enqueue_one"),
    ("100 at once /s", "enqueue_100"),
    ("bulk /s", "enqueue_bulk"),
    ("drain no-op /s", "drain_noop"),
    ("drain 10 ms /s", "drain_10ms"),
    ("latency p50 ms", "latency_p50_ms"),
    ("p99 ms", "latency_p99_ms"),
    ("round trips a task", "round_trips"),
    ("server µs a task", "server_us"),
    ("bytes a queued task", "bytes_per_task"),
)
OWN = {
    "enqueue_one": ("enqueue", "one"),
    "enqueue_100": ("enqueue", "concurrent"),
    "enqueue_bulk": ("enqueue", "bulk"),
    "drain_noop": ("drain noop", "per_second"),
    "drain_10ms": ("drain nap", "per_second"),
    "latency_p50_ms": ("latency", "p50"),
    "latency_p99_ms": ("latency", "p99"),
    "round_trips": ("drain noop", "round_trips"),
    "server_us": ("drain noop", "server_us"),
    "bytes_per_task": ("enqueue", "bytes"),
}
"""Where the figures of a peer's program stand in ours."""


def machine(server: str) -> str:
    """What it ran on, in one paragraph."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_cpu()}, {os.cpu_count()} cores, {platform.system()} "
        f"{platform.release().partition('-')[0]}; {server}; Python {platform.python_version()}, {packages}."
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text("utf-8") if info.exists() else ""
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "–"
    if value >= 1000:
        return f"{round(value, 3 - len(str(int(value)))):,.0f}" if value >= 10_000 else f"{value:,.0f}"
    return f"{value:.3g}"


def goals_table(outcomes: Iterable[Outcome]) -> str:
    """Each goal, and whether it is reached."""
    lines = ["| | floor | taskproc | ratio | goal | |", "|---|---:|---:|---:|---:|:---:|"]
    lines += [_goal_row(each) for each in outcomes]
    return "\n".join(lines)


def _goal_row(each: Outcome) -> str:
    unit = f" {each.unit}" if each.unit not in {"", "/s", "×"} else each.unit
    other = "" if each.other is None else f"{number(each.other)}{unit}"
    ours = f"{number(each.ours)}{unit}" if each.unit != "×" else ""
    ratio = "" if each.other is None and each.unit != "×" else f"**{each.value:.2f}**"
    if each.spread is not None:
        ratio += f" ({each.spread[0]:.2f}–{each.spread[1]:.2f})"
    sign = "≥" if each.kind == "at least" else "≤"
    goal = "" if each.bound is None else f"{sign} {each.bound:g}"
    mark = {True: "✓", False: "✗", None: ""}[each.reached]
    return f"| {each.title} | {other} | {ours} | {ratio} | {goal} | {mark} |"


def curve_table(results: Results, curve: Curve) -> str:
    """The time for a task at each size, by the smallest one's."""
    sizes = results.sizes(curve.name)
    base = Figure(curve.name, "per_second", size=sizes[0])
    lines = [
        f"| {curve.title} | tasks/s | µs a task | time, to {sizes[0]:,} | server µs |",
        "|---:|---:|---:|---:|---:|",
    ]
    for size in sizes:
        figure = Figure(curve.name, "per_second", size=size)
        speed = results.median(figure)
        if speed:
            ratios = results.ratios(base, figure)
            server = number(results.median(Figure(curve.name, "server_us", size=size)))
            times = f"{statistics.median(ratios):.2f}"
            lines.append(f"| {size:,} | {number(speed)} | {number(1e6 / speed)} | {times} | {server} |")
    return "\n".join(lines)


def enqueue_curve(results: Results) -> str:
    """What adding to a long queue costs."""
    lines = ["| queued before | batch /s | from 100 coroutines /s |", "|---:|---:|---:|"]
    for size in results.sizes("queued"):
        cells = [number(results.median(Figure("queued", name, size=size))) for name in ("bulk", "concurrent")]
        lines.append(f"| {size:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def peers_table(results: Results) -> str:
    """All programs side by side; empty when no peer was measured."""
    peers = results.programs("peer")
    if not peers:
        return ""
    lines = [f"| | {' | '.join(title for title, _ in PEER_COLUMNS)} |", f"|---{'|---:' * len(PEER_COLUMNS)}|"]
    for program in [FLOOR, OURS, *peers]:
        cells = [number(_peer_figure(results, program, name)) for _, name in PEER_COLUMNS]
        label = f"{program} {results.text('peer', program, 'version')}".strip()
        lines.append(f"| {f'**{label}**' if program == OURS else label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _peer_figure(results: Results, program: str, name: str) -> float | None:
    if program in {OURS, FLOOR}:
        return results.median(Figure(*OWN[name], program))
    return results.median(Figure("peer", name, program))


def render(results: Results, about: str, peers: str) -> str:
    """RESULTS.md."""
    rounds = 1 + max((row.round for row in results.rows), default=0)
    curves = [curve for curve in CURVES if results.sizes(curve.name)]
    parts = [
        "# Results",
        f"Written by `make bench`: {about}",
        METHOD.format(rounds),
        "![As a share of the floor](chart.svg)",
        goals_table(all_outcomes(results)),
        "## Growth",
        *(curve_table(results, curve) for curve in curves),
        *([enqueue_curve(results)] if results.sizes("queued") else []),
        OTHERS if peers else "",
        peers,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def floor_chart(outcomes: Sequence[Outcome], about: str) -> str:
    """Speeds as shares of the floor's."""
    rows = [
        Bar(
            label=_plain(each.title),
            value=each.value,
            text=f"{each.value:.2f}",
            kind="missed" if each.reached is False else "ours",
            goal=each.bound,
        )
        for each in outcomes
        if each.to_floor and each.unit == "/s"
    ]
    note = f"1 is the bare protocol; the line is the goal. {about.partition(';')[0]}"
    return bars("As a share of the floor", note, rows, full=1)


def peers_chart(results: Results, about: str) -> str:
    """No-op tasks a second."""
    speeds = [(name, _peer_figure(results, name, "drain_noop")) for name in [FLOOR, OURS, *results.programs("peer")]]
    known = sorted(((speed, name) for name, speed in speeds if speed), reverse=True)
    rows = [
        Bar(label=name, value=speed, text=number(speed), kind="ours" if name == OURS else "other")
        for speed, name in known
    ]
    return bars("No-op tasks a second, one worker, 100 slots", about.partition(";")[0], rows)


def _plain(title: str) -> str:
    return title.replace("`", "").replace("Drain of no-op tasks: ", "No-op: ").replace("… ", "No-op: ")


def between(text: str, name: str, content: str) -> str:
    """The text with other content between `<!-- name -->` and `<!-- end of name -->`."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    replaced, times = pattern.subn(lambda found: f"{found[1]}{content}\n{found[2]}", text)
    if times != 1:
        raise SystemExit(f"there is no place for {name}: `<!-- {name} -->` and `<!-- end of {name} -->` are missing")
    return replaced


def write(results: Results, server: str) -> None:
    """Writes everything; what was measured of peers before stays when there are none this time."""
    about = machine(server)
    outcomes = all_outcomes(results)
    _put("chart.svg", "performance.svg", floor_chart(outcomes, about))
    page = DOCS / "performance.md"
    text = between(page.read_text("utf-8"), "results", f"Measured {about}\n\n{goals_table(outcomes)}")
    own = HERE / "RESULTS.md"
    peers = _kept(own)
    if table := peers_table(results):
        _put("peers.svg", "peers.svg", peers_chart(results, about))
        peers = f"Measured {about}\n\n![No-op tasks a second](peers.svg)\n\n{table}"
        text = between(text, "peers", peers)
    page.write_text(text, "utf-8")
    own.write_text(render(results, about, peers), "utf-8")
    print(f"written: {own.relative_to(HERE.parent)}, charts, {page.relative_to(HERE.parent)}", file=sys.stderr)


def _kept(own: Path) -> str:
    text = own.read_text("utf-8") if own.exists() else ""
    return text.partition(OTHERS)[2].strip()


def _put(name: str, name_in_docs: str, chart: str) -> None:
    (HERE / name).write_text(chart, "utf-8")
    (DOCS / name_in_docs).write_text(chart, "utf-8")
