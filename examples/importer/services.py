"""What tasks call. Each task gets a service, and with it a database session, of its own."""

from datetime import UTC, datetime

from pydantic import BaseModel
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncSession

from examples.importer.tables import Row, StoredReport
from taskproc import CURRENT, BatchInfo, TaskContext, TaskProcessor


class Report(BaseModel):
    """What came of an import."""

    batch: BatchInfo
    rows: int
    """How many are in the database."""
    failures: list[str]
    """Why rows failed, the last one first; at most 100."""
    written_at: datetime


class Rows:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def load(self, import_id: str, line: int, columns: list[str], cells: list[str]) -> None:
        """Stores a row. The task may run twice, after a crash for instance: the second time changes nothing."""
        if len(cells) > len(columns):
            raise ValueError(f"line {line} has {len(cells)} cells, but the table has {len(columns)} columns")
        named = dict(zip(columns, cells, strict=False))  # the last cells may be missing
        statement = insert(Row).values(import_id=import_id, line=line, cells=named)
        await self._session.execute(statement.on_conflict_do_update(set_={"cells": named}))
        await self._session.commit()


class Reports:
    def __init__(self, session: AsyncSession, tasks: TaskProcessor) -> None:
        self._session = session
        self._tasks = tasks

    async def write(self, ctx: TaskContext = CURRENT) -> None:
        """Runs when the batch that it continues has ended."""
        batch = await ctx.get_batch()
        if batch is None:  # it ended so long ago that it is forgotten
            return
        report = Report(
            batch=batch,
            rows=await self._count_rows(batch),
            failures=await self._failures(batch),
            written_at=datetime.now(UTC),
        )
        stored = StoredReport(import_id=batch.id, tenant=batch.tenant, report=report.model_dump(mode="json"))
        await self._session.merge(stored)
        await self._session.commit()

    async def undo(self, ctx: TaskContext = CURRENT) -> None:
        """Runs when the batch was canceled: its rows go."""
        await self._session.execute(delete(Row).where(Row.import_id == ctx.batch_id))
        await self.write(ctx)

    async def find(self, import_id: str, tenant: str) -> Report | None:
        stored = await self._session.get(StoredReport, import_id)
        return Report.model_validate(stored.report) if stored and stored.tenant == tenant else None

    async def _count_rows(self, batch: BatchInfo) -> int:
        return await self._session.scalar(select(func.count()).where(Row.import_id == batch.id)) or 0

    async def _failures(self, batch: BatchInfo) -> list[str]:
        if not batch.failed:
            return []
        dead = await self._tasks.get_dead_tasks("rows", take=1000, tenant=batch.tenant)
        return [task.error_message or "" for task in dead if task.batch_id == batch.id][:100]
