"""One pool for all tests of this directory: it comes up by what a validator's process does."""

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import docker
import pytest
import trio

from p2pool.dev.engine.engine import Engine
from p2pool.validator.challenge.figures import Figures, FigureTable
from tests.containers.harness.private_engine import make_hook, private_engine
from tests.containers.harness.prover_image import make_cheat_image, make_prover_image
from tests.e2e.harness.actions import Acting
from tests.e2e.one_pool.conftest import sweep
from tests.e2e.validator.calibration import MEMORY_BYTES, MODEL, calibrated, eased, table_text
from tests.e2e.validator.validated_pool import (
    CHEAT_GPUS,
    DEVICES,
    POLICY,
    ValidatedPool,
    machine_text,
)

ROOT = Path(__file__).resolve().parents[3]


def due_ms(table: FigureTable) -> int:
    """About how long a round of products may take."""
    (row,) = table.models
    return table.sizes.round_ms * 1000 // row.product_permille + table.sizes.slack_ms


@pytest.fixture(scope="package")
def figures() -> FigureTable:
    """What the reference prover does here, now, and a tenth of that as what is claimed."""
    return eased(calibrated())


@pytest.fixture(scope="package")
def table_row(figures: FigureTable) -> Figures:
    """Of the one model."""
    return figures.models[0]


@pytest.fixture(scope="package")
def pool(figures: FigureTable) -> Iterator[ValidatedPool]:
    """Three agents with GPUs, validated by a process of `p2pool validator run` alone."""
    with TemporaryDirectory(prefix="p2v", dir="/tmp", ignore_cleanup_errors=True) as held:
        base = Path(held)
        tools, machine = base / "tools", base / "machine"
        make_hook(tools)
        library = tools / "libnvidia-ml.so.1"
        source = ROOT / "tests" / "hardware" / "nvml.c"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        machine.write_text(machine_text(MEMORY_BYTES, MODEL))
        (base / "figures.json").write_text(table_text(figures))
        (base / "policy.toml").write_text(POLICY)
        with (
            private_engine(base / "engine", tools) as engine,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setenv("DOCKER_HOST", engine.url)
            patch.setenv("LD_LIBRARY_PATH", str(tools))
            patch.setenv("FAKE_NVML", str(machine))
            made = ValidatedPool(base / "pool", lambda text: None)
            made.figures, made.policy = base / "figures.json", base / "policy.toml"
            made.engine = engine
            made.honest, made.cheats = _images(engine, figures)
            try:
                trio.run(_up, made)
                yield made
            finally:
                trio.run(made.down)


async def _up(pool: ValidatedPool) -> None:
    await pool.up(len(("agent-1", "agent-2", "agent-3")))
    await pool.wait_elected(pool.agents)
    await pool.wait_heartbeats()


def _images(engine: Engine, figures: FigureTable) -> tuple[str, dict[str, str]]:
    """The reference prover, and those that cheat. A card that keeps the time of one claim alone is
    late with two, of one node or of two."""
    client = docker.APIClient(base_url=engine.url, version="auto")
    honest = make_prover_image(client, "--devices", str(DEVICES))
    takes_ms = due_ms(figures) * 6 // 10
    cheats = {
        kind: make_cheat_image(client, honest, kind, str(DEVICES), *told).digest
        for kind, *told in (
            ("fakes",),
            ("forgets",),
            ("doubles", str(takes_ms)),
            ("shares", str(takes_ms)),
        )
    }
    assert len(CHEAT_GPUS) * takes_ms > due_ms(figures)
    client.close()
    return honest.digest, cheats


@pytest.fixture(autouse=True)
def swept(pool: ValidatedPool) -> Iterator[None]:
    """No task is left by a test, and no node without its validation."""
    yield
    trio.run(sweep, Acting(pool))
    trio.run(_restored, pool)


async def _restored(pool: ValidatedPool) -> None:
    for one in pool.agents:
        if not await pool.is_validated(one):
            await pool.wait(f"a validation of {one.name} by hand", partial(pool.validate, one))
