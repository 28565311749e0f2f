# SPDX-License-Identifier: MIT
"""A wire that can be broken on purpose: what passes by it, a function makes something else of."""

from __future__ import annotations

import threading
from collections.abc import Callable

from kernel import Namespace, Networks, Wire, quiet

Mutation = Callable[[bytes], list[bytes]]
"""What becomes of a frame."""


def unchanged(frame: bytes) -> list[bytes]:
    return [frame]


class Relay:
    """Takes the frames of a device in a namespace, of whose other end `out` is what it sends and `back` what it gets. `device` of the
    same namespace is to be connected in its place."""

    def __init__(self, networks: Networks, namespace: Namespace, device: str, mtu: int = 1600):
        self.out: Mutation = unchanged
        self.back: Mutation = unchanged
        self.device = "far"
        namespace.ip(f"link add near mtu {mtu} type veth peer name {self.device} mtu {mtu}")
        for each in ("near", self.device):
            with namespace.inside():
                quiet(each)
            namespace.ip(f"link set {each} up")
        self.ended = threading.Event()
        self.wires = [Wire(namespace, device), Wire(namespace, "near")]
        ways = (*self.wires, lambda frame: self.out(frame)), (*reversed(self.wires), lambda frame: self.back(frame))
        self.threads = [threading.Thread(target=self._carry, args=way, daemon=True) for way in ways]
        for thread in self.threads:
            thread.start()
        networks.wires.append(self)

    def _carry(self, source: Wire, target: Wire, mutate: Mutation) -> None:
        while not self.ended.is_set():
            for frame in source.receive(1, 0.1):
                target.send(mutate(frame))

    def works(self) -> bool:
        """It does what it is told, and has not ended by an error of its own."""
        return all(thread.is_alive() for thread in self.threads)

    def close(self) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()
        for wire in self.wires:
            wire.close()
