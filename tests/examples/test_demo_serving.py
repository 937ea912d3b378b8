"""After its walk the demo goes on serving, and ends when asked to."""

import re
import signal
import sys

import httpx

from tests.processes import Child, Children, until

_DEMO = [sys.executable, "-m", "examples.demo"]


def test_it_serves_until_ctrl_c(children: Children, http: httpx.Client) -> None:
    """What it prints can be visited, and one Ctrl-C ends it in order."""
    demo = _start(children)
    until(lambda: "Still serving" in _printed(demo), within=40, alive=demo)
    urls = re.findall(r"^  (http://\S+)$", _printed(demo), re.MULTILINE)
    assert len(urls) == 3
    assert {http.get(url).status_code for url in urls} == {200}
    assert demo.stop() == 0
    assert "Traceback" not in _printed(demo)
    assert _printed(demo).endswith("bye\n")


def test_ctrl_c_in_the_middle_of_the_walk_ends_it(children: Children) -> None:
    """The exit code is that of an interrupted command."""
    demo = _start(children)
    until(lambda: "waiting" in _printed(demo), within=30, alive=demo)
    assert demo.stop() == 130
    assert "Traceback" not in _printed(demo)


def _start(children: Children) -> Child:
    return children.start("demo", _DEMO, lambda: None, stop_signal=signal.SIGINT)


def _printed(demo: Child) -> str:
    return demo.log.read_text()
