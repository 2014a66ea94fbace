"""An emulated Azure on loopback: Resource Manager (groups, machines with their interfaces, addresses and disks, networks, firewalls, quotas,
machine types, permissions), tokens, Cost Management, ComputeSchedule and the Retail Prices API. Requests are checked against Microsoft's own
models (azure_models.py). What there is: azure_cloud.py; the account, quotas and money: azure_account.py.

    python emulators/azure.py PORT        # 0: picks one; says `listening on http://127.0.0.1:PORT` when ready

What goes wrong, and the log: rules.py. A call is named by its method and the last type in its path (`PUT virtualMachines`); the operation
that a call begins is `operation PUT virtualMachines`, so a rule can let the call be accepted and fail later. Beside what rules.py and all
emulated clouds have:

POST /_x/limit     {"region", "name", "limit"}: a quota
POST /_x/allow     {"actions": [...]}: what the credentials' role allows
POST /_x/defer     {"name", "seconds"}: how long operations of a call take from now on (PUT virtualMachines and so on); 0.1 s otherwise

With NVBIND_EMULATED_MACHINES=DIR every machine is a real one (machines.py); without, addresses are of 192.0.2.0/24.
"""
import json
import re
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import azure_models
from azure_account import Refusal
from azure_cloud import Cloud

CLOUD = Cloud()


def refusal_body(code, message):
    return {"error": {"code": code, "message": message}}


class Request:
    def __init__(self, method, path, query, headers, body):
        self.method, self.path, self.query, self.headers, self.body = method, path.rstrip("/"), query, headers, body
        self.parts = {}
        self.call = f"{method} {self.last_type()}"
        self.place = self.find_place()

    def last_type(self):
        if self.path.endswith("/oauth2/v2.0/token"):
            return "token"
        parts = self.path.strip("/").split("/")
        if "providers" in parts:
            parts = parts[parts.index("providers") + 1 :]
            if parts[0].lower() == "microsoft.compute" and "operations" in parts:
                return "operations"
            # Namespace, then type, name, type, name.
            return "providers" if len(parts) == 1 else parts[-1] if len(parts) % 2 == 0 else parts[-2]
        return parts[-1] if len(parts) % 2 else parts[-2]

    def find_place(self):
        body = self.body if isinstance(self.body, dict) else {}
        properties = body.get("properties") if isinstance(body.get("properties"), dict) else {}
        location = re.search(r"/locations/([^/]+)", self.path)
        filtered = re.search(r"(?:location|armRegionName) eq '([^']+)'", self.query.get("$filter", [""])[0])
        known = CLOUD.things.get(self.path.lower()) or CLOUD.groups.get(self.path.lower()) or {}
        region = body.get("location") or (location and location[1]) or (filtered and filtered[1]) or known.get("location")
        place = {"region": region, "zone": (body.get("zones") or known.get("zones") or [None])[0]}
        size = properties or known.get("properties") or {}
        if "hardwareProfile" in size:
            place |= {"type": size["hardwareProfile"]["vmSize"], "market": "spot" if size.get("priority") == "Spot" else "on-demand"}
        return place


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        url = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if url.path.startswith("/_x/"):
            status, text = CLOUD.control(self.command, url.path, raw)
            return self.answer(status, text.encode(), {})
        is_form = "urlencoded" in self.headers.get("content-type", "")
        try:
            body = parse_qs(raw.decode()) if is_form else json.loads(raw) if raw.strip() else None
        except ValueError:
            return self.refuse(400, "InvalidRequestContent", "The request content was invalid and could not be deserialized.", None)
        request = Request(self.command, url.path, parse_qs(url.query, keep_blank_values=True), self.headers, body)
        if self.is_ruled("before", request):
            return None
        try:
            status, out, headers = self.act(request)
        except Refusal as refusal:
            status, out, headers = refusal.status, refusal_body(refusal.code, refusal.message), {}
        if self.is_ruled("after", request):
            return None
        CLOUD.rules.record(request.call, status, **request.place)
        self.answer(status, b"" if out is None else json.dumps(out).encode(), headers)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

    def act(self, request):
        if request.call == "POST token":
            with CLOUD.lock:
                return *CLOUD.token(request.body), {}
        found = azure_models.route(request.method, request.path)
        is_open = found and found[0] == "prices"
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        if not is_open and token not in CLOUD.tokens:
            raise Refusal(401, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing or invalid.")
        with CLOUD.lock:
            CLOUD.settle()
            if request.call == "GET operations":
                return self.operation(request)
            if not found:
                raise Refusal(404, "InvalidResourceType", f"no route {request.method} {request.path}")
            name, request.parts, version, known_query = found
            # The links to further pages carry a token of the list's own.
            faults = azure_models.faults(name, {key: value for key, value in request.query.items() if key != "$skiptoken"}, version, known_query, request.body)
            if faults:
                raise Refusal(400, "InvalidParameter", "; ".join(faults))
            return getattr(CLOUD, name)(request)

    def operation(self, request):
        operation = CLOUD.operations.get(request.path.rsplit("/", 1)[1])
        if operation is None:
            raise Refusal(404, "NotFound", "no such operation")
        if operation["done_at"] > time.time():
            return 200, {"status": "InProgress"}, {"Retry-After": "10"}
        return 200, {"status": "Failed", "error": operation["error"]} if operation["error"] else {"status": "Succeeded"}, {}

    def is_ruled(self, when, request):
        rule = CLOUD.rules.hit(when, request.call, **request.place)
        if rule is None:
            return False
        if rule["do"] == "drop":
            CLOUD.rules.record(request.call, None, **request.place)
            self.close_connection = True
            self.connection.close()
        else:
            self.refuse(rule["status"], rule["code"], rule.get("message", ""), request, rule.get("retry_after"))
        return True

    def refuse(self, status, code, message, request, retry_after=None):
        if request:
            CLOUD.rules.record(request.call, status, **request.place)
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self.answer(status, json.dumps(refusal_body(code, message)).encode(), headers)

    def answer(self, status, body, headers):
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), "x-ms-request-id": str(uuid.uuid4()), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Handler)
    server.daemon_threads = True
    print(f"listening on http://127.0.0.1:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
