#!/usr/bin/env python3
"""AWS on loopback: moto's EC2 and STS, and what moto lacks for renting machines.

    aws.py PORT        0 picks a port; `listening on http://127.0.0.1:PORT` tells that it is ready

Beside moto: ClientToken as EC2 has it, states that change with time, zones that do not sell a type, vCPU quotas that are enforced, requests
for spot machines, security groups that are in use, prices (pricing GetProducts, spot by zone), Service Quotas, the parameters of NVIDIA's
images, a bill by tag. Rules and log: rules.py. Further control:

GET  /_x/machines, /_x/everything   what is not gone
POST /_x/kill       {"id"}                    the machine dies silently
POST /_x/interrupt  {"id", "seconds"}         a spot machine is warned now and taken back after that
POST /_x/quota      {"region", "code", "value"}

Environment: NVBIND_EMULATED_PENDING_SECONDS (0.3) until a machine runs, NVBIND_EMULATED_INVISIBLE_SECONDS (0) for which a new machine is shown by no
call but its own, NVBIND_EMULATED_MACHINES=DIR boots a real machine for each instance (machines.py).
"""
import base64
import io
import itertools
import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import moto.ec2.models.instances as instances
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

sys.path.insert(0, str(Path(__file__).parent))
from aws_money import IMAGES, JSON_CALLS, QUOTA_VALUES, REGIONS, check_quota, on_demand_usd, spot_prices, spot_usd, zones_selling  # noqa: E402
from aws_state import (  # noqa: E402
    PENDING_SECONDS, REAL, REQUEST_ID, Fault, SpotRequest, advance, all_backends, all_instances, asking, ec2_answer, market_of, set_state, tags_of,
)  # fmt: skip
from rules import Rules  # noqa: E402

SMALLEST_DISK_GIB = 35
RULES = Rules()
MOTO = DomainDispatcherApplication(create_backend_app)
# moto is not made for threads: one call at a time. Rules wait outside.
LOCK = threading.RLock()
TOKENS = {}


# --- launches -------------------------------------------------------------------------------------------------------


def images_of(backend):
    """NVIDIA's images, put among those of moto when they are first asked for."""
    for (arch, driver), image in IMAGES.items():
        if image in backend.amis:
            continue
        made = backend.register_image(f"Deep Learning Base {driver} Nvidia Driver GPU AMI (Ubuntu 22.04) {arch}", "")
        backend.amis.pop(made.id)
        made.id, made.architecture, made.root_device_name, made.owner_id = image, arch, "/dev/sda1", "898082745236"
        backend.amis[image] = made
    return backend.amis


def placed(form, region):
    """The call with a zone that sells the type, as EC2 picks one itself."""
    kind, zone = form.get("InstanceType"), form.get("Placement.AvailabilityZone")
    subnet = form.get("NetworkInterface.1.SubnetId") or form.get("SubnetId")
    if subnet:
        zone = ec2_backends[DEFAULT_ACCOUNT_ID][region].get_subnet(subnet).availability_zone
    if kind not in INSTANCE_TYPES:
        raise Fault(400, "InvalidParameterValue", f"Invalid value '{kind}' for InstanceType.")
    zones = zones_selling(kind, region)
    if not zones or (zone and zone not in zones):
        where = f"Availability Zone ({zone})" if zone else f"region ({region})"
        raise Fault(400, "Unsupported", f"Your requested instance type ({kind}) is not supported in your requested {where}.")
    return {**form, "Placement.AvailabilityZone": zone or zones[0]}


