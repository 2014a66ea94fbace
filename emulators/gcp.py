#!/usr/bin/env python3
"""Google Cloud on loopback: Compute Engine with every request checked against Google's discovery document, the price list of Cloud Billing
(checked, too), and the one answer of Cloud Quotas that nvbind asks for.

    gcp.py PORT        0 picks a port; `listening on http://127.0.0.1:PORT` tells that it is ready

Rules and log: rules.py, with one `when` more: `operation` has an instances.insert accepted, and its operation fail (with `"quota": {...}` as
`quotaInfo`, `"beside": [[code, message], ...]` for further errors). Further control:

GET  /_x/machines, /_x/everything   what is not gone
POST /_x/kill       {"id"}                               the host fails: the machine is TERMINATED, its disk stays
POST /_x/interrupt  {"id", "seconds", "action"}          a spot machine is warned now and taken back after that; by its own termination action
                                                         unless one is given (STOP, DELETE)
POST /_x/quota      {"region", "metric", "limit"}        region "" for GPUS_ALL_REGIONS

Environment: NVBIND_EMULATED_PENDING_SECONDS (0.1) until a machine runs or its order fails, NVBIND_EMULATED_INVISIBLE_SECONDS (0) for which lists over all zones do
not show a new machine, NVBIND_EMULATED_PAGE (500) items on a page, NVBIND_EMULATED_MACHINES=DIR boots a real machine for each instance (machines.py).

It knows one project, nvbind-test, and asks nobody who they are.
"""
import copy
import csv
import datetime
import heapq
import itertools
import json
import os
import re
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parent))
import gcp_prices  # noqa: E402
from discovery import Discovery  # noqa: E402
from rules import Rules  # noqa: E402

PROJECT = "nvbind-test"
HOME = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}"
CATALOG = Path(__file__).parent / "../crates/nvbind-cloud/src/catalog/instances.csv"
PENDING_SECONDS = float(os.environ.get("NVBIND_EMULATED_PENDING_SECONDS", "0.1"))
INVISIBLE_SECONDS = float(os.environ.get("NVBIND_EMULATED_INVISIBLE_SECONDS", "0"))
# How long every other operation takes.
OPERATION_SECONDS = 0.1
PAGE = int(os.environ.get("NVBIND_EMULATED_PAGE", "500"))

REGIONS = {"us-central1": "abcf", "us-east1": "bcd", "us-east4": "abc", "us-west1": "abc", "europe-west1": "bcd", "europe-west4": "abc",
           "asia-southeast1": "abc"}
ZONES = [f"{region}-{letter}" for region, letters in REGIONS.items() for letter in letters]
# What a zone does not have: all else is everywhere.
MISSING = [("us-central1-f", "a3-"), ("us-central1-f", "nvidia-h100"), ("us-east1-d", "nvidia-tesla-v100"), ("us-east1-b", "nvidia-tesla-v100"),
           ("us-west1-a", "n1-highmem-"), ("us-east4-a", "a2-"), ("us-east4-b", "a2-"), ("us-east4-c", "a2-")]
ATTACHABLE = ["nvidia-tesla-t4", "nvidia-tesla-v100", "nvidia-tesla-p100", "nvidia-tesla-p4"]
# How names of machine types begin, and what their GPUs are called.
BUNDLED = {"g2-": "nvidia-l4", "g4-": "nvidia-rtx-pro-6000", "a2-ultragpu-": "nvidia-a100-80gb", "a2-": "nvidia-tesla-a100",
           "a3-megagpu-": "nvidia-h100-mega-80gb", "a3-ultragpu-": "nvidia-h200-141gb", "a3-highgpu-": "nvidia-h100-80gb",
           "a4x-": "nvidia-gb200", "a4-": "nvidia-b200"}
HYPERDISK_ONLY = ("a3-ultragpu-", "a4-", "a4x-", "g4-", "c4-", "n4-")
METRICS = {"nvidia-tesla-t4": "NVIDIA_T4_GPUS", "nvidia-tesla-v100": "NVIDIA_V100_GPUS", "nvidia-tesla-p100": "NVIDIA_P100_GPUS",
           "nvidia-tesla-p4": "NVIDIA_P4_GPUS", "nvidia-l4": "NVIDIA_L4_GPUS", "nvidia-tesla-a100": "NVIDIA_A100_GPUS",
           "nvidia-a100-80gb": "NVIDIA_A100_80GB_GPUS"}
FAMILIES = {"nvidia-h100-80gb": "NVIDIA_H100", "nvidia-h100-mega-80gb": "NVIDIA_H100_MEGA", "nvidia-h200-141gb": "NVIDIA_H200",
            "nvidia-b200": "NVIDIA_B200", "nvidia-rtx-pro-6000": "NVIDIA_RTX_PRO_6000"}
IMAGES = {"projects/deeplearning-platform-release/global/images/family/common-cu129-ubuntu-2204-nvidia-580": 50,
          "projects/debian-cloud/global/images/family/debian-12": 10}
