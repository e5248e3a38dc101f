"""Charts, drawn as paths: a plot of 600 by 100 units that is stretched to the width there is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from taskproc.statistics import Durations, StatisticsPoint
from taskproc_fastapi.dashboard import formats

__all__ = ["Chart", "Label", "Series", "axis_of", "charts_of", "merged"]

WIDTH, HEIGHT = 600, 100
MOST_POINTS = 72
SHORTEST = 5.0  # seconds that a stretch must have lasted to be reckoned with
UNITS = ((1, "s"), (60, "min"), (3600, "h"))
MINUTE, HOUR = 60, 3600
TIMES = (15, 20, 30, *(MINUTE * step for step in (1, 1.5, 2, 3, 5, 10, 15, 20, 30, 45)))
QUANTILES = ((0.5, "median", "q50"), (0.95, "95 %", "q95"), (0.99, "99 %", "q99"))

Format = Callable[[float | None], str]


@dataclass(frozen=True, slots=True)
class Series:
    """A line, or a layer of bars."""

    name: str
    css: str
    path: str
    latest: str


@dataclass(frozen=True, slots=True)
class Label:
    """What stands under the pointer: a strip of the plot, and what it says."""

    x: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything that a template needs to draw one."""

    id: str
    title: str
    unit: str
    top: str
    """What the upper edge stands for."""
    series: list[Series]
    filled: bool
    """Bars, and not lines."""
    labels: list[Label]
    said: str
    """What it shows, for those who do not see it."""


def merged(points: Sequence[StatisticsPoint]) -> list[StatisticsPoint]:
    """The same, as at most 72 points."""
    step = math.ceil(len(points) / MOST_POINTS) or 1
    first = len(points) % step  # what does not fit is left out at the far end
    return [_sum(points[at : at + step]) for at in range(first, len(points), step)]


def _sum(points: Sequence[StatisticsPoint]) -> StatisticsPoint:
    return StatisticsPoint(
        at=points[0].at,
        seconds=sum(point.seconds for point in points),
        done=sum(point.done for point in points),
        failed=sum(point.failed for point in points),
        retried=sum(point.retried for point in points),
        canceled=sum(point.canceled for point in points),
        released=sum(point.released for point in points),
        run=sum((point.run for point in points), Durations()),
        wait=sum((point.wait for point in points), Durations()),
        ready=_last(point.ready for point in points),
        running=_last(point.running for point in points),
        delayed=_last(point.delayed for point in points),
        dead=_last(point.dead for point in points),
    )


