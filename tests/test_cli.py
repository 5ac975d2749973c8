"""How every command ends: quietly where nobody reads on, with one line where what it says cannot be written."""

from __future__ import annotations

import subprocess
import sys

import pytest

KIT = [sys.executable, "-m", "kit"]


@pytest.mark.needs("linux")
@pytest.mark.parametrize("command", [["--help"], ["--version"], ["send", "--help"], ["explain", "535 5.7.8 no"]], ids=" ".join)
def test_who_reads_no_further_hears_no_noise(command):
    process = subprocess.Popen([*KIT, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()  # as `| true` does
    assert process.wait(30) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.needs("linux")
@pytest.mark.parametrize("command", [["--help"], ["explain", "535 5.7.8 no"]], ids=" ".join)
def test_a_full_disk_is_one_line_and_no_traceback(command):
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        process = subprocess.run([*KIT, *command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert process.returncode == 1
    assert process.stderr == "kit: No space left on device: not all of it could be written\n"
