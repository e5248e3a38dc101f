"""Which names queues, tenants and schedules may have."""

import re
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from taskproc.errors import InvalidName, TaskProcessorError
from taskproc.names import is_fair, queue_name, schedule_name, tenant_name

CHECKS = {"queue": queue_name, "tenant": tenant_name, "schedule": schedule_name}
kinds = pytest.mark.parametrize("kind, check", CHECKS.items())


@kinds
@pytest.mark.parametrize("name", ["a", "default", "A-Z_0.9@b|c+d=e/f", "x" * 128, "-", "..", "42"])
def test_valid_names(kind: str, check: Callable[[str], str], name: str) -> None:
    """Letters, digits and _ . @ | + = / - are allowed, up to 128 of them."""
    assert check(name) == name, kind


WRONG = [
    *(
        "",
        " ",
        "a b",
        "a\n",
        "a\r",
        "a\0",
        "a:b",
        "{a}",
        "a{",
        "a}",
        "a*",
        "a?",
        "[a]",
        "a\\",
        "ü",
        "a\u200b",
        "\ud800",
    ),
    *("x" * 129, "a,b", "a;b", "a'b", 'a"b', "a%b", "<a>", "a[fair]b", "[fair]a", "fair]"),
]


@kinds
@pytest.mark.parametrize("name", WRONG)
def test_wrong_names_are_named_with_what_is_allowed(kind: str, check: Callable[[str], str], name: str) -> None:
    """Key separators, hash tags, patterns, control characters and whatever lies beyond ASCII are refused."""
    with pytest.raises(InvalidName, match=rf"^{kind} name .* is not allowed: use 1 to 128 of the char") as error:
        check(name)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400
    assert isinstance(error.value, TaskProcessorError)
    assert isinstance(error.value, ValueError)


@kinds
@pytest.mark.parametrize("name", [None, 5, b"a", ["a"], True])
def test_what_is_no_text_is_no_name(kind: str, check: Callable[[Any], str], name: Any) -> None:
    """Not everyone runs a type checker."""
    with pytest.raises(InvalidName, match=rf"^{kind} name {re.escape(repr(name))} is not allowed"):
        check(name)


def test_a_queue_may_be_fair() -> None:
    """By the ending [fair], and by that alone; tenants and schedules may not."""
    assert queue_name("default[fair]") == "default[fair]"
    assert queue_name("x" * 128 + "[fair]")
    assert is_fair("default[fair]")
    assert not is_fair("fair")
    assert not is_fair("[fair]x")
    for wrong in ("[fair]", "a[fair][fair]", "a[fair] ", "a[FAIR]", "a[fair]\n"):
        with pytest.raises(InvalidName, match=r"and may end in \[fair\]"):
            queue_name(wrong)
    for check in (tenant_name, schedule_name):
        with pytest.raises(InvalidName):
            check("a[fair]")


@pytest.mark.parametrize("name", ["success", "failed", "canceled", "complete"])
def test_outcomes_of_batches_are_no_queues(name: str) -> None:
    """Whoever writes on("failed") means on(when="failed"), and is told so."""
    with pytest.raises(InvalidName, match=rf"also the name of a batch outcome.*on\(when='{name}'\) for a continuation"):
        queue_name(name)
    assert tenant_name(name) == name


@hypothesis.given(st.text())
def test_no_name_can_be_mistaken_for_a_key(name: str) -> None:
    """What is accepted holds nothing that has a meaning in a key, a pattern or a log."""
    for check in CHECKS.values():
        try:
            check(name)
        except InvalidName:
            continue
        bare = name.removesuffix("[fair]")
        assert bare.isascii()
        assert bare.isprintable()
        assert not set(bare) & set(" {}:*?[]\\,\"'<>")
