"""A master on loopback, as the doctor meets it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner

from emodis.agent.cli import main
from emodis.agent.doctor import master_ability
from emodis.master.greeting import check_agent
from emodis.prober.abilities import Ability
from emodis.wire.framing import FrameReader, encode_frame
from emodis.wire.uri import MasterUri
from emodis.wire.v1.agent_pb2 import FromAgent, ToAgent
from emodis.wire.v1.common_pb2 import (
    CODE_FULL,
    CODE_VERSION,
    Hello,
    Refusal,
    Welcome,
)

Answer = Callable[[Hello], bytes]
Serve = Callable[[Answer], MasterUri]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answer one dialler with these bytes, then hang up."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(30)
    threads: list[threading.Thread] = []

    def start(answer: Answer) -> MasterUri:
        def work() -> None:
            line, _ = listener.accept()
            with line:
                reader = FrameReader()
                frames = list(reader.feed(line.recv(1 << 16)))
                line.sendall(answer(FromAgent.FromString(frames[0]).hello))

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        host, port = listener.getsockname()
        return MasterUri(host=host, port=port, plaintext=True)

    yield start
    for thread in threads:
        thread.join(30)
    listener.close()


def frame(**body: object) -> bytes:
    return encode_frame(ToAgent(**body).SerializeToString())  # type: ignore[arg-type]


def as_a_master(hello: Hello) -> bytes:
    return frame(refusal=check_agent(hello, full=False))


def test_a_master_of_our_version_answers(serve: Serve) -> None:
    found = master_ability(serve(as_a_master))
    assert found.there
    assert found.text.endswith("answers; protocol version 1, here 1")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param(
            frame(refusal=Refusal(code=CODE_VERSION, protocol_min=3, protocol_max=4)),
            "speaks protocol version 3 to 4",
            id="another version",
        ),
        pytest.param(
            frame(refusal=Refusal(code=CODE_FULL, protocol_min=1, protocol_max=1)),
            "takes no more connections",
            id="full",
        ),
        pytest.param(frame(welcome=Welcome()), "does not speak as a master", id="a welcome"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak", id="a web server"),
        pytest.param(b"", "does not speak as a master", id="nothing"),
    ],
)
def test_whatever_else_answers_is_named(serve: Serve, answer: bytes, text: str) -> None:
    found = master_ability(serve(lambda hello: answer))
    assert not found.there
    assert text in found.text
    assert found.remedy


def test_nobody_there_is_said(closed: MasterUri) -> None:
    found = master_ability(closed)
    assert not found.there
    assert "nobody answers" in found.text


@pytest.fixture
def closed() -> MasterUri:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return MasterUri(host="127.0.0.1", port=listener.getsockname()[1], plaintext=True)


@pytest.mark.parametrize(("able", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_tells_whether_an_agent_would_work(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, able: bool, code: int
) -> None:
    lines = [Ability("raw sockets", able, "so it is", "do this")]
    monkeypatch.setattr("emodis.prober.abilities.abilities", lambda: lines)
    uri = serve(as_a_master)
    master = f"tcp://{uri.host}:{uri.port}"
    result = CliRunner().invoke(main, ["doctor", "--master", master])
    assert result.exit_code == code, result.output
    assert len(result.stdout.splitlines()) == 2


def test_without_a_master_it_is_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emodis.prober.abilities.abilities", list)
    environment = {"EMODIS_AGENT_MASTER": "", "HOME": "/nonexistent", "XDG_CONFIG_HOME": ""}
    result = CliRunner().invoke(main, ["doctor"], env=environment)
    assert result.exit_code == 2
    assert "no master" in result.stderr
