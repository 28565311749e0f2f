# SPDX-License-Identifier: MIT
"""`alkaid top`: on a terminal, and once without."""

from __future__ import annotations

import re
import signal
import time

import pytest

import goal
from frames import udp
from plan import A, B, Subnet
from program import Port, call, eventually, pcap_ports
from switch import Switch
from terminal import Terminal

NET = Subnet(5)
HERE, THERE, NOWHERE = NET.guest(A), NET.guest(B), NET.guest(B, 9)
STATES = [goal.vpc(NET), goal.subnet(NET), goal.port(HERE), goal.neighbor(THERE)]
LENGTH = 142
"""Of each frame that the guest sends."""

USAGE = 2
BUSY = r"^ +1 +net_pcap1 +tenant +up +[1-9][0-9.]*[kM]? +[1-9][0-9.]*[kMG] +0 +0 +[1-9]"
"""The row of a guest's port that sends: receives, sends nothing, loses some."""


@pytest.fixture
def busy(switches, tmp_path) -> Switch:
    """A switch with a guest that sends without end: three of four frames to a neighbor, one to nobody."""
    folder = tmp_path / "switch0"
    frames = [udp(HERE, to, payload=bytes(LENGTH - 42)) for to in (THERE, THERE, THERE, NOWHERE)]
    ports = pcap_ports(folder, [Port(), Port(HERE.id, frames)])
    ports[0] = "port attach net_null0,no-rx=1"
    ports[1] = f"port attach net_pcap1,rx_pcap={folder}/rx1.pcap,infinite_rx=1"
    switch = switches([*ports, "start"])
    switch.accept(*STATES)
    return switch


@pytest.fixture
def top(busy):
    """`alkaid top` on a terminal."""
    terminals = []

    def start(*arguments, **named) -> Terminal:
        command = [busy.alkaid, "top", "--interval", "0.2", "--socket", busy.socket, *arguments]
        terminals.append(Terminal(*command, **named))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def test_it_shows_what_the_switch_does_until_q(top):
    terminal = top()
    terminal.shows(BUSY)
    assert terminal.alternate and not terminal.cursor
    terminal.shows(r"^Alkaid \d+\.\d+\.\d+, DPDK .*, up \d\d:\d\d:\d\d, forwarding$")
    terminal.shows(r"^rx [1-9][0-9.]*[kM]? pps .* drops [1-9]")
    terminal.shows("goal state: 4 resources programmed, 0 pending, 0 failed")
    terminal.shows(r"^ +0 +\d+ +[1-9][0-9.]+ +[1-9]\d* +32\.0 ")  # the worker, with full bursts
    terminal.shows(r"^ *[1-9][0-9.]*[kM]? +\d+ +unknown_mac +Nobody told us")
    terminal.press("q")
    assert terminal.ended() == 0


def test_keys_choose_what_is_seen(top):
    terminal = top()
    terminal.shows("━ 2 Ports: 2, by rate")
    terminal.press("ss")
    terminal.shows("━ 2 Ports: 2, by number")
    terminal.press("\t")
    terminal.shows("━ 3 Drops: ")
    terminal.press("?")
    terminal.shows("choose a table")
    terminal.press("p")
    eventually("the help is gone", lambda: "choose a table" not in terminal.look())
    terminal.press("p")
    terminal.shows("^paused")
    figures = terminal.look()
    terminal.resize(40, 60)
    eventually("it fills the window", lambda: terminal.look().split("\n")[39].startswith("q end"))
    assert "net_pcap1" in terminal.look()
    time.sleep(1.5)
    assert re.search(r"up [\d:]+", figures)[0] in terminal.look(), "it is paused"
    terminal.press("p")
    eventually("it goes on", lambda: "paused" not in terminal.look())
    terminal.press("\x03")
    assert terminal.ended() == 0


def test_a_switch_that_is_restarted_is_found_again(busy, top):
    terminal = top()
    terminal.shows(BUSY)
    terminal.shows(r"up 00:(00:[1-5][0-9]|0[1-9]:\d\d), forwarding")
    busy.terminate()
    terminal.shows("^no answer for .*: no switch is running")
    # Its last rates may be those of its end.
    assert re.search(r"(?s)^ +1 +net_pcap1 .*^ *[^ ]+ +[1-9]\d* +unknown_mac ", terminal.look(), re.MULTILINE), "the last figures stay"
    busy.start()
    busy.accept(*STATES)
    eventually("it answers", lambda: "no answer" not in terminal.look())
    terminal.shows(r"up 00:00:0\d, forwarding")
    terminal.shows(BUSY)
    terminal.press("\x1b")
    assert terminal.ended() == 0


def test_a_switch_that_says_nothing_is_told_of(busy, top):
    terminal = top()
    terminal.shows(BUSY)
    busy.process.send_signal(signal.SIGSTOP)
    try:
        terminal.shows("^no answer for .*: it is there and says nothing")
    finally:
        busy.process.send_signal(signal.SIGCONT)
    eventually("it answers", lambda: "no answer" not in terminal.look())


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["interrupt", "terminate", "hangup"])
def test_a_signal_ends_it_and_the_terminal_is_as_it_was(top, end):
    terminal = top()
    terminal.shows(BUSY)
    terminal.process.send_signal(end)
    assert terminal.ended() == 0


def test_without_a_switch_the_terminal_is_left_alone(alkaid, tmp_path):
    terminal = Terminal(alkaid, "top", "--socket", tmp_path / "none")
    try:
        assert terminal.ended() == USAGE
        assert "no switch is running" in terminal.look()
    finally:
        terminal.close()


def test_without_a_terminal_it_says_what_to_do(busy):
    done = busy.client("top")
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr == "alkaid: `alkaid top` needs a terminal; `alkaid top --once` prints the figures anywhere\n"


def test_once_prints_the_figures_of_one_interval(busy):
    eventually("it forwards", lambda: busy.show("port stats 1")[0]["rx_packets"] > 1000)
    before = busy.show("port stats 1")[0]["rx_packets"]
    done = busy.client("top", "--once", "--interval", "0.5")
    after = busy.show("port stats 1")[0]["rx_packets"]
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = [line.split() for line in done.stdout.splitlines() if "net_pcap1" in line]
    port, _, role, link, pps, bits, tx, _, drops, binding = row
    assert (port, role, link, tx, binding) == ("1", "tenant", "up", "0", HERE.id)
    # It looked for half a second at least, within what was counted meanwhile.
    assert 0 < int(pps) * 0.5 <= after - before
    assert int(bits) == pytest.approx(int(pps) * LENGTH * 8, rel=0.1)
    assert int(drops) == pytest.approx(int(pps) / 4, rel=0.1)
    (reason,) = [line.split() for line in done.stdout.splitlines() if " unknown_mac " in line]
    assert int(reason[0]) == pytest.approx(int(drops), rel=0.1) and int(reason[1]) > 0


def test_an_interval_is_a_tenth_of_a_second_to_a_minute(alkaid):
    for wrong in ("0.09", "61", "nan", "x"):
        done = call(alkaid, "top", "--once", "--interval", wrong)
        assert done.returncode == USAGE and "0.1 to 60" in done.stderr
