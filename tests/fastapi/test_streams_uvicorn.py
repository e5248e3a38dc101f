"""Streams under uvicorn, which waits for open responses before it tells the app that it ends."""

import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from tests.fastapi.streams import read_events
from tests.kit import Process, block_until, free_port, process


class Reader:
    """Reads a stream in a thread, until it ends."""

    def __init__(self, url: str) -> None:
        self.text = ""
        self._url = url
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            with httpx.stream("GET", self._url, timeout=30, trust_env=False) as response:
                for part in response.iter_text():
                    self.text += part
        except httpx.HTTPError as error:
            self.error = error

    def saw(self, kind: str) -> None:
        """Waits for such an event."""
        block_until(lambda: any(event.kind == kind for event in read_events(self.text)), 10, f"{kind}: {self.text}")

    def ended(self) -> bool:
        """Whether the stream has."""
        return not self._thread.is_alive()


@contextmanager
def uvicorn(redis_url: str, prefix: str, *options: str) -> Generator[tuple[Process, httpx.Client]]:
    """Serves the app."""
    port = free_port()
    arguments = ["-m", "uvicorn", "tests.fastapi.streaming_app:app", "--port", str(port), *options]
    env = {"TASKPROC_REDIS": redis_url, "TASKPROC_PREFIX": prefix, "TASKPROC_SHUTDOWN_GRACE": "0"}
    with (
        process(arguments, env) as started,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        log_has = ("Uvicorn running on", "startup complete")
        block_until(lambda: all(words in started.log for words in log_has), 20)
        yield started, client


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "two"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_uvicorn_does_not_wait_for_streams(
    redis_url: str, prefix: str, number: signal.Signals, options: tuple[str, ...]
) -> None:
    """Told to stop, with three streams open, it ends within two seconds, and clients see no broken response."""
    with ExitStack() as stack:
        served, client = stack.enter_context(uvicorn(redis_url, prefix, *options))
        batch = client.post("/batches").json()
        readers = [Reader(f"{client.base_url}/batches/{batch}/events") for _ in range(3)]
        for reader in readers:
            reader.saw("progress")
        begun = time.monotonic()
        (served.terminate if number == signal.SIGTERM else served.interrupt)(10)
        took = time.monotonic() - begun
        block_until(lambda: all(reader.ended() for reader in readers))
        assert took < (3 if options else 2), served.log_end
        assert {reader.error for reader in readers} == {None}
        assert "Traceback" not in served.log
        assert "complete" in served.log.rpartition("Shutting down")[2]
    with uvicorn(redis_url, prefix) as (served, again):
        again.post(f"/batches/{batch}/cancel")
        reader = Reader(f"{again.base_url}/batches/{batch}/events")
        reader.saw("end")
        block_until(reader.ended)
        served.terminate()


def test_clients_that_go_away_are_forgotten(redis_url: str, prefix: str) -> None:
    """Streams whose connections are closed leave nothing in the process."""
    with uvicorn(redis_url, prefix) as (served, client):
        batch = client.post("/batches").json()
        reading: list[Iterator[str]] = []  # one that is let go of closes its connection
        with ExitStack() as stack:
            for _ in range(5):
                streaming = stack.enter_context(client.stream("GET", f"/batches/{batch}/events"))
                reading.append(streaming.iter_lines())
                assert next(reading[-1]) == "retry: 2000"
            assert client.get("/watching").json() is True
            assert client.get("/health/ready").status_code == 200
        block_until(lambda: client.get("/watching").json() is False)
        client.post(f"/batches/{batch}/cancel")
        served.terminate()
        assert "Traceback" not in served.log
