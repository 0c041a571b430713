"""Secrets on the command line and in a task's file: where values come from, and never a value."""

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from p2pool.cli.shared.signer import Signer
from p2pool.cli.task.secrets.flags import WantedSecrets, new_values, read_source, wanted_secrets
from p2pool.cli.task.secrets.registry import login_of
from p2pool.drivers.input_files import forget_input
from p2pool.model import limits
from p2pool.model.access.requests import Action
from p2pool.model.errors import BadSpec, Misconfigured, RegistryDenied
from p2pool.model.ids import Address, PoolRef
from p2pool.model.tasks.secrets import ANYONE, RegistryAuth, SecretUse, SecretValue

CANARY = "hunter2-canary"
IMAGE = "ghcr.io/team/app:1"
ADDRESS = "0x" + "ab" * 20


def wanted(base: dict[str, Any] | None = None, **given: Any) -> WantedSecrets:
    """What these flags and this file say."""
    none: dict[str, Any] = {
        "path": None,
        "secrets": (),
        "secret_variables": (),
        "secret_recipients": (),
        "registry_auth": None,
    }
    return wanted_secrets(none | given, {} if base is None else base)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A variable and a file with the same value; another command line."""
    forget_input()
    monkeypatch.setenv("TOKEN", CANARY)
    (tmp_path / "password").write_bytes(f"{CANARY}\n\0\xff".encode("latin-1"))
    monkeypatch.chdir(tmp_path)


class Terminal:
    """A standard input that is one."""

    def isatty(self) -> bool:
        """It is."""
        return True


# --- flags --------------------------------------------------------------------------------------


def test_a_file_a_variable_and_both() -> None:
    """Each with the bytes that its source has."""
    found = wanted(
        secrets=("db.password=file:password", "TOKEN=env:TOKEN"),
        secret_variables=("TOKEN", "API_KEY=env:TOKEN"),
    ).read(IMAGE)
    value = CANARY.encode()
    assert found.values == (
        SecretValue("db.password", value + b"\n\0\xff"),
        SecretValue("TOKEN", value, variable="TOKEN"),
        SecretValue("API_KEY", value, file=False, variable="API_KEY"),
    )
    assert (found.auth, found.policy) == (None, ANYONE)
    assert not wanted()


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("secrets", f"name={CANARY}"),
        ("secrets", "name=" + CANARY + ":x"),
        ("secrets", CANARY),
        ("secrets", f"=file:{CANARY}"),
        ("secrets", f"bad name {CANARY}=file:x"),
        ("secrets", "name=file:"),
        ("secrets", "name="),
        ("secret_variables", f"NAME={CANARY}"),
        ("secret_variables", f"P2POOL_X=env:{CANARY}"),
        ("secret_variables", f"={CANARY}"),
    ],
)
def test_a_value_on_the_command_line_is_refused_and_not_repeated(option: str, text: str) -> None:
    """Nor is what stands where a name or a source should."""
    with pytest.raises(click.UsageError) as caught:
        wanted({}, **{option: (text,)})
    said = caught.value.message
    assert CANARY not in said
    assert "file:PATH" in said or "secret's name" in said or "reserved" in said


def test_what_is_not_there_is_told() -> None:
    """By the flag that names it."""
    for text, why in (
        ("a=env:NONE", "--secret a: the variable NONE is not set here"),
        ("a=file:none", "--secret a: .*none cannot be read: No such file"),
        ("a=file:-", "write - alone"),
    ):
        with pytest.raises(click.UsageError, match=why):
            wanted(secrets=(text,)).read(IMAGE)
    with pytest.raises(click.UsageError, match="--secret-env NONE: the variable NONE"):
        wanted(secret_variables=("NONE",)).read(IMAGE)


def test_names_that_clash(tmp_path: Path) -> None:
    """Twice, or one with two values; a value that is too long."""
    with pytest.raises(click.UsageError, match="--secret a is given twice"):
        wanted(secrets=("a=-", "a=env:TOKEN"))
    with pytest.raises(click.UsageError, match="--secret-env A is given twice"):
        wanted(secret_variables=("A=-", "A=-"))
    with pytest.raises(click.UsageError, match="name TOKEN with two values"):
        wanted(secrets=("TOKEN=file:password",), secret_variables=("TOKEN",))
    (tmp_path / "long").write_bytes(b"x" * (limits.SECRET_MAX_BYTES + 1))
    with pytest.raises(click.UsageError, match="longer than 32 KiB"):
        wanted(secrets=("a=file:long",)).read(IMAGE)


def test_standard_input_is_one_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All of it; a second one is told. A terminal is asked without an echo."""
    with (tmp_path / "password").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert read_source("-", "a") == (tmp_path / "password").read_bytes()
        with pytest.raises(Misconfigured, match="Standard input is the secret a already"):
            read_source("-", "b")
    monkeypatch.setattr("sys.stdin", Terminal())
    asked: list[tuple[str, bool]] = []

    def prompt(text: str, *, hide_input: bool, err: bool) -> str:
        asked.append((text, hide_input and err))
        return CANARY

    monkeypatch.setattr(click, "prompt", prompt)
    assert read_source("-", "a") == CANARY.encode()
    assert asked == [("Secret a", True)]


