"""`Storage` as a test sees it: without an event loop, with a clock of its own, and all that is stored in one look."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from hashlib import sha1
from typing import Any, TypeVar, cast

import msgspec
import redis
from redis.exceptions import NoScriptError

from taskproc.driver import Driver, encode
from taskproc.keys import Keys
from taskproc.records import Attempt, Chunk, NewTask, Request, Settlement
from taskproc.scripts import scripts
from taskproc.storage import Exchange, Sending, Storage
from tests.kit.acl import restricted

T = TypeVar("T")
Dump = dict[str, Any]
"""Everything that is stored, by its key without the prefix: hashes and sorted sets as dicts, lists, sets as sets."""

START = 1_750_000_000_000
"""When the clock of a test begins, epoch milliseconds."""
TIMEOUT = 10_000
MOST_CALLS = 5_000
ABOUT: Mapping[str, object] = {"host": "box", "pid": 7, "queues": "default", "slots": 20, "version": "1"}

_READ_ALL = """
local rows = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  local kind, value = redis.call('TYPE', key).ok, nil
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  else value = redis.call('GET', key) end
  rows[#rows + 1] = { key, kind, value }
end
return rows
"""


_SOME = """
local function some_of(key, most)
  local ids = redis.call('SMEMBERS', key)
  table.sort(ids)
  return { unpack(ids, 1, math.min(#ids, most)) }
end
"""


def repeatable(sources: Mapping[str, str]) -> dict[str, str]:
    """The scripts without chance: they take the first members of a set, not any, so that a run can be repeated."""
    return {name: _SOME + text.replace("redis.call('SRANDMEMBER', ", "some_of(") for name, text in sources.items()}


class LockStep:
    """Runs scripts like `Driver`, but at once, and tells them the time. `limits` replaces the limit of a script."""

    def __init__(self, client: redis.Redis, keys: Keys, sources: Mapping[str, str]) -> None:
        self._client = restricted(client)
        self._keys = keys
        self._shas = {name: sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in sources.items()}
        self._sources = sources
        self.now = START
        self.limits: dict[str, int] = {}
        self.between: Callable[[], object] | None = None
        """The reply to the next request is lost: what happens before it is sent again."""
        self.calls = 0

    async def run(
        self,
        name: str,
        keys: Sequence[str] = (),
        arg: object = None,
        payloads: Sequence[bytes] = (),
        subject: str | None = None,
    ) -> Any:
        packed = encode(arg if arg is not None else {})
        if self.between is not None:
            between, self.between = self.between, None
            await self.once(name, keys, packed, payloads)
            between()
        return await self.once(name, keys, packed, payloads)

    async def once(self, name: str, keys: Sequence[str], packed: bytes, payloads: Sequence[bytes] = ()) -> Any:
        self.calls += 1
        assert self.calls < MOST_CALLS, f"{name} is called again and again"
        arg = msgspec.msgpack.decode(packed) | {"now": self.now}
        if name in self.limits:
            arg["limit"] = self.limits[name]
        all_keys = (self._keys.meta, *keys, self._keys.none)
        rest = (len(all_keys), *all_keys, encode(arg), *payloads)
        try:
            return self._execute("EVALSHA", self._shas[name], *rest)
        except NoScriptError:
            return self._execute("EVAL", self._sources[name], *rest)

    def _execute(self, *words: Any) -> Any:
        return self._client.execute_command(*words)  # type: ignore[no-untyped-call]


class Store:
    """The storage under one prefix."""

    def __init__(self, client: redis.Redis, prefix: str, sources: Mapping[str, str] | None = None) -> None:
        self.client = client
        self.keys = Keys(prefix)
        self.driver = LockStep(client, self.keys, sources or {name: one.source for name, one in scripts().items()})
        self.storage: Storage = object.__new__(Storage)  # its __init__ wants a connection
        self.storage.keys = self.keys
        self.storage.driver = cast("Driver", self.driver)
        self.storage.observers = ()
        self._nonces: dict[str, int] = {}
        self._answered: dict[str, int] = {}

    @property
    def now(self) -> int:
        """The time that scripts see."""
        return self.driver.now

    def later(self, milliseconds: int) -> None:
        """Lets time pass."""
        self.driver.now += milliseconds

    def lose_reply(self, between: Callable[[], object] = lambda: None) -> None:
        """The next request is sent twice, as by the driver when its reply is lost; this happens in between."""
        self.driver.between = between

    def dump(self) -> Dump:
        """Everything that is stored."""
        prefix = self.keys.prefix + ":"
        rows: list[Any] = self.client.eval(_READ_ALL, 0, f"{prefix}*")
        return {key.decode().removeprefix(prefix): _parsed(kind, value) for key, kind, value in rows}

    # Producing

    def enqueue(self, *tasks: NewTask) -> int:
        return done(self.storage.enqueue([_sending(task) for task in tasks]))

    def add(self, *ids: str, **options: Any) -> None:
        """Enqueues single tasks with the same options."""
        assert self.enqueue(*(new_task(id_, **options) for id_ in ids)) == len(ids)

    def add_chunk(self, chunk: Chunk, tasks: Sequence[NewTask] = (), continuations: Sequence[NewTask] = ()) -> str:
        sent = [_sending(task) for task in tasks], [_sending(task) for task in continuations]
        return done(self.storage.add_to_batch(chunk, *sent))

    def add_batch(
        self, batch: str, tasks: int | Sequence[NewTask] = 2, when: Sequence[str] = (), **chunk: Any
    ) -> list[str]:
        """A new batch of one chunk, sealed unless told otherwise, with a continuation for each awaited outcome.
        The ids of its tasks.
        """
        members = [new_task()] * tasks if isinstance(tasks, int) else tasks
        assert self.add_chunk(new_chunk(batch, **chunk), members, [new_task(awaited=one) for one in when]) == "ok"
        return [f"{batch}.0.{number}" for number in range(len(members))]

    # Working

    def start_worker(self, worker: str = "w1", timeout: int = TIMEOUT) -> None:
        done(self.storage.register(worker, timeout, ABOUT))

    def beat(self, *workers: str) -> None:
        for worker in workers:
            assert done(self.storage.beat(worker, TIMEOUT)), f"{worker} is not known"

    def let_live(self, milliseconds: int, *workers: str) -> None:
        """Time passes while these workers beat, and others do not."""
        end = self.now + milliseconds
        while self.now < end:
            self.later(min(TIMEOUT // 2, end - self.now))
            self.beat(*workers)

    def next_nonce(self, worker: str) -> int:
        self._nonces[worker] = self._nonces.get(worker, 0) + 1
        return self._nonces[worker]

    def exchange(
        self,
        worker: str = "w1",
        slots: int = 10,
        queues: Sequence[str] = ("default",),
        *,
        nonce: int | None = None,
        max_recoveries: int = 3,
        settlements: Sequence[Settlement] = (),
    ) -> Exchange:
        request = Request(
            worker=worker,
            nonce=self.next_nonce(worker) if nonce is None else nonce,
            known=self._answered.get(worker, 0),
            slots=slots,
            queues=queues,
            max_recoveries=max_recoveries,
        )
        reply = done(self.storage.exchange(request, settlements))
        if reply.status in {"ok", "paused"}:
            self._answered[worker] = request.nonce
        return reply

    def fetch(
        self, worker: str = "w1", slots: int = 10, queues: Sequence[str] = ("default",), **options: Any
    ) -> list[Attempt]:
        """The tasks that the worker gets; it must get an answer."""
        reply = self.exchange(worker, slots, queues, **options)
        assert reply.status == "ok"
        return reply.fetched

    def fetch_one(self, worker: str = "w1", **options: Any) -> Attempt:
        (attempt,) = self.fetch(worker, 1, **options)
        return attempt

    def settle(self, outcome: Any, *attempts: Attempt, worker: str = "w1", **fields: Any) -> list[str]:
        """Settles attempts in the same way; as what they were settled."""
        settlements = [settlement(one.id, one.token, outcome, **fields) for one in attempts]
        return cast("list[str]", done(self.storage.settle(worker, settlements)))

    # Maintenance

    def reap(self, max_recoveries: int = 3, timeout: int = TIMEOUT) -> tuple[bool, list[Attempt]]:
        return done(self.storage.reap(timeout, max_recoveries))

    def tend(self, *queues: str, deadletter: bool = True, timeout: int = TIMEOUT) -> bool:
        return done(self.storage.tend(queues or ("default",), timeout, deadletter=deadletter, deadletter_unique=False))

    def walk(self, batch: str) -> None:
        """Counts all queued tasks of a canceled batch."""
        while done(self.storage.cancel_queued(batch)):
            pass

    # Looking

    def task(self, id_: str) -> dict[str, str]:
        """A record; empty when there is none."""
        return self._hash(self.keys.task(id_))

    def batch(self, id_: str) -> dict[str, str]:
        return self._hash(self.keys.batch(id_))

    def counts(self, batch: str) -> tuple[int, int, int, int]:
        """total, done, failed, canceled."""
        record = self.batch(batch)
        return int(record["total"]), int(record["done"]), int(record["failed"]), int(record["canceled"])

    def index(self, queue: str, part: str) -> dict[str, float]:
        """`leased`, `delayed` or `dead` of a queue."""
        found = cast(
            "list[tuple[bytes, float]]", self.client.zrange(f"{self.keys.counts(queue)}:{part}", 0, -1, withscores=True)
        )
        return {id_.decode(): score for id_, score in found}

    def ready(self, queue: str = "default", tenant: str | None = None) -> list[str]:
        """The ids in a list of ready tasks that are no tombstones."""
        found = cast("list[bytes]", self.client.lrange(self.keys.ready(queue, tenant), 0, -1))
        return [id_ for id_ in (one.decode() for one in found) if self.task(id_).get("s") == "r"]

    def length(self, queue: str = "default") -> int:
        """How many ready tasks a queue says that it has."""
        return int(self._hash(self.keys.counts(queue)).get("*", 0))

    def _hash(self, key: str) -> dict[str, str]:
        found = cast("dict[bytes, bytes]", self.client.hgetall(key))
        return {name.decode(): value.decode() for name, value in found.items() if name.decode() not in TOLD_ONLY}


def done(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    raise AssertionError("it waits for something")


def new_task(id_: str | None = None, queue: str = "default", tenant: str = "acme", **options: Any) -> NewTask:
    """A task, with three attempts of a minute each unless told otherwise."""
    fields: dict[str, Any] = {"call": "mail.send", "retries": 3, "invisibility": 60_000, **options}
    return NewTask(id=id_, queue=queue, tenant=tenant, **fields)


def new_chunk(batch: str, number: int = 0, *, producer: str = "", new: bool = True, **options: Any) -> Chunk:
    """A chunk of a batch: by default the first of a new batch, and its last."""
    fields: dict[str, Any] = {
        "tenant": "acme",
        "last": True,
        "previous": f"{producer}{number - 1}" if number else None,
        **options,
    }
    create = {"queue": "default", "scope": f"scope of {batch}"} if new and not number else None
    return Chunk(batch=batch, name=f"{producer}{number}", producer=producer, create=create, **fields)


def settlement(id_: str, token: str, outcome: Any, **fields: Any) -> Settlement:
    """What came of an attempt; of one that died, why."""
    told: dict[str, Any] = {"type": "ValueError", "message": "no", "traceback": "line 1"} if outcome == "dead" else {}
    return Settlement(id=id_, token=token, outcome=outcome, **(told | fields))


def _sending(task: NewTask) -> Sending:
    return task, b'{"args":[]}'


TOLD_ONLY = {"a", "h", "r"}
"""Fields of a task that nothing depends on: they are shown, and tested in test_attempts.py."""


def _parsed(kind: bytes, value: Any) -> Any:
    if kind == b"string":
        return value.decode()
    words = [word.decode(errors="replace") for word in value]
    match kind:
        case b"hash":
            record = dict(zip(words[::2], words[1::2], strict=True))
            return {name: text for name, text in record.items() if name not in TOLD_ONLY}
        case b"zset":
            return dict(zip(words[::2], map(float, words[1::2]), strict=True))
        case b"set":
            return set(words)
        case _:
            return words
