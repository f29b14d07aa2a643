"""Independent clients, with nothing but what the servers tell of themselves by reflection: Python's grpcio, and `buf curl`.

    reflection.py CONTROL_PLANE_BINARY [BUF_BINARY]

Starts a control plane with API keys on a free port, reads its descriptors, and creates, lists, changes and deletes syncs.
"""

import base64
import json
import pathlib
import subprocess
import sys
import tempfile

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

PARENT = "projects/default"


class ReflectedService:
    """Calls methods of a service that is known by reflection alone; requests and answers are JSON objects."""

    def __init__(self, channel, database, name, key):
        pool = descriptor_pool.DescriptorPool(database)
        self.service = pool.FindServiceByName(name)
        self.channel, self.metadata = channel, [("authorization", f"Bearer {key}")]

    def call(self, method, request):
        descriptor = self.service.methods_by_name[method]
        message = json_format.ParseDict(request, message_factory.GetMessageClass(descriptor.input_type)())
        call = self.channel.unary_unary(
            f"/{self.service.full_name}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(descriptor.output_type).FromString,
        )
        answer = call(message, timeout=10, metadata=self.metadata)
        return json_format.MessageToDict(answer, preserving_proto_field_name=True)


class KeyedChannel(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Shows the key with what the reflection client asks."""

    def __init__(self, key):
        self.metadata = [("authorization", f"Bearer {key}")]

    def intercept_stream_stream(self, continuation, details, requests):
        return continuation(details._replace(metadata=self.metadata), requests)

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details._replace(metadata=self.metadata), request)


def exercise(address, key):
    channel = grpc.insecure_channel(address)
    database = ProtoReflectionDescriptorDatabase(grpc.intercept_channel(channel, KeyedChannel(key)))
    services = database.get_services()
    assert "sluice.sync.v1.SyncService" in services, services

    syncs = ReflectedService(channel, database, "sluice.sync.v1.SyncService", key)
    draft = {
        "enabled": True,
        "destination": {"url": "https://hooks.example.com/", "headers": [{"name": "Authorization", "secret": {"value": "marked"}}]},
        "events": {"filter": {"event_types": ["order"]}, "template": {"source": '{"user": "${input.user_id?json_string}"}'}},
    }
    for number in range(3):
        syncs.call("CreateSync", {"parent": PARENT, "sync_id": f"python-{number}", "sync": draft})
    pages, token = [], ""
    while True:
        page = syncs.call("ListSyncs", {"parent": PARENT, "page_size": 2, "page_token": token})
        pages.append([sync["name"] for sync in page["syncs"]])
        token = page.get("next_page_token", "")
        if not token:
            break
    assert pages == [[f"{PARENT}/syncs/python-0", f"{PARENT}/syncs/python-1"], [f"{PARENT}/syncs/python-2"]], pages

    name = f"{PARENT}/syncs/python-1"
    read = syncs.call("GetSync", {"name": name})
    assert read["destination"]["headers"][0]["secret"] == {"set": True}, read
    changed = {"sync": {"name": name, "display_name": "changed", "etag": read["etag"]}, "update_mask": "displayName"}
    updated = syncs.call("UpdateSync", changed)
    assert updated["display_name"] == "changed" and updated["destination"] == read["destination"], updated
    refused(grpc.StatusCode.ABORTED, lambda: syncs.call("UpdateSync", changed))
    event = {"name": name, "event_json": "eyJldmVudF90eXBlIjoib3JkZXIiLCJ1c2VyX2lkIjoidSJ9"}
    preview = syncs.call("PreviewSync", event)
    assert "marked" not in str(preview), preview
    syncs.call("DeleteSync", {"name": name})
    refused(grpc.StatusCode.NOT_FOUND, lambda: syncs.call("GetSync", {"name": name}))

    stranger = ReflectedService(channel, database, "sluice.sync.v1.SyncService", "sluice_" + "0" * 64)
    refused(grpc.StatusCode.UNAUTHENTICATED, lambda: stranger.call("ListSyncs", {"parent": PARENT}))


def exercise_buf(buf, address, key):
    """The same by `buf curl`, which speaks gRPC by another implementation (connect-go)."""

    def call(method, request):
        command = [buf, "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--reflect-protocol", "grpc-v1"]
        headers = ["--header", f"authorization: Bearer {key}", "--reflect-header", f"authorization: Bearer {key}"]
        url = f"http://{address}/sluice.sync.v1.SyncService/{method}"
        done = subprocess.run([*command, *headers, "--data", json.dumps(request), url], capture_output=True, text=True, timeout=30)
        return done.returncode, json.loads(done.stdout or done.stderr)

    name = f"{PARENT}/syncs/buf"
    draft = {"destination": {"url": "https://hooks.example.com/"}, "events": {"original": {}}}
    code, created = call("CreateSync", {"parent": PARENT, "syncId": "buf", "sync": draft})
    assert code == 0 and created["name"] == name, created
    code, page = call("ListSyncs", {"parent": PARENT})
    assert code == 0 and name in [sync["name"] for sync in page["syncs"]], page
    changed = {"sync": {"name": name, "displayName": "changed", "etag": created["etag"]}, "updateMask": "displayName"}
    code, updated = call("UpdateSync", changed)
    assert code == 0 and updated["displayName"] == "changed", updated
    code, error = call("UpdateSync", changed)
    assert code != 0 and error["code"] == "aborted", error
    code, error = call("CreateSync", {"parent": PARENT, "sync": {}})
    violations = next(detail for detail in error["details"] if detail["type"] == "google.rpc.BadRequest")
    assert code != 0 and b"destination" in base64.b64decode(violations["value"] + "=="), error
    assert call("DeleteSync", {"name": name})[0] == 0
    code, error = call("GetSync", {"name": name})
    assert code != 0 and error["code"] == "not_found", error


def refused(code, call):
    try:
        answer = call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        return
    raise AssertionError(f"{answer} instead of {code}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.argv[1], "--insecure-plaintext", "--listen", "127.0.0.1:0", "--data-dir", folder, "--log", "error"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                address = process.stdout.readline().strip().removeprefix("listening on ")
                key = pathlib.Path(folder, "admin.key").read_text().strip()
                exercise(address, key)
                if len(sys.argv) > 2:
                    exercise_buf(sys.argv[2], address, key)
            finally:
                process.terminate()
    clients = "grpcio and buf curl" if len(sys.argv) > 2 else "grpcio"
    print(f"{clients}, with reflection alone: created, paged, changed, previewed and deleted syncs")


main()
