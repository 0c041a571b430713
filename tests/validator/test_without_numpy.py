"""Where NumPy is not installed a validator works all the same, and says once what it lacks."""

import subprocess
import sys

WITHOUT = """
import sys
sys.modules["numpy"] = None
from p2pool.cli.main import run
from p2pool.drivers.agent_log import configure_logs
code = run(["validator", "policy"])
assert code == 0, code
import pkgutil, importlib, p2pool.validator
for one in pkgutil.walk_packages(p2pool.validator.__path__, "p2pool.validator."):
    importlib.import_module(one.name)
from p2pool.proofs.validation.judgement import PLAIN
from p2pool.validator.challenge.arithmetic import arithmetic
configure_logs(level="info")
assert [arithmetic(), arithmetic()] == [PLAIN, PLAIN]
assert not [name for name in sys.modules if name.split(".")[0] == "prover"]
"""


def test_its_commands_and_checks_run() -> None:
    """Every module of it is imported, none of the prover's; checks are those of a stranger."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "dry_run = true" in done.stdout
    said = done.stdout + done.stderr
    assert said.count("NumPy is not installed") == 1
    assert "pip install 'numpy>=2.0,<3'" in said
