"""Measures everything and writes what came of it: `python -m benchmarks.run`, or `make bench`.

Each part is a process of its own, on a private server that is emptied in between; floor and taskproc take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.goals import all_outcomes
from benchmarks.plan import Measure, Scale, plan
from benchmarks.report import goals_table, number, peers_table, write
from benchmarks.results import OURS, Results, Row
from benchmarks.server import PrivateServer

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).parent / "peers"
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
ROWS = ROOT / "build" / "benchmarks.jsonl"
LIMIT = 600.0  # seconds for one part
HEADLINES = ("per_second", "drain_noop", "one", "p50", "round_trips", "woken")


def main() -> None:
    """The command."""
    chosen = _arguments()
    scale: Scale = "quick" if chosen.quick else "full" if chosen.full else "normal"
    rounds = chosen.rounds or (1 if chosen.quick else 5)
    measures = [each for each in plan(scale, rounds) if _is_chosen(each, chosen.only)]
    if not measures:
        raise SystemExit(f"--only {chosen.only}: there is no such part; there are {', '.join(_names(scale))}")
    peers = _peers(chosen.peers)
    ROWS.parent.mkdir(exist_ok=True)
    rows: list[Row] = []
    with PrivateServer(chosen.server) as server, ROWS.open("w", encoding="utf-8") as file:
        for row in _measured(server, measures, peers, rounds):
            rows.append(row)
            file.write(row.line() + "\n")
        results = Results(rows)
        print(f"\n{goals_table(all_outcomes(results))}\n\n{peers_table(results)}")
        if scale != "quick" and not chosen.only:
            write(results, server.name)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS='…'", description="Measures taskproc against the floor.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small counts, one round; nothing is written")
    size.add_argument("--full", action="store_true", help="up to a million tasks, and more sizes")
    parser.add_argument("--rounds", type=int, help="how often each part is measured (5; growth at most 3)")
    parser.add_argument("--only", help="parts whose names begin so, separated by commas; nothing is written")
    parser.add_argument("--server", help="a server program instead of the Valkey from PyPI, such as redis-server")
    parser.add_argument(
        "--peers", nargs="?", const="all", help="measure others too (make bench-peers): all, or names with commas"
    )
    return parser.parse_args()


def _is_chosen(measure: Measure, only: str | None) -> bool:
    return only is None or any(measure.name.startswith(name) for name in only.split(","))


def _names(scale: Scale) -> list[str]:
    return list(dict.fromkeys(each.name for each in plan(scale, 1)))


def _peers(wanted: str | None) -> list[Path]:
    if wanted is None:
        return []
    if not PEERS_PYTHON.exists():
        raise SystemExit("--peers: they are not installed here; `make bench-peers` does that, and measures them")
    programs = {each.stem: each for each in sorted(PEERS.glob("[!_]*.py"))}
    names = list(programs) if wanted == "all" else wanted.split(",")
    if unknown := set(names) - programs.keys():
        raise SystemExit(f"--peers {wanted}: there is no {', '.join(sorted(unknown))}; there are {', '.join(programs)}")
    return [programs[name] for name in names]


def _measured(server: PrivateServer, measures: Sequence[Measure], peers: Sequence[Path], rounds: int) -> Iterator[Row]:
    for round_ in range(rounds):
        for measure in measures:
            if round_ < measure.rounds:
                yield from _measure(server, measure, round_)
        for peer in peers if round_ < 3 else ():
            server.clear()
            line = _run([str(PEERS_PYTHON), str(peer), server.url, "{}"])
            if line is None:  # it is not ours, and the others can be measured all the same
                print(f"{peer.stem} was not measured", file=sys.stderr)
                continue
            yield _told(Row.read(round_, "peer", peer.stem, 0, line))


def _measure(server: PrivateServer, measure: Measure, round_: int) -> Iterator[Row]:
    for program in measure.programs:
        server.clear()
        options = json.dumps(measure.options)
        line = _run([sys.executable, "-m", f"benchmarks.{program}", server.url, options])
        if line is None:
            raise SystemExit(f"{program} did not measure {options}")
        name = program if program == "floor" else OURS
        yield _told(Row.read(round_, measure.name, name, measure.size, line))


def _told(row: Row) -> Row:
    name = next((name for name in HEADLINES if name in row.figures), "")
    size = f" {row.size:,}" if row.size else ""
    print(
        f"{row.round + 1}  {row.measure + size:28}{row.program:10}{number(row.figures.get(name)):>10}  {name}",
        flush=True,
    )
    return row


def _run(command: Sequence[str]) -> str | None:
    """The last line that the program prints; None when it failed, which it has told by then."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKPROC_")}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    ) as program:
        try:
            output, _ = program.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            print(f"took longer than {LIMIT:g} s: {' '.join(command)}", file=sys.stderr)
            return None
        finally:
            _end_group(program.pid)
    lines = output.decode().splitlines()
    return lines[-1] if program.returncode == 0 and lines else None


def _end_group(leader: int) -> None:
    """Of a program that has ended, or has not and shall: it and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


if __name__ == "__main__":
    main()
