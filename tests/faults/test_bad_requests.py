"""What a user may get wrong: one clear line, the right exit code (DESIGN.md section 9)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emodis.lab.deployment import Deployment
from emodis.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.faults]

PING = ("request", "--tech", "ping")


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A master and one agent for all questions: none of them should do any harm."""
    with Lab.up("diamond") as lab:
        deployment = Deployment(lab, tmp_path_factory.mktemp("standing"))
        deployment.start_master()
        deployment.start_agent("a1")
        try:
            yield deployment
        finally:
            deployment.stop()


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("request", "--tech", "sonar"), 2, "pathneck"),
        ((*PING, "--agents", "nobody"), 5, "nobody"),
        ((*PING, "-o", "count=0"), 2, "count"),
        ((*PING, "-o", "colour=blue"), 2, "colour"),
        ((*PING, "-o", "interval_s=5", "-o", "count=1000"), 2, "120 s"),
        ((*PING, "no-such-host.example"), 2, "no-such-host.example"),
        ((*PING, "198.41.0.4"), 4, "198.41.0.4"),
        ((*PING, "224.0.0.1"), 4, "224.0.0.1"),
        ((*PING, "--min-agents", "3"), 5, "3"),
        ((*PING, "--schedule", "ran"), 2, "RAN"),
        (("results", "no-such-measurement"), 2, "no-such-measurement"),
        (("cancel", "no-such-measurement"), 2, "no-such-measurement"),
        (("measure", "--tech", "ping", "198.41.0.4"), 4, "198.41.0.4"),
        (("measure", "--tech", "ping", "no-such-host.example"), 2, "no-such-host.example"),
        (("measure", "--tech", "ping"), 2, "destination"),
        ((*PING, "--fail-if", "colour>1"), 2, "colour"),
        ((*PING, "--agents", "ANY", "--fail-if", "loss_ratio>=0", "-o", "count=2"), 1, "loss"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_request_gets_one_clear_line(
    standing: Deployment, args: tuple[str, ...], code: int, says: str
) -> None:
    done = standing.client("c1", *args, timeout=60)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    if not done.stdout and code != 2:
        assert len(done.stderr.strip().splitlines()) <= 2, done.stderr


def test_a_master_that_is_not_there_is_exit_code_3(standing: Deployment) -> None:
    argv = ["emodis-client", "--insecure", "--master", f"tcp://{standing.lab.address('a2')}"]
    done = standing.lab.run("c1", [*argv, "status"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1


def test_no_agent_at_all_is_exit_code_5(lab: Lab, emodis: Deployment) -> None:
    done = emodis.client("c1", *PING, timeout=60)
    assert done.returncode == 5
    assert "Traceback" not in done.stderr


def test_timers_that_do_not_fit_are_refused_with_the_numbers(lab: Lab, emodis: Deployment) -> None:
    config = emodis.home / "bad.toml"
    config.write_text("[keepalive]\nagent_timeout_s = 60\n")
    argv = ["emodis-master", "run", "--insecure", "--config", str(config)]
    done = lab.run(
        "m1",
        [*argv, "--state-dir", str(emodis.home / "other")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "60" in done.stderr
    assert "52" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
