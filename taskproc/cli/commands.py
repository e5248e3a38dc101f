"""What all commands share that look at tasks or steer them: their options, and how they are run."""

from __future__ import annotations

import asyncio
import inspect
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Concatenate, ParamSpec

import typer
from typer.core import TyperGroup

from taskproc.cli.output import MISUSED, Output, tell
from taskproc.cli.target import Target, refuse_absent, told, user
from taskproc.failure import visible
from taskproc.processor import TaskProcessor

__all__ = [
    "App",
    "Desk",
    "Filter",
    "Json",
    "Listing",
    "Prefix",
    "Redis",
    "Retries",
    "Skip",
    "Take",
    "Tenant",
    "Yes",
    "command",
    "group",
]

P = ParamSpec("P")

Tenant = Annotated[str | None, typer.Option(help="Of this tenant only")]
Filter = Annotated[
    str | None, typer.Option("--filter", metavar="FILTER", help="Only those that match it: 'error:ValueError died:<2h'")
]
Skip = Annotated[int, typer.Option(min=0, help="How many to leave out")]
Take = Annotated[int, typer.Option(min=1, max=1000, help="How many to show")]
App = Annotated[str | None, typer.Option(help="Take the settings of this app or processor: module:name")]
Redis = Annotated[str | None, typer.Option(help="Where Redis is, if not where TASKPROC_REDIS says")]
Prefix = Annotated[str | None, typer.Option(help="In front of all keys, if not TASKPROC_PREFIX")]
Json = Annotated[bool, typer.Option("--json", help="For programs")]
Retries = Annotated[int | None, typer.Option(min=1, help="Failures allowed, instead of as many as before")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What a command has at hand."""

    processor: TaskProcessor
    """Connected."""
    out: Output

    async def note(self, act: str, target: str, *, tenant: str | None = None, detail: str = "") -> None:
        """Adds what was done to the list of acts."""
        said = f"command line: {detail}" if detail else "command line"
        await self.processor.record_act(act, target, by=user(), tenant=tenant, detail=said)

    def ask(self, question: str, *, yes: bool) -> None:
        """Ends the command unless the answer is yes; where nobody can answer, `--yes` must have been said."""
        if yes:
            return
        if not sys.stdin.isatty():
            tell(f"{question} There is no terminal to ask at: say --yes")
            raise typer.Exit(MISUSED)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the loop's would let the prompt wait on
        try:
            agreed = typer.confirm(visible(question), err=True)
        finally:
            signal.signal(signal.SIGINT, before)
        if not agreed:
            raise typer.Exit(tell("nothing was done"))


Command = Callable[Concatenate[Desk, P], Awaitable[None]]


class Listing(TyperGroup):
    """A noun of which, when nothing else is said, there is a list."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        names_none = not args or (args[0].startswith("-") and args[0] != "--help")
        return super().parse_args(ctx, ["list", *args] if names_none and not ctx.resilient_parsing else args)


def group(about: str, *, listing: bool = True) -> typer.Typer:
    """A noun, whose commands are to be added; without any it lists, or else helps."""
    return typer.Typer(help=about, cls=Listing if listing else TyperGroup, no_args_is_help=not listing)


def command(of: typer.Typer, name: str, *, panel: str | None = None) -> Callable[[Command[P]], Command[P]]:
    """Makes a command of a function that is given a desk, and whose other parameters are arguments and options."""

    def add(function: Command[P]) -> Command[P]:
        shared = list(inspect.signature(_Shared, eval_str=True).parameters.values())
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        def run(**words: Any) -> None:
            options = _Shared(**{each.name: words.pop(each.name) for each in shared})
            _run(options, function, words)

        run.__doc__ = function.__doc__
        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *shared)]
        vars(run)["__signature__"] = inspect.Signature(parameters)
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        of.command(name, rich_help_panel=panel)(run)
        return function

    return add


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """The options that each of these commands has."""

    app: App = None
    redis: Redis = None
    prefix: Prefix = None
    as_json: Json = False


def _run(options: _Shared, function: Callable[..., Awaitable[None]], words: dict[str, Any]) -> None:
    target = Target(app=options.app, redis=options.redis, prefix=options.prefix)

    async def work(processor: TaskProcessor) -> None:
        refuse_absent(processor.settings)
        async with processor:
            await function(Desk(processor=processor, out=Output(as_json=options.as_json)), **words)

    with told():
        asyncio.run(work(target.processor()))
