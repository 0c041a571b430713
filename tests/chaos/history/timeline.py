"""A run as a picture: a line for each client and for the nemesis, a bar for each operation.

One HTML page without a script of its own: bars are coloured by outcome as Jepsen colours them, and
say more when pointed at. Faults are laid under all lines, so that the eye finds what goes together.
"""

import html
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.history.events import Event

PIXELS_PER_S = 40
ROW_PIXELS = 26
LEFT_PIXELS = 120
COLOURS = {"ok": "#7fc97f", "fail": "#f0b0d0", "info": "#fdc086", "": "#bbbbbb", "fault": "#d0d8f0"}
STYLE = "body{font:12px sans-serif} text{font:10px sans-serif} rect:hover{stroke:#000}"
LEGEND = "green: done; pink: had no effect; orange: nobody knows; grey: no end; blue: a fault"


def write_timeline(path: Path, events: Sequence[Event], title: str) -> None:
    """Write the page."""
    ends = {e.number: e for e in events if e.type != "invoke"}
    begun = [e for e in events if e.type == "invoke"]
    last_s = max((e.at_ns for e in events), default=0) / 1e9
    clients = sorted({e.process for e in begun if e.process != "nemesis"})
    rows = {name: number + 1 for number, name in enumerate(["nemesis", *clients])}
    height = (len(rows) + 2) * ROW_PIXELS
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" height="{height}"'
        f' width="{LEFT_PIXELS + (last_s + 1) * PIXELS_PER_S:.0f}">'
    ]
    for second in range(0, int(last_s) + 1, 5):
        x = LEFT_PIXELS + second * PIXELS_PER_S
        parts.append(f'<text x="{x}" y="12" fill="#888">{second} s</text>')
        parts.append(f'<path d="M{x} 16V{height}" stroke="#eee"/>')
    for name, row in rows.items():
        parts.append(f'<text x="4" y="{row * ROW_PIXELS + 14}">{html.escape(name)}</text>')
    for event in sorted(begun, key=lambda e: e.process != "nemesis"):
        end = ends.get(event.number)
        parts.append(_bar(event, end, rows[event.process], last_s, height))
    page = (
        f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{STYLE}</style><h3>{html.escape(title)}</h3><p>{LEGEND}</p>"
    )
    path.write_text(page + "".join(parts) + "</svg>")


def _bar(event: Event, end: Event | None, row: int, last_s: float, height: int) -> str:
    from_s = event.at_ns / 1e9
    until_s = end.at_ns / 1e9 if end is not None else last_s
    fault = event.process == "nemesis"
    if fault and event.kind.startswith("strikes"):
        until_s = from_s
    x, width = LEFT_PIXELS + from_s * PIXELS_PER_S, max(3, (until_s - from_s) * PIXELS_PER_S)
    outcome = "fault" if fault else (end.type if end is not None else "")
    tall = height if fault and not event.kind.startswith("strikes") else ROW_PIXELS - 6
    value = end.value if end is not None and not fault else event.value
    said = f"{event.kind} {event.key} {event.request} at {event.agent or '-'}: {outcome} {value}"
    said += f" {from_s:.3f}-{until_s:.3f} s {end.error if end is not None else ''}"
    label = html.escape(f"{event.kind[:18]} {event.key[5:9]} {value if value else ''}"[:28])
    y = row * ROW_PIXELS
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{tall}" fill="{COLOURS[outcome]}"'
        f' fill-opacity="{0.35 if fault else 0.9}"><title>{html.escape(said)}</title></rect>'
        f'<text x="{x + 2:.1f}" y="{y + 13}" pointer-events="none">{label}</text>'
    )
