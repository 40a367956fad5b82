#!/usr/bin/env bash
# OpenTelemetry's JSON is not the JSON of its protobuf messages: the ids of traces and spans are written in hexadecimal,
# where protobuf's JSON has base64. Every hexadecimal id is also good base64, so protobuf's own reader takes such a file
# without a word, with ids of 24 and 12 bytes instead of 16 and 8, and writes it as JSON with the same letters again. Only
# what is sent on in binary form has ids that no other span has, and of a length that must not be.
# shellcheck source=findings/lib.bash
source "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
python opentelemetry-proto==1.45.2 protobuf==7.36.2
npm @opentelemetry/otlp-transformer@0.301.1 @opentelemetry/sdk-trace@3.1.1 @opentelemetry/api@1.10.0

cat >"$work/node/write.mjs" <<'JS'
import fs from 'node:fs'
import { JsonTraceSerializer, ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer'
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'

const exporter = new InMemorySpanExporter()
const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] })
provider.getTracer('finding').startSpan('step').end()
const spans = exporter.getFinishedSpans()
fs.writeFileSync('spans.json', JsonTraceSerializer.serializeRequest(spans))
fs.writeFileSync('spans.binary', ProtobufTraceSerializer.serializeRequest(spans))
JS
(cd "$work/node" && node write.mjs)
cat >"$work/read.py" <<'PY'
import pathlib
import sys

from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

folder = pathlib.Path(sys.argv[1])


def span(data):
    return data.resource_spans[0].scope_spans[0].spans[0]


binary = TracesData.FromString((folder / "spans.binary").read_bytes())
text = json_format.Parse((folder / "spans.json").read_text(), TracesData())
for data in binary, text:
    print(len(span(data).trace_id), len(span(data).span_id))
written = json_format.MessageToJson(text)
print("as it was" if span(binary).trace_id.hex() in written else "another")
print("equal" if span(text).trace_id == span(binary).trace_id else "unequal")
PY
say "expected: ids of 16 and 8 bytes of both, or an error"
mapfile -t read < <("$work/venv/bin/python" "$work/read.py" "$work/node")
expect "of the binary form" "${read[0]}" "16 8"
expect "of the JSON form" "${read[1]}" "24 12"
expect "the id of a trace, read from JSON and written as JSON" "${read[2]}" "as it was"
expect "the ids of the same trace, read from either form" "${read[3]}" "unequal"