def _last(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return known[-1] if known else None


def axis_of(points: Sequence[StatisticsPoint]) -> list[datetime]:
    """Five instants, evenly spread over the points; none without charts."""
    if not points:
        return []
    begin, end = points[0].at, points[-1].at + timedelta(seconds=points[-1].seconds)
    return [begin + (end - begin) * part / 4 for part in range(5)]


def charts_of(points: Sequence[StatisticsPoint], now: Mapping[str, int]) -> list[Chart]:
    """Throughput, depth, waits and run times over the points, the oldest first, of which something is known. `now`: how
    many tasks are ready, running, delayed and dead; the points know that of their begin.
    """
    if not points:
        return []
    waiting, rest = [_depths(points, names, now) for names in (("ready", "running"), ("delayed", "dead"))]
    waits, runs = _quantiles([point.wait for point in points]), _quantiles([point.run for point in points])
    charts = [
        _lines(("depth", "Depth", "tasks"), formats.count, points, waiting),
        _lines(("rest", "Delayed and dead", "tasks"), formats.count, points, rest),
        _lines(("wait", "Wait", "until a task starts"), formats.seconds, points, waits),
        _lines(("run", "Run time", "of an attempt"), formats.seconds, points, runs),
    ]
    known = [any(value for _, _, values in rows for value in values) for rows in (waiting, rest, waits, runs)]
    moved = any(point.done or point.failed or point.retried for point in points)
    return [*([_throughput(points)] if moved else []), *itertools.compress(charts, known)]


Values = Sequence[float | None]
Row = tuple[str, str, Values]
"""Name, class and values of a series."""


def _depths(points: Sequence[StatisticsPoint], names: Sequence[str], now: Mapping[str, int]) -> list[Row]:
    known = {
        "ready": [point.ready for point in points],
        "running": [point.running for point in points],
        "delayed": [point.delayed for point in points],
        "dead": [point.dead for point in points],
    }
    return [(name, name, [*known[name][:-1], now[name]]) for name in names]


def _quantiles(durations: Sequence[Durations]) -> list[Row]:
    return [(name, css, [each.quantile(share) for each in durations]) for share, name, css in QUANTILES]


def _throughput(points: Sequence[StatisticsPoint]) -> Chart:
    lengths = [_length(point) for point in points]
    counts = (
        ("done", [p.done for p in points]),
        ("retried", [p.retried for p in points]),
        ("failed", [p.failed for p in points]),
    )
    layers = [[number / length for number, length in zip(each, lengths, strict=True)] for _, each in counts]
    rows: list[Row] = [(name, name, layer) for (name, _), layer in zip(counts, layers, strict=True)]
    highest = max((sum(column) for column in zip(*layers, strict=True)), default=0.0)
    unit, shown = _per(highest)
    top = _nice(highest * unit) / unit
    floor = [0.0] * len(points)
    series: list[Series] = []
    for (name, css, values), layer in zip(rows, layers, strict=True):
        series.append(Series(name, css, _bars(layer, floor, top), shown(_now(values))))
        floor = [low + high for low, high in zip(floor, layer, strict=True)]
    done, failed = sum(point.done for point in points), sum(point.failed for point in points)
    said = f"Throughput: {done:,} attempts done, {failed:,} failed for good; at most {shown(highest)}."
    labels = _labels(points, rows, shown)
    return Chart("throughput", "Throughput", "attempts", shown(top), series, filled=True, labels=labels, said=said)


def _length(point: StatisticsPoint) -> float:
    """Seconds that a point has lasted: the last one is not over."""
    return min(max((datetime.now(UTC) - point.at).total_seconds(), SHORTEST), point.seconds)


def _per(highest: float) -> tuple[int, Format]:
    """The unit of time in which rates up to that are read best, in seconds, and how they are shown."""
    unit, name = next(((length, name) for length, name in UNITS if highest * length >= 1), UNITS[-1])

    def shown(per_second: float | None) -> str:
        number = (per_second or 0) * unit
        return f"{number:,.1f} / {name}" if 0 < number < 10 and number % 1 else f"{number:,.0f} / {name}"  # noqa: PLR2004

    return unit, shown


def _lines(heading: tuple[str, str, str], shown: Format, points: Sequence[StatisticsPoint], rows: list[Row]) -> Chart:
    id_, title, unit = heading
    known = [value for _, _, values in rows for value in values if value is not None]
    top = (_nice_count if shown is formats.count else _nice_time)(max(known, default=0))
    series = [Series(name, css, _line(values, top), shown(_now(values))) for name, css, values in rows]
    last = ", ".join(f"{each.name} {each.latest}" for each in series)
    said = f"{title}: lately {last}; at most {shown(max(known))}." if known else f"{title}: nothing is known."
    return Chart(id_, title, unit, shown(top), series, filled=False, labels=_labels(points, rows, shown), said=said)


def _now(values: Values) -> float | None:
    """The latest value: the last stretch is not over, and may know nothing yet."""
    return next((value for value in reversed(values[-3:]) if value is not None), None)


def _nice(value: float) -> float:
    """The next of 1, 2, 5, 10, … above."""
    if value <= 0:
        return 1
    size = 10.0 ** math.floor(math.log10(value))
    return next((step * size for step in (1, 1.5, 2, 3, 5, 7.5) if step * size >= value), 10 * size)


def _nice_count(value: float) -> float:
    return max(math.ceil(_nice(value)), 1)


def _nice_time(value: float) -> float:
    """Seconds, minutes and hours as clocks have them."""
    if value <= 10:  # noqa: PLR2004
        return _nice(value)
    return next((step for step in TIMES if step >= value), _nice(value / HOUR) * HOUR)


def _bars(values: Sequence[float], floor: Sequence[float], top: float) -> str:
    step = WIDTH / max(len(values), 1)
    width = max(step * 0.78, step - 3)
    margin = (step - width) / 2
    parts = [
        f"M{place * step + margin:.1f} {_y(low, top):.1f}h{width:.1f}V{_y(low + value, top):.1f}h-{width:.1f}z"
        for place, (value, low) in enumerate(zip(values, floor, strict=True))
        if value > 0
    ]
    return "".join(parts)


def _line(values: Values, top: float) -> str:
    step = WIDTH / max(len(values), 1)
    spots = [None if value is None else (place * step + step / 2, _y(value, top)) for place, value in enumerate(values)]
    parts: list[str] = []
    for before, spot, after in zip([None, *spots], spots, [*spots[1:], None], strict=False):
        if spot is not None:
            alone = "h3" if before is None and after is None else ""  # or nothing would be seen of it
            parts.append(f"{'M' if before is None else 'L'}{spot[0]:.1f} {spot[1]:.1f}{alone}")
    return "".join(parts)


def _y(value: float, top: float) -> float:
    return HEIGHT - value / top * HEIGHT


def _labels(points: Sequence[StatisticsPoint], rows: list[Row], shown: Format) -> list[Label]:
    step = WIDTH / max(len(points), 1)
    return [
        Label(place * step, step, f"{_clock(point.at)} UTC\n" + "\n".join(_told(rows, place, shown)))
        for place, point in enumerate(points)
    ]


def _told(rows: list[Row], place: int, shown: Format) -> list[str]:
    return [f"{name}: {shown(values[place])}" for name, _, values in rows]


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
