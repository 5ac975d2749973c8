"""Whatever a client does to the sandbox, asyncio has nothing to complain about."""

from __future__ import annotations

import asyncio

import pytest


@pytest.fixture(autouse=True)
async def _no_complaints():
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    yield
    await asyncio.sleep(0)
    assert complaints == []
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
