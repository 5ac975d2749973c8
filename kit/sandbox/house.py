"""What all sessions of one sandbox share."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from kit.redact import Secret
from kit.sandbox.record import Record
from kit.sandbox.scenarios import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The scenario, the one account, the certificate, the memory."""

    scenario: Scenario
    user: str
    password: Secret
    context: ssl.SSLContext
    record: Record
