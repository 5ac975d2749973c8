"""`kit explain`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from kit.commands.common import finish, print_json
from kit.errors import UsageError
from kit.model import Cause, Explanation

if TYPE_CHECKING:
    from kit.sending.headers import Hop
    from kit.sending.received import Received


@click.command("explain")
@click.argument("words", metavar="TEXT|-", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def explain_command(words: tuple[str, ...], as_json: bool) -> None:
    """What a server's reply, a line that holds one, or the base64 of a sign-in means, and what to do.

    The headers of a message that arrived are read too: the way it took, and what SPF, DKIM and DMARC came to.

    With - it is read from standard input, which keeps a password that is in it out of the shell's history.
    """
    from datetime import UTC, datetime

    from kit.explain import LIMIT, explain

    text = " ".join(words)
    if text == "-":
        text = sys.stdin.buffer.read(4 * LIMIT).decode("utf-8-sig", "replace")
    if not text.strip():
        raise UsageError(
            "there is nothing to explain",
            where="TEXT",
            next_step='Give the server\'s words: kit explain "535 5.7.8 …", or pipe them to kit explain -',
        )
    from kit.sending.headers import is_headers
    from kit.sending.received import read_received

    if is_headers(text):
        received = read_received(text)
        if as_json:
            print_json(received)
        else:
            click.echo(received_text(received))
        finish(all_well=received.ok)
    answer = explain(text, now=datetime.now(UTC))
    if as_json:
        print_json(answer)
    else:
        _print_explanation(answer)
    finish(all_well=answer.cause is not Cause.UNKNOWN)


def received_text(received: Received) -> str:
    """What the headers of a received copy say: the way it took, who found out what, and what it means."""
    from kit.checks.text import findings_text, shorten

    way = [_hop_line(number, hop) for number, hop in enumerate(received.hops, 1)]
    results = [
        f"{f'{result.method} {result.result}':<16} {result.meaning}{'' if result.trusted else ' (not the receiving server’s own words)'}"
        for result in received.results
    ]
    return "\n".join((*map(shorten, (*way, *results)), findings_text(received.findings)))


def _hop_line(number: int, hop: Hop) -> str:
    time = f"{hop.time:%Y-%m-%d %H:%M:%S} UTC" if hop.time else ""
    waited = "" if hop.seconds is None else f"{hop.seconds:+.0f} s"
    source = f"from {hop.came_from}" if hop.came_from else None
    how = (hop.by or "?", source, hop.protocol, "signed in" if hop.signed_in else None, hop.tls)
    return f"{number:>2} {time:<23} {waited:>7}  {' '.join(word for word in how if word)}"


def _print_explanation(answer: Explanation) -> None:
    """Prose is wrapped, though not within a word such as Set-CASMailbox; a command to copy is not."""
    import textwrap

    def say(label: str, text: str) -> None:
        wrapped = textwrap.TextWrapper(
            100, initial_indent=f"  {label:<10} ", subsequent_indent=" " * 13, break_long_words=False, break_on_hyphens=False
        )
        click.echo(wrapped.fill(text))

    click.echo(answer.title + (f" ({answer.provider})" if answer.provider else ""))
    say("cause", answer.cause)
    say("do", answer.next_step)
    if answer.verify:
        click.echo(f"  {'tell apart':<10} {answer.verify}".rstrip())
    for other in answer.alternatives:
        say("or", f"{other.title} ({other.cause}). {other.next_step}")
    for source in answer.sources:
        say("source", source)
