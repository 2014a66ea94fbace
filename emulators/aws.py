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
import csv
import datetime
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

from werkzeug.serving import WSGIRequestHandler, make_server

import moto.ec2.models.elastic_network_interfaces as interfaces
import moto.ec2.models.instances as instances
import moto.ec2.utils as ec2_utils
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES
from moto.ec2.models.spot_requests import SpotInstanceRequest
from moto.ec2.utils import random_spot_request_id
from moto.server import DomainDispatcherApplication, create_backend_app

sys.path.insert(0, str(Path(__file__).parent))
from rules import Rules  # noqa: E402

PENDING_SECONDS = float(os.environ.get("NVBIND_EMULATED_PENDING_SECONDS", "0.3"))
INVISIBLE_SECONDS = float(os.environ.get("NVBIND_EMULATED_INVISIBLE_SECONDS", "0"))
STOPPING_SECONDS = 0.2
CATALOG = Path(__file__).parent / "../crates/nvbind-cloud/src/catalog/instances.csv"

RULES = Rules()
MOTO = DomainDispatcherApplication(create_backend_app)
# moto is not made for threads: one call at a time. Rules wait outside.
LOCK = threading.RLock()
TOKENS = {}
MACHINES = None
ADDRESSES = (f"192.0.2.{number}" for number in itertools.cycle(range(1, 255)))

# Quotas as Service Quotas lists them: code, name, market, families that count, vCPUs.
QUOTAS = [
    ("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", "on-demand", (), 640.0),
    ("L-417A185B", "Running On-Demand P instances", "on-demand", ("p",), 4000.0),
    ("L-DB2E81BA", "Running On-Demand G and VT instances", "on-demand", ("g", "vt"), 4000.0),
    ("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", "spot", (), 640.0),
    ("L-3819A6DF", "All G and VT Spot Instance Requests", "spot", ("g", "vt"), 4000.0),
    ("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests", "spot", ("p4", "p3", "p2"), 4000.0),
    ("L-C4BD4855", "All P5 Spot Instance Requests", "spot", ("p5",), 4000.0),
]
QUOTA_VALUES = {}
IMAGES = {
    ("x86_64", "oss"): "ami-0a11ce00000000001",
    ("arm64", "oss"): "ami-0a11ce00000000002",
    ("x86_64", "proprietary"): "ami-0a11ce00000000003",
}
SMALLEST_DISK_GIB = 35


class Fault(Exception):
    """An error answer."""

    def __init__(self, status, code, message):
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


# --- machines with states that change with time ---------------------------------------------------------------------


def all_backends():
    return [(region, backend) for region, backend in list(ec2_backends[DEFAULT_ACCOUNT_ID].items())]


def all_instances(region=None):
    for name, backend in all_backends():
        for reservation in list(backend.reservations.values()):
            for instance in reservation.instances:
                if region in (None, name):
                    yield instance


def advance():
    """Lets time have its effect."""
    now = time.time()
    for instance in all_instances():
        due = getattr(instance, "due", None)
        if due is None or now < due or not getattr(instance, "is_booted", True):
            continue
        name, code = {"pending": ("running", 16), "shutting-down": ("terminated", 48)}[instance.state]
        instance._state.name, instance._state.code, instance.due = name, code, None


def set_state(instance, name, code, seconds):
    instance._state.name, instance._state.code, instance.due = name, code, time.time() + seconds


moto_terminate = instances.Instance.terminate


def terminate(self):
    if self.state in ("shutting-down", "terminated"):
        return type("State", (), {"name": self.state, "code": self.state_code})()
    before = moto_terminate(self)
    set_state(self, "shutting-down", 32, STOPPING_SECONDS)
    self.ended = time.time()
    self.ec2_backend.spot_instance_requests.pop(getattr(self, "spot_instance_request_id", None), None)
    if MACHINES is not None:
        threading.Thread(target=MACHINES.kill, args=(self.id,)).start()
    return before


