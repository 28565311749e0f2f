# SPDX-License-Identifier: MIT
"""A network configuration manager as Alcor's is: asked where packets go, it pushes the goal state to the host that asked,
waits until the push is answered, and answers then."""

from __future__ import annotations

import threading
import uuid
from concurrent import futures

import grpc

import goal
from alcor.schema import common_pb2, goalstateprovisioner_pb2, goalstateprovisioner_pb2_grpc
from plan import Guest
from program import DEADLINE


class Ncm(goalstateprovisioner_pb2_grpc.GoalStateProvisionerServicer):
    """Serves on a loopback address of its own, with `credentials` over TLS. `to` is where the switch takes goal states."""

    accepted = {common_pb2.SUCCESS}
    """Statuses that it takes for what it pushes."""

    def __init__(self, to: str, port: int = 0, ip: str = "127.0.0.9", credentials: grpc.ServerCredentials | None = None):
        self.to = to
        self.guests: dict[tuple[int, str], Guest] = {}
        """Whom it knows, by VNI and address."""
        self.asked: list[goalstateprovisioner_pb2.HostRequest] = []
        self.peers: set[str] = set()
        self.callers: list[str] = []
        """The common name of the certificate that each call came with."""
        self.may_push = threading.Event()
        """Cleared: it is slow."""
        self.may_push.set()
        self.answered = 0
        self.lock = threading.Lock()
        self.server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
        goalstateprovisioner_pb2_grpc.add_GoalStateProvisionerServicer_to_server(self, self.server)
        listen = f"{ip}:{port}"
        self.port = self.server.add_secure_port(listen, credentials) if credentials else self.server.add_insecure_port(listen)
        assert self.port, "the address is taken"
        self.address = f"{ip}:{self.port}"
        self.server.start()

    def know(self, *guests: Guest) -> None:
        for guest in guests:
            self.guests[guest.subnet.vni, guest.ip] = guest

    def known(self) -> dict[tuple[int, str], Guest]:
        return self.guests

    def neighbor(self, guest: Guest):
        """As the host that asks is told of it."""
        return goal.neighbor(guest)

    def end(self) -> None:
        self.may_push.set()
        self.server.stop(None).wait()

    # --- what it was asked

    def questions(self) -> list[goalstateprovisioner_pb2.HostRequest.ResourceStateRequest]:
        """All but those that say that the switch has started."""
        with self.lock:
            states = [state for request in self.asked for state in request.state_requests]
        return [state for state in states if state.request_type == common_pb2.ON_DEMAND]

    def restarts(self) -> int:
        with self.lock:
            return sum(state.request_type == common_pb2.AGENT_RESTARTED for request in self.asked for state in request.state_requests)

    def asked_for(self) -> list[str]:
        return [question.destination_ip for question in self.questions()]

    # --- the service

    def RequestGoalStates(self, request, context):
        with self.lock:
            self.asked.append(request)
            self.peers.add(context.peer().removeprefix("ipv4:").rsplit(":", 1)[0])
            self.callers += [name.decode() for name in context.auth_context().get("x509_common_name", [])]
        reply = goalstateprovisioner_pb2.HostRequestReply(format_version=1)
        found, guests = [], self.known()
        for state in request.state_requests:
            uuid.UUID(state.request_id)
            # As Alcor's: whoever asks is looked up, and then whoever is asked for, who need not be found.
            source = (state.tunnel_id, state.source_ip) in guests
            wanted = [guest for (_, ip), guest in guests.items() if ip == state.destination_ip]
            found += [guest for guest in wanted if source]
            status = common_pb2.SUCCESS if source else common_pb2.FAILURE
            reply.operation_statuses.add(request_id=state.request_id, operation_status=status)
        self.may_push.wait(DEADLINE)
        if found:
            self.push(found)
        with self.lock:
            self.answered += 1
        return reply

    def push(self, guests: list[Guest]) -> None:
        """One message on a stream of its own, then half-close; back when the stream has ended."""
        with grpc.insecure_channel(self.to) as channel:
            stub = goalstateprovisioner_pb2_grpc.GoalStateProvisionerStub(channel)
            message = goal.v2(*map(self.neighbor, guests))
            for reply in stub.PushGoalStatesStream(iter([message]), timeout=DEADLINE):
                assert {status.operation_status for status in reply.operation_statuses} <= self.accepted
