"""Nothing that is promised is missing."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asgi_guard import (
    Ban,
    Check,
    CircuitBreaker,
    ConcurrencyLimit,
    Downstream,
    Guard,
    Health,
    Metrics,
    RateLimit,
    Rule,
    SharedBreakers,
    Swappable,
    TrustedProxies,
    reconnecting,
)
from asgi_guard.metrics import catalogue
from tests.docs.pages import PAGES, ROOT, anchors, links

REFERENCE = ROOT / "docs" / "reference"
GUARD_PAGES: dict[str, list[Callable[..., Any]]] = {
    "guard.md": [Guard, Swappable],
    "rate-limit.md": [RateLimit, Rule, Ban],
    "concurrency-limit.md": [ConcurrencyLimit],
    "circuit-breaker.md": [CircuitBreaker, SharedBreakers],
    "downstream.md": [Downstream],
    "reconnecting.md": [reconnecting],
    "metrics.md": [Metrics],
    "health.md": [Health, Check],
    "pools.md": [],
    "trusted-proxies.md": [TrustedProxies],
}
SKELETON = [
    "What it does",
    "Alone",
    "Settings",
    "What the client sees",
    "Metrics and logs",
    "What not to do",
]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    """To a page, and to a heading on it."""
    page = PAGES[name]
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_is_found_from_the_index() -> None:
    """Nobody has to guess its name."""
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link).resolve() for link in links(index)}
    assert {
        page for name, page in PAGES.items() if name not in {"README.md", "docs/index.md"}
    } <= linked


@pytest.mark.parametrize("name", GUARD_PAGES)
def test_reference_pages_are_alike(name: str) -> None:
    """The same headings in the same order."""
    headings = re.findall(r"^## (.*)$", (REFERENCE / name).read_text(), re.MULTILINE)
    assert [heading for heading in headings if heading in SKELETON] == SKELETON


@pytest.mark.parametrize("name", GUARD_PAGES)
def test_reference_pages_name_every_setting(name: str) -> None:
    """With its default, in a table."""
    text = (REFERENCE / name).read_text()
    for kind in GUARD_PAGES[name]:
        for field, default in _settings(kind).items():
            row = re.search(rf"^\| `{field}` \| ([^|]*) \|", text, re.MULTILINE)
            assert row is not None, f"{kind.__name__}.{field}"
            if isinstance(default, int | float | str):
                shown = f'"{default}"' if isinstance(default, str) else str(default)
                assert f"`{shown}`" in row[1], f"{kind.__name__}.{field}"


def _settings(kind: Callable[..., Any]) -> dict[str, Any]:
    signature = inspect.signature(kind)
    return {name: parameter.default for name, parameter in signature.parameters.items()}


def test_every_metric_is_listed() -> None:
    """With its labels."""
    text = (REFERENCE / "metrics.md").read_text()
    metrics = [each for each in vars(catalogue).values() if isinstance(each, catalogue.Metric)]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        assert f"| `{metric.name}` | {metric.kind} | {labels} |" in text


def test_the_changelog_names_every_guard() -> None:
    """A line for each, that starts with its name."""
    text = (ROOT / "CHANGELOG.md").read_text()
    guards = (
        *(Guard, RateLimit, ConcurrencyLimit, CircuitBreaker, Downstream),
        *(Metrics, Health, TrustedProxies),
    )
    for kind in guards:
        assert re.search(rf"^- \*\*{kind.__name__}\*\*", text, re.MULTILINE), kind.__name__


def test_no_line_is_too_long_for_a_reader() -> None:
    """Prose and tables wrap; code is held to the linter's length."""
    for name, page in PAGES.items():
        for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
            assert max(map(len, block.splitlines()), default=0) <= 110, name


def test_examples_are_runnable_files() -> None:
    """The folder holds programs and nothing else."""
    assert {path.suffix for path in Path(ROOT / "examples").rglob("*") if path.is_file()} <= {
        ".py",
        ".pyc",
    }