moto_reservations = instances.InstanceBackend.all_reservations
asking = threading.local()


def all_reservations(self, *args, **kwargs):
    found = moto_reservations(self, *args, **kwargs)
    if not getattr(asking, "is_blind", False) or INVISIBLE_SECONDS == 0:
        return found
    youngest = time.time() - INVISIBLE_SECONDS
    return [each for each in found if all(getattr(i, "launched", 0) < youngest for i in each.instances)]


instances.Instance.terminate = terminate
instances.InstanceBackend.all_reservations = all_reservations
interfaces.random_public_ip = lambda: next(ADDRESSES)
ec2_utils.filter_dict_attribute_mapping["client-token"] = "client_token"


class SpotRequest(SpotInstanceRequest):
    """A request that already has its machine."""

    __module__ = SpotInstanceRequest.__module__  # moto takes the service's name out of it

    def __init__(self, backend, instance, tags):
        self.made_for = instance
        super().__init__(
            backend, random_spot_request_id(), "", instance.image_id, "one-time", None, None, None, None, instance.key_name, [], None,
            instance.instance_type, instance.placement.zone, None, None, False, None, {"spot-instances-request": tags}, None, "terminate",
        )

    def launch_instance(self):
        return self.made_for


# --- prices ---------------------------------------------------------------------------------------------------------


def read_catalog():
    with open(CATALOG, newline="", encoding="utf-8") as file:
        return {row["instance_type"]: row for row in csv.DictReader(file) if row["provider"] == "aws"}


CATALOG_ROWS = read_catalog()


def on_demand_usd(kind, region):
    row = CATALOG_ROWS.get(kind)
    if row is None or not row["on_demand_usd_h"]:
        return None
    return round(float(row["on_demand_usd_h"]) * (1.0 if region == row["on_demand_region"] else 1.1), 4)


def zones_selling(kind, region):
    offers = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, [])
    return sorted(offer["Location"] for offer in offers if offer["InstanceType"] == kind)


def spot_usd(kind, region, zone):
    """By zone a little dearer; the last of several zones has no capacity, which AWS shows as the price on demand."""
    demand = on_demand_usd(kind, region)
    row = CATALOG_ROWS.get(kind)
    if demand is None and not (row and row["spot_low_usd_h"]):
        return None
    zones = zones_selling(kind, region)
    if demand is not None and len(zones) > 1 and zone == zones[-1]:
        return demand
    low = float(row["spot_low_usd_h"]) if row["spot_low_usd_h"] else demand * 0.4
    return round(low * (1 + 0.05 * zones.index(zone)), 4)


def spot_prices(form, region):
    wanted = [value for key, value in form.items() if key.startswith("InstanceType.")]
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    items = []
    for kind in wanted or CATALOG_ROWS:
        for zone in zones_selling(kind, region):
            usd = spot_usd(kind, region, zone)
            if usd is not None:
                items.append(
                    f"<item><instanceType>{kind}</instanceType><productDescription>Linux/UNIX</productDescription><spotPrice>{usd:.6f}</spotPrice>"
                    f"<timestamp>{now}</timestamp><availabilityZone>{zone}</availabilityZone></item>"
                )
    start = int(form.get("NextToken") or 0)
    more = f"<nextToken>{start + 50}</nextToken>" if len(items) > start + 50 else "<nextToken/>"
    return ec2_answer("DescribeSpotPriceHistory", f"<spotPriceHistorySet>{''.join(items[start:start + 50])}</spotPriceHistorySet>{more}")


