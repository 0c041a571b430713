"""An image that one task's credentials brought is nobody else's, however much of it lies here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
import trio

from p2pool.dev.engine.engine import Engine
from p2pool.drivers.containers.docker.images import private as private_images
from p2pool.drivers.containers.docker.images.private import PrivateImages
from p2pool.drivers.containers.docker.images.reference import reference_of
from p2pool.drivers.containers.docker.runtime import DockerRuntime
from p2pool.drivers.containers.settings import Settings
from p2pool.model import limits
from p2pool.model.errors import (
    ImageNotHere,
    NodeExhausted,
    RegistryDenied,
    RegistryUnavailable,
    RuntimeUnavailable,
)
from p2pool.model.tasks.secrets import RegistryAuth
from p2pool.model.tasks.spec import PullPolicy
from tests.containers.harness.plans import SCOPE, plan, run_to_end
from tests.containers.harness.registry import (
    PASSWORD,
    USER,
    Registry,
    running_registry,
    write_login,
)

docker_test = pytest.mark.docker
GOOD = RegistryAuth(USER, PASSWORD)
BAD = RegistryAuth(USER, "not-the-password")
A = "registry.example/team/tool:1"
X, Y = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.fixture
def registry(engine: Engine, tmp_path: Path) -> Iterator[Registry]:
    """A registry that asks for a login, with an image."""
    with running_registry(tmp_path / "registry", engine, login=True) as found:
        found.push("team/tool:1", mib=1)
        yield found


def made(engine: Engine, directory: Path, **of: Any) -> DockerRuntime:
    """A runtime without any login of its own."""
    empty = directory / "no-docker-config"
    empty.mkdir(exist_ok=True)
    settings = attrs.evolve(Settings(docker_config=empty, disk_reserve_bytes=0), **of)
    return DockerRuntime(SCOPE, directory / "agent", base_url=engine.url, settings=settings)


@docker_test
async def test_a_tasks_own_credentials_fetch_its_image(
    engine: Engine, registry: Registry, tmp_path: Path, client: Any
) -> None:
    """And none, or others, do not; the error says whose they were and shows none."""
    runtime, image = made(engine, tmp_path), f"{registry.host}/team/tool:1"
    with pytest.raises(RegistryDenied, match="read the image"):
        await runtime.pull(image)
    with pytest.raises(RegistryDenied) as caught:
        await runtime.pull(image, auth=BAD)
    assert "--registry-auth" in str(caught.value.hint)
    digest = await runtime.pull(image, auth=GOOD)
    assert digest.startswith("sha256:")
    assert (await run_to_end(runtime, plan("true", image=image))).exit_code == 0


@docker_test
async def test_no_other_task_may_use_it(
    engine: Engine, registry: Registry, tmp_path: Path, client: Any
) -> None:
    """By tag or by digest, with no credentials or bad ones, without asking, after a restart of the
    agent; with good ones it may, and the registry is not asked twice for the same."""
    runtime, image = made(engine, tmp_path), f"{registry.host}/team/tool:1"
    digest = await runtime.pull(image, auth=GOOD)
    pinned = f"{registry.host}/team/tool@{digest}"
    for of in (runtime, made(engine, tmp_path)):
        for name in (image, pinned):
            for auth in (None, BAD):
                with pytest.raises(RegistryDenied):
                    await of.pull(name, auth=auth)
            with pytest.raises(ImageNotHere, match="credentials"):
                await of.pull(name, policy=PullPolicy.NEVER)
            assert await of.pull(name, auth=GOOD) == digest
    registry.stop()
    assert await runtime.pull(image, auth=GOOD) == digest
    assert await runtime.pull(image, auth=GOOD, policy=PullPolicy.NEVER) == digest
    with pytest.raises(RegistryUnavailable):
        await runtime.pull(image)


@docker_test
async def test_credentials_are_in_no_error_log_file_or_engine(
    engine: Engine, tmp_path: Path, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Good or bad, in the agent's directory and the engine's."""
    with running_registry(tmp_path / "registry", engine, login=True) as registry:
        registry.push("team/tool:1")
        runtime, image = made(engine, tmp_path), f"{registry.host}/team/tool:1"
        caplog.set_level("DEBUG")
        with structlog.testing.capture_logs() as said, pytest.raises(RegistryDenied) as caught:
            await runtime.pull(image, auth=BAD)
        await runtime.pull(image, auth=GOOD)
        await run_to_end(runtime, plan("true", image=image))
    told = f"{caught.value}{caught.value.hint}{said}{caplog.text}{GOOD}"
    for secret in (PASSWORD, BAD.password):
        assert secret not in told
        for directory in (tmp_path / "agent", engine.directory):
            files = [one for one in directory.rglob("*") if one.is_file() and not one.is_symlink()]
            assert [one for one in files if secret.encode() in one.read_bytes()] == []


