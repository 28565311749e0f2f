# SPDX-License-Identifier: MIT
"""Results as a table, as JSON and as a plot."""

import json
import sys
from pathlib import Path

from . import settings


def row(*cells):
    """Of a table that reads well here and in a Markdown page."""
    widths = [14, 7, 5, 6, 9] + [13] * len(settings.YARDSTICKS)
    first, *rest = [f"{cell:>{width}}" for cell, width in zip(cells, widths)]
    print(f"| {first.strip():{widths[0]}} | {' | '.join(rest)} |", flush=True)


def head():
    if settings.JSON:
        return
    print(f"Medians of {settings.ROUNDS} rounds of {settings.SECONDS:g} s, burst {settings.BURST}: TSC cycles per packet, and of each "
          "yardstick its cycles and, in parentheses,\nour packet rate divided by its.\n")
    row("case", "flows", "Mpps", "cycles", "min-max", *settings.YARDSTICKS)
    row(*["---"] * (5 + len(settings.YARDSTICKS)))


def show(result):
    if settings.JSON:
        print(json.dumps(result), flush=True)
        return
    spread = f"{result['cycles_min']:.0f}-{result['cycles_max']:.0f}"
    yardsticks = [f"{result[f'cycles_{name}']:.0f} ({result[f'vs_{name}']:.2f})" for name in settings.YARDSTICKS]
    row(result["case"], f"{result['flows']:,}", f"{result['mpps']:.1f}", f"{result['cycles']:.0f}", spread, *yardsticks)
    if "ovs_caches" in result:
        print(f"Open vSwitch's best caches: {result['ovs_caches']}", file=sys.stderr)
    if result["rounds_repeated"]:
        print(f"slow rounds repeated: {result['rounds_repeated']}", file=sys.stderr)


# Middle tones, on nothing: readable on white and on black.
GRAY = "#808890"
LINES = [("cycles", "Alkaid", "#2f81f7", "o"), ("cycles_ovs", "Open vSwitch", "#e0702a", "s"), ("cycles_csum", "testpmd csum", GRAY, "^")]


def plot(results, path):
    """Cycles per packet over flows, a panel for each case."""
    try:
        import matplotlib
    except ImportError:
        sys.exit("the plot needs matplotlib: scripts/setup bench")
    matplotlib.use("svg")
    from matplotlib import pyplot, ticker

    colours = dict.fromkeys(["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"], GRAY)
    pyplot.rcParams.update(colours | {"svg.fonttype": "none", "svg.hashsalt": "alkaid", "font.family": "sans-serif"})
    cases = list(dict.fromkeys(result["case"] for result in results))
    columns = min(3, len(cases))
    rows = -(-len(cases) // columns)
    figure, panels = pyplot.subplots(rows, columns, figsize=(3.2 * columns, 2.7 * rows + 0.5), sharey=True, squeeze=False)
    for panel in panels.flat[len(cases):]:
        panel.set_visible(False)
    for case, panel in zip(cases, panels.flat):
        points = [result for result in results if result["case"] == case]
        for key, label, colour, marker in LINES:
            shown = [(point["flows"], point[key]) for point in points if key in point]
            if shown:
                panel.plot(*zip(*shown), label=label, color=colour, marker=marker, markersize=4)
        panel.set(title=case, xscale="log", yscale="log")
        flows = sorted({point["flows"] for point in points})
        panel.set_xticks(flows, [f"{n // 1000}k" if n >= 1000 else n for n in flows])
        panel.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
        panel.minorticks_off()
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("flows")
    figure.supylabel("TSC cycles per packet (logarithmic)")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=len(labels), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.93))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, metadata={"Date": None})
    print(f"plot: {path}", file=sys.stderr)
