"""The rules of the default config as a picture: rulegraph.py IMAGE.

What `snakemake --rulegraph` prints, without `all`, and without arrows that follow from others. It is drawn here, in
columns, so that equal graphs give equal bytes on every machine.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from html import escape
from pathlib import Path
from statistics import mean

import networkx as nx

CHECKOUT = Path(__file__).resolve().parents[2]
SWEEPS = 24
ROW, COLUMN_GAP, CHARACTER, MARGIN = 20, 46, 6.1, 8
"""In pixels: height of a row, space between columns, width of a character, margin."""
STYLE = """
text { font: 10px ui-monospace, monospace; fill: #24292f }
path { fill: none; stroke: #8c959f; stroke-width: 1 }
rect { fill: #ddf4ff; stroke: #54aeff; rx: 4 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } path { stroke: #6e7681 } rect { fill: #12304f; stroke: #388bfd }
}
"""


def rules_of_default_config() -> nx.DiGraph:
    """Return the rules that `all` of the default config needs, each with arrows to those that read what it makes."""
    with tempfile.TemporaryDirectory() as working:
        command = [sys.executable, "-m", "snakemake", "--snakefile", CHECKOUT / "Snakefile", "--directory", working]
        ran = subprocess.run([*command, "--rulegraph", "dot"], capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(ran.stderr)
    names = dict(re.findall(r'^\s*(\d+)\[label = "([^"]+)"', ran.stdout, re.MULTILINE))
    edges = re.findall(r"^\s*(\d+) -> (\d+)", ran.stdout, re.MULTILINE)
    graph = nx.DiGraph(sorted((names[start], names[end]) for start, end in edges))
    graph.remove_node("all")
    return nx.transitive_reduction(graph)


def layers_of(graph: nx.DiGraph) -> tuple[list[list[object]], nx.DiGraph]:
    """Return the nodes in columns, ordered so that few arrows cross, and the arrows, cut where they pass a column."""
    layer = {node: place for place, nodes in enumerate(nx.topological_generations(graph)) for node in nodes}
    cut = nx.DiGraph()
    for start, end in sorted(graph.edges):
        path = [start, *((start, end, place) for place in range(layer[start] + 1, layer[end])), end]
        layer |= {node: layer[start] + step for step, node in enumerate(path)}
        nx.add_path(cut, path)
    columns: list[list[object]] = [[] for _ in range(max(layer.values()) + 1)]
    for node in sorted(layer, key=str):
        columns[layer[node]].append(node)
    place = {node: float(row) for column in columns for row, node in enumerate(column)}
    for sweep in range(SWEEPS):
        beside = cut.predecessors if sweep % 2 == 0 else cut.successors
        for column in columns if sweep % 2 == 0 else reversed(columns):
            column.sort(key=lambda node: (_mean((place[other] for other in beside(node)), place[node]), str(node)))
            place |= {node: float(row) for row, node in enumerate(column)}
    return columns, cut


def rows_of(columns: list[list[object]], cut: nx.DiGraph) -> dict[object, float]:
    """Return each node's row: near the rows of its neighbours, in its column's order, at least one row apart."""
    row = {node: float(place) for column in columns for place, node in enumerate(column)}
    for sweep in range(SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            wanted = [_mean((row[other] for other in nx.all_neighbors(cut, node)), row[node]) for node in column]
            down, up = wanted.copy(), wanted.copy()
            for place in range(1, len(column)):
                down[place] = max(down[place], down[place - 1] + 1)
                up[-1 - place] = min(up[-1 - place], up[-place] - 1)
            row |= {node: (low + high) / 2 for node, low, high in zip(column, down, up, strict=True)}
    top = min(row.values())
    return {node: value - top for node, value in row.items()}


def _mean(values: Iterable[float], otherwise: float) -> float:
    found = list(values)
    return mean(found) if found else otherwise


def svg(graph: nx.DiGraph) -> str:
    """Return the picture."""
    columns, cut = layers_of(graph)
    row = rows_of(columns, cut)
    left, right, edge = {}, {}, float(MARGIN)
    for column in columns:
        width = max(CHARACTER * len(node) + 10 for node in column if isinstance(node, str))
        for node in column:
            own = CHARACTER * len(node) + 10 if isinstance(node, str) else width
            left[node], right[node] = round(edge), round(edge + own)
        edge += width + COLUMN_GAP
    middle = {node: round(MARGIN + ROW * (value + 0.5)) for node, value in row.items()}
    wide, high = round(edge - COLUMN_GAP + MARGIN), max(middle.values()) + ROW // 2 + MARGIN
    size = f'width="{wide}" height="{high}" viewBox="0 0 {wide} {high}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{STYLE}</style>"]
    for start, end in sorted(graph.edges):
        path, node = f"M{right[start]} {middle[start]}", start
        while node != end:
            following = next(other for other in cut.successors(node) if other == end or other[:2] == (start, end))
            between = (right[node] + left[following]) // 2
            path += f"C{between} {middle[node]} {between} {middle[following]} {left[following]} {middle[following]}"
            if following != end:
                path += f"H{right[following]}"
            node = following
        lines.append(f'<path d="{path}"><title>{escape(start)} → {escape(end)}</title></path>')
    for name in sorted(graph.nodes):
        x, y, width = left[name], middle[name] - 7, right[name] - left[name]
        text = f'<text x="{x + 5}" y="{y + 10}">{escape(name)}</text>'
        lines.append(f'<rect x="{x}" y="{y}" width="{width}" height="14"/>{text}')
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(svg(rules_of_default_config()), encoding="utf-8")
