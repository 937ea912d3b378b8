"""Every example runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, code

WITH_CODE = {name: page for name, page in PAGES.items() if code(page).strip()}


@pytest.mark.parametrize("name", WITH_CODE)
def test_the_examples_of_a_page_run(name: str, tmp_path: Path) -> None:
    """In order, as one program, in an empty folder."""
    program = tmp_path / "page.py"
    program.write_text(code(WITH_CODE[name]))
    run = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
    )
    assert run.returncode == 0, f"{name}, lines as in the page:\n{run.stderr}"