FAMILY_QUOTA = "GPUS-PER-GPU-FAMILY-per-project-region"
REASONS = {400: "invalid", 401: "authError", 403: "forbidden", 404: "notFound", 409: "alreadyExists", 429: "rateLimitExceeded", 503: "backendError"}

APIS = [Discovery("compute.v1"), Discovery("cloudbilling.v1")]
RULES = Rules()
LOCK = threading.RLock()
MACHINES = None
ADDRESSES = (f"192.0.2.{number}" for number in itertools.cycle(range(1, 255)))
INSIDE = (f"10.128.{number // 250}.{number % 250 + 2}" for number in itertools.count())
NUMBERS = itertools.count(4_000_000_000_000_000_000)

INSTANCES, DISKS, LOOSE_ADDRESSES, FIREWALLS, OPERATIONS, REQUESTS, LIMITS = {}, {}, {}, {}, {}, {}, {}
EVENTS = []


class Fault(Exception):
    """A refusal: HTTP status, reason, message."""

    def __init__(self, status, reason, message):
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


# --- time ------------------------------------------------------------------------------------------------------------------------------


def later(seconds, what, *arguments):
    heapq.heappush(EVENTS, (time.time() + seconds, next(NUMBERS), what, arguments))


def tick():
    """Does what is due."""
    with LOCK:
        while EVENTS and EVENTS[0][0] <= time.time():
            _, _, what, arguments = heapq.heappop(EVENTS)
            what(*arguments)


def keep_ticking():
    while True:
        time.sleep(0.02)
        tick()


def now():
    zone = datetime.timezone(datetime.timedelta(hours=-8))
    return datetime.datetime.now(zone).isoformat(timespec="milliseconds")


# --- operations ------------------------------------------------------------------------------------------------------------------------


def operation(kind, scope, target, seconds=OPERATION_SECONDS, done=None, fails=None):
    """A new operation that is done after so many seconds, and then calls `done` or fails with `fails`."""
    number = next(NUMBERS)
    name = f"operation-{number}"
    made = {"kind": "compute#operation", "id": str(number), "name": name, "operationType": kind, "status": "RUNNING", "progress": 0,
            "insertTime": now(), "startTime": now(), "user": "test@nvbind-test.iam.gserviceaccount.com", "targetId": str(next(NUMBERS)),
            "targetLink": f"{HOME}/{target}", "selfLink": f"{HOME}/{scope}/operations/{name}", "_scope": scope}
    if scope != "global":
        made[scope.split("/")[0][:-1]] = f"{HOME}/{scope}"
    OPERATIONS[name] = made
    if seconds is not None:
        later(seconds, finish, name, done, fails)
    return made


def finish(name, done, fails):
    made = OPERATIONS[name]
    made.update(status="DONE", progress=100, endTime=now())
    if fails:
        made.update(fails)
    if done:
        done()


def failure(rule):
    """The fields of an operation that fails by a rule."""
    first = {"code": rule["code"], "message": rule.get("message", rule["code"])}
    if "quota" in rule:
        first["errorDetails"] = [{"quotaInfo": rule["quota"]}]
    beside = [{"code": code, "message": message} for code, message in rule.get("beside", [])]
    return {"error": {"errors": [first, *beside]}, "httpErrorStatusCode": rule.get("status", 503), "httpErrorMessage": "SERVICE UNAVAILABLE"}


# --- what is sold --------------------------------------------------------------------------------------------------------------------------


def read_catalog():
    with open(CATALOG) as file:
        rows = [row for row in csv.DictReader(file) if row["provider"] == "gcp"]
    return {row["machine_type"]: row for row in rows}


TYPES = read_catalog()


def has(zone, name):
    return not any(zone == place and name.startswith(start) for place, start in MISSING)


def bundled(name):
    return next((gpu for start, gpu in BUNDLED.items() if name.startswith(start)), None)


def machine_type(name, zone):
    row, gpu = TYPES[name], bundled(name)
    made = {"kind": "compute#machineType", "id": str(abs(hash(name)) % 10**9), "name": name, "guestCpus": int(float(row["vcpus"])),
            "memoryMb": int(float(row["memory_gib"]) * 1024), "zone": zone, "isSharedCpu": False, "architecture": "X86_64",
            "selfLink": f"{HOME}/zones/{zone}/machineTypes/{name}"}
    if gpu:
        made["accelerators"] = [{"guestAcceleratorType": gpu, "guestAcceleratorCount": int(float(row["gpus"]))}]
    return made


def accelerator_type(name, zone):
    return {"kind": "compute#acceleratorType", "id": "1", "name": name, "zone": f"{HOME}/zones/{zone}", "maximumCardsPerInstance": 8,
            "selfLink": f"{HOME}/zones/{zone}/acceleratorTypes/{name}"}


# --- quotas ----------------------------------------------------------------------------------------------------------------------------------


def gpus_of(instance):
    """What GPUs an instance has: (name, how many)."""
    for gpus in instance.get("guestAccelerators", []):
        return gpus["acceleratorType"].split("/")[-1], int(gpus["acceleratorCount"])
    return None, 0


