"""A Unix socket to an engine with a deadline for a whole answer, not for each piece of it.

The SDK's timeout covers one read: an engine that answers byte by byte could hold a call, and one of
the few threads for calls, for ever. Here the calling thread sets a deadline, and none of its reads
waits longer. Streams (events, log lines, pulls) set none, and wait as before. Engines over TCP or
SSH are not covered: there each read has only the SDK's timeout.
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
    """In a call's thread: whatever it reads from the engine must arrive by then."""
    _call.end_s = time.monotonic() + timeout_s
    try:
        yield
    finally:
        _call.end_s = None


class _Socket(socket.socket):
    def recv_into(self, *args: Any, **options: Any) -> int:
        """Read, but no longer than this thread's call may take."""
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
    """The SDK's client, with the API version that the engine negotiates."""
    client = docker.APIClient(
        version=docker.constants.MINIMUM_DOCKER_API_VERSION, timeout=timeout_s, **options
    )
    usual = getattr(client, "_custom_adapter", None)  # A client over TCP has none.
    if isinstance(usual, UnixHTTPAdapter):
        own = _Adapter(
            f"http+unix://{usual.socket_path}", timeout_s, max_pool_size=usual.max_pool_size
        )
        client._custom_adapter = own
        client.mount("http+docker://", own)
    client._version = client._retrieve_server_version()
    return client
