"""The server's own figures, asked for without any client library."""

import socket
import time
from urllib.parse import urlsplit


class Server:
    """The server's own figures, asked for without any client library."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._socket = socket.create_connection((place.hostname or "127.0.0.1", place.port or 6379), timeout=10)
        self._reader = self._socket.makefile("rb")
        self._clients = self.info()["connected_clients"]  # this one, and whoever runs the server

    def flush(self) -> None:
        """Removes all keys, and returns when their memory is free."""
        self._socket.sendall(b"FLUSHALL SYNC\r\n")
        self._reader.readline()

    def memory(self) -> float:
        """Bytes it uses when the peer has no connection: buffers of clients are many times what a task takes."""
        for _ in range(20):
            time.sleep(0.2)  # what clients have closed is freed a little later
            info = self.info()
            if info["connected_clients"] <= self._clients:
                return info["used_memory"]
        raise SystemExit("a client did not close its connections, so that no memory is comparable")

    def info(self) -> dict[str, float]:
        """What INFO tells in numbers."""
        self._socket.sendall(b"INFO\r\n")
        size = int(self._reader.readline()[1:])
        lines = self._reader.read(size + 2).decode().splitlines()
        pairs = [line.split(":", 1) for line in lines if ":" in line]
        return {name: float(value) for name, value in pairs if value.replace(".", "", 1).isdigit()}


def reads(info: dict[str, float]) -> float:
    """Reads from clients, which are their round trips; where it does not count them, commands."""
    return info.get("total_reads_processed", info["total_commands_processed"])
