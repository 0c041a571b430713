"""What the times of a challenge show at least: throughput, bandwidth and memory of each device.

Intuition: whoever did this much work in that time is at least so fast. The network's time counts
against the node, so these are bounds from below, never estimates.

Invariant: they follow from the transcript alone, and say nothing unless its judgement is valid.
Source: docs/design/validation.md, "What is shown".
"""

from collections.abc import Sequence

import attrs

from p2pool.model.validation.evidence import Step, Transcript


@attrs.frozen
class Shown:
    """Of one device, while all others of its node worked too."""

    uuid: str
    int8_ops_per_s: int
    memory_bytes_per_s: int
    memory_bytes: int


def shown(transcript: Transcript) -> tuple[Shown, ...]:
    """The bounds of each device; zero where no round was answered."""
    plan, steps = transcript.challenge.plan, transcript.steps
    products = [step for number, step in enumerate(steps) if plan.is_product(number)]
    scans = [step for number, step in enumerate(steps) if plan.is_scan(number)]
    found = []
    for work in plan.devices:
        memory = work.memory
        read_bytes = memory.passes * memory.size_bytes
        found.append(
            Shown(
                uuid=work.uuid,
                int8_ops_per_s=_rate(work.product.operations, products),
                memory_bytes_per_s=_rate(read_bytes, scans),
                memory_bytes=memory.size_bytes if scans else 0,
            )
        )
    return tuple(found)


def _rate(per_step: int, steps: Sequence[Step]) -> int:
    elapsed_ms = sum(max(1, step.elapsed_ms) for step in steps)
    return per_step * len(steps) * 1000 // elapsed_ms if steps else 0