def test_who_may_get_them() -> None:
    """Nodes and providers by their addresses; not for secrets that are none."""
    found = wanted(
        secrets=("a=env:TOKEN",),
        secret_recipients=(f"node={ADDRESS}", f"provider={ADDRESS}", f"node={ADDRESS}"),
    )
    assert (found.policy.nodes, found.policy.providers) == (("ab" * 20,), ("ab" * 20,))
    for text in (ADDRESS, "owner=x", "node=0x12"):
        with pytest.raises(click.UsageError, match="address|ADDRESS"):  # noqa: RUF043
            wanted(secrets=("a=env:TOKEN",), secret_recipients=(text,))
    with pytest.raises(click.UsageError, match="there are none"):
        wanted(secret_recipients=(f"node={ADDRESS}",))


# --- a task's file ------------------------------------------------------------------------------


def test_a_file_says_where_values_are(tmp_path: Path) -> None:
    """Below its own directory; flags win; the keys are not the specification's."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/other").write_text("below")
    base = {
        "image": IMAGE,
        "secrets": [
            {"name": "a", "from": "file:other"},
            {"name": "b", "from": "env:NONE", "variable": "B"},
            {"name": "c", "from": "env:TOKEN", "variable": "C", "file": True},
        ],
        "registry_auth": "ghcr.io=robot:env:TOKEN",
        "secret_recipients": {"providers": [ADDRESS]},
    }
    path = tmp_path / "deep/task.toml"
    found = wanted(base, path=path, secrets=("b=env:TOKEN",)).read(IMAGE)
    value = CANARY.encode()
    assert found.values == (
        SecretValue("a", b"below"),
        SecretValue("b", value),
        SecretValue("c", value, variable="C"),
    )
    assert found.auth == RegistryAuth("robot", CANARY)
    assert found.policy.providers == ("ab" * 20,)
    assert base == {"image": IMAGE}


@pytest.mark.parametrize(
    ("secrets", "why"),
    [
        ({"digest": "ab"}, "is no list"),
        (["a"], "is no table"),
        ([{"name": "a", "value": CANARY}], "belongs in no file"),
        ([{"name": "a", "from": CANARY}], "from is not file:PATH"),
        ([{"name": "a"}], "from is not file:PATH"),
        ([{"from": "env:X"}], "name is missing"),
        ([{"name": ".a", "from": "env:X"}], "not a secret's name"),
        ([{"name": "a", "from": "env:X", "mode": 4}], "has the key 'mode'"),
        ([{"name": "a", "from": "env:X", "file": 1}], "not true or false"),
        ([{"name": "a", "from": "env:X", "variable": 1}], "is no text"),
    ],
)
def test_a_file_that_says_it_otherwise(secrets: Any, why: str) -> None:
    """It is told what, and a value in it is not repeated."""
    with pytest.raises(BadSpec, match=why) as caught:
        wanted({"secrets": secrets})
    assert CANARY not in str(caught.value)


# --- setting them anew --------------------------------------------------------------------------


def test_all_secrets_of_a_task_are_named_anew() -> None:
    """As they are there: file, variable or both."""
    uses = (SecretUse("a"), SecretUse("b", file=False, variable="B"))
    found = new_values(("b=env:TOKEN", "a=env:TOKEN"), uses, read_source)
    value = CANARY.encode()
    assert found == (
        SecretValue("a", value),
        SecretValue("b", value, file=False, variable="B"),
    )
    for given, why in (
        (("a=env:TOKEN",), "Give b too"),
        (("a=env:TOKEN", "b=-", "c=-"), "has no secret c; it has a, b"),
        (("a=-", "a=-"), "a is given twice"),
        ((f"a={CANARY}",), "command line"),
    ):
        with pytest.raises(click.UsageError, match=why) as caught:
            new_values(given, uses, read_source)
        assert CANARY not in caught.value.message


def test_a_dry_run_says_that_it_cannot_be_sent(capsys: pytest.CaptureFixture[str]) -> None:
    """What it encrypted is gone with it: a signature made elsewhere would be for nothing."""
    pool = SimpleNamespace(pool_ref=lambda: PoolRef(31337, Address(b"c" * 20), 1))
    signer = Signer(pool, None, None, dry_run=True, as_json=False)  # type: ignore[arg-type]
    assert signer.send(Action.SET_SECRET, "ab" * 16, "{}", secrets=b"a blob") is None
    assert "cannot be sent" in capsys.readouterr().err
    assert signer.send(Action.STOP, "ab" * 16) is None
    assert not capsys.readouterr().err


# --- registries ---------------------------------------------------------------------------------


def test_credentials_for_the_images_registry() -> None:
    """However it is written; a line feed at the end of a file is no part of a password."""
    Path("token").write_text(f"{CANARY}\n")
    for text, image in (
        ("ghcr.io=robot:file:token", IMAGE),
        ("https://GHCR.io/=robot:env:TOKEN", IMAGE),
        ("docker.io=robot:env:TOKEN", "busybox"),
        ("index.docker.io=robot:env:TOKEN", "docker.io/team/app"),
        ("localhost:5000=robot:env:TOKEN", "localhost:5000/app"),
    ):
        assert login_of(text, image, read_source) == RegistryAuth("robot", CANARY)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"ghcr.io=robot:{CANARY}", "seen by every user"),
        (f"robot:{CANARY}", "seen by every user"),
        ("ghcr.io=:env:TOKEN", "seen by every user"),
        ("docker.io=robot:env:TOKEN", "comes from ghcr.io"),
        ("ghcr.io=robot:env:EMPTY", "is empty"),
        ("docker-config:none", "no login for ghcr.io"),
        (7, "is no text"),
    ],
)
def test_credentials_that_are_none(text: Any, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or are for another registry than the image's; nothing of them is repeated."""
    monkeypatch.setenv("EMPTY", "\n")
    with pytest.raises(click.UsageError, match=why) as caught:
        login_of(text, IMAGE, read_source)
    assert CANARY not in caught.value.message


def test_the_login_that_docker_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this user, or of another configuration; a token that ends is not taken for a password."""
    config = tmp_path / "config.json"
    login = base64.b64encode(f"robot:{CANARY}".encode()).decode()
    config.write_text(json.dumps({"auths": {"ghcr.io": {"auth": login}}}))
    good = RegistryAuth("robot", CANARY)
    assert login_of(f"docker-config:{tmp_path}", IMAGE, read_source) == good
    assert login_of(f"docker-config:{config}", IMAGE, read_source) == good
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert login_of("docker-config", IMAGE, read_source) == good
    with pytest.raises(click.UsageError, match=r"no login for docker\.io"):
        login_of("docker-config", "busybox", read_source)
    config.write_text(json.dumps({"auths": {"ghcr.io": {"auth": login, "identitytoken": CANARY}}}))
    with pytest.raises(click.UsageError, match="token"):
        login_of("docker-config", IMAGE, read_source)
    config.write_text("{")
    with pytest.raises(RegistryDenied, match=r"config\.json"):
        login_of("docker-config", IMAGE, read_source)
