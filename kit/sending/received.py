"""What the headers of a received copy come to: is it the message that was sent, how did it travel, and is its From proven? Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from kit.errors import InvalidMessage, KnowledgeError, UsageError
from kit.fields import check_host
from kit.knowledge.findings import bounded
from kit.knowledge.load import load_table
from kit.model import Cause, Finding, Outcome, Security, SendResult, Severity
from kit.sending.addresses import parse_addresses
from kit.sending.headers import LIMIT, Hop, Result, domain_of, read_fields, read_hops, read_results, shared_domain
from kit.sending.mail import TRACE_HEADER
from kit.sending.rules import noted

DELAY: Final = 300.0  # seconds that a hop may take before it is worth a word
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')  # a name may look like an address
_BRACKETED: Final = re.compile(r"<([^<>\s]{1,320})>")
_SENDER: Final = re.compile(r"\(Authenticated sender: ([^()\s]{1,320})")
_JUDGED: Final = ("spf", "dkim", "dmarc")
_SAME: Final = "aligned with From"
_FOREIGN: Final = "another domain, not aligned with From"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What the headers say. `hops` are in the order of the journey.

    Attributes:
        authserv_id: the server whose results can be trusted.
        sender: the address in From.
        trace: the kit's own id of the message.
        same: it is the message that was sent; None where that cannot be told.
    """

    hops: tuple[Hop, ...]
    results: tuple[Result, ...]
    authserv_id: str | None
    sender: str | None
    trace: str | None
    same: bool | None
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Nothing of severity warning or error."""
        return not any(finding.severity in (Severity.WARNING, Severity.ERROR) for finding in self.findings)


def read_received(text: str, *, sent: SendResult | None = None, user: str | None = None) -> Received:
    """What the headers of a received copy say.

    Args:
        text: the headers or the whole message, as a mail program shows its source; the first 256 Ki characters count.
        sent: what became of the message when it was sent, to compare with.
        user: who signed in, where `sent` does not tell.
    """
    fields = list(read_fields(text[:LIMIT]))
    values = dict(reversed(fields))  # the topmost of each name
    hops, results = read_hops(fields), tuple(read_results(fields))
    sender = _address(values.get("from"))
    trace, message_id = values.get(TRACE_HEADER.lower()), _address(values.get("message-id"))
    same = None
    if sent and sent.message_id and (message_id or trace):
        # Some services replace the Message-ID. The trace stands in the one that was sent, and the first server's id in its 250.
        by_other_means = (trace and trace in sent.message_id) or any(hop.id and hop.id == sent.queue_id for hop in hops)
        same = message_id == _address(sent.message_id) or bool(by_other_means)
    signed_in = sent is not None and sent.attempt is not None and sent.attempt.outcome is Outcome.SUCCESS
    read = Received(
        hops=hops,
        results=results,
        authserv_id=next((result.authserv_id for result in results if result.trusted), None),
        sender=sender,
        trace=trace,
        same=same,
        findings=(),
    )
    account = user or (sent.attempt.user if sent and sent.attempt and signed_in else None) or _account(read)
    over_tls = sent is not None and sent.security is not Security.NONE
    if not values.keys() & {"received", "authentication-results"}:
        return replace(read, findings=(_say("no-headers"),))
    about_from = _about_from([value for name, value in fields if name == "from"])
    findings = _findings(read, account, signed_in=signed_in or user is not None, over_tls=over_tls)
    return replace(read, findings=(*findings, *about_from))


def _findings(read: Received, account: str | None, *, signed_in: bool, over_tls: bool) -> Iterator[Finding]:
    if read.same is False:
        yield _say("another-message", f"{TRACE_HEADER}: {read.trace}" if read.trace else "")
    if read.hops:
        yield from _on_the_way(read.hops, signed_in=signed_in, over_tls=over_tls)
    believed = [result for result in read.results if result.trusted]
    yield from _about_sender(believed, read.sender)
    if doubtful := [_quoted(result) for result in read.results if not result.trusted]:
        yield _say("senders-own-words", *doubtful[:5])
    if account and "@" in account and read.sender and account.lower() != read.sender.lower():
        yield _say("another-from", f"From: {read.sender}", f"signed in: {account}")


def _on_the_way(hops: tuple[Hop, ...], *, signed_in: bool, over_tls: bool) -> Iterator[Finding]:
    if (signed_in and hops[0].signed_in is False) or (over_tls and hops[0].encrypted is False):
        yield _say("not-as-sent", f"Received: {hops[0].text}")
    timed = [(hop, hop.seconds) for hop in hops if hop.seconds is not None]
    if late := [f"{hop.by or 'a server'}: {seconds:.0f} s after the hop before" for hop, seconds in timed if seconds > DELAY]:
        yield _say("delayed", *late)
    if early := [f"{hop.by or 'a server'}: {-seconds:.0f} s before the hop before" for hop, seconds in timed if seconds < -1]:
        yield _say("clocks", *early)


def _about_sender(believed: list[Result], sender: str | None) -> Iterator[Finding]:
    """SPF, DKIM, DMARC and the rest. A method that passed once has passed; and where From is proven, the rest is worth a note."""
    if not believed:
        yield _say("no-results")
        return
    # The name that the server gave itself (smtp.helo) is not the envelope's sender.
    passed = {r.method for r in believed if r.result == "pass" and (r.method != "spf" or r.get("smtp.mailfrom") or not r.get("smtp.helo"))}
    if doubt := _doubt(believed, sender):
        yield doubt
        passed.discard("dmarc")
        believed = [result for result in believed if result.method != "dmarc"]
    for result in believed:
        if result.severity is Severity.OK or (result.method in passed and result.result != "pass"):
            continue
        severity = Severity.NOTE if "dmarc" in passed else result.severity
        compared = _compared(believed, sender) if result.method == "dmarc" else ()
        yield Finding(
            cause=result.cause,
            severity=severity,
            title=result.meaning,
            next_step=result.next_step,
            evidence=bounded((_quoted(result), *compared)),
        )
    if "dmarc" in passed:
        yield _say("proven", *(_quoted(result) for result in believed if result.result == "pass"))
    elif not doubt and passed & {"spf", "dkim"} and not any(result.method == "dmarc" and result.result == "fail" for result in believed):
        compared = _compared(believed, sender)
        if compared[1:] and all(line.endswith(_FOREIGN) for line in compared[1:]):
            yield _say("not-aligned", *compared)


def _doubt(believed: list[Result], sender: str | None) -> Finding | None:
    """Why what is said of DMARC cannot be, if so: it must speak of From's domain, and follow from SPF and DKIM (RFC 7489 sections 3.1 and 4.2)."""
    author = domain_of(sender)
    verdicts = [result for result in believed if result.method == "dmarc" and result.result in ("pass", "fail")]
    if not author or not verdicts:
        return None
    evidence = (*(_quoted(result) for result in believed if result.method in _JUDGED), *_compared(believed, sender))
    judged = [domain_of(result.get("header.from")) for result in verdicts]
    if any(domain and _alignment(author, domain) == _FOREIGN for domain in judged):
        return _say("dmarc-of-another", *evidence)
    stand = {result: _alignment(author, result.domain) for result in _proven(believed)}
    both = {"spf", "dkim"} <= {result.method for result in believed}
    impossible = {
        "pass": both and all(how == _FOREIGN for how in stand.values()),
        "fail": any(how == _SAME and result.get("smtp.mailfrom", "header.d", "header.i") for result, how in stand.items()),
    }
    return _say("contradiction", *evidence) if any(impossible[result.result] for result in verdicts) else None


