# SPDX-License-Identifier: MIT
"""Results as a table, as JSON and as a plot."""

import json
import sys

from . import settings


def head():
    if settings.JSON:
        return
    print(f"{settings.ROUNDS} rounds of {settings.SECONDS:g} s, burst {settings.BURST}. Medians of TSC cycles per packet; after each "
          "yardstick's, our packet rate divided by its.\n")
    yardsticks = "".join(f"  {name:>6} ratio" for name in settings.YARDSTICKS)
    print(f"{'case':15}{'flows':>7}{'Mpps':>7}{'cycles':>8}{'min-max':>11}{yardsticks}")


def show(result):
    if settings.JSON:
        print(json.dumps(result), flush=True)
        return
    spread = f"{result['cycles_min']:.0f}-{result['cycles_max']:.0f}"
    yardsticks = "".join(f"  {result[f'cycles_{name}']:6.1f} {result[f'vs_{name}']:5.2f}" for name in settings.YARDSTICKS)
    notes = f"  ovs's caches: {result['ovs_caches']}" if "ovs_caches" in result else ""
    notes += f"  slow rounds repeated: {result['rounds_repeated']}" if result["rounds_repeated"] else ""
    print(f"{result['case']:15}{result['flows']:7}{result['mpps']:7.2f}{result['cycles']:8.1f}{spread:>11}{yardsticks}{notes}", flush=True)


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
    from matplotlib import pyplot

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
        panel.set(title=case, xscale="log", ylim=(0, None))
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("flows")
    figure.supylabel("TSC cycles per packet")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=len(labels), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.93))
    figure.savefig(path, transparent=True, metadata={"Date": None})
    print(f"plot: {path}", file=sys.stderr)
