"""The Jupyter configuration, as a real Jupyter server takes it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

from kit.lab.settings import drop_widget_state, write_settings


@pytest.fixture
def server(tmp_path):
    """A real Lab server in a folder of its own; answers a function that asks its REST interface, and has its port."""
    write_settings(tmp_path / "config")
    (tmp_path / "work").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    environment |= {"JUPYTER_CONFIG_PATH": str(tmp_path / "config")}
    environment |= {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=t"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path / "work", env=environment, stdout=log, stderr=log)

    def ask(path: str, body: object = None) -> dict:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", headers={"Authorization": "token t"})
        if body is not None:
            request.method, request.data = "PUT", json.dumps(body).encode()
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    try:
        _wait_for(ask, process, tmp_path / "log")
        ask.port = port
        yield ask
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(ask, process, log):
    deadline = time.monotonic() + 60
    while True:
        try:
            return ask("api/status")
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


def test_a_real_server_saves_no_widget_state_and_has_the_labs_settings(server, tmp_path):
    typed = {"application/vnd.jupyter.widget-state+json": {"state": {"1": {"state": {"value": "canary-in-a-widget"}}}}}
    notebook = nbformat.v4.new_notebook(metadata={"widgets": typed, "kept": "yes"})
    server("api/contents/x.ipynb", {"type": "notebook", "format": "json", "content": notebook})
    saved = (tmp_path / "work/x.ipynb").read_text()
    assert json.loads(saved)["metadata"]["kept"] == "yes"
    assert "canary-in-a-widget" not in saved

    widgets = server("lab/api/settings/@jupyter-widgets/jupyterlab-manager:plugin")
    assert widgets["schema"]["properties"]["saveState"]["default"] is False
    news = server("lab/api/settings/@jupyterlab/apputils-extension:notification")
    assert news["schema"]["properties"]["fetchNews"]["default"] == "false"
    assert news["schema"]["properties"]["checkForUpdates"]["default"] is False


def test_a_slow_line_carries_compressed_pages_and_charts(server):
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    token = {"Authorization": "token t"}
    line.request("GET", "/lab", headers=token | {"Accept-Encoding": "gzip"})
    page = line.getresponse()
    assert (page.status, page.headers["Content-Encoding"]) == (200, "gzip")
    page.read()

    line.request("POST", "/api/kernels", headers=token)
    kernel = json.load(line.getresponse())["id"]
    offer = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    line.request("GET", f"/api/kernels/{kernel}/channels", headers=token | offer | {"Sec-WebSocket-Extensions": "permessage-deflate"})
    channel = line.getresponse()
    assert (channel.status, channel.headers["Sec-WebSocket-Extensions"]) == (101, "permessage-deflate")
    line.close()


@pytest.mark.parametrize(
    "model", [{}, {"type": "notebook"}, {"type": "notebook", "content": "x"}, {"type": "file", "content": {"metadata": {"widgets": 1}}}]
)
def test_what_is_no_notebook_stays_as_it_is(model):
    before = json.dumps(model)
    drop_widget_state(model=model, path="x", contents_manager=None)
    assert json.dumps(model) == before


def test_it_is_written_by_its_module_too(tmp_path):
    subprocess.run([sys.executable, "-m", "kit.lab.settings", tmp_path / "new"], check=True)
    assert json.loads((tmp_path / "new/jupyter_server_config.json").read_text())["SQLiteYStore"]["db_path"] == ":memory:"
