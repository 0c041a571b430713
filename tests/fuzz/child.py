"""Fuzzes one target, guided by what each input reaches, until its time is over.

    python -m tests.fuzz.child TARGET DIRECTORY SECONDS guided|any

A process of its own: the fuzzer counts what is reached in modules that were changed as they were
loaded, and ends the process. It goes on after a finding, of which it writes down the first input
for each signature: `findings/<digest>` and `findings/<digest>.txt`. What it has spent, in all of
its runs, stands in `spent.json`. The fuzzer is `atheris`
(libFuzzer for Python), of the optional packages `fuzz`.
"""

import json
import random
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


class Runner:
    """Tries inputs on a target, and keeps what they show to be wrong. It loads the target, so that
    this can be watched."""

    def __init__(self, name: str, directory: Path) -> None:
        """`directory`: what this target's earlier runs left."""
        from tests.fuzz.corpus import digest_name, load
        from tests.fuzz.target import examine
        from tests.fuzz.targets.registered import one

        self.target, self._examine, self._name = one(name), examine, digest_name
        self.inputs, self._findings = directory / "inputs", directory / "findings"
        for path in (self.inputs, self._findings):
            path.mkdir(parents=True, exist_ok=True)
        for data in (*self.target.seeds(), *load(name).values()):
            (self.inputs / digest_name(data)).write_bytes(data)
        told = (path.read_text() for path in self._findings.glob("*.txt"))
        self._known = {text.partition("\n")[0] for text in told}
        self._spent = Spent(directory / "spent.json")

    def run(self, data: bytes) -> None:
        """Try one."""
        self._spent.count()
        looked = self._spent.runs % MEMORY_LOOKED_AT == 0
        found = self._examine(self.target, data, memory=looked)
        if found is None or found.signature in self._known:
            return
        self._known.add(found.signature)
        name = self._name(data)
        (self._findings / name).write_bytes(data)
        (self._findings / f"{name}.txt").write_text(f"{found.signature}\n{found.told}\n")
        print(f"FINDING {self.target.name}: {found.told}", file=sys.stderr, flush=True)


def main() -> None:
    """Fuzz; guided, it ends the process."""
    name, directory, seconds, way = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    if way == "guided":
        _guided(name, directory, seconds)
        return
    runner, rng = Runner(name, directory), random.Random()
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        runner.run(rng.randbytes(rng.randint(2, runner.target.most_bytes)))


def _guided(name: str, directory: Path, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=list(INSTRUMENTED), enable_loader_override=False):
        runner = Runner(name, directory)
    options = {
        "max_total_time": seconds,
        "max_len": runner.target.most_bytes,
        "timeout": 120,
        "rss_limit_mb": SHORT_OF_MEMORY_MIB,
        "print_final_stats": 1,
        "artifact_prefix": f"{directory}/",
        "verbosity": 0,
    }
    words = [f"-{key}={value}" for key, value in options.items()]
    atheris.Setup([sys.argv[0], *words, str(runner.inputs)], runner.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
