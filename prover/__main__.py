"""python -m prover [--on cpu|cuda] [--devices N] [--memory-bytes N]: answer requests on stdin."""

import argparse
import sys

from prover.interface import Prover, Refused
from prover.protocol import serve


def prover_of(options: argparse.Namespace) -> Prover:
    """The prover that was asked for; what it needs is imported only here."""
    if options.on == "cuda":
        from prover.cuda import CudaProver

        return CudaProver()
    from prover.reference import ReferenceProver

    return ReferenceProver(options.devices, options.memory_bytes)


def main() -> int:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser(prog="prover", description=__doc__)
    parser.add_argument("--on", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--devices", type=int, default=1, help="of cpu: as how many it counts")
    parser.add_argument("--memory-bytes", type=int, default=0, help="of cpu: of each device")
    options = parser.parse_args()
    try:
        prover = prover_of(options)
    except (ImportError, Refused) as error:
        print(f"prover: {error}", file=sys.stderr)
        return 1
    serve(prover, sys.stdin.buffer, sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
