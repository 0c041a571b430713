"""A configuration is read whole or refused with all that is wrong with it, each at its place."""

from pathlib import Path

import pytest

from p2pool.drivers.config.schema import (
    AgentConfig,
    default_directory,
    load_config,
    write_config,
)
from p2pool.model.errors import Misconfigured
from tests.drivers.least_config import ADDRESS, GOOD


def load(tmp_path: Path, text: str, **env: str) -> AgentConfig:
    """Read a text as the configuration."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load_config(path, env)


def refused(tmp_path: Path, text: str, **env: str) -> str:
    """The message with which a text is refused."""
    with pytest.raises(Misconfigured) as caught:
        load(tmp_path, text, **env)
    return caught.value.message


def test_the_least_that_is_needed(tmp_path: Path) -> None:
    """Chain and pool are enough; the rest has safe defaults."""
    config = load(tmp_path, GOOD)
    assert config.pool_ref.pool_id == 3
    assert config.pool_ref.contract == b"\xab" * 20
    assert config.chain.confirmations == 2
    assert config.api.bind.startswith("127.0.0.1:")
    assert config.runtime.kind == "auto"
    assert config.resources.memory_bytes is None


def test_more_digits_than_python_reads_are_a_sentence(tmp_path: Path) -> None:
    """In the file and in a variable; and digits of other scripts are no size."""
    many = "1" * 5000
    assert "is not TOML" in refused(tmp_path, f"a = {many}")
    assert "pool.id: must be a whole number" in refused(tmp_path, GOOD, P2POOL_POOL__ID=many)
    sized = f'{GOOD}[resources]\nmemory_bytes = "\N{ARABIC-INDIC DIGIT THREE}GiB"\n'
    assert "resources.memory_bytes: must be a number of bytes" in refused(tmp_path, sized)


def test_everything_can_be_said_and_written_back(tmp_path: Path) -> None:
    """What `write_config` writes is read as the same."""
    config = load(
        tmp_path,
        GOOD
        + """
