"""Pulls an image: one blocking progress stream in a thread, summed up over the layers.

The read deadline catches a registry that falls silent: an engine that downloads or unpacks reports
several times a second. A caller that stops waiting closes the connection, and the engine then stops
pulling.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import attrs
import trio
from docker.errors import APIError
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import ReadTimeout
from urllib3.exceptions import ReadTimeoutError

from p2pool.drivers.containers.docker.engine.answers import fields, number, part, text
from p2pool.drivers.containers.docker.engine.errors import engine_errors, explanation, pull_error
from p2pool.drivers.containers.docker.engine.streams import shut
from p2pool.drivers.containers.docker.images.reference import reference_of
from p2pool.model import limits
from p2pool.model.errors import RegistryUnavailable, RuntimeUnavailable
from p2pool.model.ports.runtime import OnProgress, PullProgress

LAYER_DONE = ("Pull complete", "Already exists")
LAYER_FETCHED = ("Verifying Checksum", "Download complete", "Extracting", *LAYER_DONE)


@attrs.frozen
class Layer:
    """One layer: how much of it has arrived, of how much (0: not known yet)."""

    done_bytes: int = 0
    total_bytes: int = 0
    fetched: bool = False


class Layers:
    """The layers of one image, from the engine's lines about them."""

    def __init__(self) -> None:
        """None is known yet."""
        self._layers: dict[str, Layer] = {}

    def take(self, line: Mapping[str, Any]) -> bool:
        """Take a line of the engine's; True if it was about a layer. An image has a number of them
        that is far from the most that are kept."""
        name, status = text(line.get("id")), text(line.get("status"))
        known = name in self._layers or len(self._layers) < limits.IMAGE_LAYERS_MAX
        if not name or not known or status.startswith("Pulling from"):
            return False
        detail = part(line, "progressDetail")
        old = self._layers.get(name, Layer())
        done, total = old.done_bytes, old.total_bytes
        fetched = old.fetched or status in LAYER_FETCHED
        if status == "Downloading":
            total = _size(detail.get("total")) or total
            done = _size(detail.get("current")) or done
        if fetched:
            done = total
        self._layers[name] = Layer(done, total, fetched)
        return True

    def sum(self) -> PullProgress:
        """Overall progress. Layers of unknown size count as the mean of the others."""
        layers = list(self._layers.values())
        sizes = [layer.total_bytes for layer in layers if layer.total_bytes]
        unknown = sum(not layer.total_bytes and not layer.fetched for layer in layers)
        estimated = unknown * (sum(sizes) // len(sizes)) if sizes else 0
        return PullProgress(
            sum(layer.done_bytes for layer in layers),
            sum(sizes) + estimated,
        )


def _size(said: object) -> int:
    """A size that an image can have: the sum of all layers' is a number of the log, too."""
    return max(0, min(number(said), limits.RESOURCE_MAX_BYTES))


class Pull:
    """One pull in progress. `guard` is called periodically and raises to stop the pull."""

    def __init__(
        self,
        client: Callable[[], Any],
        image: str,
        header: bytes | None,
        on_progress: OnProgress | None,
        guard: Callable[[], None],
        stall_ms: int,
    ) -> None:
        """`client` and `guard` are called in the thread."""
        self._client, self._image, self._header = client, image, header
        self._on_progress, self._guard = on_progress, guard
        self._stall_s = stall_ms / 1000
        self._layers = Layers()
        self._close: Callable[[], None] | None = None
        self._cancelled = False

    async def run(self, limiter: trio.CapacityLimiter) -> None:
        """Pull the image. Raises errors of `pull_error` or of the guard, or RuntimeUnavailable."""
        try:
            await trio.to_thread.run_sync(self._fetch, limiter=limiter, abandon_on_cancel=True)
        finally:
            self._cancelled = True
            if self._close is not None:
                self._close()

    def _fetch(self) -> None:
        try:
            with engine_errors():
                self._follow()
        except APIError as error:
            raise pull_error(self._image, explanation(error), error.status_code) from error

    def _follow(self) -> None:
        try:
            for said in self._lines():
                if self._cancelled:
                    return
                line = fields(said)
                if "error" in line:
                    raise pull_error(self._image, str(line["error"]))
                self._guard()
                if self._layers.take(line) and self._on_progress is not None:
                    with suppress(trio.RunFinishedError, trio.Cancelled):
                        trio.from_thread.run_sync(self._on_progress, self._layers.sum())
        except (ReadTimeout, ReadTimeoutError, TimeoutError) as error:
            raise self._stalled() from error
        except NoConnection as error:
            if "timed out" in str(error).lower():
                raise self._stalled() from error
            raise
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            if not self._cancelled:  # A socket that is closed under the SDK fails in many ways.
                raise RuntimeUnavailable(
                    "What the engine says of the pull cannot be read.", hint="See its log for why."
                ) from error

    def _lines(self) -> Iterator[dict[str, Any]]:
        api = self._client()
        wanted = reference_of(self._image)
        response = api._post(
            api._url("/images/create"),
            params={"fromImage": wanted.repository, "tag": wanted.version},
            headers={"X-Registry-Auth": self._header} if self._header else {},
            stream=True,
            timeout=(limits.PULL_CONNECT_TIMEOUT_MS / 1000, self._stall_s),
        )
        self._close = lambda: shut(api, response)
        if self._cancelled:
            self._close()
        api._raise_for_status(response)
        lines: Iterator[dict[str, Any]] = api._stream_helper(response, decode=True)
        try:
            yield from lines
        finally:
            self._close()

    def _stalled(self) -> RegistryUnavailable:
        return RegistryUnavailable(
            f"Pulling the image {self._image} stood still for {self._stall_s:g} s.",
            hint="Its registry, or the network to it, may be slow; the agent will try again.",
        )
