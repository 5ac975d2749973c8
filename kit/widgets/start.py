"""The panel of notebook 00: what there is, and where to go."""

from __future__ import annotations

import asyncio
from typing import Final

import ipywidgets as w

from kit.auth.vault import vault_state
from kit.profiles import load_profiles
from kit.widgets.common import STYLE, escape, nearby_logs, spawn, table

_WAYS: Final = (
    (
        "01-check-settings.ipynb",
        "Are my settings right?",
        "Takes one server apart, step by step: name, port, TLS, what it offers, one sign-in.",
    ),
    (
        "03-send-a-test.ipynb",
        "Does a test mail go through?",
        "Sends one message that is right by the standards, and explains every refusal.",
    ),
    (
        "04-who-is-failing.ipynb",
        "Who is failing, since when and why?",
        "Reads the mail server's log: each try once, by user, address and cause, and what is behind it.",
    ),
    (
        "05-trace-an-attempt.ipynb",
        "What became of this message?",
        "Finds one message or one sign-in in the server's log, and shows your side and the server's on one time line.",
    ),
)


class StartPanel(w.VBox):
    """The questions, each with its notebook, and what this session has to work with. Asks nothing of the network."""

    def __init__(self) -> None:
        ways = "".join(
            f'<li style="margin: 6px 0"><a href="{name}" class="kit-big kit-link">{escape(question)}</a><div>{escape(answer)}</div></li>'
            for name, question, answer in _WAYS
        )
        self.state = w.HTML("Looking for this machine's vault …")
        self.status = w.HTML()
        super().__init__([w.HTML(f"{STYLE}<ul>{ways}</ul>"), self.state, self.status])
        try:
            spawn(self._look(), self.status)
        except RuntimeError:  # no event loop: the panel was made outside of a kernel
            self.state.value = _state(str(vault_state()))

    async def _look(self) -> None:
        self.state.value = _state(str(await asyncio.to_thread(vault_state)))


def _state(vault: str) -> str:
    logs = [path.name for path in nearby_logs()]
    profiles = ", ".join(str(profile.name) for profile in load_profiles()) or "none yet (kit profile add)"
    rows: list[list[object]] = [
        ["Passwords would be kept in", vault],
        ["Saved profiles", profiles],
        ["Sample logs", ", ".join(logs) or "none here"],
        ["Sandbox", "a mail server on this machine to practise on; it never relays"],
    ]
    return table([("This session", ""), ("", "")], rows)
