"""Settings from arguments, the environment and `.env`, and what is said of wrong ones."""

from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError

from taskproc import ConfigurationError, TaskProcessorSettings, backoff
from taskproc.context import TaskContext
from taskproc.settings import TaskProcessorSettings as Settings

DEFAULTS: dict[str, Any] = {
    "redis": "redis://localhost:6379/0",
    "prefix": "{taskproc}",
    "queues": ["default"],
    "default_queue": "default",
    "tenant": "default",
    "max_workers": 20,
    "retries": 3,
    "invisibility": timedelta(minutes=5),
    "auto_extend": False,
    "base_frequency": timedelta(seconds=5),
    "pushback_frequency": timedelta(seconds=10),
    "clean_up_frequency": timedelta(minutes=5),
    "retention": timedelta(days=7),
    "deadletter": True,
    "deadletter_unique_schedules": False,
    "use_cron_seconds": False,
    "use_hosted_service": True,
    "worker_timeout": timedelta(seconds=10),
    "max_recoveries": 3,
    "unknown_task_grace": timedelta(minutes=10),
    "shutdown_grace": timedelta(seconds=25),
    "command_timeout": timedelta(seconds=5),
    "hook_timeout": timedelta(seconds=10),
    "max_payload": 1024 * 1024,
    "allowed_modules": [],
}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no `.env` but that of a test."""
    monkeypatch.chdir(tmp_path)


def set_env(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    """The settings under these variables."""
    for name, value in variables.items():
        monkeypatch.setenv(f"TASKPROC_{name.upper()}", value)
    return Settings()


def test_defaults() -> None:
    """What holds when nothing is said."""
    settings = Settings()
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert [settings.on_task_start, settings.on_task_end, settings.on_task_error] == [None, None, None]
    assert settings.on_task_failed_delay is not None


@pytest.mark.parametrize(
    "text, expected",
    [
        ("3600", timedelta(hours=1)),
        ("1.5", timedelta(seconds=1.5)),
        (" 7 ", timedelta(seconds=7)),
        ("PT5M", timedelta(minutes=5)),
        ("P1DT1S", timedelta(days=1, seconds=1)),
        ("00:05:00", timedelta(minutes=5)),
        ("1d,01:00:00", timedelta(days=1, hours=1)),
        ("0.001", timedelta(milliseconds=1)),
        ("3153600000", timedelta(days=36_500)),
    ],
)
def test_durations_in_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, expected: timedelta) -> None:
    """Seconds, ISO 8601 and hours:minutes:seconds."""
    assert set_env(monkeypatch, invisibility=text).invisibility == expected


@pytest.mark.parametrize("value", [5, 5.0, timedelta(seconds=5), "5", "PT5S"])
def test_durations_as_arguments(value: Any) -> None:
    """Numbers and text mean what they mean in the environment."""
    assert Settings(retention=value).retention == timedelta(seconds=5)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (" a , b[fair] ,", ["a", "b[fair]"]),
        ('["a", "b[fair]"]', ["a", "b[fair]"]),
        (' ["a"] ', ["a"]),
        ("a,b,a", ["a", "b"]),
    ],
)
def test_lists_in_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, expected: list[str]) -> None:
    """JSON, or separated by commas; a queue that is named twice is served once, in its first place."""
    assert set_env(monkeypatch, queues=text).queues == expected


def test_allowed_modules_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for packages; none is allowed unless it is named."""
    assert set_env(monkeypatch, allowed_modules="app.tasks, other").allowed_modules == ["app.tasks", "other"]
    assert set_env(monkeypatch, allowed_modules="[]").allowed_modules == []
    assert set_env(monkeypatch, allowed_modules="").allowed_modules == []


