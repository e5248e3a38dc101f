"""The importer, as `make run` starts it but in two processes, on a table that PyPI's tzdata ships, and on others."""

import json
import re
import sqlite3
from collections.abc import Generator, Iterable
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.importer.services import Rows
from examples.importer.tables import open_engine, open_session
from tests.examples.programs import Site, uvicorn
from tests.fastapi.streams import read_events
from tests.kit import block_until

ZONES = resources.files("tzdata").joinpath("zoneinfo/zone1970.tab").read_bytes()
COLUMNS = ["codes", "coordinates", "TZ", "comments"]
AS_ZONES = {"format": "tsv", "columns": ",".join(COLUMNS), "comment": "#"}
ENDED = {"done", "failed", "canceled"}


class Importer:
    """The running app, as one tenant uses it, and its database."""

    def __init__(self, site: Site, database: Path, tenant: str = "acme") -> None:
        self.site = site
        self.database = database
        self._headers = {"X-Tenant": tenant}

    def get(self, path: str) -> httpx.Response:
        return self.site.client.get(path, headers=self._headers)

    def upload(self, content: bytes, **form: str) -> httpx.Response:
        return self.site.client.post("/imports", files={"file": ("table", content)}, data=form, headers=self._headers)

    def start(self, content: bytes, **form: str) -> str:
        """The id of a new import."""
        answer = self.upload(content, **form)
        assert answer.status_code == 202, answer.text
        return str(answer.json())

    def cancel(self, import_id: str) -> httpx.Response:
        return self.site.client.post(f"/imports/{import_id}/cancel", headers=self._headers)

    def progress(self, import_id: str) -> dict[str, Any]:
        """How far an import is, which adds up whenever one looks."""
        seen: dict[str, Any] = self.get(f"/imports/{import_id}").raise_for_status().json()
        assert seen["total"] == seen["done"] + seen["failed"] + seen["canceled"] + seen["remaining"]
        assert (seen["state"] in ENDED) == (seen["end"] is not None)
        return seen

    def report(self, import_id: str) -> dict[str, Any]:
        """The report, once it is there."""
        path = f"/imports/{import_id}/report"
        block_until(lambda: self._is_there(path), 60, "the report")
        report: dict[str, Any] = self.get(path).json()
        assert report["batch"] == self.progress(import_id)
        return report

    def _is_there(self, path: str) -> bool:
        try:
            return self.get(path).status_code == 200
        except httpx.TransportError:  # the process that had the connection was killed
            return False

    def rows(self, import_id: str) -> dict[int, dict[str, str]]:
        """What the database has of an import, by line."""
        with closing(sqlite3.connect(self.database)) as connection:
            found = connection.execute("SELECT line, cells FROM rows WHERE import_id = ?", [import_id])
            return {line: json.loads(cells) for line, cells in found}


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Generator[Importer]:
    """The importer in two processes."""
    folder = tmp_path_factory.mktemp("importer")
    database = folder / ".taskproc/importer/importer.db"
    with uvicorn("examples.importer.app:app", folder, workers=2, env={"TASKPROC_WORKER_TIMEOUT": "2"}) as site:
        yield Importer(site, database)


def test_every_row_of_a_real_table_arrives(acme: Importer) -> None:
    """zone1970.tab: each line that is no comment is in the database as it is in the file, and the report says so."""
    import_id = acme.start(ZONES, **AS_ZONES)
    report = acme.report(import_id)
    expected = {
        number: dict(zip(COLUMNS, line.split("\t"), strict=False))
        for number, line in enumerate(ZONES.decode().splitlines(), 1)
        if not line.startswith("#")
    }
    assert len(expected) > 300
    assert acme.rows(import_id) == expected
    assert (report["rows"], report["failures"]) == (len(expected), [])
    batch = report["batch"]
    assert (batch["state"], batch["total"], batch["done"]) == ("done", len(expected), len(expected))


def test_progress_adds_up_and_goes_on(acme: Importer) -> None:
    """Whenever one looks the counts add up, and what is done never becomes less."""
    import_id = acme.start(_table(range(1000)))
    looks = [acme.progress(import_id)]
    while looks[-1]["state"] not in ENDED:
        looks.append(acme.progress(import_id))
    done = [look["done"] for look in looks]
    assert done == sorted(done)
    assert len(set(done)) > 3
    assert (looks[-1]["state"], done[-1]) == ("done", 1000)
    assert acme.get("/imports").json()[0]["id"] == import_id  # the newest


def test_progress_is_told_as_it_comes(acme: Importer) -> None:
    """A stream that is asked for as a browser does tells of each step, ends with the import, and then comes no more."""
    import_id = acme.start(_table(range(1000)))
    path = f"/imports/{import_id}/events?tenant=acme"
    with acme.site.client.stream("GET", path) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = read_events(response.read().decode())
    assert [event.kind for event in events[-2:]] == ["progress", "end"]
    done = [event.data["done"] for event in events]
    assert done == sorted(done)
    assert len(set(done)) > 3
    assert done[-1] == 1000
    assert acme.site.client.get(path, headers={"Last-Event-ID": events[-1].id}).status_code == 204


