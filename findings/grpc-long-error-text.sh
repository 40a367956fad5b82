#!/usr/bin/env bash
# The text of a gRPC error travels in the response's metadata, not as a message. gRPC's C core, which Python's gRPC is made
# of, takes 8 KiB of metadata and refuses more than 16 KiB; between the two it throws dice for each response, and the more
# there is, the likelier it refuses. So a long error, such as one that quotes a step's last lines, arrives in one call,
# and in the next one the client has RESOURCE_EXHAUSTED instead, with neither the code nor the text that was sent.
# shellcheck source=findings/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
python grpcio==1.85.3

cat >"$work/call.py" <<'PY'
import collections
import concurrent.futures
import sys

import grpc


class Fails(grpc.GenericRpcHandler):
    def service(self, call_details):
        return grpc.unary_unary_rpc_method_handler(self.fail)

    def fail(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "e" * int(request))


def outcomes(port, length, options=()):
    """Which codes 200 calls of one channel end with."""
    seen = collections.Counter()
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        call = channel.unary_unary("/finding.Service/Fail")
        for _ in range(200):
            try:
                call(str(length).encode())
            except grpc.RpcError as error:
                assert error.code() != grpc.StatusCode.FAILED_PRECONDITION or len(error.details()) == length
                seen[error.code().name] += 1
    print(f"{length} bytes of text: {dict(sorted(seen.items()))}", file=sys.stderr)
    return " or ".join(sorted(seen))


server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
server.add_generic_rpc_handlers((Fails(),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(outcomes(port, 7000))
print(outcomes(port, 12000))
print(outcomes(port, 17000))
print(outcomes(port, 12000, [("grpc.max_metadata_size", 1 << 20)]))
server.stop(None)
PY
say "expected: one length of text is always taken, or never"
mapfile -t codes < <("$work/venv/bin/python" "$work/call.py")
expect "7000 bytes, 200 calls" "${codes[0]}" FAILED_PRECONDITION
expect "12000 bytes, 200 calls" "${codes[1]}" "FAILED_PRECONDITION or RESOURCE_EXHAUSTED"
expect "17000 bytes, 200 calls" "${codes[2]}" RESOURCE_EXHAUSTED
expect "12000 bytes, the client has grpc.max_metadata_size of 1 MiB" "${codes[3]}" FAILED_PRECONDITION
