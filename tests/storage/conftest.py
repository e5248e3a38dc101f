"""Stores for the tests of the storage: in a database of their own, empty at the start, and lawful at the end."""

from collections.abc import Generator

import pytest
import redis

from tests.kit import Server
from tests.storage.laws import broken_laws
from tests.storage.store import Store


@pytest.fixture(scope="session")
def database(server: Server) -> Generator[redis.Redis]:
    """A client of a database that only these tests use."""
    with redis.Redis(host="127.0.0.1", port=server.port, db=9) as client:
        yield client


@pytest.fixture
def raw_store(database: redis.Redis) -> Store:
    """An empty store, for tests that damage what is in it."""
    database.flushdb()
    return Store(database, "{t}")


@pytest.fixture
def store(raw_store: Store) -> Generator[Store]:
    """An empty store. What is in it at the end must obey the laws."""
    yield raw_store
    assert broken_laws(raw_store.dump()) == []
