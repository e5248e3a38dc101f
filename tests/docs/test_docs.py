"""What the documentation shows, runs.

Each page is played on a stage of its own, see `stage.py`. Code for other libraries, which some pages show beside ours,
is compiled only.
"""

import re
from pathlib import Path

import pytest

from tests.conftest import MakeSettings
from tests.docs.shell import VARIABLE, check, check_variable, commands, exec_forms, leaves, options_of
from tests.docs.stage import DOCS, FOREIGN, Stage, pages
from tests.examples.settings_table import check_settings
from tests.examples.snippets import Block, blocks

TITLES = re.MULTILINE | re.DOTALL
PAGES = pages()
WITH_CODE = [page for page in PAGES if blocks(page.read_text(encoding="utf-8"))]


def _name(page: Path) -> str:
    return str(page.relative_to(DOCS))


def _blocks(language: str) -> list[tuple[str, Block]]:
    return [
        (_name(page), block)
        for page in WITH_CODE
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.language == language
    ]


@pytest.mark.parametrize("page", WITH_CODE, ids=_name)
async def test_the_code_of_a_page_runs(
    page: Path,
    settings: MakeSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each piece does what the text around it says; files are written, and used by the pieces that follow."""
    plain = settings()
    monkeypatch.setenv("TASKPROC_REDIS", plain.redis)
    monkeypatch.setenv("TASKPROC_PREFIX", plain.prefix)
    output: list[str] = []

    def printed() -> str:
        output.append(capsys.readouterr().out)
        return "".join(output)

    await Stage(page, tmp_path, settings, monkeypatch, printed).play()


def test_code_for_other_libraries_is_python() -> None:
    """What is shown of Celery and arq can be compiled; it is not run, for neither is installed."""
    foreign = [(name, block) for name, block in _blocks("python") if block.title in FOREIGN]
    assert foreign
    for name, block in foreign:
        compile("\n" * block.line + block.code, name, "exec")


def test_commands_exist() -> None:
    """Programs, options and extras in console blocks, Dockerfiles and manifests are there."""
    shown = [command for _, block in _blocks("console") for command, _ in commands(block.code)]
    shown += [
        command for kind in ("dockerfile", "yaml") for _, each in _blocks(kind) for command in exec_forms(each.code)
    ]
    assert any(command.startswith("taskproc worker") for command in shown)
    for command in shown:
        check(command)


def test_environment_variables_are_settings() -> None:
    """Every TASKPROC_… on a page is the variable of a setting."""
    for page in PAGES:
        for found in VARIABLE.finditer(page.read_text(encoding="utf-8")):
            check_variable(found[0])


def test_the_command_line_page_has_every_option() -> None:
    """Each command and option of `taskproc` is told, and no other; options that most have are told once."""
    page = (DOCS / "reference/cli.md").read_text(encoding="utf-8")
    sections = {title.strip("`# "): told for title, told in re.findall(r"^##+ (.+?)\n(.*?)(?=^##|\Z)", page, TITLES)}
    shared = _told(sections["Options of all these"])
    commands = dict(leaves())
    for name, command in commands.items():
        [section] = [told for title, told in sections.items() if re.fullmatch(rf"{name}( [A-Z\[].*)?", title)]
        assert options_of(command) - _told(section) in (set(), shared), name
        assert _told(section) - options_of(command) == set(), name
    titles = {re.sub(r"( \[?[A-Z].*)?$", "", title) for title in sections if title.startswith("taskproc ")}
    assert {title for title in titles if title not in commands} == {
        name.rpartition(" ")[0] for name in commands if name.count(" ") > 1
    }


def _told(section: str) -> set[str]:
    return set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE))


def test_the_settings_page_has_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting is told with its environment variable and its default, as one would write it there."""
    check_settings((DOCS / "reference/settings.md").read_text(encoding="utf-8"), monkeypatch)
