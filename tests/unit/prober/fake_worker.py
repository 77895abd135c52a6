"""Stands in for the worker: behaves as its first argument says. Run by test_driver."""

from __future__ import annotations

import os
import signal
import socket
import sys

from emodis.prober.outcomes import cancelled
from emodis.prober.protocol import Channel
from emodis.wire.v1.common_pb2 import END_DONE, Cost, Ending, Outcome, Relay
from emodis.wire.v1.prober_pb2 import FromProber, ProberDone, ProberProgress, ProberReady, ProberRun


class Fake:
    def __init__(self, mode: str, sock: socket.socket) -> None:
        self.mode = mode
        self.sock = sock
        self.channel = Channel(sock)

    def serve(self) -> None:
        if self.mode == "no-start":
            sys.stderr.write("some noise\nprober: raw sockets need root or CAP_NET_RAW\n")
            raise SystemExit(77)
        if self.mode == "never-ready":
            signal.pause()
        self.channel.send(FromProber(ready=ProberReady(pid=os.getpid(), tx_stamp="kernel")))
        while (message := self.channel.next()) is not None:
            if message.HasField("run"):
                self.run(message.run)
        if self.mode == "clinging":
            signal.pause()

    def run(self, run: ProberRun) -> None:
        if self.mode == "crash":
            cost = Cost(sent_packets=5)
            self.channel.send(FromProber(progress=ProberProgress(run=run.run, cost=cost)))
            sys.stderr.write("prober: something broke\n")
            raise SystemExit(3)
        if self.mode == "garbage":
            self.sock.sendall(b"\0\0\0\x02\xff\xff")
            signal.pause()
        if self.mode == "oversized":
            self.sock.sendall(b"\xff\xff\xff\xff")
            signal.pause()
        if self.mode == "empty":
            self.channel.send(FromProber())
            signal.pause()
        if self.mode == "hang-up":
            self.sock.close()
            signal.pause()
        if self.mode == "deaf":
            signal.pause()
        if self.mode == "obedient":
            message = self.channel.next()
            if message is None:
                return
            assert message.abort.run == run.run
            self.done(run, cancelled())
            return
        if self.mode == "talkative":
            self.channel.send(FromProber(relay=Relay(run=run.run, words=b"hello")))
            message = self.channel.next()
            assert message is not None
            self.channel.send(FromProber(relay=message.relay))
        for index in (1, 2):
            self.channel.send(FromProber(progress=ProberProgress(run=run.run, done=index, total=2)))
        self.done(run, Outcome(ending=Ending(end=END_DONE)))

    def done(self, run: ProberRun, outcome: Outcome) -> None:
        remark = f"the disk is full, says {run.pcap_path}" if run.pcap_path else ""
        done = ProberDone(run=run.run, outcome=outcome, capture_remark=remark)
        self.channel.send(FromProber(done=done))


if __name__ == "__main__":
    arguments = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    assert int(arguments["--parent"]) == os.getppid()
    Fake(sys.argv[1], socket.socket(fileno=int(arguments["--fd"]))).serve()
