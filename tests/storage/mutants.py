"""Wrong scripts: each has one fault that systems like this have had, and that the state machine must find."""

from collections.abc import Mapping

MUTANTS: Mapping[str, tuple[str, str]] = {
    "an attempt is settled without its token": (
        "if task[1] ~= 'l' or task[2] ~= token or not task[3] or seen[id] then",
        "if task[1] ~= 'l' or seen[id] then",
    ),
    "a settlement counts twice in one request": (" or seen[id] then", " then"),
    "a batch ends while its producer still sends": (" or (tonumber(v[5]) or 0) > 0 or", " or"),
    "a continuation stays held after it has started": ("  redis.call('UNLINK', key)\n  for _, id", "  for _, id"),
    "a continuation counts in its batch": ("return not awaited and batch_of(id) or nil", "return batch_of(id)"),
    "a canceled batch keeps continuations": (
        "    elseif outcome == 'canceled' then\n      redis.call('UNLINK', task_key(id))\n",
        "",
    ),
    "a tenant stays in the ring without tasks": ("    redis.call('ZREM', queue_key(queue, 'turns'), tenant)\n", ""),
    "a canceled task costs its tenant the turn": ("elseif (leased > 0 or passed) and ", "elseif "),
    "a tenant is not moved behind the others": (
        "      take_turn(queue, tenant)\n    end\n    if seen_now",
        "    end\n    if seen_now",
    ),
    "the lease of a dead worker stays": ("  redis.call('ZREM', queue_key(task[3], 'leased'), id)\n", ""),
    "a task stays in the set of a dead worker": (
        "  redis.call('SREM', P .. ':worker:' .. worker .. ':tasks', id)\n",
        "",
    ),
    "what ends under a cancel counts as it ended": (
        "  if task[5] or is_canceled(batch) then",
        "  if task[5] then",
    ),
    "a retried dead task stays failed": ("    add_to(batch_key(batch), 'failed', -1)\n", ""),
    "a dead task of a canceled batch runs again": (
        "if wanted and not task[6] and not is_canceled(counted_in(id, task[4])) and",
        "if wanted and",
    ),
    "a batch that runs again is cleaned up": ("  redis.call('ZREM', P .. ':ended', batch)\n", ""),
    "a dropped task stays counted as ready": (
        "dropped[name].count = dropped[name].count + 1",
        "dropped[name].count = dropped[name].count",
    ),
    "a chunk is added twice": ("  elseif has_chunk(chunk.name) then\n    return 'ok'\n", ""),
    "a chunk is added after one that was lost": (
        "  elseif chunk.previous and not has_chunk(chunk.previous) then\n    return 'broken'\n",
        "",
    ),
    "a batch of another tenant is extended": ("if batch[1] and batch[1] ~= chunk.tenant or", "if"),
    "a task is enqueued twice": ("if redis.call('EXISTS', task_key(task.id)) == 0 then", "if true then"),
    "a late fetch is served": ("  elseif tonumber(worker[1] or 0) >= request.nonce then\n    return 'late'\n", ""),
    "a silent worker is served": ("  elseif alive_until <= now then\n    return 'silent'\n", ""),
    "a worker taken for dead comes back": (
        "ZSCORE', KEYS[2], arg.worker) and not is_dead",
        "ZSCORE', KEYS[2], arg.worker)",
    ),
    "a fetch is served while paused": ("    return 'paused'\n", "    return 'ok'\n"),
    "a paused queue is served": ("  if pausing and is_paused('queue:' .. queue) then", "  if false then"),
    "a task of a paused tenant is handed out": (
        "  elseif pausing and is_paused('tenant:' .. task.t) then",
        "  elseif false then",
    ),
    "a paused tenant takes its turn": ("or not is_paused('tenant:' .. tenant) then", "or true then"),
    "a resumed tenant stays parked": ("    take_turn(queue, tenant)\n    wake(queue, 1)", "    wake(queue, 1)"),
    "a pause does not end by itself": ("PAUSES, '-inf', now, 'LIMIT'", "PAUSES, '-inf', 0, 'LIMIT'"),
    "a pause ends early": ("PAUSES, '-inf', now, 'LIMIT'", "PAUSES, '-inf', now + 500, 'LIMIT'"),
    "what was set aside stays there": ("    want, unfinished = fetch_from_lanes(queue, want)\n", ""),
    "what is given back goes before what was set aside": (
        "if is_pausing() and redis.call('ZSCORE', queue_key(queue, 'turns'), tenant) then",
        "if false then",
    ),
    "an empty lane stays listed": ("        forget_lane(queue, tenant)\n        closed", "        closed"),
    "a lane of tombstones outlives its queue": (
        ", 0, 9999)) do\n      forget_lane(queue, tenant)\n",
        ", 0, 9999)) do\n",
    ),
    "a queue is empty though something is set aside": ("if not has_lanes and", "if"),
    "a fetch comes again and again for what is parked": ("tasks = tasks + (", "tasks = tasks + 0 * ("),
    "meta says that something is paused for ever": ("    redis.call('HDEL', KEYS[1], 'pauses')\n", ""),
    "a drained worker is served": ("  elseif worker[3] then", "  elseif false then"),
    "a task of a canceled batch is handed out": (
        "elseif batch and not task.w and look_up(batch).canceled then",
        "elseif false then",
    ),
    "a due task stays delayed": ("  call_many('ZREM', queue_key(queue, 'delayed'), ids)\nend", "end"),
    "a delayed task starts early": ("'delayed'), '-inf', now, 'LIMIT'", "'delayed'), '-inf', now + 500, 'LIMIT'"),
    "a lost lease is extended": (
        "  if task[1] == 'l' and task[2] == lease.token and task[3] then\n    if not",
        "  if task[1] == 'l' then\n    if not",
    ),
    "an extension makes a lease shorter": ("'XX', 'GT', now + lease.ms", "'XX', now + lease.ms"),
    "a late resync is heeded": ("if tonumber(worker[1] or 0) > arg.nonce then", "if false then"),
    "resync takes back what the worker knows": ("if not known[id] and (", "if ("),
    "two suspects go to one worker": ("if held and held[1] == 'l'", "if held and held[1] == 'x'"),
    "a task may kill any number of workers": ("if recoveries < arg.max_recoveries then", "if true then"),
    "everybody is dead after an outage": ("  return now < hold, hold", "  return false, hold"),
    "the dead live on when the clock is put back": ("    put_back_workers(beaten - now)\n", ""),
    "attempts are over time when the clock is put forward": ("if worker and ends > now - GRACE then", "if false then"),
    "producers are dead when the clock is put forward": ("if spared or now < began + arg.keep then", "if spared then"),
    "abandoned batches live on when the clock is put back": (
        "  redis.call('ZADD', KEYS[2], now + arg.keep, entry)",
        "  redis.call('ZADD', KEYS[2], 'NX', now + arg.keep, entry)",
    ),
    "an overdue attempt is not counted": ("increment(id, 'f')", "0"),
    "what is given back goes to the end": (
        "put_back(id, queue, tenant, 0, true)",
        "put_back(id, queue, tenant, 0, false)",
    ),
    "a canceled task is canceled for ever": ("    redis.call('ZREM', P .. ':canceled', id)\n", ""),
    "the walk forgets delayed tasks": ("    append(delayed, task[2], id)\n", ""),
    "cleaning up forgets continuations": (
        "    redis.call('UNLINK', task_key(id))\n  end\n  redis.call('UNLINK', batch_key",
        "  end\n  redis.call('UNLINK', batch_key",
    ),
    "an abandoned batch stays open": (
        "    cancel(batch)\n  end\n  redis.call('ZREM', KEYS[2], entry)",
        "  end\n  redis.call('ZREM', KEYS[2], entry)",
    ),
}
"""What is wrong with each: the text of the scripts that is replaced, and what stands there instead."""


def mutated(sources: Mapping[str, str], name: str) -> dict[str, str]:
    """The scripts with one fault."""
    old, new = MUTANTS[name]
    changed = {script: source.replace(old, new) for script, source in sources.items()}
    if changed == dict(sources):
        raise LookupError(f"mutant {name!r}: no script has the text {old!r} any more")
    return changed
