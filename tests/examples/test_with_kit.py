"""The examples as their users would test them: with the testing kit, in the test's own process."""

from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest
from dependency_injector import providers
from fastapi.testclient import TestClient

from examples.importer.app import app as importer
from examples.importer.app import container
from examples.importer.services import Reports, Rows
from examples.importer.settings import Settings
from examples.quickstart.app import Mailer
from examples.quickstart.app import app as quickstart
from taskproc import TaskProcessor, TaskProcessorSettings, ref
from taskproc.testing import blocking, crash, fail, override_settings

ACME = {"X-Tenant": "acme"}
TABLE = b"name,city\nBob,Rome\nEve,Oslo\n"


def tasks_of(app: object) -> TaskProcessor:
    """The processor of an app."""
    processor: TaskProcessor = getattr(app, "state").task_processor  # noqa: B009 - whatever kind of app
    return processor


@pytest.fixture
def site(taskproc_settings: TaskProcessorSettings, tmp_path: Path) -> Generator[TestClient]:
    """The importer, with a database of the test's own; it runs tasks when the test says so."""
    settings = Settings.model_validate({"IMPORTER_DATA": tmp_path})
    with (
        container.settings.override(providers.Object(settings)),
        override_settings(tasks_of(importer), taskproc_settings),
        TestClient(importer) as client,
    ):
        yield client


def upload(site: TestClient) -> str:
    """Starts an import of two rows; its id."""
    answer = site.post("/imports", files={"file": ("people.csv", TABLE)}, headers=ACME)
    assert answer.status_code == 202, answer.text
    return str(answer.json())


def test_the_quickstart_enqueues_a_welcome_and_sends_it(
    taskproc_settings: TaskProcessorSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A signup enqueues the mail and sends nothing; the task does."""
    tasks = tasks_of(quickstart)
    with override_settings(tasks, taskproc_settings), TestClient(quickstart) as client:
        client.post("/signup", params={"email": "bob@example.com"})
        task = blocking.assert_enqueued(tasks, ref(Mailer).send_welcome, "bob@example.com")
        assert task.state == "ready"
        assert capsys.readouterr().out == ""
        blocking.run_until_idle(tasks)
    assert capsys.readouterr().out == "connected\nto bob@example.com: Welcome!\nclosed\n"


def test_an_upload_enqueues_a_task_for_each_row(site: TestClient) -> None:
    """In the batch of the import, for its tenant; what follows the batch waits."""
    tasks, import_id = tasks_of(importer), upload(site)
    rows = blocking.expect(tasks, "rows", tenant="acme", batch_id=import_id, count=2)
    rows.enqueued_with_any(ref(Rows).load)
    blocking.assert_enqueued(tasks, ref(Rows).load, import_id, 3, ["name", "city"], ["Eve", "Oslo"])
    [report, _] = blocking.expect(tasks, "reports", batch_id=import_id).enqueued_with_any(ref(Reports).write)
    assert report.state == "held"
    assert site.get(f"/imports/{import_id}", headers=ACME).json()["remaining"] == 2


def test_a_row_whose_worker_is_killed_is_there_once(site: TestClient) -> None:
    """Killed when the row was stored, and before that was told: it is stored again, in the same place."""
    tasks, import_id = tasks_of(importer), upload(site)
    with crash(tasks, ref(Rows).load):
        blocking.run_until_idle(tasks)
    report = site.get(f"/imports/{import_id}/report", headers=ACME).json()
    assert (report["rows"], report["failures"]) == (2, [])
    assert (report["batch"]["done"], report["batch"]["failed"]) == (2, 0)


def test_a_database_that_is_away_for_a_moment_costs_no_row(site: TestClient) -> None:
    """A row has two attempts; one that has failed twice is in the report."""
    tasks, import_id = tasks_of(importer), upload(site)
    with fail(tasks, ref(Rows).load, OSError("disk is away")):
        assert len(blocking.run_until_idle(tasks).retried) == 1
    assert site.get(f"/imports/{import_id}/report", headers=ACME).json()["rows"] == 2
    other = upload(site)
    with fail(tasks, ref(Rows).load, OSError("disk is gone"), times=4):
        assert len(blocking.run_until_idle(tasks, raise_failures=False).failed) == 2
    report = site.get(f"/imports/{other}/report", headers=ACME).json()
    assert (report["rows"], report["failures"]) == (0, ["disk is gone"] * 2)


def test_a_report_outlives_its_batch(site: TestClient) -> None:
    """After the retention of a week the import is forgotten, but for its report."""
    tasks, import_id = tasks_of(importer), upload(site)
    blocking.run_until_idle(tasks)
    assert site.get(f"/imports/{import_id}", headers=ACME).status_code == 200
    blocking.travel(tasks, timedelta(days=8))
    blocking.run_until_idle(tasks)
    assert site.get(f"/imports/{import_id}", headers=ACME).status_code == 404
    assert site.get(f"/imports/{import_id}/report", headers=ACME).json()["rows"] == 2
