"""`kit logs`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from kit.commands.common import finish, print_json


def _forget(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from kit.logs.cache import forget

        click.echo(f"{forget() / 1e6:,.1f} MB of remembered logs are gone")
        ctx.exit()


@click.command("logs")
@click.argument("paths", metavar="PATH...|-", nargs=-1, required=True)
@click.option(
    "--year", type=click.IntRange(1970, 9998), help="Year of the first line, where lines have none. [default: by the file's date]"
)
@click.option("--tz", "zone", metavar="ZONE", help="Zone of times without one: Europe/Berlin, +02:00. [default: UTC]")
@click.option("--since", metavar="T", help="Only attempts at or after this ISO 8601 date or time (in --tz, if it names no zone).")
@click.option("--until", metavar="T", help="Only attempts before this date or time.")
@click.option("--user", metavar="U", help="Only attempts of this user.")
@click.option("--ip", metavar="A", help="Only attempts from this address or network (192.0.2.0/24).")
@click.option(
    "--forget",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_forget,
    help="Take away what is remembered of logs that were read, and end.",
)
@click.option("--own", metavar="NETWORK", multiple=True, help="A network or address of your own: nobody there is called an attacker.")
@click.option(
    "--block",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Attackers' addresses into FILE, and nothing is put in force: .nft (nftables), .sh (fail2ban) or .cidr (Postfix).",
)
@click.option("--verbose", is_flag=True, help="For lines that were not understood, draft the line class that would catch them.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option(
    "-o",
    "output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Every attempt into FILE: .parquet, .csv or .jsonl. Of what is there, only an earlier one is replaced.",
)
def logs_command(
    *,
    paths: tuple[str, ...],
    year: int | None,
    zone: str | None,
    since: str | None,
    until: str | None,
    user: str | None,
    ip: str | None,
    own: tuple[str, ...],
    block: Path | None,
    verbose: bool,
    as_json: bool,
    output: Path | None,
) -> None:
    """Who signs in, who fails and why, from mail logs. PATH: a file (plain or gz), a folder, or - for standard input."""
    # Each of numpy's threads for matrices, of which there are none here, would spin for a tenth of a second at its start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Arrow's own allocator keeps a sixth of the peak to itself, and saves no time here.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

    from contextlib import nullcontext
    from datetime import UTC, datetime

    from kit.logs.authlog import LogReader
    from kit.logs.blocks import format_of, write_blocks
    from kit.logs.export import open_export
    from kit.logs.familiar import networks
    from kit.logs.ledger import Ledger
    from kit.logs.options import parse_time
    from kit.logs.progress import Progress
    from kit.logs.report import printable, report, tell_what_is_no_log, to_document
    from kit.logs.summary import Summary
    from kit.logs.verdicts import judge_ledger

    begin, end = parse_time(since, option="--since", zone=zone), parse_time(until, option="--until", zone=zone)
    networks(own)
    if block:
        format_of(block)
    summary, ledger = Summary(), Ledger()
    with Progress(sys.stderr) as progress:
        reader = LogReader(paths, year=year, zone=zone, since=begin, until=end, user=user, ip=ip, progress=progress)
        logs = [source.path for source in reader.sources if source.path]
        with open_export(output, logs) if output else nullcontext() as export:
            for table in reader.tables():
                summary.add(table)
                ledger.add(table)
                if export:
                    export(table)
            tell_what_is_no_log(reader)
        verdicts = judge_ledger(ledger, own=own)
    for problem in reader.problems:
        click.echo(f"kit: {printable(problem, 400)}", err=True)
    if block:
        addresses = write_blocks(block, verdicts, own=own, now=datetime.now(UTC))
        click.echo(f"kit: {addresses:,} {'address' if addresses == 1 else 'addresses'} to block in {printable(str(block), 400)}", err=True)
    if as_json:
        print_json(to_document(reader, summary, verdicts))
    else:
        click.echo(report(reader, summary, verdicts, verbose=verbose, written=output))
    coverage = reader.coverage
    finish(all_well=not (reader.problems or coverage.not_understood or coverage.undecodable))
