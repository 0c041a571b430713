"""Fetching an image: one blocking stream of progress in a thread, summed up over the layers."""

from collections.abc import Callable
from typing import Any

import trio
from docker.errors import APIError
from docker.utils import parse_repository_tag

from p2pool.drivers.containers.dockererrors import engine_errors, explanation, pull_error
from p2pool.model.runtime import OnProgress, PullProgress

LAYER_DONE = ("Pull complete", "Already exists")


class Pull:
    """One image on its way."""

    def __init__(
        self,
        client: Callable[[], Any],
        image: str,
        on_progress: OnProgress | None,
        limiter: trio.CapacityLimiter,
    ) -> None:
        """`client` is called in the thread."""
        self._client, self._image = client, image
        self._on_progress, self._limiter = on_progress, limiter
        self._layers: dict[str, tuple[int, int, bool]] = {}
        self._cancelled = False

    async def run(self) -> None:
        """Fetch it. Raises ImageNotFound, DiskFull, RegistryUnavailable, RuntimeUnavailable."""
        try:
            await trio.to_thread.run_sync(
                self._fetch, limiter=self._limiter, abandon_on_cancel=True
            )
        except APIError as error:
            raise pull_error(self._image, explanation(error)) from error
        finally:
            self._cancelled = True

    def _fetch(self) -> None:
        name, tag = parse_repository_tag(self._image)
        with engine_errors():
            for line in self._client().pull(name, tag=tag or "latest", stream=True, decode=True):
                if self._cancelled:
                    return
                if "error" in line:
                    raise pull_error(self._image, str(line["error"]))
                if self._take(line) and self._on_progress is not None:
                    trio.from_thread.run_sync(self._on_progress, self._sum())

    def _take(self, line: dict[str, Any]) -> bool:
        """A line about one layer; True when it said something of its progress."""
        layer, detail = line.get("id"), line.get("progressDetail") or {}
        if not layer or "status" not in line:
            return False
        done, total, _ = self._layers.get(layer, (0, 0, False))
        finished = line["status"] in LAYER_DONE
        if line["status"] == "Downloading" or finished:
            total = int(detail.get("total", total))
            done = total if finished else int(detail.get("current", done))
        self._layers[layer] = (done, total, finished)
        return True

    def _sum(self) -> PullProgress:
        layers = self._layers.values()
        return PullProgress(
            sum(finished for _, _, finished in layers),
            len(layers),
            sum(done for done, _, _ in layers),
            sum(total for _, total, _ in layers),
        )
