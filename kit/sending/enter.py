"""From nothing to where mail could go out: the connection, what the server offers, and the sign-in where one is meant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ssl import SSLContext

from kit.model import Profile
from kit.redact import Secret
from kit.sending.approach import approach
from kit.sending.reach import open_wire
from kit.sending.reply import Offer
from kit.sending.session import Session
from kit.sending.signin import by_certificate
from kit.sending.transport import Streams


async def enter(
    session: Session,
    profile: Profile,
    secret: Secret | None,
    context: SSLContext,
    signing_in: Callable[..., Awaitable[bool]],
    *,
    gentle: bool,
) -> tuple[Streams, Offer | None, bool | None]:
    """An open connection, what the server offers to whoever may send on it, and whether the sign-in worked.

    Args:
        session: where it is written down.
        profile: the server, and who signs in.
        secret: the password, where there is one.
        context: for TLS.
        signing_in: `sign_in`, with its limits.
        gentle: one connection only, to the first address.

    Returns:
        No offer where the server did not let us so far, or not in; and None for the sign-in where none was meant, or it did not come to that.

    Raises:
        Broken: the connection ended before.
        BudgetSpent, PasswordInClear, UsageError: as `sign_in` does.
    """
    wire = await open_wire(session, profile, context, gentle=gentle)
    try:
        offer = await approach(session, wire, profile, wire.client)
        meant = secret is not None or by_certificate(profile, secret, offer)
        worked = await signing_in(session, wire, profile, secret, offer, helo=wire.client) if offer and meant else None
    except BaseException:
        await wire.close()
        raise
    return wire, None if worked is False else offer, worked
