"""Refusals keep their detail over a real gRPC call."""

from __future__ import annotations

from concurrent import futures
from pathlib import Path

import grpc
import pytest
from wmrun_envserver.wire import messages, status
from wmrun_envserver.wire.status import Reason


def refusal(tmp_path: Path, detail: messages.ErrorDetail | None) -> grpc.RpcError:
    """Call a server whose only method is refused with `detail`, and return what the client sees."""

    def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
        if detail is None:
            context.abort(grpc.StatusCode.INTERNAL, "no detail")
        status.abort(context, detail)

    server = grpc.server(futures.ThreadPoolExecutor(1))
    handlers = {"Call": grpc.unary_unary_rpc_method_handler(handle)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", handlers),))
    address = f"unix:{tmp_path}/s.sock"
    server.add_insecure_port(address)
    server.start()
    try:
        with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/s/Call")(b"", timeout=20)
    finally:
        server.stop(0).wait()
    return caught.value


def test_refusals_carry_code_and_detail(tmp_path: Path) -> None:
    detail = status.error_detail(
        Reason.BAD_ACTION,
        "too high",
        field="arm/0",
        session_id="s",
        seq=4,
        slots=[2],
        instance_id="i",
    )
    error = refusal(tmp_path, detail)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "too high"
    assert status.detail_of(error) == detail


def test_long_refusals_are_cut_to_fit_metadata(tmp_path: Path) -> None:
    detail = status.error_detail(
        Reason.BAD_CONFIG,
        "é" * 50_000,
        field="f" * 50_000,
        session_id="s" * 50_000,
        slots=range(50_000),
    )
    received = status.detail_of(refusal(tmp_path, detail))
    assert received is not None
    assert status.MAX_DETAIL_BYTES - 8 <= received.ByteSize() <= status.MAX_DETAIL_BYTES
    assert received.reason == Reason.BAD_CONFIG
    assert received.message.startswith("éé")
    assert received.message.endswith("é…")


def test_errors_without_detail_have_none(tmp_path: Path) -> None:
    assert status.detail_of(refusal(tmp_path, None)) is None
    assert status.detail_of(grpc.RpcError()) is None


def test_every_reason_has_a_code_and_only_passing_troubles_are_retryable() -> None:
    reasons = {name for name in vars(Reason) if name.isupper()}
    assert reasons == set(status.CODES)
    assert {r for r in reasons if status.error_detail(r, "").retryable} == {
        "BUSY", "CAPACITY", "DRAINING",
    }  # fmt: skip
