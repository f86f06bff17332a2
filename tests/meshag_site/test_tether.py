"""The kernel's half of “nothing outlives”: a child ends with its parent, without anybody's help."""

import os
import subprocess
import sys

import pytest

from meshag_site.supervisor import ROOT
from meshag_site.tether import die_with
from tests.meshag_site.programs import DEAF, wait_until_gone

PARENT = f"""
import os, signal, subprocess, sys
from meshag_site.tether import die_with
child = subprocess.Popen([sys.executable, "-c", {DEAF!r}], stdout=subprocess.PIPE, preexec_fn=die_with(os.getpid()))
child.stdout.readline()
print(child.pid, flush=True)
signal.pause()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_child_dies_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
    wait_until_gone([child])


def test_child_of_a_gone_parent_does_not_start() -> None:
    somebody_else = os.getppid()
    done = subprocess.run([sys.executable, "-c", "print('started')"], preexec_fn=die_with(somebody_else), check=False)
    assert done.returncode == 1
