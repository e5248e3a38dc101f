"""What tests share: waiting, servers, programs, and all the ways in which these can be made to fail.

| fault                                                    | tool                                                     |
|----------------------------------------------------------|----------------------------------------------------------|
| a reply is lost, after the request was carried out       | `Proxy.drop_reply(command or SHA of a script, times)`    |
| a reply is cut in half                                   | `Proxy.cut_reply`                                        |
| replies come in pieces of 1 to n bytes; late             | `Proxy.split(n)`; `Proxy.delay(ms)`                      |
| the server answers an error instead                      | `Proxy.answer(command, "-LOADING …")`                    |
| one connection, or the network, falls silent             | `Proxy.silence(command)`; `Proxy.blackhole()`, `heal()`  |
| connections are reset                                    | `Proxy.close_all()`, CLIENT KILL by a plain client       |
| published messages are lost                              | `Proxy.drop_messages()`                                  |
| Redis's clock is wrong, or is set                        | `Proxy.set_clock(seconds)`; tests of scripts: `arg.now`  |
| a process's wall clock is wrong, or is set               | `clocks.set_wall_clock(seconds)`, in that process        |
| a worker, producer or server dies or stands still        | `Process`, `Server`: `kill()`, `freeze()`, `thaw()`      |
| the server loses what it had confirmed                   | `Server.copy_data()`, `Server.rewind(copy)`              |
| a failover                                               | `topologies.sentinel3()`                                 |
| a slot moves, key by key or at once                      | `topologies.cluster3()`: `move`, `move_at_once`          |
| scripts are forgotten; memory, or room for clients, ends | SCRIPT FLUSH, CONFIG SET maxmemory, maxclients           |
| the user may do less                                     | `acl.create_user`                                        |

`wait_until` waits, `assert_no_leaks` looks for keys left behind. `tests/faults/kit.py` has worker processes with a
journal of what they did, and `meanwhile(disturb, every=…)`.
"""

from tests.kit.leaks import assert_no_leaks, delete_keys
from tests.kit.processes import Process, process
from tests.kit.proxy import Proxy
from tests.kit.servers import Server
from tests.kit.waiting import block_until, free_port, wait_until

__all__ = [
    "Process",
    "Proxy",
    "Server",
    "assert_no_leaks",
    "block_until",
    "delete_keys",
    "free_port",
    "process",
    "wait_until",
]
