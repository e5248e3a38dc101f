"""What the workers of these tests run: it writes down that it ran."""

import asyncio
import os
from pathlib import Path

from taskproc import background

LEDGER = "LEDGER"


@background
async def note(number: int, seconds: float = 0.0) -> None:
    """Takes so long, then adds a line to the ledger, whole even if several processes write."""
    if seconds:
        await asyncio.sleep(seconds)
    file = os.open(os.environ[LEDGER], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{number}\n".encode())
    finally:
        os.close(file)


class Ledger:
    """The numbers that were noted, in their order."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @property
    def numbers(self) -> list[int]:
        return [int(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    def __len__(self) -> int:
        return len(self.numbers)

    def has(self, numbers: set[int]) -> bool:
        return numbers <= set(self.numbers)

    def has_any(self, numbers: set[int]) -> bool:
        return not numbers.isdisjoint(self.numbers)
