# SPDX-License-Identifier: MIT
"""A guest of vhost-user without a machine, and without a process of its own: its memory, its virtqueues (virtio 1.1 section 2.6, split) and
what it says by its socket (QEMU's docs/interop/vhost-user.rst) are all written here, so that any of them can be wrong."""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import struct
from pathlib import Path

from program import DEADLINE

RX, TX = 0, 1
"""Its virtqueues: what it receives from, and what it sends by."""

SIZE = 64
"""Descriptors of a virtqueue."""

NEXT, WRITE, INDIRECT = 1, 2, 4
"""Flags of a descriptor."""

CSUM, GUEST_CSUM, MRG_RXBUF, MQ, LOG_ALL, INDIRECT_DESC, VERSION_1 = 1 << 0, 1 << 1, 1 << 15, 1 << 22, 1 << 26, 1 << 28, 1 << 32
"""Features (virtio 1.1 section 5.1.3, and 6)."""
PROTOCOL_FEATURES, REPLY_ACK = 1 << 30, 1 << 3
"""vhost-user's own, and that of them by which any message may have an answer."""

GET_FEATURES, SET_FEATURES, SET_OWNER, SET_MEM_TABLE, SET_LOG_BASE = 1, 2, 3, 5, 6
SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL = 8, 9, 10, 11, 12, 13
SET_PROTOCOL_FEATURES, SET_VRING_ENABLE = 16, 18
"""Requests."""

_HEADER = struct.Struct("<III")
_NEED_REPLY = 1 << 3
_DESCRIPTOR = struct.Struct("<QIHH")
NET_HEADER, SHORT_NET_HEADER = 12, 10
"""Bytes in front of each frame (virtio 1.1 section 5.1.6), and of one of a device of before that."""

_BUFFER, _RING = 2048, 0x4000
_AVAIL, _USED, _BUFFERS = 0x1000, 0x2000, 2 * _RING
_MEMORY = _BUFFERS + 2 * SIZE * _BUFFER
PHYSICAL = 0x1000_0000
"""Where its memory begins, for descriptors."""
_VIRTUAL = 0x7F00_0000_0000
"""The same in its own program, for the addresses of its virtqueues."""


