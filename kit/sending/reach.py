"""From a name to an open connection: the part that a check and a mail have in common, before anything is said."""

from __future__ import annotations

from ssl import SSLContext
from typing import Final

from kit.knowledge.findings import found
from kit.model import Profile, Security
from kit.sending.session import Broken, Session
from kit.sending.transport import Streams, connect, resolve

MOST_CONNECTIONS: Final = 3  # one at a time, to as many addresses of the host


async def open_wire(session: Session, profile: Profile, context: SSLContext, *, gentle: bool) -> Streams:
    """A connection to the first address that takes one, with TLS where that comes first; with `gentle` only one is tried.

    Raises:
        Broken: the name leads nowhere, none of its addresses takes one, or TLS does not come about.
    """
    addresses = await session.take("resolve", resolve(profile), lambda found: ", ".join(address.host for address in found[:8]))
    dead: list[Broken] = []
    for address in addresses[: 1 if gentle else MOST_CONNECTIONS]:
        try:
            wire = await session.take("connect", connect(address, profile, context), lambda wire: wire.address)
        except Broken as broken:
            dead.append(broken)
        else:
            break
    else:
        raise dead[-1]
    if dead:
        session.findings.append(found("address-dead", profile, *(broken.text for broken in dead)))
    if profile.security is Security.TLS:
        try:
            await session.encrypt(wire)
        except BaseException:
            await wire.close()
            raise
    return wire
