"""In processes of their own, because what is dropped is gone. Works with and without root."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from emodis.prober.privileges import Held, net_raw

DROP = "from emodis.prober.privileges import *\n"
SHOW = "from emodis.prober.privileges import net_raw; print(net_raw().effective)"


def python(code: str) -> str:
    command = [sys.executable, "-c", DROP + code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


def test_dropping_again_changes_nothing() -> None:
    code = "drop_net_raw(); first = net_raw(); drop_net_raw(); print(first == net_raw(), "
    assert python(code + "first.effective)") == "True False\n"


@pytest.mark.skipif(not net_raw().effective, reason="needs CAP_NET_RAW to have something to drop")
def test_what_is_executed_afterwards_has_it_again_but_we_open_no_raw_socket() -> None:
    code = f"""
import socket, subprocess, sys
socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()
drop_net_raw()
try:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
except PermissionError:
    print("refused")
subprocess.run([sys.executable, "-c", {SHOW!r}], check=True)
"""
    out = python(code)
    assert "refused" in out
    assert "True" in out


@pytest.mark.skipif(not net_raw().effective, reason="needs CAP_NET_RAW to have something to drop")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gets it back by exec alone")
def test_root_does_not_even_keep_it_permitted() -> None:
    assert (
        python("drop_net_raw(); print(net_raw())") == f"{Held(effective=False, permitted=False)}\n"
    )


@pytest.mark.skipif(not net_raw().effective, reason="needs CAP_NET_RAW to have something to drop")
def test_where_exec_gives_nothing_back_it_stays_permitted() -> None:
    no_new_privs = "import ctypes; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0); "
    code = no_new_privs + "drop_net_raw(); print(net_raw())"
    assert python(code) == f"{Held(effective=False, permitted=True)}\n"


def test_a_child_without_its_parent_is_told() -> None:
    assert python("print(die_with_parent(1), die_with_parent(__import__('os').getppid()))") == (
        "False True\n"
    )
