"""A relay between the kit and a real server, which sees every octet, inside TLS too, and counts how often the client waited."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from kit.model import Security
from kit.sandbox.authority import issue


@dataclass(kw_only=True)
class Relay:
    """Where it is.

    Attributes:
        turns: who spoke, one after the other: what one side says without a word of the other between is one turn.
    """

    ca_file: str
    port: int = 0
    turns: list[str] = field(default_factory=list)

    @property
    def round_trips(self) -> int:
        """How often the client had to hear the server before it went on: the banner, and whatever was said in answer."""
        return self.turns.count("server")

    def _note(self, who: str) -> None:
        if self.turns[-1:] != [who]:
            self.turns.append(who)


@contextlib.asynccontextmanager
async def relay(port: int, security: Security, folder: Path, *, source: str) -> AsyncIterator[Relay]:
    """To the server at `port`, which sees the client at the address `source`. It ends TLS and begins it anew."""
    ca_file, server_file = issue(folder)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(server_file)
    client_side = ssl.create_default_context()
    client_side.check_hostname, client_side.verify_mode = False, ssl.CERT_NONE
    from_start = security is Security.TLS
    made = Relay(ca_file=str(ca_file))

    async def take(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        tls = {"ssl": client_side, "server_hostname": "localhost"} if from_start else {}
        server, to_server = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0), **tls)
        sides = {"client": (client, to_server), "server": (server, to_client)}
        reads = {asyncio.create_task(reader.read(1 << 20)): who for who, (reader, _) in sides.items()}
        asked = False
        try:
            while True:
                done, _ = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
                for read in done:
                    who = reads.pop(read)
                    reader, writer = sides[who]
                    if not (data := read.result()):
                        return
                    made._note(who)
                    begins = asked and data.startswith(b"220")
                    if begins:
                        await to_server.start_tls(client_side, server_hostname="localhost")
                    writer.write(data)
                    if begins:  # in the same breath, so that nothing of the handshake is read as SMTP
                        await to_client.start_tls(server_side)
                    await writer.drain()
                    asked = data == b"STARTTLS\r\n"
                    reads[asyncio.create_task(reader.read(1 << 20))] = who
        except OSError:  # one of them has hung up
            pass
        finally:
            for left in reads:
                left.cancel()
            for writer in (to_client, to_server):
                writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0, ssl=server_side if from_start else None) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made
