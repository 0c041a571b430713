"""Holds one key in memory until a time and signs typed requests with it: `p2pool wallet unlock`.

The key comes through standard input and is never written; the process leaves no core and lets no
other process of its user look into it. It signs requests and log grants that begin now and last no
longer than the pool takes, each built here from its fields: no digest, no delegation, no
transaction. At the end of its time, or when it is told to, it is gone.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from p2pool.drivers.keys import key_client
from p2pool.model import limits
from p2pool.model.access.grants import LogGrant
from p2pool.model.access.requests import Action, TaskRequest
from p2pool.model.errors import Malformed, P2poolError, Stale
from p2pool.model.ids import ADDRESS_BYTES, Address, PoolRef
from p2pool.wire import typed_data
from p2pool.wire.account import Account

_PR_SET_DUMPABLE = 4


def now_s() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Server:
    """The key, its socket, and until when."""

    def __init__(self, account: Account, path: Path, end_s: float) -> None:
        """`end_s`: by the clock of `now_s`."""
        self._account, self._path, self._end_s = account, path, end_s
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        key_client.bind(self._listener, path)
        self._listener.listen(8)
        self._file = os.lstat(path).st_ino
        self._locked = False

    def run(self) -> None:
        """Answer until the end; then the socket is gone."""
        try:
            while not self._locked and (left_s := self._end_s - now_s()) > 0:
                self._listener.settimeout(min(left_s, limits.UNLOCKED_CHECK_MS / 1000))
                with suppress(OSError):
                    connection, _ = self._listener.accept()
                    with connection:
                        self._serve(connection)
        finally:
            self._leave()
            self._listener.close()

    def _leave(self) -> None:
        """Take the socket away, unless another process has put its own there."""
        with suppress(OSError):
            if os.lstat(self._path).st_ino == self._file:
                self._path.unlink()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(limits.UNLOCKED_ANSWER_MS / 1000)
        if not key_client.peer_is_owner(connection):
            return
        try:
            answer = self.answer(json.loads(key_client.read_line(connection)))
        except P2poolError as error:
            answer = {"error": error.code, "sentence": error.message}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            answer = {"error": Malformed.code, "sentence": "That is no question for a key."}
        connection.sendall(json.dumps(answer).encode() + b"\n")

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """What is answered; raises the errors of the tree, and what Python does for bad fields."""
        left_s = self._end_s - now_s()
        if left_s <= 0:
            raise Stale("The key's time is over.", hint="Unlock it again: p2pool wallet unlock.")
        if set(question) == {"status"}:
            return {"left_s": int(left_s)}
        if set(question) == {"lock"}:
            self._locked = True
            self._leave()  # Before the answer: whoever asked may unlock anew at once.
            return {"locked": True}
        if set(question) != {"sign", "pool", "fields"}:
            raise Malformed("That is no question for a key.")
        pool, fields = _pool(question["pool"]), dict(question["fields"])
        if question["sign"] == "request":
            request = _request(pool, fields)
            signature = typed_data.sign_request(pool, self._account, request).signature
        elif question["sign"] == "grant":
            grant = LogGrant(pool_id=pool.pool_id, **_only(fields, key_client.GRANT_FIELDS))
            _check_begin(grant.not_before_s)
            signature = typed_data.sign_grant(pool, self._account, grant).signature
        else:
            raise Malformed("An unlocked key signs requests and log grants alone.")
        return {"signature": signature.hex()}


def _pool(told: Mapping[str, Any]) -> PoolRef:
    known = _only(dict(told), ("chain_id", "contract", "pool_id"))
    contract = bytes.fromhex(known["contract"])
    if len(contract) != ADDRESS_BYTES or type(known["chain_id"]) is not int:
        raise Malformed("That is no pool.")
    return PoolRef(known["chain_id"], Address(contract), known["pool_id"])


def _request(pool: PoolRef, fields: dict[str, Any]) -> TaskRequest:
    known = _only(fields, (*key_client.REQUEST_FIELDS, "action", "request_id"))
    _check_begin(known["not_before_s"])
    return TaskRequest(
        action=Action(known["action"]),
        pool_id=pool.pool_id,
        target=str(known["target"]),
        spec_json=str(known["spec_json"]),
        request_id=bytes.fromhex(known["request_id"]),
        not_before_s=known["not_before_s"],
        not_after_s=known["not_after_s"],
    )


def _only(fields: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    if set(fields) != set(names):
        raise Malformed("The request has other fields than one of these has.")
    return fields


def _check_begin(not_before_s: Any) -> None:
    """What begins later than now would outlive the key's time."""
    skew_s = limits.CLOCK_SKEW_MAX_MS // 1000
    if type(not_before_s) is not int or abs(not_before_s - time.time()) > skew_s:
        raise Stale("An unlocked key signs what begins now.")


def main() -> None:
    """`python -m p2pool.drivers.keys.key_server SOCKET SECONDS`, the key on standard input."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    account = Account(sys.stdin.buffer.read(32))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(account, Path(sys.argv[1]), now_s() + int(sys.argv[2]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.chdir("/")
    server.run()


if __name__ == "__main__":
    main()