def test_other_values_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers and switches; letters of any case."""
    settings = set_env(monkeypatch, max_workers="5", deadletter="no", auto_extend="1", prefix="x")
    assert (settings.max_workers, settings.deadletter, settings.auto_extend) == (5, False, True)
    assert settings.prefix == "{x}"


def test_arguments_win_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """`.env` is read last, and its keys for other programs are ignored, whatever they look like."""
    Path(".env").write_text(
        "OTHER=1\nTASKPROC_UNKNOWN=1\nTASKPROC_RETRIES=7\nTASKPROC_TENANT=file\nqueues=x\nretrys=1\n"
    )
    settings = Settings()
    assert (settings.retries, settings.tenant, settings.queues) == (7, "file", ["default"])
    assert set_env(monkeypatch, tenant="env").tenant == "env"
    assert Settings(tenant="argument").tenant == "argument"
    assert Settings().retries == 7


@pytest.mark.parametrize(
    "prefix, expected",
    [
        ("app", "{app}"),
        ("{app}", "{app}"),
        ("a:b", "{a:b}"),
        ("live:{app}", "live:{app}"),
        ("{app}:live", "{app}:live"),
        ("{a", "{a}"),
        ("a}", "{a}"),
        ("}a{", "{a}"),
        ("a{}b", "{ab}"),
        ("{}{a}", "{a}"),
        ("{a}{b}", "{a}{b}"),
        ("ü", "{ü}"),
    ],
)
def test_braces_are_added_to_a_prefix_that_names_no_slot(prefix: str, expected: str) -> None:
    """So that in a cluster all keys lie on one node: what counts is the first pair of braces, with something in it."""
    assert Settings(prefix=prefix).prefix == expected


@pytest.mark.parametrize(
    "name, value, message",
    [
        *[
            ("prefix", value, "must not be empty nor contain")
            for value in ("", "{}", "a b", "a*", "[a]", "a?", "a\n", "\0")
        ],
        ("queues", [], "name at least one queue, or set use_hosted_service=False for a producer"),
        ("queues", "", "name at least one queue"),
        ("queues", ["a b"], "queue name 'a b' is not allowed"),
        ("queues", ["failed"], "also the name of a batch outcome"),
        ("queues", '["a"', "Expecting"),
        ("queues", 5, "valid list"),
        ("default_queue", "a:b", "queue name 'a:b' is not allowed"),
        ("tenant", "", "tenant name '' is not allowed"),
        ("max_workers", 0, "greater than or equal to 1"),
        ("max_workers", 10_001, "less than or equal to 10000"),
        ("retries", 0, "greater than or equal to 1"),
        ("retries", 2**63 - 1, "less than or equal to 1000000000"),
        ("max_recoveries", 0, "greater than or equal to 1"),
        ("max_payload", 0, "greater than or equal to 1"),
        ("invisibility", "5 min", r"is no duration: write it in seconds \(3600, 1\.5\), as PT5M, or as 00:05:00"),
        ("invisibility", "", "is no duration"),
        ("invisibility", "nan", "is no duration"),
        ("invisibility", "inf", "is no duration"),
        ("invisibility", "1e400", "is no duration"),
        ("invisibility", "0", "must be from 0.001 seconds to a hundred years"),
        ("invisibility", "-5", "must be from 0.001 seconds"),
        ("invisibility", timedelta(microseconds=1), "must be from 0.001 seconds"),
        ("invisibility", timedelta.max, "to a hundred years"),
        ("worker_timeout", 0, "must be from 0.001 seconds"),
        ("retention", -1, "must be from 0 seconds to a hundred years"),
        ("shutdown_grace", "-1", "must be from 0 seconds"),
        ("allowed_modules", ["app.*"], "'app.*' is no package: write it as it is imported, such as app.tasks"),
        ("allowed_modules", "app:tasks", "'app:tasks' is no package"),
        ("allowed_modules", ["app/tasks"], "'app/tasks' is no package"),
        ("allowed_modules", ["app."], "'app.' is no package"),
        ("allowed_modules", [""], "'' is no package"),
        ("on_task_start", "notify", "should be callable"),
        ("redis", None, "valid string"),
    ],
)
def test_wrong_values_are_named_with_what_is_right(name: str, value: Any, message: str) -> None:
    """As an argument, or assigned later."""
    with pytest.raises(
        ValidationError, match=rf"(?s)1 validation error for TaskProcessorSettings\n{name}\b.*{message}"
    ):
        Settings(**{name: value})
    settings = Settings()
    with pytest.raises(ValidationError, match=message):
        setattr(settings, name, value)


@pytest.mark.parametrize("name", ["retention", "unknown_task_grace", "shutdown_grace"])
def test_durations_that_may_be_zero(name: str) -> None:
    """Not to keep, or wait, at all."""
    zero: Any = {name: "0"}
    assert getattr(Settings(**zero), name) == timedelta(0)


@pytest.mark.parametrize(
    "name, hint",
    [("retrys", "; did you mean retries?"), ("redis_url", "; did you mean redis?"), ("zzz", ""), ("on_error", "")],
)
def test_unknown_arguments_are_refused(name: str, hint: str) -> None:
    """A misspelt setting would else be ignored, and found out in production."""
    Path(".env").write_text("TASKPROC_RETRIES=7\nOTHER=1\n")
    wrong: Any = {name: 1}
    with pytest.raises(
        ConfigurationError, match=rf"TaskProcessorSettings\({name}=…\): there is no such setting"
    ) as error:
        Settings(**wrong)
    assert str(error.value).endswith(f"there is no such setting{hint}") or not hint


def test_settings_of_an_application_may_be_more() -> None:
    """A subclass adds its own, also from the environment."""

    class More(Settings):
        site: str = "here"

    assert More(site="there", retries=1).site == "there"
    with pytest.raises(ConfigurationError, match=r"More\(sites=…\): there is no such setting; did you mean site\?"):
        More(**cast("Any", {"sites": "x"}))


@pytest.mark.parametrize("password", ["s3cret", "hunter2"])
def test_no_password_is_shown(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by repr() or str(), nor by the error for another setting."""
    url = f"redis://user:{password}@host:6379/0"
    settings = Settings(redis=url)
    assert settings.redis == url
    assert password not in repr(settings) + str(settings) + f"{settings}"
    monkeypatch.setenv("TASKPROC_REDIS", url)
    with pytest.raises(ValidationError) as error:
        Settings(retries=0, queues=[], invisibility=timedelta(0))
    assert password not in str(error.value)
    wrong: Any = {"retrys": 1, "redis": url}
    with pytest.raises(ConfigurationError) as unknown:
        Settings(**wrong)
    assert password not in str(unknown.value)


