"""The filter language: what each term means, what is refused and how, and that no text makes it slow."""

import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskproc.errors import InvalidFilter
from taskproc.filters import parse_filter
from taskproc.models import TaskInfo

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
TASK = TaskInfo(
    task_id="5f0c.0.17", tenant="acme", queue="imports", batch_id="5f0c", topic="call",
    call="shop.rows:Importer.load_row", state="dead", retries=3, attempt=3, retries_left=0,
    enqueued_at=NOW - timedelta(days=2), due_at=None,
    died_at=NOW - timedelta(hours=3), error_type="shop.errors.BadValue", traceback=None,
    error_message='row 17: "x*y" is Not a number\nin C:\\data',
)  # fmt: skip


def matches(text: str, task: TaskInfo = TASK) -> bool:
    """Whether the filter matches the task."""
    return parse_filter(text).matches(task, NOW)


MATCHING = [
    "call:load_row", "call:LOAD_row", "call:Importer.load_row", "call:rows:Importer.load_row", "call:load_*",
    "call:shop.*", "call:*row", "call:*load*", "call:Imp*.load_row", "call:*", "call:shop.rows:Importer.load_row",
    'call:"load_row"', "error:BadValue", "error:badvalue", "error:*Value", "error:shop.*", "error:errors.BadValue",
    "message:number", 'message:"not a NUMBER"', 'message:"\\"x*y\\""', "message:17*number", "message::",
    'message:"C:\\data"', 'message:"c:\\\\DATA"', "message:number*in", "tenant:acme", "tenant:ac*", "batch:5f0c",
    "id:5f0c.0.17", "id:5f0c.*", "attempts:3", "attempts:=3", "attempts:>=3", "attempts:<=3", "attempts:>2",
    "attempts:<4", "died:>2h", "died:<4h", "died:>=3h", "died:<=180m", "died:<0d4h0s", "died:>10799s", "died:<1d",
    "died:<99999d", "load", "BAD", "number", "number row", "  number   load_row ", '"not a"', "-other", "-call:row",
    "-error:Value", "-tenant:ACME", "-tenant:acm", "-died:<2h", "-attempts:>3", '-"a  number"', "ERROR:BadValue",
    "call:load_row -lost", "\u00a0load\u2003row\n", "row*x", "--x", "load*row -message:load",
]  # fmt: skip
OTHERS = [
    "call:row", "call:load", "call:ad_*", "call:mporter.load_row", "call:Importer", "call:load_row*x", 'call:"load_*"',
    "error:Value", "error:adValue", "error:Bad", "message:load", "message:number*row", 'message:"17*number"',
    "tenant:ACME", "tenant:acm", "tenant:cme", "batch:5F0C", "batch:5f0", "id:17", "id:5f0c.0.1", "attempts:2",
    "attempts:>3", "attempts:<3", "died:<2h", "died:>4h", "died:>3h", "died:<3h", "lost", "load lost", "-load",
    "load -row", "call:load_row -tenant:acme", "acme", '"row*x"', "17*row*17",
]  # fmt: skip


@pytest.mark.parametrize("text", MATCHING)
def test_it_matches(text: str) -> None:
    """What is meant."""
    assert matches(text)


@pytest.mark.parametrize("text", OTHERS)
def test_it_does_not_match(text: str) -> None:
    """What is not meant."""
    assert not matches(text)


def test_what_a_task_does_not_have() -> None:
    """It never matches, unless it is asked for that it does not."""
    ready = replace(TASK, died_at=None, error_type=None, error_message=None, batch_id=None, call="", topic="orders.v1")
    assert [
        text for text in ("died:<9d", "died:>0s", "error:BadValue", "message:row", "batch:5f0c") if matches(text, ready)
    ] == []
    assert matches("-died:<9d -error:BadValue -batch:5f0c", ready)
    assert matches("call:v1 orders", ready)


