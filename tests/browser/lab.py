"""A real Lab, started as a user starts it, and what a test does in its pages. Shared by the tests and by `shots.py`."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Locator, Page, Playwright, expect

PATIENCE = 60  # seconds for what takes two here; a machine may be busy
expect.set_options(timeout=PATIENCE * 1000)
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
]
CHROMIUM_ARGS += ["--disable-sync", "--disable-quic", "--no-first-run"]

# The notebook in front is connected to a kernel that has nothing to do.
READY = """() => {
  const session = window.jupyterapp?.shell?.currentWidget?.sessionContext;
  const kernel = session?.session?.kernel;
  return Boolean(session?.isReady && kernel?.connectionStatus === "connected" && kernel.status === "idle");
}"""
CELLS = """() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells.filter((cell) => cell.cell_type === "code")"""
BARS = """() => Array.from(document.querySelector(".js-plotly-plot")?.data ?? []).filter((trace) => trace.visible !== false)
  .map((trace) => [trace.name, Array.from(trace.x, (moment) => Date.parse(moment + "Z")), Array.from(trace.y, Number)])"""
AXIS = "() => document.querySelector('.js-plotly-plot')._fullLayout.xaxis.type"

# What a screen reader would have no name for. (A file chooser has a button before it.)
NAMELESS = """() => [...document.querySelectorAll(".jp-OutputArea :is(input, select, textarea, button)")]
  .filter((control) => control.offsetParent && control.type !== "file")
  .filter((control) => ![control.labels?.[0]?.textContent, control.ariaLabel, control.tagName === "BUTTON" && control.textContent]
    .some((name) => name && name.trim()))
  .map((control) => control.outerHTML)"""


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A running Lab.

    Attributes:
        origin: scheme, host and port.
        address: where Lab sends the browser: with the token, and the notebook that opens.
        home: the folder with the notebooks and the data.
        state: where everything else is kept: Jupyter's folders, HOME, the log.
    """

    origin: str
    address: str
    home: Path
    state: Path

    @property
    def token(self) -> str:
        return self.address.rpartition("token=")[2]

    def ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(f"{self.origin}/{path}", method=method, headers={"Authorization": f"token {self.token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def tidy(self) -> None:
        """Stops all kernels and forgets which documents were open, so that the next page begins as the first one did."""
        for session in self.ask("api/sessions"):
            self.ask(f"api/sessions/{session['id']}", "DELETE")
        shutil.rmtree(self.state / "config/lab/workspaces", ignore_errors=True)


def _environment(state: Path) -> dict[str, str]:
    """That of a user who has never started Jupyter or the kit."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "XDG_", "KIT_"))}
    own = {"HOME": "home", "IPYTHONDIR": "ipython", "KIT_CONFIG_DIR": "kit-config", "KIT_STATE_DIR": "kit-state", "TMPDIR": "tmp"}
    own |= {f"JUPYTER_{name}_DIR": name.lower() for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {f"XDG_{name}_HOME": f"xdg-{name.lower()}" for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    for folder in own.values():
        (state / folder).mkdir()
    # What only tests need: a way to ask the page whether its kernel is ready, and the page as long as its notebook.
    (state / "extra").mkdir()
    (state / "extra/jupyter_lab_config.json").write_text('{"LabApp": {"expose_app_in_browser": true}}')
    settings = state / "config/lab/user-settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"windowingMode": "none", "scrollPastEnd": false}')
    kept |= {name: str(state / folder) for name, folder in own.items()}
    return kept | {"JUPYTER_CONFIG_PATH": str(state / "extra"), "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


@contextmanager
def running_lab(folder: Path) -> Iterator[Lab]:
    """`kit lab` in a new folder, until the end of the block."""
    home, state = folder / "home of the notebooks", folder / "state"
    state.mkdir(parents=True)
    environment = _environment(state)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = state / "lab.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "kit", "lab", str(home), "--no-browser", "--port", str(port)]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        yield Lab(origin=f"http://127.0.0.1:{port}", address=_address(process, log, port), home=home, state=state)
    finally:
        _stop(process, environment, port)


def _address(process: subprocess.Popen[bytes], log: Path, port: int) -> str:
    """What Lab prints for the user to open, once it answers there."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        if found := re.search(rf"http://127\.0\.0\.1:{port}/\S*token=\S+", log.read_text()):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"Lab has not started within {PATIENCE} seconds:\n{log.read_text()}")


def _stop(process: subprocess.Popen[bytes], environment: dict[str, str], port: int) -> None:
    """Lab is a child of `kit lab`: it is asked to stop, and `kit lab` ends with it."""
    subprocess.run([sys.executable, "-m", "jupyter", "lab", "stop", str(port)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=30)  # fmt: skip
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def launch_chromium(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_ARGS)


@dataclass
class Visit:
    """One person's page, and all that goes over its wires."""

    lab: Lab
    page: Page
    requests: list[str] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE * 1000)
        self.page.context.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", self._listen)

    def _listen(self, socket: Any) -> None:
        self.requests.append(socket.url)
        socket.on("framesent", lambda frame: self.sent.append(_as_bytes(frame)))
        socket.on("framereceived", lambda frame: self.received.append(_as_bytes(frame)))

    def open(self, address: str) -> None:
        """Opens an address of Lab and waits for the notebook and its kernel."""
        self.page.goto(address)
        self.wait_for_kernel()

    def open_notebook(self, name: str) -> None:
        self.open(f"{self.lab.origin}/lab/tree/notebooks/{name}.ipynb?token={self.lab.token}")

    def wait_for_kernel(self) -> None:
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        self.page.wait_for_function(READY)

    def execute(self, command: str) -> None:
        """Runs one of Lab's commands to its end. (Awaited inside `evaluate`, one that asks the user would never come back.)"""
        self.page.evaluate(
            """(command) => {
              window.kitDone = null;
              window.jupyterapp.commands.execute(command).then(() => { window.kitDone = "done" }, (e) => { window.kitDone = String(e) });
            }""",
            command,
        )
        self.page.wait_for_function("() => window.kitDone !== null")
        assert self.page.evaluate("() => window.kitDone") == "done"

    def run_all(self) -> None:
        """Runs every cell; none of them may fail."""
        self.execute("notebook:run-all-cells")
        cells = self.page.evaluate(CELLS)
        assert all(cell["execution_count"] for cell in cells), "every cell was run"
        assert [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"] == []
        self.page.wait_for_function(READY)

    def control(self, label: str) -> Locator:
        """A panel's control, by its label. (Lab's own user interface has labels too.)"""
        return self.page.locator(".jp-OutputArea").get_by_label(label, exact=True)

    def bars(self) -> dict[str, tuple[list[float], list[float]]]:
        """What the chart in the page holds: milliseconds since the epoch and tries of each visible trace."""
        return {name: (x, y) for name, x, y in self.page.evaluate(BARS)}

    def axis_type(self) -> str:
        """What plotly.js takes the places of the bars for."""
        return self.page.evaluate(AXIS)

    def nameless_controls(self) -> list[str]:
        """Visible controls of the panels that have no label."""
        return self.page.evaluate(NAMELESS)

    def foreign_requests(self) -> list[str]:
        """Requests to anything but the Lab itself."""
        own = (self.lab.origin + "/", self.lab.origin.replace("http", "ws", 1) + "/", "data:", "blob:")
        return [url for url in self.requests if not url.startswith(own)]


def _as_bytes(frame: str | bytes) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame


@contextmanager
def visit(lab: Lab, browser: Browser) -> Iterator[Visit]:
    """A page of somebody who has not been here before."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    try:
        yield Visit(lab, context.new_page())
    finally:
        context.close()
        lab.tidy()
