"""What tests share: waiting, servers, programs, a proxy that fails on purpose, and the check for keys left behind."""

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
