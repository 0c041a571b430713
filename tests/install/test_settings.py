"""Settings of pip say which registry is asked and how, and nothing else about an installation."""

import http.server
import threading
from pathlib import Path

from tests.install.checkout import Checkout, put_wheel

MISLEADING = """
[global]
user = true
timeout = 7
[install]
target = {elsewhere}
no-deps = true
no-binary = :all:
"""


class Registry(http.server.BaseHTTPRequestHandler):
    """It has nothing, and remembers what it was asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        """Answer that there is no such package."""
        self.asked.append(self.path)
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def configured(checkout: Checkout, text: str, home: Path) -> dict[str, str]:
    """Put settings where pip looks for its user's; the environment that lets it."""
    place = home / ".config" / "pip" / "pip.conf"
    place.parent.mkdir(parents=True)
    place.write_text(text)
    return {"HOME": str(home), "PIP_CONFIG_FILE": ""}


def test_settings_for_other_installations_are_left_out(begun: Checkout, tmp_path: Path) -> None:
    """Those of a file and of variables; they are named, and all that is required is there."""
    elsewhere = tmp_path / "elsewhere"
    environment = configured(begun, MISLEADING.format(elsewhere=elsewhere), tmp_path / "home")
    done = begun.make(
        "setup", **environment, PIP_NO_DEPS="1", PIP_PYTHON="/no/python", PIP_PREFIX=str(elsewhere)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    left_out = "no-binary, no-deps, prefix, python, target, user"
    assert f"not used here, of your settings of pip: {left_out}\n" in done.stdout
    assert begun.packages() >= {"p2pool", "varint"}
    assert not elsewhere.exists()


def test_constraints_hold_here_too(begun: Checkout, tmp_path: Path) -> None:
    """Whoever runs this machine may forbid a release; a file of theirs that is gone is named."""
    environment = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}
    done = begun.make("setup", **environment, PIP_CONSTRAINT="/no/such/file")
    assert done.returncode != 0
    assert "pip cannot read its constraints file: /no/such/file" in done.stderr
    assert "unset PIP_CONSTRAINT" in done.stderr
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("varint==0.0.1\n")
    done = begun.make("setup", **environment, PIP_CONSTRAINT=str(constraints))
    assert done.returncode != 0
    assert "pip's constraints forbid what p2pool requires: varint==0.0.1" in done.stderr


def test_the_registry_of_a_file_is_asked(begun: Checkout, tmp_path: Path) -> None:
    """Also where the file holds settings that are left out; a variable comes before it."""
    asked: list[str] = []
    handler = type("Handler", (Registry,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        text = f"[global]\nindex-url = {url}/of-file\n[install]\nextra-index-url = {url}/second\n"
        environment = configured(begun, f"{text}user = true\n", tmp_path / "home")
        begun.requires("no-such-thing-of-p2pool")
        done = begun.make(
            "setup", **environment, PIP_NO_INDEX="", PIP_INDEX_URL=f"{url}/of-variable"
        )
        server.shutdown()
    assert done.returncode != 0
    assert "the package registry has no no-such-thing-of-p2pool" in done.stderr
    assert "/of-variable/no-such-thing-of-p2pool/" in asked
    assert "/second/no-such-thing-of-p2pool/" in asked
    assert not any(path.startswith("/of-file") for path in asked)


def test_settings_that_nobody_can_read(begun: Checkout, tmp_path: Path) -> None:
    """The file is named, and how to do without."""
    environment = configured(begun, "no section\n", tmp_path / "home")
    done = begun.make("setup", **environment)
    assert done.returncode != 0
    assert str(tmp_path / "home" / ".config" / "pip" / "pip.conf") in done.stderr
    assert "PIP_CONFIG_FILE=/dev/null" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_environment_that_lacks_something_is_not_called_installed(begun: Checkout) -> None:
    """Here a pip that does nothing and reports success, as one led astray does."""
    put_wheel(begun.path / "packaging" / "wheels", "needed", {"needed.py": b""})
    begun.requires("needed")
    program = begun.path / "packaging" / "install.py"
    text = program.read_text()
    assert '"--prefer-binary",' in text
    program.write_text(text.replace('"--prefer-binary",', '"--prefer-binary", "--no-deps",'))
    done = begun.make("setup")
    assert done.returncode != 0
    assert "the environment is incomplete: needed is not there" in done.stderr
    program.write_text(text)
    assert begun.make("setup").returncode == 0
    assert "needed" in begun.packages()
