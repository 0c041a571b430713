"""Fuzzes one target, guided by what each input reaches, until its time is over.

    python -m tests.fuzz.child TARGET DIRECTORY SECONDS

A process of its own: the fuzzer counts what is reached in modules that were changed as they were
loaded, and ends the process. It goes on after a finding, of which it writes down the first input
for each signature: `findings/<digest>` and `findings/<digest>.txt`. What it has spent, in all of
its runs, stands in `spent.json`. The fuzzer is `atheris`
(libFuzzer for Python), of the optional packages `fuzz`.
"""

import json
import sys
import time
from pathlib import Path

INSTRUMENTED = ("p2pool", "multiaddr", "libp2p", "h11", "eth_abi", "rfc8785", "base58")
SHORT_OF_MEMORY_MIB = 3072
MEMORY_LOOKED_AT = 64
"""Of so many inputs, one has its memory measured."""
NOTED_EVERY_S = 2


class Spent:
    """How long a target was fuzzed, with how many inputs, since its directory was made."""

    def __init__(self, path: Path) -> None:
        """What earlier runs spent counts."""
        self._path = path
        before = json.loads(path.read_text()) if path.exists() else {}
        self.runs, self._seconds = int(before.get("runs", 0)), float(before.get("seconds", 0))
        self._began_s = self._noted_s = time.monotonic()

    def count(self) -> None:
        """One more input; written down now and then, since the fuzzer ends without a word."""
        self.runs += 1
        now_s = time.monotonic()
        if now_s - self._noted_s >= NOTED_EVERY_S:
            self._noted_s = now_s
            seconds = self._seconds + now_s - self._began_s
            self._path.write_text(json.dumps({"runs": self.runs, "seconds": round(seconds)}))


def main() -> None:
    """Fuzz; never returns."""
    name, directory, seconds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    import atheris

    with atheris.instrument_imports(include=list(INSTRUMENTED), enable_loader_override=False):
        from tests.fuzz.corpus import digest_name, load
        from tests.fuzz.target import examine
        from tests.fuzz.targets.registered import one

        target = one(name)
    inputs, findings = directory / "inputs", directory / "findings"
    for path in (inputs, findings):
        path.mkdir(parents=True, exist_ok=True)
    for data in (*target.seeds(), *load(name).values()):
        (inputs / digest_name(data)).write_bytes(data)
    known = {path.read_text().partition("\n")[0] for path in findings.glob("*.txt")}
    spent = Spent(directory / "spent.json")

    def run(data: bytes) -> None:
        spent.count()
        found = examine(target, data, memory=spent.runs % MEMORY_LOOKED_AT == 0)
        if found is not None and found.signature not in known:
            known.add(found.signature)
            (findings / digest_name(data)).write_bytes(data)
            told = f"{found.signature}\n{found.told}\n"
            (findings / f"{digest_name(data)}.txt").write_text(told)
            print(f"FINDING {name}: {found.told}", file=sys.stderr, flush=True)

    options = {
        "max_total_time": seconds,
        "max_len": target.most_bytes,
        "timeout": 120,
        "rss_limit_mb": SHORT_OF_MEMORY_MIB,
        "print_final_stats": 1,
        "artifact_prefix": f"{directory}/",
        "verbosity": 0,
    }
    words = [f"-{key}={value}" for key, value in options.items()]
    atheris.Setup([sys.argv[0], *words, str(inputs)], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
