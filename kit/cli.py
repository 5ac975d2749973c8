"""`kit …`: each command calls one public function and prints what a person needs, or with --json one document.

Exit codes: 0 all well; 1 something to look at; 2 wrong use or unreadable input, and then standard output is empty.
"""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

import click

import kit
from kit.errors import KitError
from kit.model import to_plain


class _Door(click.Group):
    """The command group: a fault of ours ends as one clear paragraph on standard error, never as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KitError as fault:
            click.echo(f"kit: {fault}", err=True)
            ctx.exit(2)
        except BrokenPipeError:
            sys.stderr.close()  # the reader went away, as `| head` does; nobody is left to tell
            ctx.exit(0)


@click.group(cls=_Door, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(kit.__version__, prog_name="kit")
def main() -> None:
    """For the moment when SMTP authentication fails: check settings, send a test, read who is failing and why."""


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(to_plain(document), ensure_ascii=False, indent=2))


def finish(all_well: bool) -> NoReturn:
    """End with the exit code that says whether there is something to look at."""
    click.get_current_context().exit(0 if all_well else 1)