def _proven(believed: list[Result]) -> list[Result]:
    return [result for result in believed if result.method in ("spf", "dkim") and result.result == "pass" and result.domain]


def _about_from(values: list[str]) -> Iterator[Finding]:
    """What a reader may take for the sender that is not."""
    if len(values) > 1:
        yield noted("field-twice", "From", " and ".join(values[:2]))
    for value in values[:1]:
        try:
            boxes = parse_addresses("From", value)
        except InvalidMessage:
            return
        if posing := [f"{box.poses_as} stands before {box.address}" for box in boxes if box.poses_as]:
            yield noted("name-hides-address", "From", *posing[:3])


def _compared(believed: list[Result], sender: str | None) -> tuple[str, ...]:
    """From's domain beside each that SPF or DKIM proved (RFC 7489 section 3.1)."""
    author = domain_of(sender) or next((result.domain for result in believed if result.method == "dmarc"), "")
    if not author:
        return ()
    stand = (f"{result.method} proved {result.domain}: {_alignment(author, result.domain)}" for result in _proven(believed))
    return (f"From: {author}", *stand)


def _alignment(author: str, proven: str) -> str:
    """How the two domains stand to each other (RFC 7489 section 3.1)."""
    author, proven = _on_the_wire(author), _on_the_wire(proven)
    if author == proven:
        return _SAME
    shared = shared_domain(author, proven)
    if "." in shared:
        if shared in (author, proven):
            return "one is under the other, so aligned with From in relaxed mode"
        return f"aligned with From only in relaxed mode, and only if {shared} is of one organisation"
    return _FOREIGN


def _on_the_wire(domain: str) -> str:
    """`domain` in ASCII, as DMARC compares it (RFC 8616 section 6)."""
    try:
        return domain if domain.isascii() else check_host(domain)
    except UsageError:
        return domain


def _quoted(result: Result) -> str:
    """A result in short, as its server wrote it."""
    said = f" ({result.said})" if result.said else ""
    properties = "".join(f" {name}={value}" for name, value in result.properties if name != "header.b")
    return f"{result.authserv_id or 'the receiving server'}: {result.method}={result.result}{said}{properties}"


def _account(read: Received) -> str | None:
    """Who signed in, as the first server or the receiving one has it."""
    stated = next((result.get("smtp.auth") for result in read.results if result.trusted and result.method == "auth"), None)
    written = _SENDER.search(read.hops[0].text) if read.hops else None
    return stated or (written[1] if written else None)


def _address(value: str | None) -> str | None:
    """What stands in angle brackets, else all of it."""
    found = _BRACKETED.search(_QUOTED.sub("", value or ""))
    return found[1] if found else value or None


def _say(name: str, *evidence: str) -> Finding:
    try:
        row = load_table("received")["finding"][name]
        cause, severity = Cause(row["cause"]), Severity(row["severity"])
        return Finding(cause=cause, severity=severity, title=row["title"], next_step=row["next_step"], evidence=bounded(evidence))
    except (KeyError, ValueError) as fault:
        where = "kit/knowledge/received.toml"
        raise KnowledgeError(f"[finding.{name}] does not read ({fault})", where=where, next_step="Please report it") from fault
