"""A field for a password that is never a part of the notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets as t

from kit.redact import Secret


class SecretField(anywidget.AnyWidget):
    """A password box whose text is no trait: it is sent once, as a message of its own, and the box is emptied.

    A trait's value is saved with the notebook, shown to everybody in a shared session and kept by tools that run notebooks.

    Args:
        on_secret: called with what was typed.
        label: above the box.
        action: on the button.
    """

    _esm = """
    function render({ model, el }) {
      const id = "kit-secret-" + Math.random().toString(36).slice(2);
      const label = document.createElement("label");
      label.htmlFor = id;
      label.className = "kit-secret-label";
      const box = document.createElement("input");
      Object.assign(box, { type: "password", id, autocomplete: "off", spellcheck: false, className: "kit-secret-box" });
      const button = document.createElement("button");
      button.className = "jupyter-button kit-secret-button";
      const status = document.createElement("span");
      status.setAttribute("role", "status");
      status.className = "kit-secret-status";
      const send = () => {
        if (!box.value) return;
        model.send({ kind: "secret", text: box.value });
        box.value = "";
      };
      button.addEventListener("click", send);
      box.addEventListener("keydown", (event) => {
        event.stopPropagation();
        if (event.key === "Enter") send();
      });
      const show = () => {
        label.textContent = model.get("label");
        button.textContent = model.get("action");
        status.textContent = model.get("status");
        box.disabled = button.disabled = model.get("disabled");
      };
      model.on("change", show);
      show();
      el.append(label, box, button, status);
      el.classList.add("kit-secret");
    }
    export default { render };
    """
    _css = """
    .kit-secret { display: flex; margin: 2px; flex-wrap: wrap; align-items: center; gap: 8px; font-size: var(--jp-widgets-font-size, 13px);
      color: var(--jp-ui-font-color1, inherit) }
    .kit-secret-label { width: 80px; text-align: right }
    .kit-secret-box { box-sizing: border-box; width: 218px; height: 28px; padding: 3px 6px; border: 1px solid var(--jp-border-color1, #999);
      background: var(--jp-layout-color1, #fff); color: inherit }
    .kit-secret-button { width: auto; padding: 0 12px }
    .kit-secret-status { color: var(--jp-ui-font-color2, #666) }
    """

    label = t.Unicode("Password").tag(sync=True)
    action = t.Unicode("Use it").tag(sync=True)
    status = t.Unicode("").tag(sync=True)
    disabled = t.Bool(False).tag(sync=True)

    def __init__(self, on_secret: Callable[[Secret], None], **traits: Any) -> None:
        super().__init__(**traits)
        self._on_secret = on_secret
        self.on_msg(self._take)

    def _take(self, _: object, content: Any, __: object) -> None:
        if isinstance(content, dict) and content.get("kind") == "secret" and isinstance(content.get("text"), str):
            self._on_secret(Secret(content["text"]))
