"""The tables of the database, and how it is opened."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import JSON
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateTable


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON}  # noqa: RUF012  SQLAlchemy's own way


class Row(Base):
    """One row of an imported file; the key makes it the same row however often its task runs."""

    __tablename__ = "rows"

    import_id: Mapped[str] = mapped_column(primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    cells: Mapped[dict[str, Any]]


class StoredReport(Base):
    __tablename__ = "reports"

    import_id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    report: Mapped[dict[str, Any]]


@asynccontextmanager
async def open_engine(folder: Path) -> AsyncGenerator[AsyncEngine]:
    """For the life of the app. Several processes may share the file: readers never wait, and writers wait in turn."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{_made(folder)}/importer.db", connect_args={"timeout": 30})
    while not await _is_set_up(engine):  # noqa: ASYNC110  other processes send no events
        await asyncio.sleep(0.1)  # another process is at it: SQLite does not wait for the change to WAL
    yield engine
    await engine.dispose()


async def _is_set_up(engine: AsyncEngine) -> bool:
    try:
        async with engine.begin() as connection:
            await connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            for table in Base.metadata.sorted_tables:
                await connection.execute(CreateTable(table, if_not_exists=True))
    except OperationalError as error:
        if "locked" in str(error):
            return False
        raise
    return True


@asynccontextmanager
async def open_session(engine: AsyncEngine) -> AsyncGenerator[AsyncSession]:
    """For one task, or one request. What was not committed is rolled back when it closes."""
    async with AsyncSession(engine, expire_on_commit=False) as session:
        yield session


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