def test_it_is_the_class_that_the_package_exports() -> None:
    """`taskproc.TaskProcessorSettings`."""
    assert TaskProcessorSettings is Settings


class At:
    """A context of which only the attempt matters."""

    def __init__(self, attempt: int) -> None:
        self.attempt = attempt


def delays(attempts: list[int], **options: Any) -> list[timedelta]:
    """What the hook says for these attempts."""
    hook = backoff(**options)
    return [cast("timedelta", hook(cast("TaskContext", At(attempt)), 1)) for attempt in attempts]


def test_delays_before_retries_grow() -> None:
    """1, 4, 16 seconds and so on up to an hour, whatever the attempt."""
    seconds = [delay.total_seconds() for delay in delays([1, 2, 3, 6, 7, 100, 10**9], jitter=0)]
    assert seconds == pytest.approx([1, 4, 16, 1024, 3600, 3600, 3600])


def test_delays_are_spread() -> None:
    """By twenty percent to either side."""
    seconds = [delay.total_seconds() for delay in delays([3] * 300)]
    assert min(seconds) >= 12.8
    assert max(seconds) <= 19.2
    assert max(seconds) - min(seconds) > 4


def test_delays_as_one_likes() -> None:
    """Constant ones, steep ones, long ones: none overflows."""
    constant = delays([1, 5, 50], first=timedelta(seconds=10), factor=1, jitter=0)
    assert constant == [timedelta(seconds=10)] * 3
    steep = delays([1, 2, 1000], factor=1e9, longest=timedelta(days=36_500), jitter=0)
    assert steep[1:] == [timedelta(seconds=1e9), timedelta(days=36_500)]
    assert delays([1, 99], first=timedelta(days=1), longest=timedelta(days=1), jitter=0) == [timedelta(days=1)] * 2


@pytest.mark.parametrize(
    "options",
    [
        {"first": timedelta(0)},
        {"first": timedelta(hours=2)},
        {"longest": timedelta.max},
        {"factor": 0.5},
        {"jitter": -0.1},
        {"jitter": 1.1},
    ],
)
def test_impossible_delays_are_refused(options: Any) -> None:
    """When the hook is made, not when a task fails."""
    with pytest.raises(ConfigurationError, match=r"^backoff\(first=.*: it grows from first to longest"):
        backoff(**options)