@docker_test
async def test_what_the_node_may_read_itself_is_not_private(
    engine: Engine, tmp_path: Path, client: Any
) -> None:
    """An image that was here before stays everybody's, whatever credentials ask for it; and one
    that the node's own login gets becomes so."""
    with running_registry(tmp_path / "registry", engine, login=True) as registry:
        digest = registry.push("team/tool:1", mib=1)
        config = tmp_path / "config"
        config.mkdir()
        runtime = made(engine, tmp_path, docker_config=config)
        image = f"{registry.host}/team/tool:1"
        assert await runtime.pull(image, auth=GOOD) == digest
        with pytest.raises(RegistryDenied):
            await runtime.pull(image)
        write_login(config, registry.host)
        assert await runtime.pull(image) == digest
        (config / "config.json").unlink()
        assert await runtime.pull(image) == digest
        with pytest.raises(RegistryDenied):
            await runtime.pull(image, auth=BAD, policy=PullPolicy.ALWAYS)
        assert await runtime.pull(image) == digest


@docker_test
async def test_a_pull_that_nobody_saw_the_end_of_opens_nothing(
    engine: Engine, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent was killed after the engine had the image, and before it noted whose it is."""
    with running_registry(tmp_path / "registry", engine, login=True) as registry:
        registry.push("team/tool:1", mib=1)
        runtime, image = made(engine, tmp_path), f"{registry.host}/team/tool:1"
        with monkeypatch.context() as patched:
            patched.setattr(PrivateImages, "settle", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await runtime.pull(image, auth=GOOD)
        successor = made(engine, tmp_path)
        assert await successor.images.find(image) is not None
        with pytest.raises(RegistryDenied):
            await successor.pull(image)
        await successor.pull(image, auth=GOOD)
        client.remove_image(image, force=True)
        await successor.images.forget_private()
        assert successor.images._private.ids() == []


# --- the record ---------------------------------------------------------------------------------


def noted(directory: Path, *, before: str = "", after: str = X) -> PrivateImages:
    """A record of one image that a task's credentials brought."""
    record = PrivateImages(directory)
    with record.fetching(reference_of(A), before):
        record.settle(reference_of(A), after)
    record.show(reference_of(A), after, GOOD)
    return record


def test_only_its_own_repository_and_image_are_private(tmp_path: Path) -> None:
    """And the same after a restart, which forgets what was shown."""
    noted(tmp_path)
    again = PrivateImages(tmp_path)
    for image in (A, f"registry.example/team/tool@{X}", "REGISTRY.example/team/tool:2"):
        assert not again.may_use(reference_of(image), X, None)
        assert not again.may_use(reference_of(image), X, GOOD)
        assert again.may_use(reference_of(image), Y, None)
    assert again.may_use(reference_of("other.example/team/tool:1"), X, None)
    again.show(reference_of(A), X, GOOD)
    assert again.may_use(reference_of(A), X, GOOD)
    assert not again.may_use(reference_of(A), X, BAD)
    again.show(reference_of(A), X, None)
    assert again.may_use(reference_of(A), X, BAD)
    assert again.ids() == []


def test_while_it_is_fetched_nothing_new_of_its_repository_is_open(tmp_path: Path) -> None:
    """What was there before stays so."""
    record = PrivateImages(tmp_path)
    with record.fetching(reference_of(A), Y):
        assert not record.may_use(reference_of(f"registry.example/team/tool@{X}"), X, None)
        assert record.may_use(reference_of(A), Y, None)
        assert record.unsettled() == []
    again = PrivateImages(tmp_path)
    assert again.unsettled() == [A]
    assert not again.may_use(reference_of(A), X, None)
    again.settle(reference_of(A), Y)
    assert again.may_use(reference_of(A), X, None)
    assert again.ids() == []


def test_what_was_here_before_does_not_become_private(tmp_path: Path) -> None:
    """Else whoever asks with credentials takes an image from all others."""
    assert noted(tmp_path, before=X).may_use(reference_of(A), X, None)


def test_the_record_has_a_bound_and_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a damaged one opens nothing."""
    monkeypatch.setattr(limits, "PRIVATE_IMAGES_MAX", 1)
    record = noted(tmp_path)
    with pytest.raises(NodeExhausted), record.fetching(reference_of("other/x:1"), ""):
        pass
    file = tmp_path / private_images.RECORD
    assert USER not in file.read_text()
    assert PASSWORD not in file.read_text()
    record.forget(X)
    with record.fetching(reference_of("other/x:1"), ""):
        pass
    file.write_text("{")
    with pytest.raises(RuntimeUnavailable, match="damaged"):
        PrivateImages(tmp_path).may_use(reference_of(A), X, None)


async def test_the_process_runtime_takes_credentials_for_nothing(tmp_path: Path) -> None:
    """There are no images there."""
    from p2pool.drivers.containers.process.runtime import ProcessRuntime

    with trio.fail_after(5):
        assert await ProcessRuntime(SCOPE, tmp_path).pull("x", auth=GOOD) == ""
