"""The table of all settings that a page has."""

import re
from collections.abc import Set as AbstractSet

import pytest
from pydantic import ValidationError

from taskproc import TaskProcessorSettings
from tests.kit.processes import ROOT

SETTING = re.compile(r"^\| `(?P<name>\w+)` \| `(?P<variable>\w+)` \| (?:`(?P<default>.+?)`)? ?\|", re.MULTILINE)


def check_settings(page: str, monkeypatch: pytest.MonkeyPatch, *, left_out: AbstractSet[str] = frozenset()) -> None:
    """AssertionError unless the page tells of each setting, with its environment variable and its default as one would
    write it there, and of each hook.
    """
    monkeypatch.chdir(ROOT / "tests")  # where there is no .env
    plain = TaskProcessorSettings()
    told = {found["name"]: found for found in SETTING.finditer(page)}
    hooks = {name for name in TaskProcessorSettings.model_fields if name.startswith("on_")}
    assert set(told) == set(TaskProcessorSettings.model_fields) - hooks - left_out
    assert all(f"`{hook}(" in page for hook in hooks)
    for name, found in told.items():
        monkeypatch.setenv(found["variable"], found["default"] or "[]")
        assert getattr(TaskProcessorSettings(), name) == getattr(plain, name), name
        monkeypatch.setenv(found["variable"], "?")
        assert _differs(name, plain), f"{found['variable']} is not the variable of {name}"
        monkeypatch.delenv(found["variable"])


def _differs(name: str, plain: TaskProcessorSettings) -> bool:
    """Whether a setting takes notice of its variable, which is `?` now."""
    try:
        return bool(getattr(TaskProcessorSettings(), name) != getattr(plain, name))
    except ValidationError:
        return True
