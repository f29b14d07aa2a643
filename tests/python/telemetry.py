"""A producer that nobody here wrote the telemetry of: Python with OpenTelemetry's own SDK and grpcio. Its spans are the parents of
what the node does with its events, as an OTLP backend of its own process sees it.

    telemetry.py CONTROL_PLANE_BINARY NODE_BINARY
"""

import concurrent.futures
import http.server
import os
import subprocess
import sys
import tempfile
import threading
import time

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

PATIENCE_SECONDS = 60


class Backend(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans, and the newest value of each counter."""

    def __init__(self):
        self.spans, self.counters = [], {}
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, server)

        class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
            def Export(_, request, context):
                return self.take_metrics(request)

        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
        self.port = server.add_insecure_port("127.0.0.1:0")
        self.server = server
        server.start()

    def Export(self, request, context):
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    def take_metrics(self, request):
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.HasField("sum"):
                        self.counters[metric.name] = sum(point.as_int for point in metric.sum.data_points)
        return metrics_service_pb2.ExportMetricsServiceResponse()


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Takes webhooks."""

    received = []

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        Endpoint.received.append(dict(self.headers))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


def call(address, service, method, request, metadata=()):
    """Calls a method that is known by reflection alone."""
    with grpc.insecure_channel(address) as channel:
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        descriptor = pool.FindServiceByName(service).methods_by_name[method]
        message = json_format.ParseDict(request, message_factory.GetMessageClass(descriptor.input_type)())
        unary = channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(descriptor.output_type).FromString,
        )
        return unary(message, timeout=10, metadata=metadata)


def eventually(what, ask):
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE_SECONDS} s: {what}")


def start(command, environment):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    return process, process.stdout.readline().strip().removeprefix("listening on ")


def attribute(span, key):
    return next((pair.value.string_value for pair in span.attributes if pair.key == key), "")


def exercise(control_plane, node, backend, endpoint_port):
    draft = {
        "enabled": True,
        "destination": {"url": f"http://127.0.0.1:{endpoint_port}/hook", "send_trace_context": True},
        "events": {"original": {}},
    }
    call(control_plane, "sluice.sync.v1.SyncService", "CreateSync", {"parent": "projects/default", "sync_id": "s", "sync": draft})

    tracer = TracerProvider().get_tracer("producer")
    body = "eyJldmVudF90eXBlIjoib3JkZXIifQ=="  # {"event_type":"order"}

    def sent_by_event(carrier):
        return {"events": [{"json": body, **carrier}]}, ()

    def sent_by_call(carrier):
        return {"events": [{"json": body}]}, tuple(carrier.items())

    for how in (sent_by_event, sent_by_call):
        # The node serves the sync a moment after it was made.
        def delivered():
            with tracer.start_as_current_span("checkout") as span:
                carrier = {}
                TraceContextTextMapPropagator().inject(carrier)
                request, metadata = how(carrier)
                call(node, "sluice.event.v1.EventService", "SendEvents", request, metadata)
                context = span.get_span_context()
            trace_id = context.trace_id.to_bytes(16, "big")

            def spans():
                found = {span.name: span for span in backend.spans if span.trace_id == trace_id}
                accept = found.get("accept")
                return found if accept is not None and (attribute(accept, "sluice.outcome") == "unmatched" or "POST" in found) else None

            found = eventually("the event's spans", spans)
            assert found["accept"].parent_span_id == context.span_id.to_bytes(8, "big"), found["accept"]
            if "POST" not in found:
                return None
            deliver, post = found["deliver"], found["POST"]
            assert deliver.parent_span_id == found["accept"].span_id and post.parent_span_id == deliver.span_id
            expected = f"00-{trace_id.hex()}-{post.span_id.hex()}-01"
            assert any(headers.get("traceparent") == expected for headers in Endpoint.received), Endpoint.received
            return True

        eventually(f"a delivery, {how.__name__}", delivered)
    eventually("the metrics", lambda: backend.counters.get("sluice.attempts", 0) == len(Endpoint.received))


def main():
    backend = Backend()
    endpoint = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=endpoint.serve_forever, daemon=True).start()
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.port}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_LOGS_EXPORTER": "none",
    }
    allowed = ["--insecure-open", "--allow-http", "--allow-private-destinations", "--log", "error", "--listen", "127.0.0.1:0"]
    allowed += ["--allow-port", str(endpoint.server_port)]
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        try:
            process, control_plane = start([sys.argv[1], *allowed, "--data-dir", f"{folder}/control-plane"], environment)
            processes.append(process)
            of_node = ["--data-dir", f"{folder}/node", "--control-plane", f"http://{control_plane}"]
            process, node = start([sys.argv[2], *allowed, *of_node], environment)
            processes.append(process)
            exercise(control_plane, node, backend, endpoint.server_port)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()
                process.stdout.close()
            backend.server.stop(None)
    print("a Python producer's spans are the parents of its deliveries")


if __name__ == "__main__":
    main()
