"""The packages of classlens and which imports which, as a picture: packages.py IMAGE.

Every import counts, inside functions and for types too. Modules beside the packages are not drawn, but what a package
imports through them is; nor are packages that no import ties to others. Arrows that follow from others are left out. It
is drawn as the graph of rules is, so that equal imports give equal bytes on every machine.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
from rulegraph import CHECKOUT, svg

ROOT = "classlens"


def imported(file: Path) -> Iterator[str]:
    """Yield the names of all that a module imports; relative imports are not allowed in the project."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages_of(folder: Path) -> nx.DiGraph:
    """Return the packages in the folder of `ROOT`, each with arrows to those that import it.

    Raises:
        SystemExit: packages, or modules beside them, import each other in a circle.
    """
    parts = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"} - {"__init__"}
    graph = nx.DiGraph()
    for file in sorted(folder.rglob("*.py")):
        own = file.relative_to(folder).parts[0].removesuffix(".py")
        names = (name.split(".") for name in imported(file) if name.startswith(f"{ROOT}."))
        graph.add_edges_from((name[1], own) for name in names if name[1] in parts - {own})
    try:
        circle = nx.find_cycle(graph)
    except nx.NetworkXNoCycle:
        packages = [path.name for path in folder.iterdir() if (path / "__init__.py").exists()]
        reached = nx.transitive_reduction(nx.transitive_closure_dag(graph).subgraph(packages))
        reached.remove_nodes_from(list(nx.isolates(reached)))
        return reached
    sys.exit(f"imported in a circle: {' -> '.join(start for start, _ in [*circle, circle[0]])}")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(svg(packages_of(CHECKOUT / ROOT)), encoding="utf-8")
