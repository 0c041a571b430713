"""A variable named P2POOL_* is read by something, or refused with the name that was meant."""

import re
from pathlib import Path

import pytest

import p2pool
from p2pool.cli import errors, main
from p2pool.cli.shared.environment import GIVEN, READ, check_environment
from p2pool.model.errors import Misconfigured

PACKAGE = Path(p2pool.__file__).resolve().parent
ENVIRONMENT = PACKAGE / "cli" / "shared" / "environment.py"
NAMED = {
    name
    for path in PACKAGE.rglob("*.py")
    if path != ENVIRONMENT
    for name in re.findall(r'["=]\s*"?(P2POOL_[A-Z_]*[A-Z])"', path.read_text(encoding="utf-8"))
    if "__" not in name
}
"""Every variable that the package names as a value."""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("P2POOL_AGNET", "did you mean P2POOL_AGENT?"),
        ("P2POOL_PASPHRASE_FILE", "did you mean P2POOL_PASSPHRASE_FILE?"),
        ("P2POOL_LOG__LEVLE", "did you mean 'level'?"),
        ("P2POOL_X__Y", "x: is unknown"),
        ("P2POOL_API", "P2POOL_API is unknown"),
        ("P2POOL_", "P2POOL_ is unknown"),
    ],
)
def test_an_unknown_variable_ends_every_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    """With the name that was meant; only who asks for help gets it all the same."""
    monkeypatch.setenv(name, "x")
    assert main.run(["task", "ls"]) == errors.MISCONFIGURED
    assert said in capsys.readouterr().err
    assert main.run(["task", "ls", "--help"]) == errors.OK
    assert main.run(["--version"]) == errors.OK


def test_what_copies_find_and_what_services_set_is_known() -> None:
    """A command inside a container, or beside a service named p2pool, is nobody's mistake."""
    names = (*GIVEN, "P2POOL_SERVICE_HOST", "P2POOL_PORT_8470_TCP_ADDR", "P2POOL_API__BIND")
    check_environment(dict.fromkeys((*names, "HOME", "XP2POOL_Y"), "x"))
    with pytest.raises(Misconfigured, match="P2POOL_PORTS is unknown"):
        check_environment({"P2POOL_PORTS": "1"})


def test_every_listed_variable_is_named_elsewhere() -> None:
    """A name on the list that nothing reads or sets would be accepted and ignored."""
    assert {*READ, *GIVEN} == NAMED
