"""`emodis-client` as a real process, against a scripted master on loopback."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from emodis.client.exits import Exit
from emodis.wire.framing import CAP_BEFORE_WELCOME_BYTES, CAP_BYTES, PREFIX
from emodis.wire.v1.client_pb2 import AgentEntry, AgentList, Refused, Status, ToClient
from emodis.wire.v1.common_pb2 import (
    CODE_BAD_REQUEST,
    CODE_BUDGET,
    CODE_NO_AGENT,
    CODE_POLICY,
    CODE_RATE,
    CODE_SHUTDOWN,
    CODE_UNAUTHENTICATED,
    CODE_VERSION,
    END_CANCELLED,
    END_DONE,
    END_FAILED,
    Code,
    Goodbye,
    KeepaliveReply,
    Refusal,
    Welcome,
)
from tests.integration.client_rig import (
    DEADLINE_S,
    WELCOME,
    Peer,
    Script,
    ScriptedMaster,
    finish,
    greeted,
    interrupt,
    start,
    talk,
)
from tests.unit.client.builders import (
    accepted,
    call,
    ended,
    failure,
    pathneck,
    ping,
    result,
    selected,
)
from tests.unit.client.schema import load, problems

PING = ["request", "--tech", "ping"]
PATH = ("10.1.0.1", "10.2.0.1", "10.3.0.1", "10.6.0.2")


def whole(peer: Peer) -> None:
    """A request that goes well."""
    greeted(peer)
    peer.receive("request")
    slow = pathneck(*PATH, bottleneck=3)
    peer.send(accepted(call("pathneck")), selected("ams", "bru"))
    peer.send(ToClient(result=result("ams", slow, owners=True)))
    peer.send(ToClient(result=result("bru", slow, owners=True)), ended({END_DONE: 2}))
    peer.receive("goodbye")


def half(peer: Peer) -> None:
    """One of two results has come."""
    greeted(peer)
    peer.receive("request")
    peer.send(accepted(call("ping")), selected("ams", "bru"))
    peer.send(ToClient(result=result("ams", ping())))


def test_the_main_job(tmp_path: Path) -> None:
    said = talk(whole, ["request", "--tech", "pathneck", "--agents", "AUTO"], tmp_path)
    assert said.code == Exit.OK
    assert said.out.splitlines()[0] == (
        "The bottleneck towards you is the link 10.2.0.1 → 10.3.0.1 (AS 65002 → AS 65003), "
        "at most 9.6 Mbit/s; 2 of 2 agents agree."
    )
    assert said.out.count("◀ bottleneck") == 2
    assert "2 agents, about 20 s, about 1.0 MB" in said.err.splitlines()


def test_json_alone_on_stdout(tmp_path: Path) -> None:
    said = talk(whole, ["request", "--tech", "pathneck", "--format", "json"], tmp_path)
    schema = load("results-1.json")
    assert problems(json.loads(said.out), schema, schema) == []
    assert said.code == Exit.OK


def test_the_client_keeps_its_identity(tmp_path: Path) -> None:
    seen: list[str] = []

    def script(peer: Peer) -> None:
        seen.append(peer.receive("hello").hello.id)
        peer.send(WELCOME)
        peer.receive("list_agents")
        peer.send(ToClient(agents=AgentList(agents=[AgentEntry(id="ams")])))

    for _ in range(2):
        assert talk(script, ["agents"], tmp_path).code == Exit.OK
    assert seen[0] == seen[1]
    kept = tmp_path / "state" / "emodis" / "client-id"
    assert kept.read_text().strip() == seen[0]


def refuse(code: Code.ValueType) -> Script:
    def script(peer: Peer) -> None:
        greeted(peer)
        peer.receive("request")
        peer.send(ToClient(refused=Refused(code=code, text="not like this", hint="like that")))
        peer.closed()

    return script


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (CODE_BAD_REQUEST, Exit.USAGE),
        (CODE_POLICY, Exit.REFUSED),
        (CODE_RATE, Exit.REFUSED),
        (CODE_BUDGET, Exit.REFUSED),
        (CODE_NO_AGENT, Exit.NO_AGENT),
        (CODE_UNAUTHENTICATED, Exit.UNREACHABLE),
    ],
)
def test_refused(code: Code.ValueType, expected: Exit, tmp_path: Path) -> None:
    said = talk(refuse(code), PING, tmp_path)
    assert (said.code, said.out) == (expected, "")
    assert said.complaint == "emodis-client: not like this (like that)"


def test_another_protocol_version(tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.receive("hello")
        refusal = Refusal(code=CODE_VERSION, text="…", protocol_min=7, protocol_max=9)
        peer.send(ToClient(refusal=refusal))
        peer.closed()

    said = talk(script, PING, tmp_path)
    assert (said.code, said.out) == (Exit.UNREACHABLE, "")
    assert said.complaint == (
        "emodis-client: the master speaks protocol version 7 to 9, this client 1; "
        "update the older of the two"
    )


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said = finish(start(["--master", f"127.0.0.1:{port}", *PING], tmp_path))
    assert (said.code, said.out) == (Exit.UNREACHABLE, "")
    assert said.complaint.startswith("emodis-client: the master is unreachable: ")
    assert len(said.err.splitlines()) == 1


def test_a_master_whose_name_is_nobodys(tmp_path: Path) -> None:
    said = finish(start(["--master", "nobody.invalid", *PING], tmp_path))
    assert (said.code, said.out) == (Exit.UNREACHABLE, "")
    assert "cannot resolve 'nobody.invalid'" in said.complaint


@pytest.mark.parametrize(
    ("master", "words"),
    [
        ("8.8.8.8", "no TLS"),
        ("10.255.255.1", "say --insecure"),
        ("http://m", "write HOST, HOST:PORT"),
        ("m:0", "not between 1 and 65535"),
    ],
)
def test_masters_that_are_not_dialled(master: str, words: str, tmp_path: Path) -> None:
    said = finish(start(["--master", master, *PING], tmp_path))
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert words in said.complaint


def test_no_master_at_all(tmp_path: Path) -> None:
    said = finish(start(PING, tmp_path))
    assert said.code == Exit.USAGE
    assert "EMODIS_MASTER" in said.complaint


def test_the_master_is_found_by_variable_and_by_file(tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        greeted(peer)
        peer.receive("get_status")
        peer.send(ToClient(status=Status(software="emodis-master 1")))
        peer.closed()

    with ScriptedMaster(script) as master:
        said = finish(start(["status"], tmp_path, {"EMODIS_MASTER": master.address}))
    assert (said.code, master.failure) == (Exit.OK, None)
    with ScriptedMaster(script) as master:
        folder = tmp_path / "config" / "emodis"
        folder.mkdir(parents=True)
        (folder / "client.toml").write_text(f'master = "{master.address}"\n')
        said = finish(start(["status"], tmp_path))
    assert (said.code, master.failure) == (Exit.OK, None)
    assert said.out.startswith("emodis-master 1, up ")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x00\x00\x02\xff\xff",
        PREFIX.pack(CAP_BEFORE_WELCOME_BYTES + 1),
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"",
    ],
)
def test_no_master_but_something_else(garbage: bytes, tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.receive("hello")
        peer.raw(garbage)
        if garbage:
            peer.closed()

    said = talk(script, PING, tmp_path)
    assert (said.code, said.out) == (Exit.UNREACHABLE, "")
    assert "the master is unreachable: no Welcome: " in said.complaint
    assert "is that the client port of an Emodis master?" in said.complaint


@pytest.mark.parametrize(
    "garbage", [b"\x00\x00\x00\x02\xff\xff", PREFIX.pack(CAP_BYTES + 1), b"\xff" * 100]
)
def test_garbage_in_mid_measurement(garbage: bytes, tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        half(peer)
        peer.raw(garbage)
        peer.closed()

    said = talk(script, PING, tmp_path)
    assert said.code == Exit.UNREACHABLE
    assert said.out.startswith("The round trip to you takes 12.0 ms")
    assert "the master is gone: " in said.err


def test_a_broken_result_is_no_traceback(tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        greeted(peer)
        peer.receive("request")
        broken = result("ams", ping())
        broken.outcome.result.body = b"\xff\xff\xff"
        broken.run.destination = 99
        peer.send(accepted(call("ping")), selected("ams"), ToClient(result=broken))
        peer.send(ended({END_DONE: 1}))
        peer.closed()

    assert talk(script, PING, tmp_path).code == Exit.OK


def test_a_master_killed_in_mid_request(tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        half(peer)
        # The socket closes with the thread: what the kernel does for a process that is killed.

    said = talk(script, PING, tmp_path)
    assert said.code == Exit.UNREACHABLE
    assert said.out.startswith("The round trip to you takes 12.0 ms")
    assert "the master is gone: the other side closed the connection" in said.err


def test_a_master_that_shuts_down_says_so(tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        half(peer)
        peer.send(ToClient(goodbye=Goodbye(code=CODE_SHUTDOWN, text="maintenance")))
        peer.closed()

    said = talk(script, PING, tmp_path)
    assert said.code == Exit.UNREACHABLE
    assert "the master closed the connection: maintenance" in said.err


def test_a_silent_master_is_given_up(tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        peer.receive("hello")
        quick = Welcome(protocol=1, interval_s=0.2, agent_timeout_s=1.0)
        peer.send(ToClient(welcome=quick))
        peer.receive("request")
        peer.send(accepted(call("ping")), selected("ams", "bru"))
        number = peer.receive("keepalive").keepalive.sequence
        peer.send(ToClient(keepalive_reply=KeepaliveReply(sequence=number)))
        # News are no sign of life; only replies are.
        peer.send(ToClient(result=result("ams", ping())))
        peer.closed()

    said = talk(script, PING, tmp_path)
    assert said.code == Exit.UNREACHABLE
    assert "the master has been silent for 1 seconds" in said.err
    assert "12.0" in said.out


def test_partial_and_failed(tmp_path: Path) -> None:
    def ending(done: int, bad: int) -> Script:
        def script(peer: Peer) -> None:
            greeted(peer)
            peer.receive("request")
            names = [f"a{n}" for n in range(done + bad)]
            peer.send(accepted(call("ping")), selected(*names))
            for n, name in enumerate(names):
                peer.send(ToClient(result=result(name, ping()) if n < done else failure(name)))
            peer.send(ended({END_DONE: done, END_FAILED: bad}))
            peer.closed()

        return script

    assert talk(ending(1, 1), PING, tmp_path).code == Exit.PARTIAL
    failed = talk(ending(0, 2), PING, tmp_path)
    assert failed.code == Exit.FAILED
    assert "Nothing answered; is the host up?" in failed.out
    held = talk(ending(2, 0), [*PING, "--fail-if", "rtt_median>10ms"], tmp_path)
    assert held.code == Exit.FAILED
    assert "--fail-if rtt_median>10ms holds at a0, a1" in held.err


def interruptible(arrived: threading.Event, go_on: Script) -> Script:
    def script(peer: Peer) -> None:
        half(peer)
        arrived.set()
        go_on(peer)

    return script


def cancelled(peer: Peer) -> None:
    """A master that does as it is told."""
    assert peer.receive("cancel").cancel.measurement_id == "m-1"
    peer.send(ToClient(result=failure("bru", END_CANCELLED)))
    peer.send(ended({END_DONE: 1, END_CANCELLED: 1}, text="cancelled on request"))
    peer.closed()


def deaf(peer: Peer) -> None:
    """A master that does not react."""
    peer.receive("cancel")
    peer.closed()


def wait_for_line(process: subprocess.Popen[str], words: str) -> None:
    """The client has printed this on stderr."""
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"it never said {words!r}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("react", [cancelled, deaf])
def test_an_interrupt_cancels_and_prints_what_has_arrived(
    number: signal.Signals, react: Script, tmp_path: Path
) -> None:
    with ScriptedMaster(interruptible(threading.Event(), react)) as master:
        process = start(["--master", master.address, *PING], tmp_path)
        wait_for_line(process, "1 of 2 runs in")
        interrupt(process, number)
        said = finish(process)
    assert master.failure is None
    assert said.code == Exit.INTERRUPTED
    assert said.out.startswith("The round trip to you takes 12.0 ms")
    assert "interrupted" in said.err


def test_a_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    heard = threading.Event()

    def script(peer: Peer) -> None:
        half(peer)
        peer.receive("cancel")
        heard.set()
        peer.closed()

    with ScriptedMaster(script) as master:
        process = start(["--master", master.address, *PING], tmp_path)
        wait_for_line(process, "1 of 2 runs in")
        interrupt(process)
        assert heard.wait(DEADLINE_S)
        interrupt(process)
        said = finish(process)
    assert said.code == Exit.INTERRUPTED
    assert said.out.startswith("The round trip to you takes 12.0 ms")


def test_an_interrupt_before_anything_was_heard(tmp_path: Path) -> None:
    connected = threading.Event()

    def script(peer: Peer) -> None:
        peer.receive("hello")
        connected.set()
        peer.closed()

    with ScriptedMaster(script) as master:
        process = start(["--master", master.address, *PING], tmp_path)
        assert connected.wait(DEADLINE_S)
        interrupt(process)
        said = finish(process)
    assert (said.code, said.out) == (Exit.INTERRUPTED, "")
    assert said.err == "emodis-client: interrupted\n"


def test_the_client_killed_in_mid_request_closes_its_connection(tmp_path: Path) -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        half(peer)
        peer.closed()
        closed.set()

    with ScriptedMaster(script) as master:
        process = start(["--master", master.address, *PING], tmp_path)
        wait_for_line(process, "1 of 2 runs in")
        process.kill()
        process.communicate()
        assert closed.wait(DEADLINE_S)


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    with ScriptedMaster(whole) as master:
        process = start(["--master", master.address, "request", "--tech", "pathneck"], tmp_path)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        process.stderr.close()
        assert process.wait(DEADLINE_S) == Exit.FAILED
    assert "Traceback" not in err
    assert "Exception" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["request", "--tech", "zing"], "there is no technique 'zing'"),
        (["request", "--tech", "ping", "-o", "count=0"], "count must be 1 to 1000"),
        (["measure", "nobody.invalid", "--tech", "ping"], "cannot resolve 'nobody.invalid'"),
    ],
)
def test_usage(arguments: list[str], words: str, tmp_path: Path) -> None:
    said = finish(start(arguments, tmp_path))
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert words in said.err


def test_measure_refuses_the_internet(tmp_path: Path) -> None:
    said = finish(start(["measure", "8.8.8.8", "--tech", "ping"], tmp_path))
    assert (said.code, said.out) == (Exit.REFUSED, "")
    assert "outside private, loopback and lab ranges" in said.complaint


def test_dry_run_and_detach(tmp_path: Path) -> None:
    def script(peer: Peer) -> None:
        greeted(peer)
        asked = peer.receive("request").request
        assert asked.dry_run or asked.detach
        peer.send(accepted(call("ping")), selected("ams"))
        peer.receive("goodbye")

    said = talk(script, [*PING, "--detach"], tmp_path)
    assert (said.code, said.out) == (Exit.OK, "m-1\n")
    said = talk(script, [*PING, "--dry-run"], tmp_path)
    assert said.code == Exit.OK
    assert "covers 1 of 3 branches" in said.out
