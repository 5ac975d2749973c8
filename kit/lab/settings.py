"""The Jupyter configuration that `kit lab` and Binder share: what is typed or shown gets into no file by itself.

`python -m kit.lab.settings FOLDER` writes it into FOLDER, which then belongs on JUPYTER_CONFIG_PATH.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

SERVER: Final = {
    # The state of widgets is what was typed into them: it is taken out of every notebook before it is written.
    "FileContentsManager": {"pre_save_hook": "kit.lab.settings.drop_widget_state"},
    # Collaboration keeps every key stroke in a database beside the notebooks, also what was deleted. In memory then.
    "SQLiteYStore": {"db_path": ":memory:"},
    "ServerApp": {
        "tornado_settings": {
            "websocket_max_message_size": 200 * 1024 * 1024,  # a log can be uploaded; the default ends in silence at about 10 MB
            "compress_response": True,  # Lab's own pages, and each chart's code, take a third of the bytes: Binder is a slow line
        },
        "websocket_compression_options": {"compression_level": 1},
    },
}
LAB: Final = {
    "@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": False},
    # Lab asks no server for news or updates.
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
}


def write_settings(folder: Path) -> None:
    """Write the configuration into a folder, where Jupyter finds it by JUPYTER_CONFIG_PATH."""
    for name, settings in {"jupyter_server_config.json": SERVER, "labconfig/default_setting_overrides.json": LAB}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")


def drop_widget_state(model: dict[str, Any], **_: Any) -> None:
    """Jupyter's hook before a save: a notebook loses the state of its widgets, other files stay as they are."""
    content = model.get("content")
    if model.get("type") == "notebook" and isinstance(content, dict) and isinstance(content.get("metadata"), dict):
        content["metadata"].pop("widgets", None)


if __name__ == "__main__":
    write_settings(Path(sys.argv[1]))
