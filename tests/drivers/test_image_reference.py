"""An image has one normal form, whichever of its names is written; allow-lists compare that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pool.drivers.containers.docker.images.reference import (
    Reference,
    is_within,
    reference_of,
)

DIGEST = "sha256:" + "a" * 64
BUSYBOX = Reference("docker.io", "library/busybox")


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/library/busybox:1", "docker.io/library/busybox:1"),
        ("Docker.IO/busybox", "docker.io/library/busybox:latest"),
        ("ours/app", "docker.io/ours/app:latest"),
        ("docker.io/ours/app", "docker.io/ours/app:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:2", "localhost:5000/app:2"),
        ("registry:5000/a/b", "registry:5000/a/b:latest"),
        ("ghcr.io/ours/app", "ghcr.io/ours/app:latest"),
        ("HOST/app", "HOST/app:latest"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"busybox:1.36@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"localhost:5000/app:2@{DIGEST}", f"localhost:5000/app@{DIGEST}"),
        # Names that the engine would take for the beginning of a local image's id.
        ("deadbeef", "docker.io/library/deadbeef:latest"),
        (DIGEST, f"docker.io/library/sha256:{'a' * 64}"),
    ],
)
def test_the_normal_form(image: str, full: str) -> None:
    """As the distribution project has it."""
    assert reference_of(image).full == full


@pytest.mark.parametrize(
    ("image", "allowed", "taken"),
    [
        # What the README shows.
        *(("busybox", "docker.io/library", True), ("library/busybox:1", "docker.io/library", True)),
        ("docker.io/library/busybox", "docker.io/library", True),
        ("index.docker.io/library/busybox", "docker.io/library", True),
        (f"busybox:1@{DIGEST}", "index.docker.io/library/", True),
        ("ours/app", "docker.io/library", False),
        # All of Docker Hub, by either name.
        *(("ours/app", "docker.io", True), ("busybox", "index.docker.io", True)),
        # One account, one image; and none whose name only begins so.
        *(("ours/app", "docker.io/ours", True), ("ours/app", "ours/app", True)),
        *(("ours/app2", "ours/app", False), ("oursx/app", "docker.io/ours", False)),
        *(("busybox", "busybox", True), ("busybox", "docker.io/busybox", True)),
        *(("busybox2", "busybox", False), ("library/busybox", "busy", False)),
        ("ghcr.io/ours/app:1", "ghcr.io/ours/app", True),
        ("GHCR.io/ours/app", "ghcr.io/ours", True),
        ("ghcr.io/oursx/app", "ghcr.io/ours", False),
        ("ghcr.io.evil.example/ours/app", "ghcr.io", False),
        ("evil.example/ghcr.io/ours/app", "ghcr.io", False),
        # A port is part of a registry's name, and a host in capitals is no account of the hub.
        *(("localhost:5000/a", "localhost:5000", True), ("localhost:5000/a", "localhost", False)),
        *(("localhost/a", "localhost", True), ("registry:5000/a", "registry:5000", True)),
        *(("registry/a", "registry:5000", False), ("LIBRARY/busybox", "docker.io", False)),
    ],
)
def test_an_allow_list_means_images_not_spellings(image: str, allowed: str, taken: bool) -> None:
    """Registries and parts of them, compared part by part."""
    assert is_within(image, ("never.example", allowed)) is taken


PARTS = st.text("ab-", min_size=1, max_size=4).filter(lambda t: t.strip("-") == t)
NAMES = st.builds(
    lambda host, parts, tag: f"{host}{'/'.join(parts)}{tag}",
    st.sampled_from(("", "docker.io/", "index.docker.io/", "ghcr.io/", "h:1/", "localhost/")),
    st.lists(PARTS, min_size=1, max_size=3),
    st.sampled_from(("", ":1", f"@{DIGEST}", f":1@{DIGEST}")),
)


@given(NAMES)
def test_the_normal_form_is_its_own(image: str) -> None:
    """Whoever writes it out means the same image, and is allowed the same."""
    found = reference_of(image)
    again = reference_of(found.full)
    assert again.full == found.full
    assert again.same_repository(found)
    for allowed in ("docker.io/library", "docker.io", "ghcr.io/a", found.repository):
        assert is_within(image, (allowed,)) == is_within(found.full, (allowed,))
    assert is_within(image, (found.repository,))


def test_another_repository_is_another() -> None:
    """The host's case alone does not matter."""
    assert BUSYBOX.same_repository(reference_of("Docker.io/busybox:3"))
    assert not BUSYBOX.same_repository(reference_of("docker.io/other/busybox"))
