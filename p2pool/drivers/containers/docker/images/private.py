"""Images that came here by a task's own credentials, and who has shown since that he may have them.

Intuition: an engine gives an image to whoever names it, once it is there. So what one task's
credentials brought is noted, and every other task has to show its own to the registry first, as if
the image were not here: the registry decides, and an engine that has all layers fetches none.

    another task, same image          what happens
    with the same credentials         it runs: they have been shown since this agent started
    with others, or none              the engine asks the registry again; a refusal is a refusal
    that forbids pulling              it is refused: nobody may be asked

Invariants: that credentials are about to be used is on the disk before the engine is asked, with
the image that the name stood for until then; so an agent that dies halfway leaves no image open.
Credentials are nowhere: of those that were shown, memory has a digest under a key of this process.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2pool.drivers.containers.docker.images.reference import Reference
from p2pool.drivers.containers.line_files import write_whole
from p2pool.model import limits
from p2pool.model.bounded_tables import BoundedDict
from p2pool.model.errors import NodeExhausted, RuntimeUnavailable
from p2pool.model.tasks.secrets import RegistryAuth

RECORD = "private_images.json"


class PrivateImages:
    """The record of one agent's engine. Reads and writes a small file."""

    def __init__(self, directory: Path) -> None:
        """`directory`: the agent's."""
        self._path = directory / RECORD
        self._key = secrets.token_bytes(32)
        self._shown: BoundedDict[tuple[str, str, bytes], None] = BoundedDict(
            limits.PRIVATE_IMAGES_MAX
        )
        self._fetching: dict[str, None] = {}
        """What is asked for now, by whole references."""
        self._held: dict[str, list[str]] | None = None
        """By an image's id, the repositories that it came from by a task's credentials."""
        self._begun: dict[str, str] = {}
        """By a whole reference that was asked for, the id that it stood for before, or ""."""

    def may_use(self, image: Reference, id: str, auth: RegistryAuth | None) -> bool:
        """Whether a task with these credentials, or none, may run an image that is here."""
        held, repository = self._read(), _repository(image)
        begun = [(name, before) for name, before in self._begun.items() if _in(name, repository)]
        private = repository in held.get(id, ()) or any(before != id for _, before in begun)
        return not private or (id, repository, self._digest(auth)) in self._shown

    def unsettled(self) -> list[str]:
        """The references of which nobody has said what came of them, by an agent that died."""
        self._read()
        return [name for name in self._begun if name not in self._fetching]

    @contextmanager
    def fetching(self, image: Reference, before: str) -> Iterator[None]:
        """Note that a task's credentials are used for an image, whose id has been `before` ("":
        it was not here). What came of it is told by `settle`; else it stays noted. NodeExhausted:
        too many are noted."""
        held = self._read()
        if len(held) + len(self._begun) >= limits.PRIVATE_IMAGES_MAX:
            raise NodeExhausted(
                f"This node keeps track of {limits.PRIVATE_IMAGES_MAX} private images at most.",
                hint="Its owner deletes some: docker image prune -a.",
            )
        self._begun.setdefault(image.full, before)
        self._write()
        self._fetching[image.full] = None
        try:
            yield
        finally:
            del self._fetching[image.full]

    def settle(self, image: Reference, id: str) -> None:
        """What a noted reference stands for now ("": nothing): it is private, if it is new."""
        held = self._read()
        if id and id != self._begun.get(image.full, id):
            held.setdefault(id, [])
            if _repository(image) not in held[id]:
                held[id].append(_repository(image))
        self._begun.pop(image.full, None)
        self._write()

    def show(self, image: Reference, id: str, auth: RegistryAuth | None) -> None:
        """The registry gave an image for these credentials; for none: nothing about it is private
        here any longer."""
        self._shown.renew((id, _repository(image), self._digest(auth)), None)
        held = self._read()
        if auth is None and _repository(image) in held.get(id, ()):
            held[id].remove(_repository(image))
            if not held[id]:
                del held[id]
            self._write()

    @property
    def noted(self) -> bool:
        """Whether any image is private here, or may be."""
        return bool(self._read() or self._begun)

    def ids(self) -> list[str]:
        """The private images."""
        return list(self._read())

    def forget(self, id: str) -> None:
        """An image is not here any longer."""
        if self._read().pop(id, None) is not None:
            self._write()

    def _digest(self, auth: RegistryAuth | None) -> bytes:
        given = [] if auth is None else [auth.username, auth.password]
        return hashlib.blake2b(json.dumps(given).encode(), key=self._key).digest()

    def _read(self) -> dict[str, list[str]]:
        if self._held is None:
            try:
                said = json.loads(self._path.read_bytes())
                begun = {str(name): str(id) for name, id in said["begun"].items()}
                held = {str(id): [str(one) for one in names] for id, names in said["held"].items()}
            except FileNotFoundError:
                begun, held = {}, {}
            except (ValueError, TypeError, AttributeError, KeyError) as error:
                # Taken for empty, it would open every private image.
                raise RuntimeUnavailable(
                    f"{self._path} is damaged: it says which images are private.",
                    hint="Delete all images that tasks brought with credentials, then that file.",
                ) from error
            self._begun, self._held = begun, held
        return self._held

    def _write(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self._path, {"begun": self._begun, "held": self._held})


def _repository(image: Reference) -> str:
    return f"{image.registry.lower()}/{image.path}"


def _in(full: str, repository: str) -> bool:
    """Whether a whole reference is of a repository."""
    registry, _, rest = full.partition("/")
    path = rest.partition("@")[0].partition(":")[0]
    return f"{registry.lower()}/{path}" == repository