[network]
listen = ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"]
[api]
bind = "0.0.0.0:8470"
tls_certificate = "/etc/p2pool/\\"odd\\\\name\\u007f.pem"
tls_key = "/etc/p2pool/key.pem"
[resources]
cpu_milli = 2500
memory_bytes = "16GiB"
disk_bytes = 1_073_741_824
gpus = 0
gpu_uuids = ["GPU-1"]
[runtime]
kind = "docker"
bind_directories = ["/data"]
[log]
level = "debug"
levels = { "p2pool.drivers.net" = "error" }
[metrics]
enabled = false
[[notify.webhooks]]
name = "billing"
url = "https://hooks.example/p2pool?a=b"
secret_file = "/etc/p2pool/billing.secret"
kinds = ["task", "allocation"]
[[notify.webhooks]]
name = "on-call"
url = "http://10.0.0.7:8080/"
secret_file = "/etc/p2pool/on-call.secret"
allow_private = true
ca_file = "/etc/p2pool/ca.pem"
""",
    )
    assert [one.name for one in config.notify.webhooks] == ["billing", "on-call"]
    assert config.notify.webhooks[0].kinds == ("task", "allocation")
    assert config.resources.memory_bytes == 16 * 2**30
    assert config.runtime.bind_directories == (Path("/data"),)
    again = tmp_path / "again.toml"
    write_config(config, again)
    assert load_config(again, {}) == config


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """With places, and for a misspelt key the one that was meant."""
    message = refused(
        tmp_path,
        GOOD.replace("id = 31337", 'id = "31337"').replace("id = 3\n", "idd = 3\n")
        + "[network]\nlisten = [1]\n[runtme]\n[resources]\ngpus = 1000\nmemory_bytes = '16XB'\n"
        + "[runtime]\nkind = 'podman'\n[metrics]\nenabled = 1\n[log]\nlevels = {x = 'loud'}\n",
    )
    for part in (
        'chain.id: must be a whole number, not "31337"',
        "pool.id: is missing",
        "pool.idd: is unknown; did you mean 'id'?",
        "runtme: is unknown; did you mean 'runtime'?",
        "network.listen: must be text, not 1",
        "resources.gpus: 1000 is above 64, the most (0 to 64)",
        "resources.memory_bytes: must be a number of bytes",
        "runtime.kind: 'podman' is not one of auto, docker, process",
        "metrics.enabled: must be true or false, not 1",
        "log.levels: level 'loud' of x",
    ):
        assert part in message, message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "chain: is missing"),
        (GOOD + "[runtime]\nregistries = ['https://ghcr.io']\n", "no scheme"),
        (GOOD + "[runtime]\nregistries = ['ghcr.io/ours:1']\n", "no scheme, no tag"),
        (GOOD + "[runtime]\nregistries = ['*']\n", "'*' is not a registry"),
        (GOOD + "[api]\nhosts = ['http://a.example']\n", "'http://a.example' is not a host"),
        (GOOD + "[api]\nhosts = ['a.example:8470']\n", "no port"),
        (GOOD + "[api]\nhosts = ['192.0.2.7:1']\n", "no port"),
        (GOOD + "[api]\nhosts = ['[::1]']\n", "no brackets"),
        (GOOD + "[api]\nhosts = ['*.example']\n", "is not a host"),
        (GOOD + "[api]\nhosts = ['']\n", "is not a host"),
        (GOOD + "[resources]\nmemory_bytes = 80\n", "memory_bytes: 80 is not 0 and not between"),
        (GOOD + "[resources]\ndisk_bytes = 512\n", 'with a unit, such as "16GiB"'),
        (GOOD + "[resources]\ndisk_reserve_bytes = '20'\n", "text with a unit"),
        (GOOD + "[runtime]\nimages_max_bytes = '200KB'\n", "images_max_bytes: 200000 is not 0"),
        (GOOD + "[runtime]\ndisk_reserve_bytes = -1\n", "disk_reserve_bytes: -1 is not 0"),
        ("chain = 5\npool = []\n", "chain: must be a table"),
        ("[chain", "is not TOML"),
        (GOOD.replace(ADDRESS, "0x12"), "must be an address"),
        (GOOD.replace('["http://127.0.0.1:8545"]', "[]"), "at least one is needed"),
        (GOOD.replace('["http://127.0.0.1:8545"]', '"http://x"'), "must be a list"),
        (GOOD.replace("id = 3\n", "id = -1\n"), "-1 is below 0, the least"),
        (GOOD.replace("id = 3\n", "id = true\n"), "must be a whole number"),
        (GOOD + "[network]\nsubnets = []\n", "at least one is needed"),
        (GOOD + '[network]\nsubnets = ["10.213.0.1/16"]\n', "has host bits set"),
        (GOOD + '[network]\nsubnets = ["10.213.0.0/30"]\n', "cannot be divided"),
        (GOOD + '[network]\nsubnets = ["127.0.0.0/8"]\n', "cannot be divided"),
        (GOOD + '[network]\nsubnets = ["fd00::/64"]\n', "network.subnets"),
        (GOOD + '[network]\negress_allow = ["hosts"]\n', "network.egress_allow"),
        (GOOD + '[network]\negress_allow = ["10.0.0.1/8"]\n', "has host bits set"),
        (GOOD + '[network]\nresolvers = ["127.0.0.53"]\n', "copies cannot ask there"),
        (GOOD + '[network]\nresolvers = ["dns.example"]\n', "network.resolvers"),
        (GOOD + '[runtime]\noci_runtime = "nvidia"\n', "would give GPUs"),
        (GOOD + '[runtime]\noci_runtime = ""\n', "would give GPUs"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, part: str) -> None:
    """No value is bent into what it might have meant."""
    assert part in refused(tmp_path, text)


def test_the_environment_overrides(tmp_path: Path) -> None:
    """By section and key, as texts, numbers, lists and flags; other variables are no matter."""
    config = load(
        tmp_path,
        GOOD,
        P2POOL_API__BIND="127.0.0.1:1",
        P2POOL_CHAIN__ID="5",
        P2POOL_CHAIN__ADDRESSES__POOL="0x" + "cd" * 20,
        P2POOL_NETWORK__ANNOUNCE="/dns/a/tcp/1, /dns/b/tcp/2",
        P2POOL_NETWORK__LISTEN='["/ip4/1.1.1.1/tcp/1"]',
        P2POOL_RESOURCES__MEMORY_BYTES="1GiB",
        P2POOL_RESOURCES__GPUS="2",
        P2POOL_METRICS__ENABLED="false",
        P2POOL_PASSPHRASE="x",
        HOME="/",
    )
    assert (config.api.bind, config.chain.id) == ("127.0.0.1:1", 5)
    assert config.chain.addresses.pool == b"\xcd" * 20
    assert config.network.announce == ("/dns/a/tcp/1", "/dns/b/tcp/2")
    assert config.network.listen == ("/ip4/1.1.1.1/tcp/1",)
    assert (config.resources.memory_bytes, config.resources.gpus) == (2**30, 2)
    assert config.metrics.enabled is False


def test_a_wrong_override_is_told_by_its_name(tmp_path: Path) -> None:
    """An override that is silently ignored would be worse than none."""
    message = refused(tmp_path, GOOD, P2POOL_API__BIMD="x", P2POOL_CHAIN__ID="five", P2POOL_X__Y="")
    assert "P2POOL_API__BIMD: bimd: is unknown; did you mean 'bind'?" in message
    assert 'chain.id: must be a whole number, not "five"' in message
    assert "P2POOL_X__Y: x: is unknown" in message


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(Misconfigured, match="--config"):
        load_config(tmp_path / "none.toml", {})


def test_the_default_directory_can_be_named() -> None:
    """By the environment, else it is the platform's."""
    assert default_directory({"P2POOL_DATA_DIR": "/x"}) == Path("/x")
    assert default_directory({}).name == "p2pool"


