"""Whether file systems may be mounted here, in a namespace of their own."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def unshare() -> list[str]:
    """The command below which one may mount, or skip."""
    command = ["unshare", "-Urm"]
    probe = [*command, "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    return command
