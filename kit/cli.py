"""`kit …`: each command calls one public function and prints what a person needs, or with --json one document.

Exit codes: 0 all well; 1 something to look at; 2 wrong use or unreadable input, and then standard output is empty.
"""

from __future__ import annotations

import io
import sys
from importlib import import_module
from typing import Any, Final

import click

import kit
from kit.errors import KitError

# Where each command is. It is loaded when it is called, which keeps start-up short.
COMMANDS: Final = {
    "check": "kit.commands.check:check_command",
    "explain": "kit.commands.explain:explain_command",
    "lab": "kit.commands.play:lab_command",
    "logs": "kit.commands.logs:logs_command",
    "profile": "kit.commands.profiles:profile_group",
    "sandbox": "kit.commands.play:sandbox_command",
    "send": "kit.commands.send:send_command",
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

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KitError as fault:
            click.echo(f"kit: {fault}", err=True)
            ctx.exit(2)
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(130)  # Ctrl-C, as shells count it
        except BrokenPipeError:
            sys.stderr.close()  # the reader went away, as `| head` does; nobody is left to tell
            ctx.exit(0)


@click.group(cls=_Door, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(kit.__version__, prog_name="kit")
def main() -> None:
    """For the moment when SMTP authentication fails: check settings, send a test, read who is failing and why."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name in letters that this terminal lacks is no reason to fall over
