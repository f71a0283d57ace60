"""The picture of the rooms in docs/architecture.md, from what the code imports: `make docs` draws it anew."""

from __future__ import annotations

import tomllib
from collections import defaultdict

import grimp

from settings.code import ROOT

PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: drawn by `make docs` -->", "<!-- rooms: end -->"
OF_THEIR_OWN = ("core.jobs", "core.sql")
"""Packages of a room that are drawn beside it. Of `clusters` each module is."""

Graph = dict[str, set[str]]


def room(module: str) -> str:
    """The box that a module is drawn in."""
    top, _, rest = module.partition(".")
    below = f"{top}.{rest.partition('.')[0]}"
    return below if rest and (top == "clusters" or below in OF_THEIR_OWN) else top


def imports() -> Graph:
    """By room, the rooms that it imports something of."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    modules = grimp.build_graph(*config["root_packages"], cache_dir=None)
    found: Graph = defaultdict(set)
    for module in modules.modules:
        for imported in modules.find_modules_directly_imported_by(module):
            if room(module) != room(imported):
                found[room(module)].add(room(imported))
    return found


def reduced(graph: Graph) -> Graph:
    """Without the arrows that others stand for: A to C, where A goes to B and B to C. Raises `ValueError` for a
    circle."""
    reach: Graph = {}

    def visit(name: str, way: tuple[str, ...]) -> set[str]:
        if name in way:
            raise ValueError(f"rooms import each other: {' > '.join([*way[way.index(name) :], name])}")
        if name not in reach:
            direct = graph.get(name, set())
            reach[name] = direct.union(*(visit(other, (*way, name)) for other in direct))
        return reach[name]

    for name in sorted(graph):
        visit(name, ())
    return {
        name: {to for to in direct if not any(to in reach[other] for other in direct if other != to)}
        for name, direct in graph.items()
    }


def drawn() -> str:
    """The block between the two marks."""
    arrows = sorted((name, to) for name, others in reduced(imports()).items() for to in others)
    lines = [f"  {name} --> {to}" for name, to in arrows]
    return "\n".join([BEGIN, "```mermaid", "flowchart TD", *lines, "```", END])


def page(text: str) -> str:
    """`text` with the picture of today."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{PAGE.name} has no line {BEGIN}"
    assert end, f"{PAGE.name} has no line {END}"
    return before + drawn() + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
