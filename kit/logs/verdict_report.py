"""Verdicts as text for a terminal, and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields
from ipaddress import ip_address, ip_network
from typing import Any, Final

from kit.logs.case import Verdict
from kit.logs.signals import Line, Signal

TOP: Final = 10
_WIDTH: Final = 100


def verdict_text(verdicts: Sequence[Verdict]) -> str:
    """The worst first, at most TOP; an address whose network is told stays unmentioned. Empty where there is nothing to tell."""
    if not verdicts:
        return ""
    told = list(without_members(verdicts))
    more = f"\n\n... and {len(told) - TOP:,} more: --json has them all" if len(told) > TOP else ""
    head = "What is behind it, with what was counted, and in brackets what it takes"
    return "\n\n".join([head, *("\n".join(_told(verdict)) for verdict in told[:TOP])]) + more


def verdict_documents(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """For `kit logs --json`: each verdict's fields, its signals with their lines."""
    documents = [{field.name: getattr(verdict, field.name) for field in fields(verdict)} for verdict in verdicts]
    for document in documents:
        document["signals"] = [
            {field.name: getattr(signal, field.name) for field in fields(signal)} | {"lines": [line._asdict() for line in signal.lines]}
            for signal in document["signals"]
        ]
    return documents


def _told(verdict: Verdict) -> Iterator[str]:
    kind = f" ({verdict.kind})" if verdict.kind else ""
    what, _, name = verdict.subject.partition(":")
    yield _escaped(f"{verdict.verdict.replace('-', ' ')}{kind}: {what} {name}", _WIDTH)
    number = f"{verdict.tries:,} {'try' if verdict.tries == 1 else 'tries'}"
    yield from _wrapped(f"{verdict.words}; {number}, {verdict.first:%Y-%m-%d %H:%M} to {verdict.last:%Y-%m-%d %H:%M} UTC")
    for signal in verdict.signals:
        yield from _wrapped(f"- {signal_text(signal)}", more="  ")
    yield from _wrapped(f"Lines: {', '.join(map(_place, verdict.signals[-1].lines))}")
    yield from _wrapped(f"Next: {verdict.next_step}", more="      ")


def signal_text(signal: Signal) -> str:
    """What was counted, and in brackets from which number on it counts."""
    form = ".0%" if signal.words.startswith("of ") else ",g"
    return f"{signal.value:{form}} {signal.words} ({signal.threshold:{form}})"


def _place(line: Line) -> str:
    return f"{line.file or 'the log'}:{line.line}"


def without_members(verdicts: Sequence[Verdict]) -> Iterator[Verdict]:
    """Without the addresses of which their network's verdict says the same."""
    networks = [(verdict, ip_network(verdict.subject.partition(":")[2])) for verdict in verdicts if verdict.subject.startswith("network:")]
    for verdict in verdicts:
        if verdict.subject.startswith("address:"):
            try:
                address = ip_address(verdict.subject.partition(":")[2])
            except ValueError:
                address = None
            if address and any(
                (verdict.verdict, verdict.kind) == (other.verdict, other.kind)
                and address in network
                and other.first <= verdict.first
                and verdict.last <= other.last
                for other, network in networks
            ):
                continue
        yield verdict


def _wrapped(text: str, more: str = "") -> list[str]:
    return textwrap.wrap(
        _escaped(text, 20 * _WIDTH), _WIDTH, initial_indent="    ", subsequent_indent="    " + more, break_on_hyphens=False
    )


def _escaped(text: str, limit: int) -> str:
    from kit.logs.report import printable  # noqa: PLC0415 - which tells verdicts, too

    return printable(text, limit)
