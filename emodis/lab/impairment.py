"""What one direction of a link does to packets besides carrying them at its rate, as declared."""

from __future__ import annotations

import attrs

NS_PER_S = 1_000_000_000
DEFAULT_REORDER_BY_S = 0.005


@attrs.frozen(kw_only=True)
class Impairment:
    """Delay and mischief of one direction of a link. All of it happens behind the shaper.

    `delay_s` is added to every packet, and up to `jitter_s` more (uniform) without changing their
    order. `loss_ratio` and `duplicate_ratio` are shares of all packets, drawn independently.
    `reorder_ratio` of them are held back `reorder_by_s` longer, so that others overtake.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss_ratio: float = 0.0
    duplicate_ratio: float = 0.0
    reorder_ratio: float = 0.0
    reorder_by_s: float = DEFAULT_REORDER_BY_S

    @property
    def wired(self) -> bool:
        """Whether packets must wait or be copied; loss alone the kernel does."""
        return any((self.delay_s, self.jitter_s, self.duplicate_ratio, self.reorder_ratio))

    @property
    def delay_ns(self) -> int:
        return round(self.delay_s * NS_PER_S)

    @property
    def jitter_ns(self) -> int:
        return round(self.jitter_s * NS_PER_S)

    @property
    def reorder_by_ns(self) -> int:
        return round(self.reorder_by_s * NS_PER_S)


NONE = Impairment()
