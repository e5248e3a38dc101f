"""What a server may answer instead of doing what it was asked, one of each kind."""

PASSING = {
    "LOADING": "-LOADING Redis is loading the dataset in memory",
    "BUSY": "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "READONLY": "-READONLY You can't write against a read only replica.",
    "MASTERDOWN": "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NOREPLICAS": "-NOREPLICAS Not enough good replicas to write.",
    "OOM": "-OOM command not allowed when used memory > 'maxmemory'.",
    "CLUSTERDOWN": "-CLUSTERDOWN The cluster is down",
    "TRYAGAIN": "-TRYAGAIN Multiple keys request during rehashing of slot",
    "MISCONF": "-MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "UNBLOCKED": "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
    "max clients": "-ERR max number of clients reached",
    "NOSCRIPT": "-NOSCRIPT No matching script. Please use EVAL.",
}
"""They pass: the request is repeated. The script was not run, or in one case may have been."""

REFUSALS = {
    "NOAUTH": ("-NOAUTH Authentication required.", "wants a password"),
    "WRONGPASS": ("-WRONGPASS invalid username-password pair or user is disabled.", "refuses this user"),
    "NOPERM": ("-NOPERM User w has no permissions to run the 'evalsha' command", "refuses this user"),
    "MOVED": ("-MOVED 12 127.0.0.1:1", "is a node of a cluster"),
    "ASK": ("-ASK 12 127.0.0.1:1", "is a node of a cluster"),
    "unknown command": ("-ERR unknown command 'EVALSHA', with args beginning with: 'x'", "does not know the command"),
}
"""Repeating is no use: a ConfigurationError says at once what is wrong, in these words."""

BUGS = {
    "UNKILLABLE": "-UNKILLABLE Sorry the script already executed write commands against the dataset.",
    "EXECABORT": "-EXECABORT Transaction discarded because of previous errors.",
    "WRONGTYPE": "-WRONGTYPE Operation against a key holding the wrong kind of value",
    "CROSSSLOT": "-CROSSSLOT Keys in request don't hash to the same slot",
    "IOERR": "-IOERR error or timeout reading to target instance",
    "ERR": "-ERR Error running script",
}
"""No script here can cause them, so they are not repeated; the driver's error shows what the server said."""

ALL = PASSING | {name: reply for name, (reply, _) in REFUSALS.items()} | BUGS