class Frontend:
    """Connects to a switch, and sets its card up unless `plug` is false. `halves`: every other buffer that it receives by is in two
    descriptors."""

    def __init__(self, path: Path, features: int = VERSION_1 | MRG_RXBUF, plug: bool = True, halves: bool = False):
        self.features, self.halves = features, halves
        self.header = NET_HEADER if features & (VERSION_1 | MRG_RXBUF) else SHORT_NET_HEADER
        """Bytes in front of each frame."""
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(str(path))
        self.file = os.memfd_create("guest")
        os.ftruncate(self.file, _MEMORY)
        self.memory = mmap.mmap(self.file, _MEMORY)
        self.events = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(4)]
        self.next, self.seen = [0, 0], [0, 0]
        self.free = 0
        """The next descriptor to send by."""
        if plug:
            self.plug()

    # --- what it says

    def say(self, request: int, payload: bytes = b"", files=(), flags: int = 1) -> None:
        message = _HEADER.pack(request, flags, len(payload)) + payload
        socket.send_fds(self.socket, [message], list(files))

    def ask(self, request: int, payload: bytes = b"", files=()) -> bytes:
        self.say(request, payload, files)
        return self.hear()

    def hear(self) -> bytes:
        """An answer's payload."""
        header = self.socket.recv(_HEADER.size, socket.MSG_WAITALL)
        return self.socket.recv(_HEADER.unpack(header)[2], socket.MSG_WAITALL)

    def plug(self) -> None:
        (offered,) = struct.unpack("<Q", self.ask(GET_FEATURES))
        assert self.features & ~offered == 0, hex(offered)
        self.say(SET_OWNER)
        self.say(SET_FEATURES, struct.pack("<Q", self.features))
        if self.features & PROTOCOL_FEATURES:
            self.say(SET_PROTOCOL_FEATURES, struct.pack("<Q", REPLY_ACK))
        self.map()
        for ring in (RX, TX):
            at = _VIRTUAL + ring * _RING
            self.say(SET_VRING_NUM, struct.pack("<II", ring, SIZE))
            self.say(SET_VRING_BASE, struct.pack("<II", ring, 0))
            self.say(SET_VRING_ADDR, struct.pack("<IIQQQQ", ring, 0, at, at + _USED, at + _AVAIL, 0))
            self.say(SET_VRING_CALL, struct.pack("<Q", ring), [self.events[2 * ring]])
            self.say(SET_VRING_KICK, struct.pack("<Q", ring), [self.events[2 * ring + 1]])
            if self.features & PROTOCOL_FEATURES:
                self.say(SET_VRING_ENABLE, struct.pack("<II", ring, 1))
        for slot in range(0, SIZE, 2 if self.halves else 1):
            at, half = self.buffer(RX, slot), 500
            if self.halves and slot % 4 == 0:
                self.describe(RX, slot, at, half, WRITE | NEXT, slot + 1)
                self.describe(RX, slot + 1, at + half, _BUFFER - half, WRITE)
            else:
                self.describe(RX, slot, at, _BUFFER, WRITE)
            self.offer(RX, slot)

    def map(self, parts: int = 1) -> int:
        """Says where its memory is, and what the switch says to that: 0, or that it is not done; 0 without REPLY_ACK."""
        self.say_map(parts)
        return struct.unpack("<Q", self.hear())[0] if self.features & PROTOCOL_FEATURES else 0

    def say_map(self, parts: int = 1, only_read: bool = False) -> None:
        """In 1, 2 or 3 parts; in a file that may be read only if told so."""
        size = _MEMORY // parts
        regions = [struct.pack("<QQQQ", PHYSICAL + at, size, _VIRTUAL + at, at) for at in range(0, _MEMORY, size)]
        table = struct.pack("<II", parts, 0) + b"".join(regions)
        file = os.open(f"/proc/self/fd/{self.file}", os.O_RDONLY if only_read else os.O_RDWR)
        try:
            self.say(SET_MEM_TABLE, table, [file] * parts, flags=1 | (_NEED_REPLY if self.features & PROTOCOL_FEATURES else 0))
        finally:
            os.close(file)

    def log(self, file: int, size: int) -> None:
        """Has the switch log in a file which pages of its memory it writes, a bit each, as before a machine moves to another host."""
        self.ask(SET_LOG_BASE, struct.pack("<QQ", size, 0), [file])
        self.say(SET_FEATURES, struct.pack("<Q", self.features | LOG_ALL))
        self.ask(GET_FEATURES)  # is answered when it does

    def log_no_more(self) -> None:
        self.say(SET_FEATURES, struct.pack("<Q", self.features))

    def unplug(self) -> list[int]:
        """Its driver stops; the connection stays. Which entry of each virtqueue the switch would have taken next."""
        return [struct.unpack("<II", self.ask(GET_VRING_BASE, struct.pack("<II", ring, 0)))[1] for ring in (RX, TX)]

    def close(self) -> None:
        """It is gone, as when its program was killed."""
        self.socket.close()
        self.memory.close()
        for file in (self.file, *self.events):
            os.close(file)

    def is_refused(self) -> bool:
        """The switch has ended the connection."""
        with contextlib.suppress(ConnectionError):
            return self.socket.recv(1) == b""
        return True

    # --- its virtqueues

    @staticmethod
    def buffer(ring: int, slot: int) -> int:
        return _BUFFERS + (ring * SIZE + slot) * _BUFFER

    def describe(self, ring: int, slot: int, at: int, length: int, flags: int = 0, next: int = 0) -> None:
        """Writes a descriptor; `at` counts from the begin of its memory."""
        _DESCRIPTOR.pack_into(self.memory, ring * _RING + slot * _DESCRIPTOR.size, (PHYSICAL + at) % 2**64, length, flags, next)

    def offer(self, ring: int, slot: int, ahead: int = 1, now: bool = True) -> None:
        """Makes a descriptor available, and the `ahead - 1` entries behind it, whatever they say; with the next one if not now."""
        at = ring * _RING + _AVAIL
        struct.pack_into("<H", self.memory, at + 4 + 2 * (self.next[ring] % SIZE), slot)
        self.next[ring] = (self.next[ring] + ahead) % 2**16
        if now:
            # At once: `pack_into` writes zeros first, and the switch looks at any time.
            self.memory[at + 2 : at + 4] = self.next[ring].to_bytes(2, "little")

    def wants_notification(self, ring: int, wants: bool) -> None:
        at = ring * _RING + _AVAIL
        self.memory[at : at + 2] = (not wants).to_bytes(2, "little")

    def was_notified(self, ring: int) -> bool:
        """Since it was asked last."""
        with contextlib.suppress(BlockingIOError):
            return os.eventfd_read(self.events[2 * ring]) > 0
        return False

    def used(self, ring: int) -> int:
        """How many the switch has used, modulo 65,536."""
        at = ring * _RING + _USED + 2
        return int.from_bytes(self.memory[at : at + 2], "little")

    def send(self, frame: bytes, header: bytes | None = None, cuts: tuple[int, ...] = (), indirect: bool = False, now: bool = True) -> None:
        """In a buffer, or in several: what is in front of the frame, and the frame, are cut at these places. `indirect`: descriptors
        are in a table of their own. Not `now`: with the next frame."""
        sent = (bytes(self.header) if header is None else header) + frame
        parts = [sent[begin:end] for begin, end in zip((0, *cuts), (*cuts, len(sent)))]
        slots = [(self.free + n) % SIZE for n in range(len(parts) + 1)]
        table = self.buffer(TX, slots[-1])
        for n, part in enumerate(parts):
            at = self.buffer(TX, slots[n])
            self.memory[at : at + len(part)] = part
            flags = NEXT if n + 1 < len(parts) else 0
            if indirect:
                _DESCRIPTOR.pack_into(self.memory, table + n * _DESCRIPTOR.size, PHYSICAL + at, len(part), flags, n + 1)
            else:
                self.describe(TX, slots[n], at, len(part), flags, slots[n + 1])
        if indirect:
            self.describe(TX, slots[0], table, len(parts) * _DESCRIPTOR.size, INDIRECT)
        self.free = slots[-1] + indirect
        self.offer(TX, slots[0], now=now)

    def receive(self) -> list[bytes]:
        """What has come since."""
        return [frame for _, frame in self.receive_with_headers()]

    def receive_with_headers(self) -> list[tuple[bytes, bytes]]:
        frames = []
        while self.seen[RX] != self.used(RX):
            first = self._take()
            header, parts = first[: self.header], [first[self.header :]]
            if self.features & MRG_RXBUF:
                parts += [self._take() for _ in range(int.from_bytes(header[10:12], "little") - 1)]
            frames.append((header, b"".join(parts)))
        return frames

    def _take(self) -> bytes:
        """What is in a buffer that has come, which is free again."""
        slot, length = struct.unpack_from("<II", self.memory, _USED + 4 + 8 * (self.seen[RX] % SIZE))
        at = self.buffer(RX, slot)
        taken = self.memory[at : at + length]
        self.seen[RX] = (self.seen[RX] + 1) % 2**16
        self.offer(RX, slot)
        return taken
