"""The client's own certificate: loaded for a handshake, or in plain words why that cannot be.

One of the few modules that open something.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Final, NoReturn

from kit.errors import UsageError
from kit.model import Profile

_MOST: Final = 1024 * 1024  # octets that are looked at to say what a file is instead
# A SEQUENCE that begins with the INTEGER 3 (RFC 7292 section 4), whichever way its length is written.
_PKCS12: Final = re.compile(rb"\x30(?:[\x00-\x80]|\x81.|\x82..|\x83...|\x84....)\x02\x01\x03", re.DOTALL)


def present_certificate(context: ssl.SSLContext, profile: Profile) -> None:
    """Have `context` show the profile's certificate to a server that asks for one.

    Raises:
        UsageError: the files do not read, or hold something else; says how to get what is needed.
    """
    if profile.cert_file is None:
        if profile.key_file is not None:
            raise UsageError("a key without its certificate is of no use", where="--key", next_step="Add --cert FILE")
        return
    try:
        context.load_cert_chain(profile.cert_file, profile.key_file, password=lambda: _encrypted(profile))
    except UsageError:
        raise
    except (OSError, ValueError) as fault:
        what, where, next_step = _explain(profile.cert_file, profile.key_file or profile.cert_file, str(getattr(fault, "reason", "")))
        raise UsageError(what, where=where, next_step=next_step) from None


def _encrypted(profile: Profile) -> NoReturn:
    """OpenSSL wants a passphrase, and would ask for it on the terminal. The kit keeps it to passwords."""
    where = profile.key_file or profile.cert_file or ""
    raise UsageError(
        "its key is locked with a passphrase, and the kit asks for none",
        where=where,
        next_step="Make an unlocked copy of the key that only you can read, and name it with --key: (umask 077; openssl pkey -in FILE -out key.pem)",
    )


def _explain(cert_file: str, key_file: str, reason: str) -> tuple[str, str, str]:
    """What is wrong, with which file, and what to do: as far as a look into the files tells. Nothing of them is repeated."""
    held = {}
    for path in (cert_file, key_file):
        try:
            with Path(path).open("rb") as file:
                held[path] = file.read(_MOST)
        except (OSError, ValueError) as fault:
            return f"it cannot be read ({getattr(fault, 'strerror', None) or fault})", path, "Give a PEM file that you may read"
    how_der = "Make one of it: openssl x509 -inform DER -in FILE -out me.pem (of a key: openssl pkey -inform DER …)"
    how_p12 = "Make one of it: (umask 077; openssl pkcs12 -in FILE -nodes -out me.pem)"
    is_there = "Give the certificate with --cert, and the key with --key or in the same file"
    foreign = reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
    rows = [
        *((_PKCS12.match(held[path]), "that is PKCS#12 (.p12, .pfx), and PEM is needed", path, how_p12) for path in held),
        *((b"-----BEGIN " not in held[path], "that is no PEM file", path, how_der) for path in held),
        (b"CERTIFICATE-----" not in held[cert_file], "there is no certificate in it", cert_file, is_there),
        (b"PRIVATE KEY-----" not in held[key_file], "there is no private key in it", key_file, "Name the file of its key: --key FILE"),
        (
            foreign,
            "this key does not belong to the certificate",
            key_file,
            "Give its own; in the file of --cert your certificate comes first",
        ),
        (
            True,
            f"certificate or key does not read ({reason.replace('_', ' ').lower() or 'OpenSSL takes no part of it'})",
            cert_file,
            "Look at both: openssl x509 -noout -subject -in FILE, openssl pkey -noout -check -in FILE",
        ),
    ]
    return next((what, where, next_step) for holds, what, where, next_step in rows if holds)
