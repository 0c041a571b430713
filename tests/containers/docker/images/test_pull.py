"""Images from a real registry: digests, progress, logins, policies, and each way to fail told."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
import trio

from p2pool.dev.engine.engine import BUSYBOX_IMAGE, Engine
from p2pool.drivers.containers.docker.engine.errors import pull_error
from p2pool.drivers.containers.docker.images.pull import Layers
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.settings import Settings
from p2pool.model.errors import (
    DiskFull,
    ImageNotFound,
    ImageNotHere,
    ImageRefused,
    P2poolError,
    RegistryDenied,
    RegistryUnavailable,
    WrongPlatform,
)
from p2pool.model.ports.runtime import PullProgress
from p2pool.model.tasks.spec import PullPolicy
from tests.containers.harness.plans import SCOPE, plan, run_to_end
from tests.containers.harness.registry import (
    PASSWORD,
    USER,
    Registry,
    running_registry,
    write_helper,
    write_login,
)

docker_test = pytest.mark.docker
DEADLINE_S = 120


@pytest.fixture(scope="module")
def registry(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that everybody may read."""
    with running_registry(tmp_path_factory.mktemp("registry"), engine) as found:
        yield found


@pytest.fixture(scope="module")
def private(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants a login, with one image."""
    with running_registry(tmp_path_factory.mktemp("private"), engine, login=True) as found:
        found.push("team/tool:1")
        yield found


def runtime(engine: Engine, directory: Path, **of: Any) -> DockerRuntime:
    """A runtime with an owner's settings; no login but those that a test writes."""
    empty = directory / "no-docker-config"
    empty.mkdir(exist_ok=True)
    settings = attrs.evolve(Settings(docker_config=empty, disk_reserve_bytes=0), **of)
    return DockerRuntime(SCOPE, directory / "agent", base_url=engine.url, settings=settings)


def silent_server(engine: Engine) -> socket.socket:
    """A socket on the engine's loopback that takes connections and says nothing."""
    with engine.namespaces.entered():
        return socket.create_server(("127.0.0.1", 0))


# --- what a pull is -----------------------------------------------------------------------------


@docker_test
async def test_the_digest_is_the_registrys_and_stays_with_the_container(
    engine: Engine, registry: Registry, tmp_path: Path, client: Any
) -> None:
    """What a name stood for when it was fetched, in the container's status too."""
    digest = registry.push("digest:1")
    made = runtime(engine, tmp_path)
    image = f"{registry.host}/digest:1"
    assert await made.pull(image) == digest
    status = await run_to_end(made, plan("true", image=image))
    assert status.image_digest == digest
    pinned = f"{registry.host}/digest@{digest}"
    assert await made.pull(pinned) == digest
    assert (await run_to_end(made, plan("true", image=pinned, replica=1))).image_digest == digest


@docker_test
async def test_a_tag_with_a_digest_is_known_by_the_digest(
    engine: Engine, registry: Registry, tmp_path: Path, client: Any
) -> None:
    """The registry's, not the id that the engine gave the image, fetched or found here."""
    digest = registry.push("both:1")
    made = runtime(engine, tmp_path)
    both = f"{registry.host}/both:1@{digest}"
    for _ in range(2):
        assert await made.pull(both) == digest
    assert (await run_to_end(made, plan("true", image=both))).image_digest == digest


@docker_test
async def test_a_local_images_id_is_no_name_for_it(
    engine: Engine, registry: Registry, tmp_path: Path, client: Any
) -> None:
    """The engine takes a digest, and the beginning of an id, for an image that it has: whoever may
    run images of one registry could run whatever else lies here."""
    record = client.inspect_image(BUSYBOX_IMAGE)["Id"]
    made = runtime(engine, tmp_path, registries=(registry.host, "docker.io"))
    for image in (f"{registry.host}/none@{record}", record, record.removeprefix("sha256:")[:12]):
        with pytest.raises(P2poolError):
            await made.pull(image, policy=PullPolicy.NEVER)
        assert await made.images.find(image) is None
    assert await made.images.find(BUSYBOX_IMAGE) is not None


@docker_test
async def test_progress_is_told_in_bytes(
    engine: Engine, registry: Registry, tmp_path: Path, client: Any
) -> None:
    """It grows to the size of the image, and ends with all of it."""
    registry.push("large:1", mib=8, layers=3)
    told: list[PullProgress] = []
    await runtime(engine, tmp_path).pull(f"{registry.host}/large:1", told.append)
    assert told[-1].done_bytes == told[-1].total_bytes > 24 * 2**20
    done = [one.done_bytes for one in told]
    assert done == sorted(done)
    assert any(0 < one.done_bytes < one.total_bytes for one in told)
    assert all(one.done_bytes <= one.total_bytes for one in told)


def test_sizes_that_are_not_known_yet_are_estimated() -> None:
    """A bar that stood at the end while half of the layers wait would say nothing."""
    layers = Layers()
    assert not layers.take({"status": "Pulling from library/x", "id": "latest"})
    for name in "abcd":
        assert layers.take({"status": "Pulling fs layer", "progressDetail": {}, "id": name})
    assert layers.sum() == PullProgress(0, 0)
    detail = {"current": 50, "total": 100}
    layers.take({"status": "Downloading", "progressDetail": detail, "id": "a"})
    assert layers.sum() == PullProgress(50, 400)
    layers.take({"status": "Already exists", "progressDetail": {}, "id": "b"})
    assert layers.sum() == PullProgress(50, 300)
    layers.take({"status": "Extracting", "progressDetail": {"current": 3, "total": 9}, "id": "a"})
    assert layers.sum() == PullProgress(100, 300)


@docker_test
async def test_policies(engine: Engine, registry: Registry, tmp_path: Path, client: Any) -> None:
    """Present: left as it is; always: looked for anew; never: only what is here."""
    image = f"{registry.host}/moving:1"
    first = registry.push("moving:1")
    made = runtime(engine, tmp_path)
    with pytest.raises(ImageNotHere, match="not on this node"):
        await made.pull(image, policy=PullPolicy.NEVER)
    assert await made.pull(image) == first
    second = registry.push("moving:1", mib=1)
    assert second != first
    # The push of the second took the name from the first here: this is one engine.
    assert await made.pull(image, policy=PullPolicy.ALWAYS) == second
    third = registry.push("other:1", mib=1)
    client.pull(f"{registry.host}/other", tag="1")
    client.tag(f"{registry.host}/other:1", f"{registry.host}/moving", "1")
    assert await made.pull(image) != second
    assert await made.pull(image, policy=PullPolicy.NEVER) not in ("", second, third)
    assert await made.pull(image, policy=PullPolicy.ALWAYS) == second


# --- logins -------------------------------------------------------------------------------------


@docker_test
async def test_a_private_image_with_the_nodes_own_login(
    engine: Engine, private: Registry, tmp_path: Path, client: Any
) -> None:
    """From config.json of the agent's user, which is read anew for each pull."""
    config = tmp_path / "docker"
    config.mkdir()
    made = runtime(engine, tmp_path, docker_config=config)
    image = f"{private.host}/team/tool:1"
    with pytest.raises(RegistryDenied, match="docker login"):
        await made.pull(image)
    write_login(config, private.host)
    assert (await made.pull(image)).startswith("sha256:")


@docker_test
async def test_a_login_from_a_credential_helper(
    engine: Engine, private: Registry, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program that config.json names; one that fails is told by its registry, not its words."""
    answer = f'{{"ServerURL": "x", "Username": "{USER}", "Secret": "{PASSWORD}"}}'
    config = write_helper(tmp_path / "docker", private.host, f"cat > /dev/null; echo '{answer}'")
    monkeypatch.setenv("PATH", f"{config}:{os.environ['PATH']}")
    made = runtime(engine, tmp_path, docker_config=config)
    image = f"{private.host}/team/tool:1"
    assert (await made.pull(image)).startswith("sha256:")
    client.remove_image(image)
    write_helper(config, private.host, f"echo {PASSWORD}; exit 1")
    with pytest.raises(RegistryDenied, match=f"docker login {private.host}") as caught:
        await made.pull(image)
    assert PASSWORD not in str(caught.value)
    (config / "config.json").write_text("{")
    with pytest.raises(RegistryDenied, match=r"config\.json"):
        await made.pull(image)


@docker_test
async def test_a_login_is_in_no_error_log_or_file(
    engine: Engine, private: Registry, tmp_path: Path, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Right or wrong."""
    config = write_login(tmp_path / "docker", private.host, password="not-the-password")
    made = runtime(engine, tmp_path, docker_config=config)
    image = f"{private.host}/team/tool:1"
    caplog.set_level("DEBUG")
    with structlog.testing.capture_logs() as lines, pytest.raises(RegistryDenied) as caught:
        await made.pull(image)
    write_login(config, private.host)
    await made.pull(image)
    await run_to_end(made, plan("true", image=image))
    record = str(client.inspect_container(client.containers(all=True)[0]["Id"]))
    written = "".join(p.read_text() for p in (tmp_path / "agent").rglob("*.json"))
    said = f"{caught.value}{lines}{caplog.text}{record}{written}"
    for secret in ("not-the-password", PASSWORD):
        assert secret not in said


# --- failures -----------------------------------------------------------------------------------


@docker_test
async def test_each_failure_has_its_own_sentence(
    engine: Engine, registry: Registry, tmp_path: Path, client: Any
) -> None:
    """Not there, for another processor, nobody answers, not from there."""
    registry.push("app:1")
    registry.put_list("app", "1", "s390x")
    made = runtime(engine, tmp_path)
    wanted: dict[str, tuple[type[P2poolError], str]] = {
        f"{registry.host}/app:none": (ImageNotFound, "does not have the image"),
        f"{registry.host}/nothing:1": (ImageNotFound, "does not have the image"),
        f"{registry.host}/app:other": (WrongPlatform, "not made for this node's platform"),
        "127.0.0.1:1/app:1": (RegistryUnavailable, "does not answer"),
        "registry.invalid/app:1": (RegistryUnavailable, "does not answer"),
    }
    for image, (kind, said) in wanted.items():
        with pytest.raises(kind, match=said) as caught:
            await made.pull(image)
        assert image in caught.value.message
        assert caught.value.hint
    picky = runtime(engine, tmp_path, registries=(f"{registry.host}/ours",))
    with pytest.raises(ImageRefused, match=f"{registry.host}/ours"):
        await picky.pull(f"{registry.host}/app:1")
    with pytest.raises(ImageRefused):
        await picky.pull(f"{registry.host}/ours2/app:1")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "pull access denied for x, repository does not exist or may require 'docker login'",
            RegistryDenied,
        ),
        ("unauthorized: authentication required", RegistryDenied),
        ("manifest for a:1 not found: manifest unknown: manifest unknown", ImageNotFound),
        ("no matching manifest for linux/amd64 in the manifest list entries", WrongPlatform),
        ("Get https://r/v2/: dial tcp: lookup r: no such host", RegistryUnavailable),
        ("toomanyrequests: You have reached your pull rate limit", RegistryUnavailable),
        ("write /var/lib/docker/tmp/x: no space left on device", DiskFull),
    ],
)
def test_sentences_of_newer_and_older_engines(text: str, kind: type[P2poolError]) -> None:
    """Each is somebody's fault, with something to do about it."""
    error = pull_error("a:1", text)
    assert type(error) is kind
    assert error.hint or kind in (DiskFull, RegistryUnavailable)