def run_instances(env, form, region):
    """RunInstances with its token: the same call gives the same machine."""
    token, call = form.get("ClientToken"), json.dumps(sorted(form.items()))
    known = TOKENS.get((region, token))
    if known is not None and known["call"] != call:
        raise Fault(400, "IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
    if known is not None:
        if known["instance"].state in ("shutting-down", "terminated"):
            raise Fault(400, "IdempotentInstanceTerminated", "The client token you have provided is associated with a terminated instance. Please use a different client token.")
        return known["answer"]
    market = "spot" if form.get("InstanceMarketOptions.MarketType") == "spot" else "on-demand"
    form = placed(form, region)
    check_image(form, region)
    check_parts(form, region)
    if form.get("DryRun") != "true":
        check_quota(form["InstanceType"], market, region)
    before = {instance.id for instance in all_instances(region)}
    answer = to_moto(env, form)
    new = [instance for instance in all_instances(region) if instance.id not in before]
    if not answer[0].startswith("200") or len(new) != 1:
        return answer
    instance = new[0]
    begin(instance, form, region, market)
    # moto wrote it as running and knows of no request.
    body = answer[2].replace(b"<code>16</code>", b"<code>0</code>").replace(b"<name>running</name>", b"<name>pending</name>")
    if market == "spot":
        request = f"<spotInstanceRequestId>{instance.spot_instance_request_id}</spotInstanceRequestId>"
        body = re.sub(rb"(<instanceId>)", request.encode() + rb"\1", body, count=1)
    answer = (answer[0], answer[1], body)
    if token:
        TOKENS[(region, token)] = {"call": call, "instance": instance, "answer": answer}
    return answer


def check_image(form, region):
    image = form.get("ImageId", "")
    if image not in images_of(ec2_backends[DEFAULT_ACCOUNT_ID][region]):
        raise Fault(400, "InvalidAMIID.NotFound", f"The image id '[{image}]' does not exist")
    size = int(form.get("BlockDeviceMapping.1.Ebs.VolumeSize", SMALLEST_DISK_GIB))
    if image in IMAGES.values() and size < SMALLEST_DISK_GIB:
        raise Fault(400, "InvalidBlockDeviceMapping", f"Volume of size {size}GB is smaller than snapshot 'snap-0', expect size >= {SMALLEST_DISK_GIB}GB")


def check_parts(form, region):
    """moto makes up a group that is not there, and asks for no key."""
    backend = ec2_backends[DEFAULT_ACCOUNT_ID][region]
    for name, value in form.items():
        if ".SecurityGroupId." in name and backend.get_security_group_from_id(value) is None:
            raise Fault(400, "InvalidGroup.NotFound", f"The security group '{value}' does not exist")
    if form.get("KeyName") and form["KeyName"] not in backend.key_pairs:
        raise Fault(400, "InvalidKeyPair.NotFound", f"The key pair '{form['KeyName']}' does not exist")


def regions(*_):
    """Those that this account has enabled; moto takes long to set up each that it is asked about."""
    items = "".join(f"<item><regionName>{name}</regionName><optInStatus>opt-in-not-required</optInStatus></item>" for name in REGIONS)
    return ec2_answer("DescribeRegions", f"<regionInfo>{items}</regionInfo>")


def begin(instance, form, region, market):
    """A machine that moto has just made: it starts, and on spot has its request."""
    instance.launched, instance.due = time.time(), None
    zone = instance.placement.zone
    usd = spot_usd(instance.instance_type, region, zone) if market == "spot" else on_demand_usd(instance.instance_type, region)
    instance.usd_h = usd or 1.0
    instance.wanted_tags = tag_specification(form)
    for nic in instance.nics.values():
        nic.add_tags(instance.wanted_tags.get("network-interface", {}))
    if market == "spot":
        backend = ec2_backends[DEFAULT_ACCOUNT_ID][region]
        request = SpotRequest(backend, instance, instance.wanted_tags.get("spot-instances-request", {}))
        backend.spot_instance_requests[request.id] = request
        instance.spot_instance_request_id = request.id
    set_state(instance, "pending", 0, PENDING_SECONDS)
    if REAL["machines"] is not None:
        instance.is_booted = False
        threading.Thread(target=boot, args=(instance,)).start()


def boot(instance):
    key = instance.ec2_backend.key_pairs.get(instance.key_name)
    user = re.search(r"^user=(\S+)$", user_data(instance), re.MULTILINE)
    public_key = key.material_public.decode() if key else ""
    address = REAL["machines"].boot(instance.id, public_key, user[1] if user else "ubuntu", "aws")
    for nic in instance.nics.values():
        nic.public_ip = address
    instance.is_booted = True


def user_data(instance):
    return base64.b64decode(str(instance.user_data or "")).decode("utf-8", "replace")


def tag_specification(form):
    tags = {}
    for key, kind in form.items():
        match = re.fullmatch(r"TagSpecification\.(\d+)\.ResourceType", key)
        for number in itertools.count(1) if match else ():
            name = form.get(f"TagSpecification.{match[1]}.Tag.{number}.Key")
            if name is None:
                break
            tags.setdefault(kind, {})[name] = form.get(f"TagSpecification.{match[1]}.Tag.{number}.Value", "")
    return tags


def delete_security_group(env, form, region):
    """As EC2: not while a machine that is not gone uses it."""
    group = form.get("GroupId")
    users = [i for i in all_instances(region) if i.state != "terminated" and group in used_groups(i)]
    if users:
        raise Fault(400, "DependencyViolation", f"resource {group} has a dependent object")
    return to_moto(env, form)


def used_groups(instance):
    groups = getattr(instance, "groups_at_start", None)
    if groups is None:
        groups = [group.id for group in instance.security_groups]
        groups += [group.id for nic in instance.nics.values() for group in nic.group_set]
        instance.groups_at_start = groups
    return groups


def cancel_spot(env, form, region):
    for key, request in form.items():
        if key.startswith("SpotInstanceRequestId.") and request not in ec2_backends[DEFAULT_ACCOUNT_ID][region].spot_instance_requests:
            raise Fault(400, "InvalidSpotInstanceRequestID.NotFound", f"The spot instance request ID '{request}' does not exist")
    return to_moto(env, form)


def delete_key(env, form, region):
    """By id as well, which moto does not know."""
    keys = ec2_backends[DEFAULT_ACCOUNT_ID][region].key_pairs.values()
    named = next((key.key_name for key in keys if key.id == form.get("KeyPairId")), None)
    return to_moto(env, {**form, "KeyName": named} if named else form)


def describe_images(env, form, region):
    images_of(ec2_backends[DEFAULT_ACCOUNT_ID][region])
    status, headers, body = to_moto(env, form)
    # moto says 15 of every image.
    return status, headers, body.replace(b"<volumeSize>15<", f"<volumeSize>{SMALLEST_DISK_GIB}<".encode())


EC2_CALLS = {
    "RunInstances": run_instances,
    "DeleteSecurityGroup": delete_security_group,
    "CancelSpotInstanceRequests": cancel_spot,
    "DeleteKeyPair": delete_key,
    "DescribeRegions": regions,
    "DescribeImages": describe_images,
    "DescribeSpotPriceHistory": lambda _env, form, region: spot_prices(form, region),
}


# --- control --------------------------------------------------------------------------------------------------------


def machines():
    advance()
    for region, backend in all_backends():
        for reservation in list(backend.reservations.values()):
            for instance in reservation.instances:
                if instance.state != "terminated":
                    yield machine(region, instance)


def machine(region, instance):
    tags = tags_of(instance)
    return {
        "id": instance.id, "name": tags.get("Name", ""), "region": region, "zone": instance.placement.zone, "type": instance.instance_type,
        "market": market_of(instance), "state": instance.state, "address": instance.public_ip, "tags": tags, "token": instance.client_token,
        "image": instance.image_id, "user_data": user_data(instance), "shutdown": instance.instance_initiated_shutdown_behavior,
        "imds": instance.metadata_options.http_tokens, "disk_gib": [block.size for block in instance.block_device_mapping.values()],
    }  # fmt: skip


def everything():
    found = [{"kind": "machine", **each} for each in machines()]
    for region, backend in all_backends():
        things = [("disk", each) for each in backend.volumes.values()]
        things += [("key", each) for each in backend.key_pairs.values()]
        things += [("firewall", each) for groups in backend.groups.values() for each in groups.values() if each.name != "default"]
        things += [("address", each) for each in backend.addresses]
        things += [("network-interface", each) for each in backend.enis.values()]
        things += [("spot-request", each) for each in backend.spot_instance_requests.values()]
        for kind, each in things:
            rules = {"rules": rules_of(each)} if kind == "firewall" else {}
            found.append({"kind": kind, "id": getattr(each, "id", None), "region": region, "tags": tags_of(each), **rules})
    return found


def rules_of(group):
    """Who may come in: protocol, port, networks, groups."""
    return [[rule.ip_protocol, rule.from_port, rule.ip_range.get("CidrIp", ""), bool(rule.source_group)] for rule in group.ingress_rules]


def instance_named(name):
    found = next((instance for instance in all_instances() if instance.id == name), None)
    if found is None:
        raise Fault(404, "NotFound", name)
    return found


def end(instance, code, message):
    instance.terminate()
    instance.state_reason = instances.StateReason(message, code)
    set_state(instance, "terminated", 48, 0)
    instance.due = None


def interrupt(instance, seconds):
    if REAL["machines"] is not None:
        REAL["machines"].interrupt(instance.id, seconds)

    def take_back():
        with LOCK:
            end(instance, "Server.SpotInstanceTermination", "Server.SpotInstanceTermination: Instance terminated due to capacity")

    timer = threading.Timer(seconds, take_back)
    timer.daemon = True
    timer.start()


def control(method, path, raw):
    body = json.loads(raw or b"{}")
    if path == "/_x/machines":
        return list(machines())
    if path == "/_x/everything":
        return everything()
    if path == "/_x/kill":
        end(instance_named(body["id"]), "Server.InternalError", "Server.InternalError: Internal error on the host")
        return {}
    if path == "/_x/interrupt":
        interrupt(instance_named(body["id"]), body["seconds"])
        return {}
    if path == "/_x/quota":
        QUOTA_VALUES[(body["region"], body["code"])] = float(body["value"])
        return {}
    raise Fault(404, "NotFound", f"{method} {path}")


# --- the wire -------------------------------------------------------------------------------------------------------



def to_moto(env, form=None):
    """moto's answer to a call: status, headers, body."""
    got = {}
    env = dict(env)
    if form is not None:
        body = urlencode(form).encode()
        env["CONTENT_LENGTH"], env["wsgi.input"] = str(len(body)), io.BytesIO(body)

    def start(status, headers, _info=None):
        got.update(status=status, headers=headers)

    body = b"".join(MOTO(env, start))
    headers = [(key, value) for key, value in got["headers"] if key.lower() != "content-length"]
    return got["status"], headers, body


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def fault_answer(fault, service, extra=()):
    headers = [("Content-Type", "text/xml;charset=UTF-8"), ("x-amzn-requestid", REQUEST_ID), *extra]
    code, message = fault.code, escaped(fault.message)
    if service == "json":
        body = json.dumps({"__type": code, "message": fault.message})
        headers = [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-RequestId", REQUEST_ID), *extra]
    elif service == "sts":
        body = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
    else:
        body = f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>{REQUEST_ID}</RequestID></Response>"
    return f"{fault.status} {code}", headers, body.encode()


def region_of(env):
    match = re.search(r"Credential=[^/]+/\d+/([^/]+)/", env.get("HTTP_AUTHORIZATION", ""))
    return match[1] if match else "us-east-1"


def understood(env, raw):
    """What is asked for: the operation, its fields, how its errors look."""
    target = env.get("HTTP_X_AMZ_TARGET", "")
    if target:
        return target.rpartition(".")[2], json.loads(raw or b"{}"), "json"
    form = dict(parse_qsl(raw.decode("latin1"), keep_blank_values=True)) if b"Action=" in raw else {}
    return form.get("Action", "?"), form, "sts" if form.get("Version") == "2011-06-15" else "ec2"


def answer(env, call, fields, service, region):
    if service == "json" and call in JSON_CALLS:
        body = json.dumps(JSON_CALLS[call](fields, region)).encode()
        return "200 OK", [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-RequestId", REQUEST_ID)], body
    with LOCK:
        advance()
        if call in EC2_CALLS:
            return EC2_CALLS[call](env, fields, region)
        asking.is_blind = call.startswith("Describe") or call.startswith("Terminate")
        try:
            return to_moto(env)
        finally:
            asking.is_blind = False


def refused(rule):
    retry = [("Retry-After", str(rule["retry_after"]))] if "retry_after" in rule else []
    return Fault(rule.get("status", 500), rule.get("code", "InternalError"), rule.get("message", "")), retry


def served(env, raw):
    """The whole of an AWS call: rules, operation, log. None: the connection is cut."""
    call, fields, service = understood(env, raw)
    region = region_of(env)
    place = {"region": region}
    if call == "RunInstances":
        place["type"] = fields.get("InstanceType")
        place["zone"] = fields.get("Placement.AvailabilityZone")
        place["market"] = "spot" if fields.get("InstanceMarketOptions.MarketType") == "spot" else "on-demand"
    done = None
    for when in ("before", "after"):
        rule = RULES.hit(when, call, **place)
        if rule is not None:
            if rule["do"] == "drop":
                RULES.record(call, 0, **place)
                return None
            done = fault_answer(refused(rule)[0], service, refused(rule)[1])
            break
        if when == "before":
            try:
                done = answer(env, call, fields, service, region)
            except Fault as fault:
                done = fault_answer(fault, service)
    RULES.record(call, int(done[0].split()[0]), **place)
    return done


def controlled(env, raw):
    path, method = env["PATH_INFO"], env["REQUEST_METHOD"]
    known = RULES.control(method, path, raw)
    json_type = [("Content-Type", "application/json")]
    if known is not None:
        return f"{known[0]} OK", json_type, known[1].encode()
    try:
        with LOCK:
            return "200 OK", json_type, json.dumps(control(method, path, raw)).encode()
    except Fault as fault:
        return f"{fault.status} {fault.code}", json_type, json.dumps({"error": fault.message}).encode()


def application(env, start_response):
    raw = env["wsgi.input"].read(int(env.get("CONTENT_LENGTH") or 0))
    env["wsgi.input"] = io.BytesIO(raw)
    done = controlled(env, raw) if env["PATH_INFO"].startswith("/_x/") else served(env, raw)
    if done is None:
        env["werkzeug.socket"].shutdown(2)
        start_response("200 OK", [])
        return []
    status, headers, body = done
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


def main():
    if os.environ.get("NVBIND_EMULATED_MACHINES"):
        from machines import Machines

        REAL["machines"] = Machines(os.environ["NVBIND_EMULATED_MACHINES"])

    def stop(*_):
        if REAL["machines"] is not None:
            REAL["machines"].close()
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # moto loads what an operation needs when it is first asked for.
    warm = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "HTTP_HOST": "127.0.0.1",
            "CONTENT_TYPE": "application/x-www-form-urlencoded", "HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/ec2/aws4_request"}  # fmt: skip
    to_moto(warm, {"Action": "DescribeInstances", "Version": "2016-11-15"})
    server = make_server("127.0.0.1", int(sys.argv[1]), application, threaded=True, request_handler=Quiet)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
