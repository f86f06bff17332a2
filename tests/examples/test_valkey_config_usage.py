"""The storage example, as its reader runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mesh.documents import ROOT

EXAMPLE = ROOT / "examples" / "valkey_config_usage.py"


def run(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.accepts("M35")
def test_the_tour_runs_to_its_end(tmp_path: Path, valkey_url: str) -> None:
    done = run(tmp_path, valkey_url)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "extended to 7200 s" in lines
    assert "listed: True" in lines
    assert lines[-1] == "deleted: True"


@pytest.mark.accepts("M35")
def test_the_tour_finds_its_valkey_in_the_environment(tmp_path: Path, valkey_url: str) -> None:
    assert run(tmp_path, VALKEY_URL=valkey_url).returncode == 0


def test_the_tour_says_when_nobody_is_there(tmp_path: Path) -> None:
    done = run(tmp_path, "redis://127.0.0.1:1")
    assert done.returncode == 1
    assert "Start Valkey with `make up`" in done.stderr
    assert "Traceback" not in done.stderr
