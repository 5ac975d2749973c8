"""`kit …`: each command calls one public function and prints what a person needs, or with --json one document.

Exit codes: 0 all well; 1 something to look at; 2 wrong use or unreadable input, and then standard output is empty; 130 stopped.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, Final

import click

import kit
from kit.errors import KitError

# Where each command is. It is loaded when it is called, which keeps start-up short.
COMMANDS: Final = {
    "basic": "kit.commands.basic:basic_command",
    "check": "kit.commands.check:check_command",
    "explain": "kit.commands.explain:explain_command",
    "lab": "kit.commands.play:lab_command",
    "logs": "kit.commands.logs:logs_command",
    "profile": "kit.commands.profiles:profile_group",
    "sandbox": "kit.commands.play:sandbox_command",
    "send": "kit.commands.send:send_command",
    "trace": "kit.commands.trace:trace_command",
}


class _Door(click.Group):
    """The command group: a fault of ours ends as one clear paragraph on standard error, never as a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, command = COMMANDS[cmd_name].partition(":")
        found: click.Command = getattr(import_module(module), command)
        return found

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any) -> click.Context:
        with _ending():  # --help and --version print and end here
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _ending():
            return super().invoke(ctx)


@contextmanager
def _ending() -> Iterator[None]:
    """Whatever cannot go on ends with its exit code, and one paragraph where there is somebody to read it."""
    try:
        yield
    except KitError as fault:
        click.echo(f"kit: {fault}", err=True)
        raise click.exceptions.Exit(2) from fault
    except (KeyboardInterrupt, click.Abort):
        raise click.exceptions.Exit(130) from None  # Ctrl-C, as shells count it
    except OSError as fault:
        if fault.filename is not None:
            raise  # about a file, which its reader should have told of; writing to a stream names none
        with suppress(OSError, ValueError):  # what is still to be written would fail once more when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(fault, BrokenPipeError):
            raise click.exceptions.Exit(0) from None  # the reader went away, as `| head` does; nobody is left to tell
        click.echo(f"kit: {fault.strerror or fault}: not all of it could be written", err=True)
        raise click.exceptions.Exit(1) from fault


@click.group(cls=_Door, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(kit.__version__, prog_name="kit")
def main() -> None:
    """For the moment when SMTP authentication fails: check settings, send a test, read who is failing and why."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name in letters that this terminal lacks is no reason to fall over
