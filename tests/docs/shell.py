"""Shell commands that pages show: whether there are such programs, with such options."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from typing import Any

import typer
import uvicorn

from taskproc import TaskProcessorSettings
from taskproc.cli.app import app as taskproc_cli
from tests.kit.processes import ROOT

VARIABLE = re.compile(r"\bTASKPROC_([A-Z_]+)\b")
EXEC_FORM = re.compile(r'\[("(?:taskproc|uvicorn)"(?:, *"[^"\n]+")*)\]')
"""A command of ours as Docker and Kubernetes take it: `["taskproc", "worker", "myapp:app"]`."""


def commands(console: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that is shown for it."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, _, shown = re.sub(r"\\\n\s*", "", part).partition("\n")
        yield command.partition("  #")[0].strip(), shown


def exec_forms(code: str) -> Iterator[str]:
    """The commands of a Dockerfile or a manifest."""
    for found in EXEC_FORM.finditer(code):
        yield shlex.join(json.loads(f"[{found[1]}]"))


def check(command: str) -> None:
    """AssertionError, or an error of click, when the command would not be understood."""
    for part in re.split(r" (?:\||&&|&) ?", command):
        words = shlex.split(part)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            check_variable(words.pop(0).partition("=")[0])
        if words:
            assert words[0] in CHECKS, f"{command}: {words[0]} is not known here"
            CHECKS[words[0]](words[1:])


def check_variable(name: str) -> None:
    """AssertionError when no setting comes from the environment variable."""
    if found := VARIABLE.fullmatch(name):
        assert found[1].lower() in TaskProcessorSettings.model_fields, f"{name} is the variable of no setting"


def _taskproc(words: list[str]) -> None:
    command: Any = typer.main.get_command(taskproc_cli)
    if words[0] in options_of(command):
        return
    name = "taskproc"
    while hasattr(command, "commands"):
        word = "list" if name != "taskproc" and (not words or words[0].startswith("-")) else words.pop(0)
        name = f"{name} {word}"
        assert word in command.commands, f"{name} does not exist"
        command = command.commands[word]
    command.make_context(name, words)


def options_of(command: Any) -> set[str]:
    """The long names of a command's options."""
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


def leaves(command: Any = None, name: str = "taskproc") -> Iterator[tuple[str, Any]]:
    """Every command of `taskproc` that does something, by all of its words."""
    for word, each in vars(command or typer.main.get_command(taskproc_cli))["commands"].items():
        path = f"{name} {word}"
        yield from leaves(each, path) if hasattr(each, "commands") else [(path, each)]


def _uvicorn(words: list[str]) -> None:
    uvicorn.main.make_context("uvicorn", words)


def _pip(words: list[str]) -> None:
    assert words[0] == "install", words
    extras = {extra for word in words for extra in re.findall(r"taskproc\[([\w,]+)\]", word)}
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {one for extra in extras for one in extra.split(",")} <= known.keys(), words


def _anything(_words: list[str]) -> None:
    """A program whose options are not ours to check."""


CHECKS: dict[str, Any] = {
    "taskproc": _taskproc,
    "uvicorn": _uvicorn,
    "pip": _pip,
    "curl": _anything,  # read where it is run
    "python": _anything,
    "pytest": _anything,
    "redis-cli": _anything,
    "docker": _anything,
    "kubectl": _anything,
}
