"""A run of Pathneck from h1 of a lab, by the client, as JSON."""

from __future__ import annotations

import json
from typing import Any

from emodis.lab.deployment import program
from emodis.lab.lab import Lab
from emodis.lab.unprivileged import wrapped


def measured(lab: Lab, to: str, *words: str, ordinary: bool = False) -> dict[str, Any]:
    """The only run towards `to`; `ordinary`: without any capability."""
    argv = [program("emodis-client"), "measure", "--tech", "pathneck", "--format", "json"]
    argv += [*words, to]
    done = lab.run(
        "h1", wrapped(argv) if ordinary else argv, capture_output=True, text=True, timeout=110
    )
    assert done.stdout, done.stderr
    ((run,),) = [m["runs"] for m in json.loads(done.stdout)["measurements"]]
    return dict(run)
