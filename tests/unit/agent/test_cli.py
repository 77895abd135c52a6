from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from emodis.agent.cli import main


def run(tmp_path: Path, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(
        main, ["run", *arguments], env={"HOME": str(tmp_path), "EMODIS_AGENT_MASTER": ""}
    )
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "no master: name it by --master URI"),
        (["--master", "ftp://x"], "--master: 'ftp://x' is not a master's address"),
        (["--master", "h", "--allow", "nmap"], "--allow: no technique 'nmap'; there are"),
        (["--master", "10.0.0.1"], "use --insecure"),
        (["--master", "tcp://8.8.8.8:1", "--insecure"], "outside private, loopback and lab"),
        (["--master", "h", "--config", "/nonexistent"], "/nonexistent: cannot be read"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], line: str
) -> None:
    code, out, err = run(tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("emodis-agent: ")
    assert line in err
    assert err.count("\n") == 1


def test_a_flag_that_is_no_number_is_clicks_own_usage_error(tmp_path: Path) -> None:
    assert run(tmp_path, "--master", "h", "--bytes-per-day", "many")[0] == 2


def test_help_needs_no_reactor() -> None:
    code = "import sys, emodis.agent.cli; sys.exit('twisted.internet.reactor' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