@docker_test
async def test_a_registry_that_falls_silent_is_given_up(
    engine: Engine, tmp_path: Path, client: Any
) -> None:
    """It takes the connection and says nothing: the pull ends by its own deadline."""
    with silent_server(engine) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        made = runtime(engine, tmp_path, pull_stall_ms=1_500)
        with trio.fail_after(DEADLINE_S):
            with pytest.raises(RegistryUnavailable, match=r"stood still for 1\.5 s"):
                await made.pull(f"{host}/silent:1")
        # Whoever stops waiting is free at once, whatever the engine does.
        with trio.move_on_after(0.5) as scope:
            await made.pull(f"{host}/silent:2")
        assert scope.cancelled_caught


@docker_test
async def test_a_pull_that_nobody_waits_for_is_stopped(
    engine: Engine, registry: Registry, tmp_path: Path, client: Any
) -> None:
    """The connection is closed, and its thread ends."""
    registry.push("stopped:1", mib=30, layers=2)
    made = runtime(engine, tmp_path)
    before = threading.active_count()
    seen = trio.Event()
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.pull, f"{registry.host}/stopped:1", lambda _: seen.set())
            await seen.wait()
            nursery.cancel_scope.cancel()
        assert (await made.pull(f"{registry.host}/stopped:1")).startswith("sha256:")
    assert threading.active_count() <= before + 3


