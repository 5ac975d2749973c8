"""`kit basic`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from kit.commands.common import finish, print_json


@click.command("basic")
@click.argument("paths", metavar="PATH...|-", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option(
    "-o",
    "output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Every device into FILE: .parquet, .csv or .jsonl. Of what is there, only an earlier one is replaced.",
)
def basic_command(*, paths: tuple[str, ...], as_json: bool, output: Path | None) -> None:
    """Who still signs in with a password instead of OAuth, with what, and where it can move to. PATH: logs as `kit logs` reads them,
    Entra's sign-in log, the SMTP AUTH clients report of the Exchange admin center.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from contextlib import nullcontext

    from kit.logs.authlog import LogReader
    from kit.logs.basic import Basic
    from kit.logs.basic_report import DEVICES, device_table, report, to_document
    from kit.logs.clients_report import is_clients_report, read_clients_reports
    from kit.logs.export import open_export
    from kit.logs.progress import Progress
    from kit.logs.report import printable
    from kit.logs.usage import Usage

    reports = [path for path in paths if path != "-" and is_clients_report(path)]
    logs = [path for path in paths if path not in reports]
    found = read_clients_reports(reports) if reports else None
    usage = Usage()
    with Progress(sys.stderr) as progress:
        reader = LogReader(logs, progress=progress) if logs else None
        read = [*map(Path, reports), *(source.path for source in (reader.sources if reader else ()) if source.path)]
        with open_export(output, read, DEVICES) if output else nullcontext() as export:
            for table in reader.tables() if reader else ():
                usage.add(table)
            basic = Basic(usage, found)
            if export:
                export(device_table(basic.devices))
    problems, missed = (list(reader.problems), reader.coverage.not_understood) if reader else ([], 0)
    for problem in problems:
        click.echo(f"kit: {printable(problem, 400)}", err=True)
    if as_json:
        print_json(to_document(basic) | {"coverage": reader.coverage if reader else None, "problems": problems})
    else:
        click.echo(report(basic, written=output))
        if missed:
            click.echo(f"\n{missed:,} lines look like sign-ins and were not understood: kit logs --verbose shows them")
    finish(all_well=not (basic.devices or problems or missed))
