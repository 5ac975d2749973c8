"""Each test begins as a new session does."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def nothing_was_looked_at():
    from kit.widgets import explorer

    explorer._looked_at.clear()
