"""`kit sandbox` and `kit lab`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click


@click.command("sandbox")
@click.option("--scenario", default="good", show_default=True, metavar="NAME", help="What it plays, such as reply:ID; see --list.")
@click.option("--list", "only_list", is_flag=True, help="Say what it can play, and end.")
def sandbox_command(scenario: str, only_list: bool) -> None:
    """A mail server on this machine to practise on: it plays faults, shows what is said, and never relays. Ctrl-C ends it."""
    import asyncio

    from kit.sandbox.replay import find_scenario

    if only_list:
        _list()
        return
    find_scenario(scenario)
    with suppress(KeyboardInterrupt):
        asyncio.run(_play(scenario))


def _list() -> None:
    """What there is, by group; then what a name of its own can describe."""
    import textwrap

    from kit.sandbox.replay import replayable
    from kit.sandbox.scenarios import Fault, Stage, scenarios

    group = None
    for each in scenarios():
        if each.group != group:
            group = each.group
            click.echo(f"{group}:")
        click.echo(f"  {each.name:<27} {each.title}")
    click.echo("Any other fault:")
    click.echo(f"  {'FAULT:STAGE':<27} such as reset:mail. FAULT is one of {', '.join(Fault)}")
    click.echo(f"  {'STAGE:REPLY':<27} such as 'rcpt:550 5.1.1 No such user', in a server's own words")
    click.echo(textwrap.fill(f"STAGE is one of {', '.join(Stage)}", 120, initial_indent=" " * 30, subsequent_indent=" " * 30))
    click.echo(f"  {'reply:ID':<27} a reply that `kit explain` knows. ID is one of")
    click.echo(textwrap.fill(", ".join(replayable()), 120, initial_indent=" " * 30, subsequent_indent=" " * 30, break_on_hyphens=False))


async def _play(scenario: str) -> None:
    """Runs a sandbox until somebody presses Ctrl-C. Its password is made for this run and good for nothing else."""
    import asyncio
    import shlex
    import signal

    from kit.sandbox.record import Said
    from kit.sandbox.server import open_sandbox

    said: asyncio.Queue[Said | None] = asyncio.Queue()
    with suppress(NotImplementedError):  # Windows has no such signal
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, said.put_nowait, None)
    async with open_sandbox(scenario, listener=said.put_nowait) as sandbox:
        password, ca_file = shlex.quote(sandbox.password.reveal()), shlex.quote(sandbox.ca_file)
        options = f"--port {sandbox.port} --user {sandbox.user} --ca {ca_file} --password-stdin"
        click.echo(f"{sandbox.scenario.title}: {sandbox.scenario.teaches}")
        click.echo(f"  host       {sandbox.host}, port {sandbox.port} (STARTTLS) and {sandbox.tls_port} (TLS)")
        click.echo(f"  user       {sandbox.user}")
        click.echo(f"  password   {sandbox.password.reveal()} (made for this run)")
        click.echo(f"  authority  {sandbox.ca_file}")
        click.echo("Try, in another terminal:")
        click.echo(f"  echo {password} | kit check {sandbox.host} {options}")
        click.echo(f"  echo {password} | kit send {sandbox.host} {options} --to colleague@example.test")
        click.echo(f"  openssl s_client -connect {sandbox.host}:{sandbox.tls_port} -CAfile {ca_file} -quiet -crlf")
        click.echo(f"{sandbox.scenario.next}\nCtrl-C ends it. What is said (UTC; C is the client, S the sandbox):\n")
        while (line := await said.get()) is not None:
            click.echo(str(line))


@click.command("lab")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port to listen on; else Lab finds one.")
def lab_command(folder: Path | None, no_browser: bool, port: int | None) -> None:
    """The guided notebooks in JupyterLab, from DIR (an installed kit writes them there first)."""
    from kit.lab.launch import find_home, run_lab

    home, kept = find_home(folder)
    for name in kept:
        click.echo(f"kit: {name} has been edited here; it stays as it is", err=True)
    click.get_current_context().exit(run_lab(home, browser=not no_browser, port=port))
