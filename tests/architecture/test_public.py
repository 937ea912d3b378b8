"""The public interface: sorted, documented down to every field, and no more than is meant."""

import dataclasses
import inspect
import re
import subprocess
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import asgi_guard
from tests.architecture.source import ROOT

PUBLIC = {name: getattr(asgi_guard, name) for name in asgi_guard.__all__}
CLASSES = {name: thing for name, thing in PUBLIC.items() if inspect.isclass(thing)}
TOP_LEVEL = {
    ".ci",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "asgi_guard",
    "docs",
    "examples",
    "pyproject.toml",
    "run",
    "tests",
}


def test_exports_are_sorted_and_complete() -> None:
    """What can be imported from the package is what it lists."""
    assert list(asgi_guard.__all__) == sorted(asgi_guard.__all__)
    visible = {
        name
        for name, thing in vars(asgi_guard).items()
        if not name.startswith("_") and not inspect.ismodule(thing)
    }
    assert visible == set(asgi_guard.__all__)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_everything_public_is_documented(name: str) -> None:
    """Each public class and function says what it is, and so do its public methods."""
    thing = PUBLIC[name]
    assert (inspect.getdoc(thing) or "").strip()
    if inspect.isclass(thing):
        for method, function in vars(thing).items():
            if not method.startswith("_") and inspect.isroutine(function):
                assert inspect.getdoc(function), f"{name}.{method}"


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_public_field_is_documented(name: str) -> None:
    """Fields and parameters are explained in the class's docstring, each by its name."""
    explained = set(re.findall(r"^\s+(\w+): ", inspect.getdoc(CLASSES[name]) or "", re.MULTILINE))
    assert _fields(CLASSES[name]) <= explained


def _fields(kind: type[Any]) -> set[str]:
    if dataclasses.is_dataclass(kind):
        return {each.name for each in dataclasses.fields(kind) if not each.name.startswith("_")}
    if issubclass(kind, tuple):
        return set(kind._fields)  # type: ignore[attr-defined]
    if "__init__" not in vars(kind) or getattr(kind, "_is_protocol", False):
        return set()
    return set(inspect.signature(kind).parameters)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_default_is_stated(name: str) -> None:
    """A setting with a default says which, beside the word."""
    kind = CLASSES[name]
    if issubclass(kind, Exception | Enum):
        return
    doc = inspect.getdoc(kind) or ""
    for field, parameter in inspect.signature(kind).parameters.items():
        if parameter.default is not inspect.Parameter.empty and not field.startswith("_"):
            entry = re.search(
                rf"^ +{field}: (.*?)(?=^ +\w+: |^\S|\Z)", doc, re.DOTALL | re.MULTILINE
            )
            assert entry is not None, f"{name}.{field}"
            assert "default" in entry[1], f"{name}.{field} does not state its default"


def test_the_top_level_is_what_was_agreed() -> None:
    """Nothing is added beside the folders and files that are meant to be there."""
    listed = subprocess.run(
        ["git", "ls-tree", "--name-only", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(listed.stdout.split()) <= TOP_LEVEL


def test_the_package_is_marked_as_typed() -> None:
    """Type checkers look for this file."""
    assert (Path(asgi_guard.__file__).parent / "py.typed").exists()
