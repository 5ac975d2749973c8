"""smtp-auth-kit: are my settings right, does a test mail go through, and who is failing, since when and why?

    profile ──► checks · sending ──► Step… ──┐
                                             ├─► Attempt ─► Finding ─► widgets · cli · report ─► notebooks
    mail logs ► logs ────────────────────────┘                 ▲
                                                         knowledge (TOML)

Data flows to the right; a module may import what stands to its left, never to its right. This door is lazy:
`import kit` loads nothing heavy, and each name loads its room when it is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from kit.checks.ladder import check as check
    from kit.errors import KitError as KitError
    from kit.explain import explain as explain
    from kit.logs.authlog import AuthLog as AuthLog
    from kit.logs.authlog import read_logs as read_logs
    from kit.model import Attempt as Attempt
    from kit.model import Cause as Cause
    from kit.model import CheckResult as CheckResult
    from kit.model import Explanation as Explanation
    from kit.model import Finding as Finding
    from kit.model import Outcome as Outcome
    from kit.model import Profile as Profile
    from kit.model import Reply as Reply
    from kit.model import Security as Security
    from kit.model import SendResult as SendResult
    from kit.model import Service as Service
    from kit.model import Severity as Severity
    from kit.model import Step as Step
    from kit.redact import Secret as Secret
    from kit.sandbox.server import open_sandbox as open_sandbox
    from kit.sending.message import build_test_message as build_test_message
    from kit.sending.send import send as send

_ROOMS = {
    "Attempt": "kit.model",
    "AuthLog": "kit.logs.authlog",
    "Cause": "kit.model",
    "CheckResult": "kit.model",
    "Explanation": "kit.model",
    "Finding": "kit.model",
    "KitError": "kit.errors",
    "Outcome": "kit.model",
    "Profile": "kit.model",
    "Reply": "kit.model",
    "Secret": "kit.redact",
    "Security": "kit.model",
    "SendResult": "kit.model",
    "Service": "kit.model",
    "Severity": "kit.model",
    "Step": "kit.model",
    "build_test_message": "kit.sending.message",
    "check": "kit.checks.ladder",
    "explain": "kit.explain",
    "open_sandbox": "kit.sandbox.server",
    "read_logs": "kit.logs.authlog",
    "send": "kit.sending.send",
}

__all__ = [
    "Attempt",
    "AuthLog",
    "Cause",
    "CheckResult",
    "Explanation",
    "Finding",
    "KitError",
    "Outcome",
    "Profile",
    "Reply",
    "Secret",
    "Security",
    "SendResult",
    "Service",
    "Severity",
    "Step",
    "build_test_message",
    "check",
    "explain",
    "open_sandbox",
    "read_logs",
    "send",
]


class _Door(ModuleType):
    """A room named like what lies in it (`explain`, `sandbox`) does not take its place when it is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _ROOMS and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Door


def __getattr__(name: str) -> object:
    if name in _ROOMS:
        value: object = getattr(import_module(_ROOMS[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'kit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