def is_spot(instance):
    return instance.get("scheduling", {}).get("provisioningModel") == "SPOT"


def region_of(zone):
    return zone.rsplit("-", 1)[0]


def used(is_counted):
    return sum(gpus_of(instance)[1] for instance in INSTANCES.values() if instance["status"] != "TERMINATED" and is_counted(instance))


def metric_used(region, metric):
    plain = metric.removeprefix("PREEMPTIBLE_")
    spot = LIMITS.get((region, f"PREEMPTIBLE_{plain}"), 0) > 0

    def is_counted(instance):
        if METRICS.get(gpus_of(instance)[0]) != plain or region_of(instance["_zone"]) != region:
            return False
        return (spot and is_spot(instance)) == metric.startswith("PREEMPTIBLE_")

    return used(is_counted)


def limit(region, metric):
    return LIMITS.get((region, metric), 0 if metric.startswith("PREEMPTIBLE_") else 64)


def region_quotas(region):
    metrics = [name for metric in sorted(set(METRICS.values())) for name in (metric, f"PREEMPTIBLE_{metric}")]
    quotas = [{"metric": metric, "limit": float(limit(region, metric)), "usage": float(metric_used(region, metric))} for metric in metrics]
    return quotas + [{"metric": "CPUS", "limit": 2400.0, "usage": 0.0}, {"metric": "FIREWALLS", "limit": 100.0, "usage": 0.0}]


def quota_error(instance, zone):
    """The quota that an order is over: the fields of its operation, or None."""
    gpu, count = gpus_of(instance)
    region, metric = region_of(zone), METRICS.get(gpu)
    if metric and is_spot(instance) and limit(region, f"PREEMPTIBLE_{metric}") > 0:
        metric = f"PREEMPTIBLE_{metric}"
    everywhere = limit("", "GPUS_ALL_REGIONS")
    if used(lambda _: True) + count > everywhere:
        info = {"metricName": "compute.googleapis.com/gpus_all_regions", "limitName": "GPUS-ALL-REGIONS-per-project", "limit": everywhere,
                "dimensions": {"global": "global"}}
        return over("GPUS_ALL_REGIONS", everywhere, "globally", info)
    if metric and metric_used(region, metric) + count > limit(region, metric):
        info = {"metricName": f"compute.googleapis.com/{metric.lower()}", "limitName": f"{metric.replace('_', '-')}-per-project-region",
                "limit": limit(region, metric), "dimensions": {"region": region}}
        return over(metric, limit(region, metric), f"in region {region}", info)
    family = FAMILIES.get(gpu)
    if family:
        allowed = limit(region, family)
        if used(lambda other: gpus_of(other)[0] == gpu and region_of(other["_zone"]) == region) + count > allowed:
            info = {"metricName": "compute.googleapis.com/gpus_per_gpu_family", "limitName": FAMILY_QUOTA, "limit": allowed,
                    "dimensions": {"region": region, "gpu_family": family}}
            return over("GPUS_PER_GPU_FAMILY", allowed, f"in region {region}", info)
    return None


def over(metric, allowed, where, info):
    message = f"Quota '{metric}' exceeded.  Limit: {float(allowed)} {where}."
    return failure({"code": "QUOTA_EXCEEDED", "message": message, "quota": info, "status": 403})


def family_quotas():
    rows = [(family, region) for family in FAMILIES.values() for region in REGIONS]
    infos = [{"dimensions": {"gpu_family": family, "region": region}, "details": {"value": str(limit(region, family))},
              "applicableLocations": [region]} for family, region in rows]
    return {"name": f"projects/1/locations/global/services/compute.googleapis.com/quotaInfos/{FAMILY_QUOTA}", "quotaId": FAMILY_QUOTA,
            "metric": "compute.googleapis.com/gpus_per_gpu_family", "service": "compute.googleapis.com", "dimensions": ["gpu_family", "region"],
            "dimensionsInfos": infos}


# --- instances -------------------------------------------------------------------------------------------------------------------------------


def invalid(message):
    return Fault(400, "invalid", message)


def check_order(body, zone):
    """What the discovery document does not say."""
    name = body.get("machineType", "").split("/")[-1]
    if name not in TYPES or not has(zone, name):
        raise invalid(f"Invalid value for field 'resource.machineType': '{body.get('machineType')}'. "
                      f"Machine type with name '{name}' does not exist in zone '{zone}'.")
    for gpus in body.get("guestAccelerators", []):
        gpu = gpus["acceleratorType"].split("/")[-1]
        if not name.startswith("n1-"):
            raise invalid(f"{name} brings its own GPUs: guestAccelerators are for N1.")
        if gpu not in ATTACHABLE or not has(zone, gpu):
            raise Fault(404, "notFound", f"The resource 'projects/{PROJECT}/zones/{zone}/acceleratorTypes/{gpu}' was not found")
    scheduling = body.get("scheduling", {})
    if scheduling.get("onHostMaintenance") != "TERMINATE":
        raise invalid("Instances with guest accelerators do not support live migration.")
    if scheduling.get("provisioningModel") == "SPOT" and scheduling.get("automaticRestart", True):
        raise invalid("Scheduling must have automaticRestart set to false when using SPOT provisioning model.")
    if "maxRunDuration" in scheduling and "instanceTerminationAction" not in scheduling:
        raise invalid("You must specify an instance termination action when max-run-duration is specified.")
    for disk in body.get("disks", []):
        check_disk(disk.get("initializeParams", {}), name)
    network = body["networkInterfaces"][0].get("network", "").split("/")[-1]
    if network != "default":
        raise Fault(404, "notFound", f"The resource 'projects/{PROJECT}/global/networks/{network}' was not found")
    for tag in body.get("tags", {}).get("items", []):
        if not re.fullmatch("[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?", tag):
            raise invalid(f"Invalid value for field 'resource.tags.items[0]': '{tag}'.")
    check_labels(body.get("labels", {}))