def test_the_processes_tell_how_they_are(acme: Importer) -> None:
    """Alive, and ready: their executors run."""
    assert acme.site.client.get("/health/live").json()["live"] is True
    assert acme.site.client.get("/health/ready").json()["problems"] == []


def test_a_cancel_in_the_middle_undoes_the_import(acme: Importer) -> None:
    """What is queued never runs, and the continuation for canceled batches removes the rows that were in."""
    import_id = acme.start(_table(range(10_000)))
    block_until(lambda: acme.progress(import_id)["done"] > 50, 30, "some rows")
    assert acme.rows(import_id)
    assert acme.cancel(import_id).json()["state"] in {"canceling", "canceled"}
    report = acme.report(import_id)
    batch = report["batch"]
    assert (batch["state"], batch["total"], batch["remaining"]) == ("canceled", 10_000, 0)
    assert 50 < batch["done"] < 10_000
    assert batch["done"] + batch["canceled"] == 10_000
    assert report["rows"] == 0
    assert acme.rows(import_id) == {}
    assert acme.cancel(import_id).status_code == 200  # again


def test_rows_that_do_not_fit_are_reported(acme: Importer) -> None:
    """A quoted, multi-line CSV with a BOM: good rows arrive under their line's number, and the report names the bad."""
    table = '\ufeffname,city\r\nBob,"Rome,\r\nItaly"\r\n\r\nEve,a,b\r\nAnn,Oslo\r\nTom,c,d\r\nSue\r\n'
    import_id = acme.start(table.encode())
    report = acme.report(import_id)
    assert acme.rows(import_id) == {
        3: {"name": "Bob", "city": "Rome,\r\nItaly"},
        6: {"name": "Ann", "city": "Oslo"},
        8: {"name": "Sue"},
    }
    assert sorted(report["failures"]) == [
        "line 5 has 3 cells, but the table has 2 columns",
        "line 7 has 3 cells, but the table has 2 columns",
    ]
    batch = report["batch"]
    assert (batch["state"], batch["done"], batch["failed"], report["rows"]) == ("failed", 3, 2, 3)
    assert acme.cancel(import_id).status_code == 409  # it has ended


def test_a_file_that_breaks_off_is_undone(acme: Importer) -> None:
    """Rows were sent when the file turns out to be broken: the upload is refused, its batch canceled, its rows go."""
    refused = acme.upload(_table(range(2000)) + b"\xff\xfe")
    assert refused.status_code == 422
    assert "table is no csv file in UTF-8" in refused.json()["detail"]
    batch = acme.get("/imports").json()[0]
    report = acme.report(batch["id"])
    assert report["batch"]["state"] == "canceled"
    assert report["batch"]["total"] >= 500
    assert acme.rows(batch["id"]) == {}


def test_tenants_do_not_see_each_other(acme: Importer) -> None:
    """Another tenant's import is unknown, whatever one asks of it."""
    other = Importer(acme.site, acme.database, "umbrella")
    import_id = other.start(b"name\nBob\n")
    other.report(import_id)
    assert [each["id"] for each in other.get("/imports").json()] == [import_id]
    assert import_id not in {each["id"] for each in acme.get("/imports").json()}
    assert acme.get(f"/imports/{import_id}").status_code == 404
    assert acme.get(f"/imports/{import_id}/events").status_code == 404
    assert other.get(f"/imports/{import_id}/events").status_code == 200
    assert acme.site.client.get(f"/imports/{import_id}/events").status_code == 422
    assert acme.get(f"/imports/{import_id}/report").status_code == 404
    assert acme.cancel(import_id).status_code == 409
    assert Importer(acme.site, acme.database, "a b").get("/imports").status_code == 422


def test_the_page_needs_nothing_else(acme: Importer) -> None:
    """The page has the form, loads nothing from anywhere, and writes no markup that came from a file's name."""
    page = acme.site.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert '<input type="file"' in page.text
    assert not re.search(r"https?://|innerHTML|<script src|<link rel=\"stylesheet", page.text)


async def test_a_row_that_is_loaded_twice_is_there_once(tmp_path: Path) -> None:
    """A task may run again after it has done its work; the second time changes nothing."""
    async with open_engine(tmp_path) as engine:
        for _ in range(2):
            async with open_session(engine) as session:
                await Rows(session).load("import", 7, ["name", "city"], ["Bob", "Rome"])
    with closing(sqlite3.connect(tmp_path / "importer.db")) as connection:
        assert connection.execute("SELECT import_id, line, cells FROM rows").fetchall() == [
            ("import", 7, '{"name": "Bob", "city": "Rome"}')
        ]


@pytest.mark.slow
def test_a_killed_process_loses_no_row(acme: Importer) -> None:
    """One of two processes is killed in the middle; its tasks go to others, and all rows arrive."""
    import_id = acme.start(_table(range(3000)))
    block_until(lambda: acme.progress(import_id)["done"] > 50, 30, "some rows")
    acme.site.kill_worker()
    report = acme.report(import_id)
    assert (report["batch"]["state"], report["batch"]["done"], report["rows"]) == ("done", 3000, 3000)
    assert len(acme.rows(import_id)) == 3000


def _table(numbers: Iterable[int]) -> bytes:
    return ("name,city\n" + "".join(f"Person {n},City {n % 97}\n" for n in numbers)).encode()