HOOK = 'name = "a"\nurl = "https://hooks.example/"\nsecret_file = "/s"\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HOOK + "urls = 1\n", "notify.webhooks[0].urls: is unknown; did you mean 'url'?"),
        (HOOK.replace("https://", "ftp://"), "notify.webhooks[0].url: a receiver"),
        (HOOK.replace("https://", "https://me:secret@"), "it holds a login"),
        (HOOK.replace("https://", "http://"), "a: http:// is for receivers in private networks"),
        (HOOK.replace('"a"', '"A b"'), "'A b' is no name, such as billing or on-call"),
        (HOOK + 'kinds = ["tsk"]\n', "notify.webhooks[0].kinds: 'tsk' is not one of allocation"),
        (HOOK.replace('secret_file = "/s"\n', ""), "notify.webhooks[0].secret_file: is missing"),
        (HOOK + "[[notify.webhooks]]\n" + HOOK, "notify.webhooks: two are called 'a'"),
        (HOOK + "[[notify.webhooks]]\nname = 1\n", "notify.webhooks[1].name: must be text, not 1"),
    ],
)
def test_a_webhook_that_cannot_work_is_told_at_its_place(
    tmp_path: Path, text: str, why: str
) -> None:
    """With the number of its table, and never with what its URL may hide."""
    message = refused(tmp_path, GOOD + "[[notify.webhooks]]\n" + text)
    assert why in message, message
    assert "me:secret" not in message


def test_webhooks_come_from_the_environment_too(tmp_path: Path) -> None:
    """As TOML has them; what is no table is told."""
    inline = '[{name = "a", url = "https://hooks.example/", secret_file = "/s"}]'
    config = load(tmp_path, GOOD, P2POOL_NOTIFY__WEBHOOKS=inline)
    assert config.notify.webhooks[0].secret_file == Path("/s")
    message = refused(tmp_path, GOOD, P2POOL_NOTIFY__WEBHOOKS="https://hooks.example/")
    assert "notify.webhooks: must be a list of tables" in message
