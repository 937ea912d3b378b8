"""The source of the package as the architecture tests see it."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "asgi_guard"


def modules() -> dict[str, Path]:
    """Return every module of the package by its name without `asgi_guard.`, and its file."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts)] = file
    return found


def imports(file: Path, *, lazy: bool = True) -> Iterator[str]:
    """Return what a file imports; `lazy`: also inside functions."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree) if lazy else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            yield node.module or ""
            if node.module in {"asgi_guard", *(f"asgi_guard.{name}" for name in _FOLDERS)}:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


_FOLDERS = [path.name for path in PACKAGE.iterdir() if path.is_dir()]
