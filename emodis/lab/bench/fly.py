"""What the benchmark runs at a host of the lab: trains as the prober sends them.

`trains ADDRESS PORT COUNT REFERENCE...` sends a train of ours and one of the reference by turns.
`pacing ADDRESS PORT COUNT GAP_US...` sends paced trains and prints, as JSON, which of them a
technique would have kept. `sink PORT...` keeps ports open, so that nothing answers. `busy` is a
reactor that never rests.
"""

from __future__ import annotations

import json
import random
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from ipaddress import ip_address

from emodis.packets.clocks import boottime_ns
from emodis.packets.model import Kind, Probe, Train
from emodis.packets.paced import PacedOutcome, PacedTrain
from emodis.packets.pacing import PacedSocket
from emodis.packets.raw import RawTransport
from emodis.packets.transport import Gate, Traffic
from emodis.prober.steadiness import Steadiness, find_footing
from emodis.techniques.igi_gaps import record, spoiled

READY = "ready"
HEAD, LOAD = 30, 60
SMALL_BYTES, LARGE_BYTES = 60, 500
PACKETS = HEAD + LOAD + HEAD
# Nothing answers; so long a train's answers are waited for.
WAIT_NS = 20_000_000
MINUTE_NS = 60_000_000_000
PACED_PACKETS = 60
HEADERS_BYTES = 28
# A turn of the busy reactor: about a millisecond of work.
WORK = 40_000


class Nobody:
    """Never interrupts."""

    def __init__(self) -> None:
        self._pair = socket.socketpair()

    def fileno(self) -> int:
        return self._pair[0].fileno()

    def waiting(self) -> bool:
        """As the prober asks its channel: by a system call."""
        return bool(select.select([self], [], [], 0)[0])


def trains(address: str, port: int, count: int, reference: Sequence[str]) -> None:
    """By turns, so that whatever this machine does meanwhile happens to both."""
    probes = [
        Probe(ttl=64, size_bytes=LARGE_BYTES if HEAD <= k < HEAD + LOAD else SMALL_BYTES)
        for k in range(PACKETS)
    ]
    train = Train(kind=Kind.UDP, probes=tuple(probes), wait_ns=WAIT_NS, port=port)
    transport = RawTransport(random.SystemRandom())
    steadiness = Steadiness(find_footing())
    pipe = subprocess.PIPE
    with subprocess.Popen(reference, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdin is not None and other.stdout is not None  # noqa: PT018
        for _ in range(count):
            transport.begin(ip_address(address), max_bytes=0)
            with steadiness.held():
                transport.exchange(
                    train, stop_by_boottime_ns=boottime_ns() + MINUTE_NS, interrupt=Nobody()
                )
            transport.end()
            other.stdin.write("\n")
            other.stdin.flush()
            other.stdout.readline()
        other.stdin.close()


def pacing(address: str, port: int, count: int, gaps_us: Sequence[int]) -> None:
    """Each probe says which train it is of, and where in it."""
    paced = PacedSocket(ip_address(address), port)
    steadiness = Steadiness(find_footing())
    gate = Gate(boottime_ns() + 10 * MINUTE_NS, 0, Traffic(), Nobody(), boottime_ns)
    padding = bytes(LARGE_BYTES - HEADERS_BYTES - 8)
    said = []
    for number, gap_us in enumerate(gap_us for gap_us in gaps_us for _ in range(count)):
        payloads = [struct.pack(">II", number, k) + padding for k in range(PACED_PACKETS)]
        gap_ns = gap_us * 1000
        with steadiness.held():
            sent = paced.send(payloads, gap_ns, gate)
        gate.all_left()
        assert sent is not None
        train = PacedTrain(packets=PACED_PACKETS, size_bytes=LARGE_BYTES, gap_ns=gap_ns)
        outcome = PacedOutcome(
            sent_ns=sent.times_ns, arrivals=(), kernel_tx=sent.kernel, kernel_rx=False
        )
        said.append({"gap_ns": gap_ns, "kept": not spoiled(record(0, train, outcome))})
    json.dump(said, sys.stdout)


def sink(ports: Sequence[int]) -> None:
    """Until stdin ends."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in ports]
    for own, port in zip(sockets, ports, strict=True):
        own.bind(("", port))
    print(READY, flush=True)  # noqa: T201 - the other end of a pipe waits for it
    sys.stdin.read()


def busy() -> None:
    """Timers and work without a pause, as a daemon under load."""
    from twisted.internet import reactor  # noqa: TID251 - a process of its own

    def turn() -> None:
        sum(range(WORK))
        reactor.callLater(0, turn)

    reactor.callLater(0, turn)
    reactor.callLater(0, print, READY, flush=True)
    reactor.run()


def main(words: Sequence[str]) -> None:
    match words:
        case ["trains", address, port, count, *reference]:
            trains(address, int(port), int(count), reference)
        case ["pacing", address, port, count, *gaps_us]:
            pacing(address, int(port), int(count), [int(gap) for gap in gaps_us])
        case ["sink", *ports]:
            sink([int(port) for port in ports])
        case ["busy"]:
            busy()
        case _:
            sys.exit(f"there is no {words[0] if words else 'word'!r}; see this module's head")


if __name__ == "__main__":
    main(sys.argv[1:])