WRONG = {
    "": "the filter is empty",
    " \n": "the filter is empty",
    "colour:red": "`colour:red`: there is no such field; there are call, error, message, tenant, batch, id, attempts,",
    ":red": "`:red`: there is no such field",
    "load http://x": "`http://x`: there is no such field",
    "y" * 900 + ":x": "y…`: there is no such field",
    "\x1b[2J:x": "`\\x1b[2J:x`: there is no such field",
    "message:": "`message:`: it says nothing",
    '-message:""': '`-message:""`: it says nothing',
    "load -": "`-`: it says nothing",
    '""': '`""`: it says nothing',
    'load message:"open end': '`message:"open`: quotes stand around the whole of a text, as in message:"not a number"',
    'it"s': '`it"s`: quotes stand around',
    '"a"b': '`"a"b`: quotes stand around',
    '"a\\"': '`"a\\"`: quotes stand around',
    "attempts:many": "`attempts:many`: write a number, as in attempts:3, attempts:>=3 or attempts:<3",
    "attempts:>": "`attempts:>`: write a number",
    "attempts:=>3": "write a number",
    "attempts:-3": "write a number",
    "attempts:٣": "write a number",
    "attempts:9999999999": "write a number",
    "died:2h": "`died:2h`: write how long ago, in s, m, h and d: died:<2h is later than that, died:>1d12h longer ago",
    "died:<2": "write how long ago",
    "died:<": "write how long ago",
    "died:<2h1d": "write how long ago",
    "died:<1w": "write how long ago",
    "died:=2h": "write how long ago",
    "died:yesterday": "write how long ago",
    "a " * 20 + "last": "`last`: a filter has 20 terms at most",
    "a" * 1_001: "is not a str of at most 1,000 characters",
    'x:"\x1b[2J\n"': '`x:"\\x1b[2J\\n"`: there is no such field',
}


@pytest.mark.parametrize("text", WRONG)
def test_it_is_refused(text: str) -> None:
    """By one message on one line, that names the term and what is allowed."""
    with pytest.raises(InvalidFilter, match=re.escape(WRONG[text])) as refused:
        parse_filter(text)
    assert isinstance(refused.value, ValueError)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_what_is_no_text_is_refused() -> None:
    """As a caller without a type checker may pass it."""
    with pytest.raises(InvalidFilter, match="the filter 5 is not a str"):
        parse_filter(5)  # type: ignore[arg-type]


FIELDS = st.sampled_from(
    ["", "call:", "error:", "message:", "tenant:", "batch:", "id:", "attempts:", "died:", "x:", ":"]
)
VALUES = st.text(st.sampled_from('ab*"\\-<>=12hds .:_\n\t\x00é٣'), max_size=12)
TERMS = st.builds("{}{}{}".format, st.sampled_from(["", "-"]), FIELDS, VALUES)


@given(st.one_of(st.text(max_size=60), st.lists(TERMS, max_size=6).map(" ".join)))
def test_any_text_means_something_or_is_refused(text: str) -> None:
    """Never another error; and what is meant is the same each time."""
    try:
        found = parse_filter(text)
    except InvalidFilter:
        return
    first = found.matches(TASK, NOW)
    assert parse_filter(f"  {text}\n").matches(TASK, NOW) == first
    if len(text.split()) == 1 and '"' not in text and not text.strip().startswith("-"):
        assert parse_filter(f"-{text.strip()}").matches(TASK, NOW) is not first


@given(st.text(max_size=30))
def test_any_text_can_be_looked_for(part: str) -> None:
    """In quotes, with a backslash before quotes and backslashes: it finds just the messages that hold it."""
    if not part:
        return
    quoted = 'message:"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert matches(quoted, replace(TASK, error_message=f"before {part} after"))
    assert matches(quoted, replace(TASK, error_message="else")) == (part.casefold() in "else")


@given(st.lists(st.text("ab", max_size=3), min_size=1, max_size=5), st.text("ab", min_size=1, max_size=10))
def test_stars_mean_what_they_do_elsewhere(pieces: list[str], name: str) -> None:
    """As a regular expression would have it that stands for the same."""
    glob = "*".join(pieces)
    if not glob:
        return
    wanted = re.compile(".*".join(pieces))
    task = replace(TASK, tenant=name, call=f"{name}.b:{name}", error_message=name)
    assert matches(f"tenant:{glob}", task) == bool(wanted.fullmatch(name))
    assert matches(f"message:{glob}", task) == bool(wanted.search(name))
    ends = (f"{name}.b:{name}", f"b:{name}", name)
    assert matches(f"call:{glob}", task) == any(wanted.fullmatch(end) for end in ends)


@pytest.mark.parametrize(
    "text",
    [
        "call:" + "a*" * 490, "*a" * 500, "call:" + ".a" * 490 + "*b", "message:" + "*" * 900, '"' + "\\" * 999,
        '"' + '\\"' * 499, "-" * 1000, '"a"' * 333, "a:" * 500, "died:<" + "1" * 990, "x" * 1000, "call:a*b",
        "a" * 998 + "*b",
    ],
)  # fmt: skip
def test_nothing_makes_it_slow(text: str) -> None:
    """Neither to read nor to match, on tasks that are just as hostile."""
    long = ".a:" * 30_000
    task = replace(TASK, call=long, error_type="a" * 100_000, error_message="a*" * 50_000, tenant=long)
    began = time.process_time()
    for _ in range(3):
        try:
            matches(text, task)
        except InvalidFilter:
            break
    assert time.process_time() - began < 1
