"""Whose a copy's secrets are: the image's user, as engines understand what an image says."""

import pytest

from p2pool.drivers.containers.docker.secrets.contents import (
    Owner,
    archive_of,
    init_program,
    variables_of,
)
from p2pool.drivers.containers.docker.secrets.owner import found_owner
from p2pool.model.errors import CannotStart, Misconfigured
from p2pool.model.tasks.secrets import SecretValue

PASSWD = b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/app:\nbroken:x:one:1::/:\nodd\n"
GROUPS = b"root:x:0:\nstaff:x:50:app\n"


@pytest.mark.parametrize(
    ("user", "owner"),
    [
        ("", (0, 0)),
        ("0", (0, 0)),
        ("root", (0, 0)),
        ("app", (1000, 1001)),
        ("app:", (1000, 1001)),
        ("app:staff", (1000, 50)),
        ("app:7", (1000, 7)),
        ("4242", (4242, 0)),
        ("4242:staff", (4242, 50)),
        ("4242:77", (4242, 77)),
        (":staff", (0, 50)),
        ("2147483647", (2147483647, 0)),
    ],
)
def test_each_form_of_a_user(user: str, owner: tuple[int, int]) -> None:
    """Names are looked up; numbers count as they are."""
    assert found_owner(user, PASSWD, GROUPS) == Owner(*owner)


@pytest.mark.parametrize("user", ["nobody", "broken", "app:none", "2147483648", "-1", "1_000", "²"])
def test_a_user_that_is_not_there_ends_the_start(user: str) -> None:
    """The engine would refuse it too: nobody's secrets are given to somebody else."""
    with pytest.raises(CannotStart, match="is not in its /etc/"):
        found_owner(user, PASSWD, GROUPS)


def test_a_variable_without_a_file_leaves_no_file() -> None:
    """And a file that is no variable starts no program of ours."""
    secrets = (
        SecretValue("a", b"one", file=False, variable="A.B-C"),
        SecretValue("b", b"two"),
    )
    archive = archive_of(secrets, Owner(5, 6), "linux/amd64")
    assert b"A.B-C=one\0" in archive
    assert variables_of(secrets) == b"A.B-C=one\0"
    assert b"\x7fELF" in archive
    assert b"\x7fELF" not in archive_of(secrets[1:], Owner(5, 6), "linux/s390x")


def test_what_cannot_be_a_variable_is_refused() -> None:
    """Rather than cut off."""
    with pytest.raises(CannotStart, match="zero byte"):
        variables_of((SecretValue("a", b"1\0002", variable="A"),))
    for platform in ("linux/s390x", "windows/amd64", "linux/../amd64"):
        with pytest.raises(Misconfigured, match="has no program"):
            init_program(platform)


def test_no_text_of_a_secret_shows_it() -> None:
    """Whoever logs a plan logs no value."""
    assert "hunter2" not in repr(SecretValue("a", b"hunter2"))
