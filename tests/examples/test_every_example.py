"""What all small examples have in common: they are short, and say how to start them."""

import importlib
from pathlib import Path

import pytest

import examples

_FILES = sorted(Path(examples.__path__[0]).glob("[!_]*.py"))


@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.stem)
def test_it_is_short_and_says_how_to_serve_it(file: Path) -> None:
    """An app at module level, the command in the docstring, and at most fifty lines."""
    module = importlib.import_module(f"examples.{file.stem}")
    assert callable(module.app)
    assert f"uvicorn examples.{file.stem}:app" in (module.__doc__ or "")
    assert len(file.read_text().splitlines()) <= 50


def test_all_examples_are_found() -> None:
    """The list above is not empty by mistake."""
    assert len(_FILES) == 8
