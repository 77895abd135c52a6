"""What a requester of traceroute may choose, and what follows from it for the parts of a run."""

from __future__ import annotations

import attrs

from emodis.packets.model import Kind
from emodis.techniques.parameters import By, choice, real, whole
from emodis.techniques.traceroute_hops import MAX_TTL, View
from emodis.techniques.traceroute_survey import Limits, Survey
from emodis.wire.v1.techniques_pb2 import TracerouteObservations, TracerouteResult

KINDS = {"udp": Kind.UDP, "icmp": Kind.ICMP_ECHO, "tcp": Kind.TCP_SYN}
MTU_BYTES = 1500


@attrs.frozen(kw_only=True)
class Parameters:
    """Everything that a requester may choose."""

    proto: str = choice("udp", *KINDS, text="what the probes are made of")
    first_ttl: int = whole(1, 1, MAX_TTL, unit="hops", text="where to begin")
    max_ttl: int = whole(30, 1, MAX_TTL, unit="hops", text="how far to look")
    rounds: int = whole(3, 1, 10, unit="", text="probes for each hop")
    settle_s: float = real(0.5, 0.1, 5.0, unit="s", text="a round is over after this silence")
    timeout_s: float = real(2.0, 0.5, 10.0, unit="s", text="longest wait for an answer")
    gap_limit: int = whole(5, 1, 30, unit="hops", text="stop behind so many silent hops")
    size_bytes: int = whole(
        60, 48, MTU_BYTES, unit="bytes", text="IP size of a probe; 20 more over IPv6"
    )
    port: int = whole(
        By("proto", {"tcp": 80}, 33434), 1, 65535, unit="", text="destination port of UDP and TCP"
    )

    mda: str = choice(
        "off", "off", "lite", "full", text="look for parallel routes, by hop or by router"
    )
    eps_ratio: float = real(0.05, 0.001, 0.5, unit="", text="chance of missing a way, for each hop")
    max_flows: int = whole(128, 8, 255, unit="flows", text="no more are tried")
    max_branches: int = whole(16, 2, 64, unit="", text="give a hop up that has more addresses")
    max_time_s: float = real(100.0, 5.0, 110.0, unit="s", text="longest search for parallel routes")

    @property
    def view(self) -> View:
        """What the estimator needs of them."""
        return View(gap_limit=self.gap_limit, proto=self.proto, first_ttl=self.first_ttl)

    @property
    def searching(self) -> bool:
        """Whether parallel routes are looked for."""
        return self.mda != "off"

    def ttls(self, last: int) -> range:
        """From `first_ttl` to this one."""
        return range(self.first_ttl, last + 1)

    @property
    def most_probes(self) -> int:
        """Of a search: every flow at every hop; hops that need fewer pay for repetitions."""
        return self.max_flows * len(self.ttls(self.max_ttl))

    def survey(self, observations: TracerouteObservations, result: TracerouteResult) -> Survey:
        """What the flows met; nothing is asked beyond the end of flow 0's route, `result`."""
        limits = Limits(
            first_ttl=self.first_ttl,
            max_ttl=self.max_ttl if result.reached else result.hops[-1].ttl,
            eps_ratio=self.eps_ratio,
            max_flows=self.max_flows,
            max_branches=self.max_branches,
            full=self.mda == "full",
        )
        survey = Survey(target=observations.target, proto=self.proto, limits=limits)
        survey.add(observations.trains)
        survey.add(observations.flow_trains)
        return survey