@docker_test
async def test_of_many_that_want_an_image_one_fetches_it(
    engine: Engine, registry: Registry, tmp_path: Path, client: Any
) -> None:
    """The others wait for it and have the same; one that is cancelled leaves it to the next."""
    digest = registry.push("shared:1", mib=4)
    made = runtime(engine, tmp_path)
    image = f"{registry.host}/shared:1"
    got: list[str] = []
    fetched: list[int] = []

    async def pull(number: int) -> None:
        def progressed(_: PullProgress) -> None:
            fetched.append(number)

        got.append(await made.pull(image, progressed))

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(pull, number)
    assert got == [digest] * 5
    assert len(set(fetched)) == 1
    with trio.move_on_after(0.001):
        await made.pull(f"{registry.host}/shared:none")
    with pytest.raises(ImageNotFound), trio.fail_after(DEADLINE_S):
        await made.pull(f"{registry.host}/shared:none")


@docker_test
async def test_an_image_that_is_here_waits_for_no_pull(
    engine: Engine, tmp_path: Path, client: Any
) -> None:
    """However many others hang."""
    with silent_server(engine) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        made = runtime(engine, tmp_path, pull_stall_ms=5_000)

        async def hang(number: int) -> None:
            with pytest.raises(RegistryUnavailable):
                await made.pull(f"{host}/silent:{number}")

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(hang, number)
            await trio.sleep(0.5)
            with trio.fail_after(2):
                assert (await made.pull(BUSYBOX_IMAGE)).startswith("sha256:")
            nursery.cancel_scope.cancel()
