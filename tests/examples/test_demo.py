"""The demo walks through everything, and says so when something does not behave."""

import subprocess
import sys

import pytest
from starlette.types import ASGIApp

from examples.demo.__main__ import main
from examples.demo.app import create_app
from examples.demo.demo import demo
from tests.processes import ROOT

_BEHAVIOURS = ("Rate limit", "Concurrency cap", "Circuit breaker", "Metrics", "Health")


def test_once_every_step_behaves() -> None:
    """A whole run as users start it: exit code, table, and nothing that needs a terminal."""
    ran = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--once"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    table = ran.stdout[ran.stdout.index("what happened") :]
    assert all(behaviour in table for behaviour in _BEHAVIOURS)
    assert "7 of 7 steps behaved" in table
    assert "\x1b" not in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 100


def test_an_app_without_the_guard_does_not_behave(capsys: pytest.CaptureFixture[str]) -> None:
    """The walk finds out by itself that nothing is guarded, and the exit code says so."""

    def create_unguarded(database_url: str, payments_url: str) -> ASGIApp:
        app = create_app(database_url, payments_url)
        app.user_middleware.clear()
        return app

    assert demo(once=True, make_app=create_unguarded) == 1
    printed = capsys.readouterr().out
    assert "0 of 7 steps behaved" in printed
    assert "refusals: expected 3, saw 0" in printed


def test_an_unknown_argument_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped option is an error, not ignored."""
    with pytest.raises(SystemExit) as ended:
        main(["--twice"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --twice" in capsys.readouterr().err


def test_help_says_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    """The one option is explained."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "--once" in capsys.readouterr().out
