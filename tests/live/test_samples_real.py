"""Every test message, and one by hand, at a real Postfix: what is in the mailbox is what was built, octet for octet."""

from __future__ import annotations

import time

import pytest

import kit
from kit.model import Profile, Security
from kit.sending.mail import mail
from kit.sending.samples import build, samples

pytestmark = pytest.mark.needs("postfix", "dovecot", "syslog")
ALICE, BOB = "alice@example.test", "bob@example.test"
BY_HAND = b'From: "Alice" <alice@example.test>\nTo: Team: bob@example.test;\nSubject: Gr\xc3\xbc\xc3\x9fe\n\n.\n..\n\x01\xff\nno end'


def mailbox(servers, number):
    deadline = time.monotonic() + 20
    while len(servers.mailbox(BOB)) < number and time.monotonic() < deadline:
        time.sleep(0.05)
    return servers.mailbox(BOB)


async def test_what_is_built_is_what_arrives(postfix_dovecot, tmp_path):
    settings = Profile(
        host=postfix_dovecot.host,
        port=postfix_dovecot.submissions_port,
        security=Security.TLS,
        user=ALICE,
        ca_file=postfix_dovecot.ca_file,
    )
    sent = [*(build(sample.kind, ALICE, [BOB], size=50_000) for sample in samples()), mail(BY_HAND)]
    for one in sent:
        result = await kit.send(settings, one, kit.Secret(postfix_dovecot.users[ALICE]), budget=tmp_path / "budget")
        assert result.accepted == (BOB,), result.findings
    arrived = mailbox(postfix_dovecot, len(sent))
    for one in sent:
        (copy,) = [copy for copy in arrived if one.message_id.encode() in copy]
        # In front stand the trace headers of the delivery; a maildir has LF for CRLF.
        assert copy.endswith(one.content.replace(b"\r\n", b"\n")), one.message_id
