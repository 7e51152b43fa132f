"""Print the sizes and imports of the repository against their bounds: `make counts`."""

import ast
import re
import runpy
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import spacy
import typer
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
PACKAGE = "spacy_btl"
# A package or module in the first column of the table of docs/architecture.md.
LISTED = re.compile(r"^\| `(\w+)(?:\.py|/)` \|", re.MULTILINE)
# Modules that the order leaves out: the version, and the public names.
UNORDERED = {"about", ""}
MB = 1_000_000
DEMO = ROOT / "training" / "demo" / "pipeline"


def modules(root: Path) -> dict[str, Path]:
    """The modules of the package by their dotted names without "spacy_btl."."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root / PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path) -> dict[str, set[str]]:
    """The modules of the package that each of them imports, in functions too."""
    paths = modules(root)
    return {
        name: {_module(target, paths) for target in _imported(ast.parse(path.read_text("utf-8")))}
        - {name}
        for name, path in paths.items()
    }


def _imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names, without "spacy_btl.": of modules, or of what is in them."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return (name.partition(".")[2] for name in names if name.split(".")[0] == PACKAGE)


def _module(name: str, paths: Mapping[str, Path]) -> str:
    while name not in paths:
        name = name.rpartition(".")[0]
    return name


def order(root: Path) -> list[str]:
    """The packages and top-level modules, as docs/architecture.md lists them: each imports only
    those above it."""
    return LISTED.findall((root / "docs" / "architecture.md").read_text("utf-8"))


def upward_imports(root: Path) -> list[str]:
    """Imports of a package that does not stand above, and modules that the table leaves out."""
    rank = {name: number for number, name in enumerate(order(root))}
    graph = imports(root)
    tops = {name.split(".")[0] for name in graph} - UNORDERED
    wrong = [f"{name} is not in the table" for name in sorted(tops - rank.keys())]
    for name, targets in graph.items():
        for target in sorted(targets):
            own, other = name.split(".")[0], target.split(".")[0]
            if {own, other} <= rank.keys() and rank[other] > rank[own]:
                wrong.append(f"{name} imports {target}")
    return wrong


def import_circles(root: Path) -> list[str]:
    """Modules that import each other, directly or through others."""
    graph = imports(root)
    reached = {name: _reached(name, graph) for name in graph}
    circles = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in graph
        if name in reached[name]
    }
    return [" and ".join(circle) for circle in sorted(circles)]


def _reached(name: str, graph: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    new = set(graph[name])
    while new:
        reached |= new
        new = set().union(*(graph[other] for other in new)) - reached
    return reached


def package_lines(root: Path) -> Counter[str]:
    """Lines of code of each package; of the modules beside them together, as ""."""
    lines: Counter[str] = Counter()
    for path in modules(root).values():
        package, *module = path.relative_to(root / PACKAGE).parts
        lines[package if module else ""] += len(path.read_text("utf-8").splitlines())
    return lines


def tracked_files(root: Path) -> list[Path]:
    """What git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True
    )
    return [root / name for name in listed.stdout.split("\0") if name]


def sdist_bytes(root: Path) -> int:
    """The size of a source distribution of what git tracks."""
    with tempfile.TemporaryDirectory() as folder:
        for source in tracked_files(root):
            copy = Path(folder, "tree", source.relative_to(root))
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(source.read_bytes())
        command = [sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", "../dist"]
        subprocess.run(command, cwd=Path(folder, "tree"), check=True, capture_output=True)
        (sdist,) = Path(folder, "dist").iterdir()
        return sdist.stat().st_size


def _bounds() -> Iterator[tuple[str, float, float, Iterable[str]]]:
    """(what is counted, its count, the most that it may be, what to say of it)."""
    lines = package_lines(ROOT)
    for package, count in lines.most_common():
        yield f"lines of {PACKAGE}/{package}", count, 1800, ()
    for name, found in (
        ("upward imports", upward_imports(ROOT)),
        ("import circles", import_circles(ROOT)),
    ):
        yield name, len(found), 0, found
    files = tracked_files(ROOT)
    yield "tracked files", len(files), 950, ()
    yield "MB of tracked files", sum(path.stat().st_size for path in files) / MB, 9.0, ()
    yield "MB of the sdist", sdist_bytes(ROOT) / MB, 1.5, ()
    yield "lines of README.md", len((ROOT / "README.md").read_text("utf-8").splitlines()), 130, ()
    if DEMO.is_dir():
        path = runpy.run_path(str(ROOT / "bench" / "path.py"))
        moves = path["count_moves"](spacy.load(DEMO), path["NOTE"])
        yield "moves between files of one note (make demo)", moves, 26, ()


def main() -> None:
    """Print a table, and exit with 1 if a count is beyond its bound."""
    table = Table("count", "is", "at most", "", box=None)
    beyond = False
    for name, count, most, found in _bounds():
        beyond |= count > most
        table.add_row(name, f"{count:,.5g}", f"{most:,g}", "" if count <= most else "beyond")
        for line in found:
            table.add_row(f"  {line}")
    Console().print(table)
    raise typer.Exit(int(beyond))


if __name__ == "__main__":
    typer.run(main)
