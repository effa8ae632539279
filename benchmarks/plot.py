"""A picture of the rows on speed: decisions per second, a panel for each situation, a bar for each contestant."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.results import Row

__all__ = ("plot",)

_BESIDE: Final = ("refused", "peek", "new", "drained", "nothing back")
"""States of ours that no peer has a bar for."""
_COLOURS: Final = {"bare": "#9aa0a6", "acquire": "#1a73e8", "": "#e8a33d"}
_COLUMNS: Final = 3


def plot(path: Path, rows: Sequence[Row], machine: Mapping[str, str]) -> None:
    """Write it as the name of the file says: SVG or PNG.

    Raises:
        ValueError: no row of these can be drawn, or matplotlib does not know the ending.
    """
    panels = _panels(rows)
    if not panels:
        raise ValueError("--plot draws rows of the sections memory, redis and asyncio: run one of them too")
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("agg")
    # The same rows make the same file, and its text stays text.
    matplotlib.rcParams.update({"svg.hashsalt": "ratelimit", "svg.fonttype": "none", "font.size": 9})
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    lines = -(-len(panels) // _COLUMNS)
    height = max(map(len, panels.values())) * 0.23 + 0.7
    figure, grid = pyplot.subplots(lines, _COLUMNS, figsize=(17, height * lines + 0.8), squeeze=False)
    axes = list(grid.flat)
    for one, (title, rates) in zip(axes, panels.items(), strict=False):
        _panel(one, title, rates)
        one.set_xlim(*_reach([panel for name, panel in panels.items() if name[:5] == title[:5]]))
    for empty in axes[len(panels) :]:
        empty.axis("off")
    figure.suptitle("Decisions per second on one machine (acquire + settle: pairs), logarithmic; more is better")
    figure.supxlabel(", ".join(f"{name} {value}" for name, value in machine.items()), fontsize=7)
    figure.tight_layout(rect=(0, 0.01, 1, 0.99))
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _panels(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    panels: dict[str, dict[str, float]] = {}
    for row in rows:
        drawn = row.section == "Memory" or row.section.startswith(("Memory, ", "Redis, "))
        if drawn and not any(word in row.name for word in _BESIDE):
            panels.setdefault(row.section, {})[row.name] = 1e6 / row.value
    return panels


def _reach(panels: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """One scale for all panels on memory, and one for all on Redis, so that bars can be compared between them."""
    rates = [rate for panel in panels for rate in panel.values()]
    return min(rates) / 2, max(rates) * 6


def _panel(axes: Any, title: str, rates: Mapping[str, float]) -> None:
    order = sorted(rates, key=lambda name: rates[name])
    bars = axes.barh(order, [rates[name] for name in order], color=[_colour(name) for name in order])
    axes.bar_label(bars, [f"{rates[name]:,.0f}" for name in order], padding=2, fontsize=8)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(importlib.import_module("matplotlib.ticker").NullFormatter())
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _colour(name: str) -> str:
    return next(colour for start, colour in _COLOURS.items() if name.startswith(start))