def check_labels(labels):
    for key, value in labels.items():
        if not re.fullmatch("[a-z][-_a-z0-9]{0,62}", key) or not re.fullmatch("[-_a-z0-9]{0,63}", value):
            raise invalid(f"Invalid value for field 'labels': '{key}={value}'.")


def check_disk(made_of, machine):
    size = IMAGES.get(made_of.get("sourceImage"))
    if size is None:
        raise Fault(404, "notFound", f"The resource '{made_of.get('sourceImage')}' was not found")
    if int(made_of.get("diskSizeGb", size)) < size:
        raise invalid(f"Invalid value for field 'resource.disks[0].initializeParams.diskSizeGb': '{made_of['diskSizeGb']}'. "
                      f"Requested disk size cannot be smaller than the image size ({size} GB)")
    kind = made_of.get("diskType", "").split("/")[-1]
    if machine.startswith(HYPERDISK_ONLY) and not kind.startswith("hyperdisk-"):
        raise invalid(f"[{kind}] features are not compatible for creating instance.")
    check_labels(made_of.get("labels", {}))


def insert_instance(arguments, body):
    zone, name, request = arguments["zone"], body.get("name"), arguments.get("requestId")
    if request in REQUESTS:
        return REQUESTS[request]
    check_order(body, zone)
    if (zone, name) in INSTANCES or (zone, name) in DISKS:
        raise Fault(409, "alreadyExists", f"The resource 'projects/{PROJECT}/zones/{zone}/instances/{name}' already exists")
    instance = new_instance(body, zone, name)
    rule = RULES.hit("operation", "instances.insert", **place_of(zone, instance))
    fails = failure(rule) if rule else quota_error(instance, zone)
    INSTANCES[zone, name] = instance
    target = f"zones/{zone}/instances/{name}"
    if fails:
        made = operation("insert", f"zones/{zone}", target, PENDING_SECONDS, lambda: INSTANCES.pop((zone, name), None), fails)
    else:
        DISKS[zone, name] = new_disk(instance, body["disks"][0], zone, name)
        made = operation("insert", f"zones/{zone}", target, seconds=None)
        later(PENDING_SECONDS / 2, set_status, instance, "STAGING")
        if MACHINES:
            threading.Thread(target=boot, args=(made["name"], instance), daemon=True).start()
        else:
            later(PENDING_SECONDS, started, made["name"], instance, next(ADDRESSES))
    if request:
        REQUESTS[request] = made
    return made


def new_instance(body, zone, name):
    instance = copy.deepcopy(body)
    row, gpu = TYPES[body["machineType"].split("/")[-1]], bundled(body["machineType"].split("/")[-1])
    if gpu:
        instance["guestAccelerators"] = [{"acceleratorType": gpu, "acceleratorCount": int(float(row["gpus"]))}]
    for gpus in instance.get("guestAccelerators", []):
        gpus["acceleratorType"] = f"{HOME}/zones/{zone}/acceleratorTypes/{gpus['acceleratorType'].split('/')[-1]}"
    network = instance["networkInterfaces"][0]
    network.update(network=f"{HOME}/global/networks/default", subnetwork=f"{HOME}/regions/{region_of(zone)}/subnetworks/default",
                   networkIP=next(INSIDE), name="nic0")
    instance.update(
        kind="compute#instance", id=str(next(NUMBERS)), status="PROVISIONING", zone=f"{HOME}/zones/{zone}", creationTimestamp=now(),
        machineType=f"{HOME}/zones/{zone}/machineTypes/{body['machineType'].split('/')[-1]}", selfLink=f"{HOME}/zones/{zone}/instances/{name}",
        labelFingerprint="42WmSpB8rSM=", _zone=zone, _born=time.time(), _address=None)
    for disk in instance["disks"]:
        disk.update(source=f"{HOME}/zones/{zone}/disks/{name}", kind="compute#attachedDisk", index=0, mode="READ_WRITE", type="PERSISTENT")
        disk.pop("initializeParams", None)
    return instance