def products():
    """Rows of the price list: what is wanted among what is not."""
    variants = [
        {"operatingSystem": "Linux", "tenancy": "Shared", "capacitystatus": "Used", "preInstalledSw": "NA"},
        {"operatingSystem": "Windows", "tenancy": "Shared", "capacitystatus": "Used", "preInstalledSw": "NA"},
        {"operatingSystem": "Linux", "tenancy": "Dedicated", "capacitystatus": "Used", "preInstalledSw": "NA"},
        {"operatingSystem": "Linux", "tenancy": "Shared", "capacitystatus": "UnusedCapacityReservation", "preInstalledSw": "NA"},
        {"operatingSystem": "Linux", "tenancy": "Shared", "capacitystatus": "Used", "preInstalledSw": "SQL Std"},
    ]
    for kind in CATALOG_ROWS:
        for region in ("us-east-1", "us-west-2", "eu-central-1"):
            usd = on_demand_usd(kind, region)
            if usd is None:
                continue
            for number, variant in enumerate(variants):
                attributes = {"instanceType": kind, "regionCode": region, "marketoption": "OnDemand", **variant}
                yield {**attributes, "servicecode": "AmazonEC2"}, usd * (1 + number)


def get_products(body, _region):
    wanted = {each["Field"]: each["Value"] for each in body.get("Filters", [])}
    found = [(attributes, usd) for attributes, usd in products() if all(attributes.get(key) == value for key, value in wanted.items())]
    start, count = int(body.get("NextToken") or 0), int(body.get("MaxResults") or 100)
    rows = []
    for number, (attributes, usd) in enumerate(found[start : start + count]):
        sku = f"SKU{start + number:08d}"
        price = {"unit": "Hrs", "pricePerUnit": {"USD": f"{usd:.10f}"}}
        term = {"sku": sku, "offerTermCode": "JRTCKXETXF", "priceDimensions": {f"{sku}.JRTCKXETXF.6YS6EN2CT7": price}}
        product = {"productFamily": "Compute Instance", "sku": sku, "attributes": attributes}
        rows.append(json.dumps({"product": product, "serviceCode": "AmazonEC2", "terms": {"OnDemand": {f"{sku}.JRTCKXETXF": term}}}))
    answer = {"FormatVersion": "aws_v1", "PriceList": rows}
    if len(found) > start + count:
        answer["NextToken"] = str(start + count)
    return answer


# --- quotas, images, the bill ---------------------------------------------------------------------------------------


def quota_of(kind, market):
    return next((row for row in QUOTAS if row[2] == market and any(kind.startswith(family) for family in row[3])), None)


def quota_value(region, row):
    return QUOTA_VALUES.get((region, row[0]), row[4])


def vcpus(kind):
    return INSTANCE_TYPES[kind]["VCpuInfo"]["DefaultVCpus"]


def market_of(instance):
    return "spot" if instance.lifecycle == "spot" else "on-demand"


