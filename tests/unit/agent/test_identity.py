from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from emodis.agent.identity import StateDir, StateError


def test_an_identity_is_made_once_and_kept(tmp_path: Path) -> None:
    where = tmp_path / "a/b"
    first = StateDir.open(where)
    agent_id = first.agent_id()
    first.close()
    second = StateDir.open(where)
    assert second.agent_id() == agent_id == str(uuid.UUID(agent_id))
    second.close()
    assert (where / "agent-id").stat().st_mode & 0o777 == 0o600
    assert where.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in where.iterdir()) == ["agent-id", "lock"]


def test_a_second_daemon_is_told_who_has_it(tmp_path: Path) -> None:
    first = StateDir.open(tmp_path)
    with pytest.raises(StateError, match=rf"another emodis-agent \(pid {os.getpid()}\) uses"):
        StateDir.open(tmp_path)
    first.close()
    StateDir.open(tmp_path).close()


def test_a_draft_left_by_a_power_cut_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "agent-id.new").write_text("3")
    state = StateDir.open(tmp_path)
    assert uuid.UUID(state.agent_id())
    state.close()


@pytest.mark.parametrize("text", ["", "garbage", "\x00\xff"])
def test_a_broken_identity_is_not_replaced_by_itself(tmp_path: Path, text: str) -> None:
    (tmp_path / "agent-id").write_text(text, encoding="latin-1")
    state = StateDir.open(tmp_path)
    with pytest.raises(StateError, match="holds no UUID; restore it, or remove it"):
        state.agent_id()
    state.close()


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="name another by --state-dir"):
        StateDir.open(tmp_path / "file/below")


def test_the_lock_is_not_inherited(tmp_path: Path) -> None:
    state = StateDir.open(tmp_path)
    assert not os.get_inheritable(state._lock_fd)
    state.close()