def new_disk(instance, attached, zone, name):
    made_of = attached["initializeParams"]
    return {"kind": "compute#disk", "id": str(next(NUMBERS)), "name": name, "zone": f"{HOME}/zones/{zone}", "status": "READY",
            "sizeGb": made_of.get("diskSizeGb", "50"), "labels": made_of.get("labels", {}), "users": [instance["selfLink"]],
            "creationTimestamp": now(), "selfLink": f"{HOME}/zones/{zone}/disks/{name}", "_auto": attached.get("autoDelete", False)}


def set_status(instance, status):
    if instance["status"] == "PROVISIONING":
        instance["status"] = status


def boot(made, instance):
    """Has a real machine come up."""
    items = {item["key"]: item["value"] for item in instance.get("metadata", {}).get("items", [])}
    user, key = items["ssh-keys"].split(":", 1)
    address = MACHINES.boot(instance["name"], key, user, "gcp")
    with LOCK:
        started(made, instance, address)


def started(made, instance, address):
    finish(made, None, None)
    if instance["status"] not in ("PROVISIONING", "STAGING"):
        return
    instance.update(status="RUNNING", _address=address, lastStartTimestamp=now())
    for access in instance["networkInterfaces"][0].get("accessConfigs", []):
        access.update(natIP=address, kind="compute#accessConfig")
    seconds = instance.get("scheduling", {}).get("maxRunDuration", {}).get("seconds")
    if seconds:
        later(float(seconds), end, instance, instance["scheduling"]["instanceTerminationAction"])


def end(instance, action):
    """An instance stops for good, or goes with its disk."""
    zone, name = instance["_zone"], instance["name"]
    if INSTANCES.get((zone, name)) is not instance:
        return
    if MACHINES:
        MACHINES.kill(name)
    if action != "DELETE":
        instance.update(status="TERMINATED", lastStopTimestamp=now())
        for access in instance["networkInterfaces"][0].get("accessConfigs", []):
            access.pop("natIP", None)
        return
    del INSTANCES[zone, name]
    disk = DISKS.get((zone, name))
    if disk and disk["_auto"]:
        del DISKS[zone, name]
    elif disk:
        disk["users"] = []


def delete_instance(arguments, _):
    zone, name = arguments["zone"], arguments["instance"]
    instance = there(INSTANCES, (zone, name), f"zones/{zone}/instances/{name}")
    target = f"zones/{zone}/instances/{name}"
    if instance["status"] in ("PROVISIONING", "STAGING"):
        raise Fault(400, "resourceNotReady", f"The resource 'projects/{PROJECT}/{target}' is not ready")
    instance["status"] = "STOPPING"
    return operation("delete", f"zones/{zone}", target, done=lambda: end(instance, "DELETE"))


def find_machine(name):
    found = next((instance for instance in INSTANCES.values() if instance["name"] == name), None)
    if not found:
        raise Fault(404, "notFound", f"no machine {name}")
    return found


def kill(body):
    instance = find_machine(body["id"])
    done = operation("compute.instances.hostError", f"zones/{instance['_zone']}", f"zones/{instance['_zone']}/instances/{body['id']}", seconds=0)
    done["statusMessage"] = "Instance terminated by Compute Engine due to a host error."
    end(instance, "STOP")


def interrupt(body):
    instance = find_machine(body["id"])
    if not is_spot(instance):
        raise invalid(f"{body['id']} is no spot machine")
    if MACHINES:
        MACHINES.interrupt(body["id"], body["seconds"])
    later(body["seconds"], preempt, instance, body.get("action") or instance["scheduling"].get("instanceTerminationAction", "STOP"))


def preempt(instance, action):
    target = f"zones/{instance['_zone']}/instances/{instance['name']}"
    done = operation("compute.instances.preempted", f"zones/{instance['_zone']}", target, seconds=0)
    done["statusMessage"] = "Instance was preempted."
    instance["status"] = "STOPPING"
    later(OPERATION_SECONDS, end, instance, action)


# --- other resources -------------------------------------------------------------------------------------------------------------------------


def insert_firewall(_, body):
    name = body["name"]
    if name in FIREWALLS:
        raise Fault(409, "alreadyExists", f"The resource 'projects/{PROJECT}/global/firewalls/{name}' already exists")
    FIREWALLS[name] = {"kind": "compute#firewall", "id": str(next(NUMBERS)), "creationTimestamp": now(), "direction": "INGRESS", "priority": 1000,
                       "selfLink": f"{HOME}/global/firewalls/{name}", "logConfig": {"enable": False}, "disabled": False, **body}
    if "sourceRanges" not in body and "sourceTags" not in body:
        FIREWALLS[name]["sourceRanges"] = ["0.0.0.0/0"]
    return operation("insert", "global", f"global/firewalls/{name}")


def patch_firewall(arguments, body):
    there(FIREWALLS, arguments["firewall"], f"global/firewalls/{arguments['firewall']}").update(body)
    return operation("patch", "global", f"global/firewalls/{arguments['firewall']}")


def delete_firewall(arguments, _):
    name = arguments["firewall"]
    there(FIREWALLS, name, f"global/firewalls/{name}")
    return operation("delete", "global", f"global/firewalls/{name}", done=lambda: FIREWALLS.pop(name, None))


