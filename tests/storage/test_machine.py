"""The scripts against the model, at random; and that a wrong script is noticed."""

from collections.abc import Generator

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.kit import Server
from tests.storage.machine import StorageMachine
from tests.storage.store import Store

QUICK = settings(
    max_examples=60, stateful_step_count=25, derandomize=True, database=None, deadline=None,
    suppress_health_check=list(HealthCheck), print_blob=False, report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
)  # fmt: skip


@pytest.fixture(scope="module")
def database(server: Server) -> Generator[redis.Redis]:
    """An empty database of the session's server, for this module alone."""
    with redis.Redis(host="127.0.0.1", port=server.port, db=9) as client:
        yield client
        client.flushdb()


def machine(database: redis.Redis, sources: dict[str, str] | None = None) -> type[StorageMachine]:
    def make_store() -> Store:
        database.flushdb()
        return Store(database, "{m}", sources)

    return type("Machine", (StorageMachine,), {"make_store": staticmethod(make_store)})


def test_scripts_do_what_the_model_does(database: redis.Redis) -> None:
    """Whatever producers, workers and maintenance do, the laws hold and the model agrees; in the end all is drained."""
    run_state_machine_as_test(machine(database), settings=QUICK)
