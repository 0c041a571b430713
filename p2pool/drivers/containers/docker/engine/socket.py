"""An engine's unix socket on which a whole answer has a deadline, not each piece of it.

The SDK's timeout is for one read: an engine whose answer comes byte by byte would hold a call, and
one of the few threads for calls, for as long as it likes. Here the thread that makes a call says
until when, and every read of it waits no longer. Streams (events, log lines, pulls) say nothing,
and wait as ever. Not for engines over TCP or SSH: there each read has the SDK's timeout alone.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool

_call = threading.local()


@contextmanager
def answered_within(timeout_s: float) -> Iterator[None]:
    """In the thread of a call: what it reads of the engine has to be there by then."""
    _call.end_s = time.monotonic() + timeout_s
    try:
        yield
    finally:
        _call.end_s = None


class _Socket(socket.socket):
    def recv_into(self, *args: Any, **options: Any) -> int:
        """Read, until the end of this thread's call at most."""
        end_s: float | None = getattr(_call, "end_s", None)
        if end_s is None:
            return super().recv_into(*args, **options)
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer takes too long")
        usual_s = self.gettimeout()
        self.settimeout(left_s if usual_s is None else min(left_s, usual_s))
        try:
            return super().recv_into(*args, **options)
        finally:
            self.settimeout(usual_s)


class _Connection(UnixHTTPConnection):  # type: ignore[misc]  # The SDK has no types.
    def connect(self) -> None:
        made = _Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(self.timeout)
        try:
            made.connect(self.unix_socket)
        except OSError:
            made.close()
            raise
        self.sock = made


class _Pool(UnixHTTPConnectionPool):  # type: ignore[misc]
    def _new_conn(self) -> _Connection:
        return _Connection(self.base_url, self.socket_path, self.timeout)


class _Adapter(UnixHTTPAdapter):  # type: ignore[misc]
    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        with self.pools.lock:
            pool = self.pools.get(url)
            if pool is None:
                pool = _Pool(url, self.socket_path, self.timeout, maxsize=self.max_pool_size)
                self.pools[url] = pool
        return pool


def make_client(timeout_s: float, **options: Any) -> Any:
    """The SDK's client, in the version that the engine speaks: asks it for that."""
    client = docker.APIClient(
        version=docker.constants.MINIMUM_DOCKER_API_VERSION, timeout=timeout_s, **options
    )
    usual = getattr(client, "_custom_adapter", None)  # One over TCP has none.
    if isinstance(usual, UnixHTTPAdapter):
        own = _Adapter(
            f"http+unix://{usual.socket_path}", timeout_s, max_pool_size=usual.max_pool_size
        )
        client._custom_adapter = own
        client.mount("http+docker://", own)
    client._version = client._retrieve_server_version()
    return client