def insert_disk(arguments, body):
    zone, name = arguments["zone"], body["name"]
    DISKS[zone, name] = {"kind": "compute#disk", "id": str(next(NUMBERS)), "zone": f"{HOME}/zones/{zone}", "status": "READY", "users": [],
                         "creationTimestamp": now(), "selfLink": f"{HOME}/zones/{zone}/disks/{name}", "_auto": False, **body}
    return operation("insert", f"zones/{zone}", f"zones/{zone}/disks/{name}")


def delete_disk(arguments, _):
    zone, name = arguments["zone"], arguments["disk"]
    disk = there(DISKS, (zone, name), f"zones/{zone}/disks/{name}")
    if disk["users"]:
        raise Fault(400, "resourceInUseByAnotherResource", f"The disk resource '{disk['selfLink']}' is already being used by '{disk['users'][0]}'")
    return operation("delete", f"zones/{zone}", f"zones/{zone}/disks/{name}", done=lambda: DISKS.pop((zone, name), None))


def insert_address(arguments, body):
    region, name = arguments["region"], body["name"]
    LOOSE_ADDRESSES[region, name] = {"kind": "compute#address", "id": str(next(NUMBERS)), "region": f"{HOME}/regions/{region}", "status": "RESERVED",
                                     "address": next(ADDRESSES), "creationTimestamp": now(), "addressType": "EXTERNAL",
                                     "selfLink": f"{HOME}/regions/{region}/addresses/{name}", **body}
    return operation("insert", f"regions/{region}", f"regions/{region}/addresses/{name}")


def delete_address(arguments, _):
    region, name = arguments["region"], arguments["address"]
    there(LOOSE_ADDRESSES, (region, name), f"regions/{region}/addresses/{name}")
    return operation("delete", f"regions/{region}", f"regions/{region}/addresses/{name}", done=lambda: LOOSE_ADDRESSES.pop((region, name), None))


def there(things, key, path):
    if key not in things:
        raise Fault(404, "notFound", f"The resource 'projects/{PROJECT}/{path}' was not found")
    return things[key]


# --- lists -----------------------------------------------------------------------------------------------------------------------------------


def shown(thing):
    return {key: value for key, value in thing.items() if key[0] != "_"}


def condition(text):
    """A filter of Compute Engine, of the forms that nvbind uses: `field = "value"` and `field eq "regular expression"`."""
    found = re.fullmatch(r'([\w.\-]+)\s*(=|\beq\b)\s*"([^"]*)"', text.strip())
    if not found:
        raise invalid(f"Invalid value for field 'filter': '{text}'. Invalid list filter expression.")
    field, operator, wanted = found.groups()

    def holds(thing):
        value = thing
        for part in field.split("."):
            value = value.get(part, {}) if isinstance(value, dict) else {}
        value = value if isinstance(value, str) else ""
        return bool(re.fullmatch(wanted, value)) if operator == "eq" else value == wanted

    return holds


def page_of(things, arguments):
    holds = condition(arguments["filter"]) if "filter" in arguments else lambda _: True
    things = [thing for thing in things if holds(thing)]
    start, size = int(arguments.get("pageToken", "0")), min(PAGE, int(arguments.get("maxResults", PAGE)))
    following = {"nextPageToken": str(start + size)} if start + size < len(things) else {}
    return things[start:start + size], following


def listed(kind, things, arguments):
    page, following = page_of(things, arguments)
    return {"kind": f"compute#{kind}List", "id": "list", "items": [shown(thing) for thing in page], **following}


