"""What a scenario does to a connection where no reply can say it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from kit.sandbox.scenarios import Fault
from kit.sandbox.wire import Gone, Wire

LONG_LINE: Final = 1024 * 1024  # bytes
ENDLESS: Final = 64 * 1024 * 1024  # bytes: whoever has read so much will read on for ever

_BLOCK: Final = b"250-and another thing\r\n" * 500


async def _drop(_: Wire) -> None:
    raise Gone("the scenario hangs up")


async def _reset(wire: Wire) -> None:
    wire.reset()
    raise Gone("the scenario breaks the connection off")


async def _silence(wire: Wire) -> None:
    with suppress(TimeoutError):
        while True:
            await wire.ignore()
    raise Gone("nobody waited any longer")


async def _endless(wire: Wire) -> None:
    for _ in range(ENDLESS // len(_BLOCK)):
        await wire.write(_BLOCK)
        await asyncio.sleep(0.01)
    raise Gone("that is enough of it")


async def _long_line(wire: Wire) -> None:
    await wire.write(b"250 " + b"x" * LONG_LINE + b"\r\n")


FAULTS: Final[Mapping[Fault, Callable[[Wire], Awaitable[None]]]] = {
    Fault.DROP: _drop,
    Fault.RESET: _reset,
    Fault.SILENCE: _silence,
    Fault.ENDLESS: _endless,
    Fault.LONG_LINE: _long_line,
}
"""Each raises Gone; after `long-line` alone the conversation may go on."""
