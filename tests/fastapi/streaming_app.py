"""An app with streams, for uvicorn."""

import asyncio

from taskproc import background
from taskproc_fastapi import FastAPI, Tasks, batch_events, events, health
from taskproc_fastapi.sse import EventStream

app = FastAPI()
processor = app.add_task_processor()
app.add_task_processor_executor()
app.include_router(health(processor), prefix="/health")


@background
async def work() -> None:
    """Takes longer than any test."""
    await asyncio.sleep(60)


@app.post("/batches")
async def start(tasks: Tasks) -> str:
    """A batch that goes on and on."""
    async with tasks.batch() as batch:
        batch.enqueue(work)
    return batch.id


@app.post("/batches/{batch_id}/cancel")
async def cancel(batch_id: str, tasks: Tasks) -> bool:
    """Ends it."""
    return await tasks.cancel_batch(batch_id)


@app.get("/batches/{batch_id}/events")
async def follow(batch_id: str, tasks: Tasks) -> EventStream:
    """How it goes."""
    return await batch_events(tasks, batch_id)


@app.get("/watching")
async def watching() -> bool:
    """Whether anybody watches."""
    return bool(events._watchers)