def aggregated(kind, name, things, arguments):
    """A list over all zones or regions; `things` are pairs of scope and thing."""
    scopes = {id(thing): scope for scope, thing in things}
    page, following = page_of([thing for _, thing in things], arguments)
    empty = {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": "There are no results for scope 'zones/us-west1-b' on this page."}}
    items = {"zones/us-west1-b": empty}
    for thing in page:
        scope = scopes[id(thing)]
        if "warning" in items.get(scope, {}):
            del items[scope]
        items.setdefault(scope, {name: []})[name].append(shown(thing))
    return {"kind": f"compute#{kind}AggregatedList", "id": "list", "items": items, **following}


def visible(instance):
    return time.time() - instance["_born"] >= INVISIBLE_SECONDS


def list_instances(arguments, _):
    things = [(f"zones/{instance['_zone']}", instance) for instance in INSTANCES.values() if visible(instance)]
    return aggregated("instance", "instances", things, arguments)


def list_machine_types(arguments, _):
    things = [(f"zones/{zone}", machine_type(name, zone)) for zone in ZONES for name in TYPES if has(zone, name)]
    return aggregated("machineType", "machineTypes", things, arguments)


def list_accelerator_types(arguments, _):
    names = [*ATTACHABLE, *BUNDLED.values()]
    things = [(f"zones/{zone}", accelerator_type(name, zone)) for zone in ZONES for name in names if has(zone, name)]
    return aggregated("acceleratorType", "acceleratorTypes", things, arguments)


def list_skus(arguments, _):
    entries = list(gcp_prices.skus())
    start = int(arguments.get("pageToken") or 0)
    size = min(PAGE, int(arguments.get("pageSize", 5000)))
    following = str(start + size) if start + size < len(entries) else ""
    return {"skus": entries[start:start + size], "nextPageToken": following}


def project(*_):
    quotas = [{"metric": "GPUS_ALL_REGIONS", "limit": float(limit("", "GPUS_ALL_REGIONS")), "usage": float(used(lambda _: True))},
              {"metric": "NETWORKS", "limit": 5.0, "usage": 1.0}]
    return {"kind": "compute#project", "id": "1", "name": PROJECT, "quotas": quotas, "selfLink": HOME}


def region(arguments, _):
    name = arguments["region"]
    there(REGIONS, name, f"regions/{name}")
    return {"kind": "compute#region", "id": "1", "name": name, "status": "UP", "quotas": region_quotas(name),
            "zones": [f"{HOME}/zones/{name}-{letter}" for letter in REGIONS[name]], "selfLink": f"{HOME}/regions/{name}"}


def image(arguments, _):
    path = f"projects/{arguments['project']}/global/images/family/{arguments['family']}"
    if path not in IMAGES:
        raise Fault(404, "notFound", f"The resource '{path}' was not found")
    return {"kind": "compute#image", "id": "1", "name": f"{arguments['family']}-v20261101", "family": arguments["family"], "status": "READY",
            "diskSizeGb": str(IMAGES[path])}


def one_operation(arguments, _):
    return there(OPERATIONS, arguments["operation"], f"operations/{arguments['operation']}")


def scoped(things, kind):
    return [(f"{kind}/{place}", thing) for (place, _), thing in things.items()]


def one(things, key, path):
    return lambda arguments, _: there(things, tuple(arguments[part] for part in key) if isinstance(key, tuple) else arguments[key],
                                      path.format(**arguments))


CALLS = {
    "instances.insert": insert_instance,
    "instances.delete": delete_instance,
    "instances.get": one(INSTANCES, ("zone", "instance"), "zones/{zone}/instances/{instance}"),
    "instances.list": lambda a, _: listed("instance", [i for i in INSTANCES.values() if i["_zone"] == a["zone"]], a),
    "instances.aggregatedList": list_instances,
    "machineTypes.aggregatedList": list_machine_types,
    "acceleratorTypes.aggregatedList": list_accelerator_types,
    "firewalls.insert": insert_firewall,
    "firewalls.patch": patch_firewall,
    "firewalls.delete": delete_firewall,
    "firewalls.get": one(FIREWALLS, "firewall", "global/firewalls/{firewall}"),
    "firewalls.list": lambda a, _: listed("firewall", list(FIREWALLS.values()), a),
    "disks.insert": insert_disk,
    "disks.delete": delete_disk,
    "disks.get": one(DISKS, ("zone", "disk"), "zones/{zone}/disks/{disk}"),
    "disks.aggregatedList": lambda a, _: aggregated("disk", "disks", scoped(DISKS, "zones"), a),
    "addresses.insert": insert_address,
    "addresses.delete": delete_address,
    "addresses.aggregatedList": lambda a, _: aggregated("address", "addresses", scoped(LOOSE_ADDRESSES, "regions"), a),
    "zoneOperations.get": one_operation,
    "globalOperations.get": one_operation,
    "regionOperations.get": one_operation,
    "globalOperations.aggregatedList": lambda a, _: aggregated("operation", "operations", [(o["_scope"], o) for o in OPERATIONS.values()], a),
    "zoneOperations.list": lambda a, _: listed("operation", [o for o in OPERATIONS.values() if o["_scope"] == f"zones/{a['zone']}"], a),
    "projects.get": project,
    "regions.get": region,
    "regions.list": lambda a, _: listed("region", [region({"region": name}, None) for name in REGIONS], a),
    "zones.list": lambda a, _: listed("zone", [{"name": zone, "status": "UP", "region": region_of(zone)} for zone in ZONES], a),
    "images.getFromFamily": image,
    "services.skus.list": list_skus,
    "quotaInfos.get": lambda *_: family_quotas(),
}


# --- the wire --------------------------------------------------------------------------------------------------------------------------------


def market_of(body):
    return "spot" if is_spot(body) else "on-demand"


def type_of(body):
    """The machine type as nvbind's catalog names it."""
    name = body.get("machineType", "").split("/")[-1]
    gpu, count = gpus_of(body)
    return f"{name}+{count}x{gpu}" if gpu and name.startswith("n1-") else name


def place_of(zone, body):
    return {"region": region_of(zone), "zone": zone, "type": type_of(body), "market": market_of(body)}


def place(arguments, body):
    zone = arguments.get("zone", "")
    found = {"region": region_of(zone) if zone else arguments.get("region", ""), "zone": zone}
    for key in ("instance", "filter", "firewall", "requestId"):
        if key in arguments:
            found[key] = arguments[key]
    if isinstance(body, dict) and "machineType" in body:
        found.update(place_of(zone, body), body=body)
    return found


def error(status, reason, message):
    """An error as Compute Engine writes it. Reasons in capitals are those of google.rpc.ErrorInfo."""
    plain = reason if not reason.isupper() else REASONS.get(status, "backendError")
    body = {"code": status, "message": message, "errors": [{"message": message, "domain": "global", "reason": plain}]}
    if reason.isupper():
        body["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": {}}]
    return {"error": body}


