"""Imports delimited files in the background: one task a row, progress, cancel, and a report at the end.

`make run`, or `uvicorn examples.importer.app:app --workers 2`; then open http://127.0.0.1:8000.
"""

import csv
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Annotated

from dependency_injector import containers, providers
from fastapi import Depends, Form, Header, HTTPException, Query, Response, UploadFile
from fastapi.responses import FileResponse

from examples.importer.services import Report, Reports, Rows
from examples.importer.settings import Settings
from examples.importer.table_reader import Format, Table, read_table
from examples.importer.tables import open_engine, open_session
from taskproc import Batch, BatchCanceled, BatchInfo, TaskProcessor, ref
from taskproc_fastapi import FastAPI, Tasks, batch_events, health


class Container(containers.DeclarativeContainer):
    settings = providers.Singleton(Settings)
    engine = providers.Resource(open_engine, settings.provided.data)  # one for each process
    session = providers.ContextLocalResource(open_session, engine)  # one for each task, closed at its end
    tasks = providers.Dependency(instance_of=TaskProcessor)  # given by add_task_processor
    rows = providers.Factory(Rows, session)
    reports = providers.Factory(Reports, session, tasks)


container = Container()
app = FastAPI(title="Importer")
processor = app.add_task_processor(container.settings().processor(), container=container)
app.add_task_processor_executor()
app.include_router(health(processor), prefix="/health")
app.add_task_processor_dashboard("/tasks", allow_anonymous=True)  # an app with users would ask: dependencies=[…]

TENANT = r"^[A-Za-z0-9_.@-]{1,128}$"
Tenant = Annotated[str, Header(alias="X-Tenant", pattern=TENANT)]  # an app with users would ask who they are


@app.get("/", include_in_schema=False)
async def show_page() -> FileResponse:
    """A form to upload with, and the tenant's imports."""
    return FileResponse(Path(__file__).with_name("index.html"))


@app.post("/imports", status_code=202)
def start_import(
    *,
    tasks: Tasks,
    tenant: Tenant,
    file: UploadFile,
    format_: Annotated[Format, Form(alias="format")] = "csv",
    columns: Annotated[str, Form()] = "",
    comment: Annotated[str, Form()] = "",
) -> str:
    """Reads the file, in a thread, and hands its rows to the background as they come; the batch's id.

    `columns`, separated by commas, name the columns of a file without header.
    """
    name = file.filename or "a file"
    try:
        table = read_table(file.file, format_, [each.strip() for each in columns.split(",") if each.strip()], comment)
        return tasks.blocking.enqueue_batch("rows", tenant, lambda batch: fill(batch, table), scope=name)
    except (UnicodeDecodeError, csv.Error) as error:  # rows before it may be in: the batch is canceled, which undoes it
        raise HTTPException(422, f"{name} is no {format_} file in UTF-8: {error}") from error
    except BatchCanceled as error:
        raise HTTPException(409, f"the import of {name} was canceled while it was read") from error


def fill(batch: Batch, table: Table) -> Iterator[None]:
    """The continuations go first: should the batch be canceled while rows are still being sent, they are there."""
    batch.on("reports").continue_with(ref(Reports).write)
    batch.on("reports", when="failed").continue_with(ref(Reports).write)
    batch.on("reports", when="canceled").continue_with(ref(Reports).undo)
    rows = batch.on(retries=2)
    for line, cells in table.rows:
        rows.enqueue(ref(Rows).load, batch.id, line, table.columns, cells)
        yield  # what is collected may be sent now


@app.get("/imports")
async def list_imports(tasks: Tasks, tenant: Tenant, skip: int = 0) -> list[BatchInfo]:
    """The tenant's imports, the newest first."""
    return await tasks.get_batches(tenant, skip, 20)


@app.get("/imports/{import_id}")
async def get_import(import_id: str, tasks: Tasks, tenant: Tenant) -> BatchInfo:
    """How far it is."""
    batch = await tasks.get_batch(import_id, tenant=tenant)
    if batch is None:
        raise HTTPException(404, "no such import")
    return batch


async def tenant_of_viewer(
    in_header: Annotated[str | None, Header(alias="X-Tenant", pattern=TENANT)] = None,
    in_query: Annotated[str | None, Query(alias="tenant", pattern=TENANT)] = None,
) -> str:
    """An `EventSource` cannot send headers; a session's cookie would come with it."""
    tenant = in_header or in_query
    if tenant is None:
        raise HTTPException(422, "say whose import it is: ?tenant=…")
    return tenant


@app.get("/imports/{import_id}/events")
async def follow_import(import_id: str, tasks: Tasks, tenant: Annotated[str, Depends(tenant_of_viewer)]) -> Response:
    """How far it is, now and whenever that changes, as server-sent events."""
    return await batch_events(tasks, import_id, tenant=tenant)


@app.post("/imports/{import_id}/cancel")
async def cancel_import(import_id: str, tasks: Tasks, tenant: Tenant) -> BatchInfo:
    """Stops it; its rows are removed in the background."""
    if not await tasks.cancel_batch(import_id, tenant=tenant):
        raise HTTPException(409, "no such import, or it has ended")
    return await get_import(import_id, tasks, tenant)


async def reports_of_request(tasks: Tasks) -> AsyncGenerator[Reports]:
    """A request has a session of its own, as a task has."""
    async with open_session(await container.engine.async_()) as session:
        yield Reports(session, tasks)


@app.get("/imports/{import_id}/report")
async def get_report(
    import_id: str, tenant: Tenant, reports: Annotated[Reports, Depends(reports_of_request)]
) -> Report:
    """What came of it; 404 until it has ended."""
    report = await reports.find(import_id, tenant)
    if report is None:
        raise HTTPException(404, "no report yet")
    return report