def check_quota(kind, market, region):
    row = quota_of(kind, market)
    if row is None:
        return
    alive = [i for i in all_instances(region) if i.state in ("pending", "running") and quota_of(i.instance_type, market_of(i)) == row]
    limit = quota_value(region, row)
    if sum(vcpus(i.instance_type) for i in alive) + vcpus(kind) <= limit:
        return
    if market == "spot":
        raise Fault(400, "MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
    raise Fault(
        400,
        "VcpuLimitExceeded",
        f"You have requested more vCPU capacity than your current vCPU limit of {limit:.0f} allows for the instance bucket that the specified "
        "instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
    )


def list_quotas(body, region):
    rows = [
        {"ServiceCode": "ec2", "QuotaCode": row[0], "QuotaName": row[1], "Value": quota_value(region, row), "Unit": "None", "Adjustable": True}
        for row in QUOTAS
    ]
    start = int(body.get("NextToken") or 0)
    answer = {"Quotas": rows[start : start + 4]}
    if len(rows) > start + 4:
        answer["NextToken"] = str(start + 4)
    return answer


def get_parameter(body, _region):
    name = body.get("Name", "")
    match = re.fullmatch(r"/aws/service/deeplearning/ami/(x86_64|arm64)/base-(oss|proprietary)-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id", name)
    image = match and IMAGES.get((match[1], match[2]))
    if not image:
        raise Fault(400, "ParameterNotFound", "")
    return {"Parameter": {"Name": name, "Type": "String", "Value": image, "Version": 1}}


def get_cost(body, _region):
    """The bill: what each machine cost on each day of the period, by the deployment in its tag."""
    day = datetime.date.fromisoformat(body["TimePeriod"]["Start"])
    end = datetime.date.fromisoformat(body["TimePeriod"]["End"])
    if day >= end:
        raise Fault(400, "ValidationException", "Start date (and hour) should be before end date (and hour)")
    wanted = body["Filter"]["Tags"]
    results = []
    while day < end:
        begin = datetime.datetime.combine(day, datetime.time(), datetime.timezone.utc).timestamp()
        groups = {}
        for instance in all_instances():
            tags = tags_of(instance)
            seconds = min(getattr(instance, "ended", None) or time.time(), begin + 86400) - max(instance.launched, begin)
            if tags.get(wanted["Key"]) in wanted["Values"] and seconds > 0:
                key = body["GroupBy"][0]["Key"] + "$" + tags.get(body["GroupBy"][0]["Key"], "")
                groups[key] = groups.get(key, 0.0) + instance.usd_h * seconds / 3600
        results.append({
            "TimePeriod": {"Start": day.isoformat(), "End": (day + datetime.timedelta(1)).isoformat()},
            "Total": {},
            "Groups": [{"Keys": [key], "Metrics": {"UnblendedCost": {"Amount": str(usd), "Unit": "USD"}}} for key, usd in groups.items()],
            "Estimated": True,
        })
        day += datetime.timedelta(1)
    return {"ResultsByTime": results, "GroupDefinitions": body["GroupBy"], "DimensionValueAttributes": []}


JSON_CALLS = {
    "ListServiceQuotas": list_quotas,
    "GetProducts": get_products,
    "GetParameter": get_parameter,
    "GetCostAndUsage": get_cost,
}


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
    if MACHINES is not None:
        instance.is_booted = False
        threading.Thread(target=boot, args=(instance,)).start()


def boot(instance):
    key = instance.ec2_backend.key_pairs.get(instance.key_name)
    user = re.search(r"^user=(\S+)$", user_data(instance), re.MULTILINE)
    public_key = key.material_public.decode() if key else ""
    address = MACHINES.boot(instance.id, public_key, user[1] if user else "ubuntu", "aws")
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


def describe_images(env, form, region):
    images_of(ec2_backends[DEFAULT_ACCOUNT_ID][region])
    return to_moto(env, form)


EC2_CALLS = {
    "RunInstances": run_instances,
    "DeleteSecurityGroup": delete_security_group,
    "CancelSpotInstanceRequests": cancel_spot,
    "DescribeImages": describe_images,
    "DescribeSpotPriceHistory": lambda _env, form, region: spot_prices(form, region),
}


# --- control --------------------------------------------------------------------------------------------------------


def tags_of(thing):
    return {tag["key"]: tag["value"] for tag in thing.get_tags()}


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
        found += [{"kind": kind, "id": getattr(each, "id", None), "region": region, "tags": tags_of(each)} for kind, each in things]
    return found


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
    if MACHINES is not None:
        MACHINES.interrupt(instance.id, seconds)

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

REQUEST_ID = "11111111-2222-3333-4444-555555555555"


def ec2_answer(action, inside):
    body = f'<{action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>{REQUEST_ID}</requestId>{inside}</{action}Response>'
    return "200 OK", [("Content-Type", "text/xml;charset=UTF-8")], body.encode()


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
    headers = [("Content-Type", "text/xml;charset=UTF-8"), *extra]
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
    global MACHINES
    if os.environ.get("NVBIND_EMULATED_MACHINES"):
        from machines import Machines

        MACHINES = Machines(os.environ["NVBIND_EMULATED_MACHINES"])

    def stop(*_):
        if MACHINES is not None:
            MACHINES.close()
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