def route(verb, path, query, body):
    """Name of the call, its arguments, what is wrong with them."""
    if re.fullmatch(rf"/v1/projects/{PROJECT}/locations/global/services/compute.googleapis.com/quotaInfos/{FAMILY_QUOTA}", path):
        return "quotaInfos.get", {}, []
    for api in APIS:
        method, arguments, errors = api.check(verb, path, query, body)
        if method:
            return method["id"].split(".", 1)[1], arguments, errors
    return None, {}, [f"no method for {verb} {path}"]


def answer(call, arguments, body):
    tick()
    with LOCK:
        if arguments.get("project", PROJECT) not in (PROJECT, "deeplearning-platform-release", "debian-cloud"):
            raise Fault(403, "forbidden", f"Required 'compute.projects.get' permission for 'projects/{arguments['project']}'")
        if "zone" in arguments and arguments["zone"] not in ZONES:
            raise Fault(404, "notFound", f"The resource 'projects/{PROJECT}/zones/{arguments['zone']}' is not found or access is unauthorized.")
        if call not in CALLS:
            raise Fault(501, "notImplemented", call)
        return shown(CALLS[call](arguments, body))


def machines():
    return [{"id": i["name"], "name": i["name"], "region": region_of(i["_zone"]), "zone": i["_zone"], "type": type_of(i), "market": market_of(i),
             "state": i["status"].lower(), "address": i["_address"], "tags": i.get("labels", {})} for i in INSTANCES.values()]


def everything():
    kinds = [("machine", INSTANCES.values()), ("disk", DISKS.values()), ("address", LOOSE_ADDRESSES.values()), ("firewall", FIREWALLS.values())]
    return [{"kind": kind, "id": thing["name"], "name": thing["name"], "tags": thing.get("labels", {}), "detail": shown(thing)}
            for kind, things in kinds for thing in things]


def set_quota(body):
    LIMITS[body["region"], body["metric"]] = body["limit"]


def control(verb, path, raw):
    """Answers a request below /_x/: status and JSON text."""
    known = RULES.control(verb, path, raw)
    if known:
        return known
    tick()
    with LOCK:
        if path == "/_x/machines":
            return 200, json.dumps(machines())
        if path == "/_x/everything":
            return 200, json.dumps(everything())
        told = {"/_x/kill": kill, "/_x/interrupt": interrupt, "/_x/quota": set_quota}.get(path)
        if told:
            told(json.loads(raw))
            return 200, "{}"
    return 404, "{}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        url = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if url.path.startswith("/_x/"):
            try:
                status, text = control(self.command, url.path, raw)
            except Fault as fault:
                status, text = fault.status, json.dumps(error(fault.status, fault.reason, fault.message))
            return self.write(status, text)
        return self.call(url, json.loads(raw) if raw.strip() else None)

    def call(self, url, body):
        name, arguments, errors = route(self.command, url.path, parse_qs(url.query, keep_blank_values=True), body)
        where = place(arguments, body)
        matched = {key: value for key, value in where.items() if key != "body"}
        rule = RULES.hit("before", name, **matched)
        status, text = self.ruled(rule) if rule else self.done(name, arguments, body, errors)
        after = None if rule else RULES.hit("after", name, **matched)
        if after:
            status, text = self.ruled(after)
        RULES.record(name, status, **where)
        if status == 0:
            return self.hang_up()
        retry = (rule or after or {}).get("retry_after")
        return self.write(status, text, {"Retry-After": str(retry)} if retry is not None else {})

    @staticmethod
    def ruled(rule):
        if rule["do"] == "drop":
            return 0, ""
        status, code = rule.get("status", 500), rule.get("code", "backendError")
        return status, json.dumps(error(status, code, rule.get("message", code)))

    @staticmethod
    def done(name, arguments, body, errors):
        try:
            if errors:
                raise Fault(400 if name else 404, "invalid", "; ".join(errors))
            return 200, json.dumps(answer(name, arguments, body))
        except Fault as fault:
            return fault.status, json.dumps(error(fault.status, fault.reason, fault.message))

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def write(self, status, text, headers=()):
        body = text.encode()
        self.send_response(status)
        for key, value in dict(headers).items():
            self.send_header(key, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        # Head and body in one go: two writes would wait for each other's acknowledgement.
        self._headers_buffer.append(b"\r\n" + body)
        self.flush_headers()

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = serve

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    global MACHINES
    folder = os.environ.get("NVBIND_EMULATED_MACHINES")
    if folder:
        from machines import Machines

        MACHINES = Machines(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Handler)
    threading.Thread(target=keep_ticking, daemon=True).start()
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    finally:
        if MACHINES:
            MACHINES.close()


if __name__ == "__main__":
    main()
