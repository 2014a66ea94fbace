"""An emulated Azure on loopback: Resource Manager (groups, machines with their interfaces, addresses and disks, networks, firewalls, quotas,
machine types, permissions), tokens, Cost Management, ComputeSchedule and the Retail Prices API. Requests are checked against Microsoft's own
models (azure_models.py).

    python emulators/azure.py PORT        # 0: picks one; says `listening on http://127.0.0.1:PORT` when ready

What goes wrong, and the log: rules.py. A call is named by its method and the last type in its path (`PUT virtualMachines`); the operation
that a call begins is `operation PUT virtualMachines`, so a rule can let the call be accepted and fail later. Beside what rules.py and all
emulated clouds have:

POST /_x/limit     {"region", "name", "limit"}: a quota
POST /_x/allow     {"actions": [...]}: what the credentials' role allows
POST /_x/defer     {"name", "seconds"}: how long operations of a call take from now on (PUT virtualMachines and so on); 0.1 s otherwise

With NVBIND_EMULATED_MACHINES=DIR every machine is a real one (machines.py); without, addresses are of 192.0.2.0/24.
"""
import base64
import copy
import datetime
import itertools
import json
import os
import re
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import azure_catalog
import azure_models
from rules import Rules

OPERATION_SECONDS = 0.1
PAGE = 5
HOST = "https://management.azure.com"
SECRET = "emulated-secret"
IMAGES = {("microsoft-dsvm", "ubuntu-hpc", "2204"), ("microsoft-dsvm", "ubuntu-hpc", "2404")}
RESERVED_USERS = {"root", "admin", "administrator", "user", "guest", "test"}
VM, DISK = "Microsoft.Compute/virtualMachines", "Microsoft.Compute/disks"
NIC, ADDRESS = "Microsoft.Network/networkInterfaces", "Microsoft.Network/publicIPAddresses"
FIREWALL, NETWORK = "Microsoft.Network/networkSecurityGroups", "Microsoft.Network/virtualNetworks"


class Refusal(Exception):
    def __init__(self, status, code, message):
        self.status, self.code, self.message = status, code, message


def refusal_body(code, message):
    return {"error": {"code": code, "message": message}}


def timestamp(at):
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f0+00:00")


def group_of(path):
    return re.match(r"(/subscriptions/[^/]+/resourcegroups/[^/]+)", path, re.IGNORECASE)[1]


class Cloud:
    def __init__(self):
        self.lock = threading.RLock()
        self.rules = Rules()
        self.groups, self.things, self.operations, self.limits, self.registered = {}, {}, {}, {}, {}
        self.seconds, self.tokens, self.history = {}, set(), []
        self.numbers = itertools.count(1)
        self.actions, self.real = ["*"], None
        if folder := os.environ.get("NVBIND_EMULATED_MACHINES"):
            from machines import Machines

            self.real = Machines(folder)

    # --- time ------------------------------------------------------------------------------------------------------------------------

    def settle(self):
        """Brings everything to where it is by now."""
        now = time.time()
        for key, thing in list(self.things.items()):
            if thing.get("evict_at", now + 1) <= now or thing.get("die_at", now + 1) <= now:
                thing.pop("evict_at", None), thing.pop("die_at", None)
                self.begin_delete(thing, now)
            if thing.get("gone_at", now + 1) <= now:
                self.things.pop(key, None)
            if thing["type"] == VM and thing.get("deallocate_at", now + 1) <= now:
                thing["power"] = "deallocated"
        for key, group in list(self.groups.items()):
            if group.get("gone_at", now + 1) <= now:
                self.groups.pop(key)
                for inner in [inner for inner in self.things if inner.startswith(key + "/")]:
                    self.things.pop(inner)

    def begin_delete(self, thing, now):
        gone_at = now + self.seconds.get("DELETE " + thing["type"].rsplit("/", 1)[1], OPERATION_SECONDS)
        thing["gone_at"] = gone_at
        self.end_real(thing)
        for key in thing.get("takes_along", []):
            if key in self.things:
                self.things[key]["gone_at"] = gone_at
        return gone_at

    def end_real(self, thing):
        if thing["type"] == VM:
            for line in self.history:
                if line["id"] == thing["id"] and line["until"] is None:
                    line["until"] = time.time()
            if self.real:
                threading.Thread(target=self.real.kill, args=(thing["name"],), daemon=True).start()

    def operation(self, call, place, thing=None):
        """Begins an operation; answers the headers that name it. A rule may let it fail; one that kills has done so by then."""
        rule = self.rules.hit("before", "operation " + call, **place)
        failure = {"code": rule["code"], "message": rule.get("message", "")} if rule and rule["do"] == "error" else None
        done_at = time.time() + self.seconds.get(call, OPERATION_SECONDS)
        name = str(uuid.uuid4())
        self.operations[name] = {"done_at": done_at, "error": failure}
        if thing is not None:
            thing["done_at"], thing["failed"] = done_at, self.operations[name]["error"]
        link = f"{HOST}/subscriptions/x/providers/Microsoft.Compute/locations/{place['region']}/operations/{name}?api-version=2026-04-01"
        return {"Azure-AsyncOperation": link, "Retry-After": "10"}

    # --- what is shown ---------------------------------------------------------------------------------------------------------------

    def provisioning(self, thing):
        now = time.time()
        if "gone_at" in thing:
            return "Deleting"
        if thing.get("booting") or thing.get("done_at", 0) > now:
            return "Creating"
        return "Failed" if thing.get("failed") else "Succeeded"

    def shown(self, thing, expand=()):
        out = copy.deepcopy({key: thing[key] for key in ("id", "name", "type", "location", "tags", "zones", "properties") if key in thing})
        out["properties"]["provisioningState"] = self.provisioning(thing)
        if thing["type"] == VM:
            out["properties"]["timeCreated"] = timestamp(thing["created_at"])
            out["properties"]["vmId"] = thing["uuid"]
            if "instanceView" in expand:
                out["properties"]["instanceView"] = {"statuses": self.statuses(thing)}
        if thing["type"] == NIC and "ipConfigurations/publicIPAddress" in expand:
            for configuration in out["properties"]["ipConfigurations"]:
                address = self.things.get(configuration["properties"]["publicIPAddress"]["id"].lower())
                if address:
                    configuration["properties"]["publicIPAddress"] = self.shown(address)
        return out

    def statuses(self, thing):
        state = self.provisioning(thing)
        if state == "Failed":
            failure = thing["failed"]
            return [{"code": f"ProvisioningState/failed/{failure['code']}", "level": "Error", "displayStatus": "Provisioning failed",
                     "message": failure["message"]}]
        statuses = [{"code": f"ProvisioningState/{state.lower()}", "level": "Info", "displayStatus": state}]
        if state in ("Succeeded", "Deleting"):
            power = thing.get("power", "running")
            statuses.append({"code": f"PowerState/{power}", "level": "Info", "displayStatus": f"VM {power}"})
        return statuses

    def in_group(self, path, kind=None):
        prefix = group_of(path).lower() + "/"
        return [thing for key, thing in self.things.items() if key.startswith(prefix) and kind in (None, thing["type"])]

    def group(self, path):
        group = self.groups.get(group_of(path).lower())
        if group is None:
            name = group_of(path).rsplit("/", 1)[1]
            raise Refusal(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")
        return group

    def thing(self, path):
        thing = self.things.get(path.lower())
        if thing is None:
            self.group(path)
            raise Refusal(404, "ResourceNotFound", f"The Resource '{'/'.join(path.split('/')[-2:])}' was not found.")
        return thing

    # --- groups ----------------------------------------------------------------------------------------------------------------------

    def resource_groups_create_or_update(self, request):
        group = self.groups.get(request.path.lower())
        if group and "gone_at" in group:
            raise Refusal(409, "ResourceGroupBeingDeleted", f"The resource group '{group['name']}' is in deprovisioning state and cannot perform this operation.")
        if group and group["location"] != request.body["location"]:
            raise Refusal(409, "InvalidResourceGroupLocation", "Invalid resource group location.")
        group = {"id": request.path, "name": request.parts["resourceGroupName"], "type": "Microsoft.Resources/resourceGroups",
                 "location": request.body["location"], "tags": request.body.get("tags", {})}
        code = 200 if request.path.lower() in self.groups else 201
        self.groups[request.path.lower()] = group
        return code, {**group, "properties": {"provisioningState": "Succeeded"}}, {}

    def resource_groups_list(self, request):
        wanted = re.fullmatch(r"tagName eq '([^']+)' and tagValue eq '([^']+)'", request.query.get("$filter", [""])[0])
        groups = [group for group in self.groups.values() if not wanted or group["tags"].get(wanted[1]) == wanted[2]]
        return self.page(request, [{**group, "properties": {"provisioningState": "Succeeded"}} for group in groups])

    def resource_groups_delete(self, request):
        group = self.group(request.path)
        for thing in self.in_group(request.path):
            self.begin_delete(thing, time.time())
        group["gone_at"] = time.time() + OPERATION_SECONDS
        return 202, None, {"Location": f"{HOST}/subscriptions/x/operationresults/y?api-version=2025-04-01", "Retry-After": "15"}

    def resources_list_by_resource_group(self, request):
        self.group(request.path)
        things = []
        for thing in self.in_group(request.path):
            entry = {key: thing[key] for key in ("id", "name", "type", "location", "tags", "zones") if key in thing}
            if "createdTime" in request.query.get("$expand", [""])[0]:
                entry["createdTime"] = timestamp(thing["created_at"])
            things.append(entry)
        return self.page(request, things)

    def page(self, request, entries):
        skip = int(request.query.get("$skiptoken", ["0"])[0])
        out = {"value": entries[skip : skip + PAGE]}
        if skip + PAGE < len(entries):
            query = "&".join(f"{key}={value[0].replace(' ', '%20')}" for key, value in request.query.items() if key != "$skiptoken")
            out["nextLink"] = f"{HOST}{request.path}?{query}&$skiptoken={skip + PAGE}"
        return 200, out, {}

    # --- network ---------------------------------------------------------------------------------------------------------------------

    def put(self, request, kind):
        group = self.group(request.path)
        if "gone_at" in group:
            raise Refusal(409, "ResourceGroupBeingDeleted", "The resource group is in deprovisioning state.")
        known = self.things.get(request.path.lower())
        thing = {"id": request.path, "name": request.path.rsplit("/", 1)[1], "type": kind, "location": request.body["location"],
                 "tags": request.body.get("tags", {}), "properties": request.body.get("properties", {}),
                 "created_at": known["created_at"] if known else time.time()}
        self.things[request.path.lower()] = thing
        headers = self.operation(request.call, request.place, None if known else thing)
        return 200 if known else 201, self.shown(thing), headers

    def virtual_networks_create_or_update(self, request):
        for subnet in request.body["properties"]["subnets"]:
            subnet["id"] = f"{request.path}/subnets/{subnet['name']}"
        return self.put(request, NETWORK)

    def network_security_groups_create_or_update(self, request):
        for rule in request.body["properties"]["securityRules"]:
            properties = rule["properties"]
            prefixes = properties.get("sourceAddressPrefixes") or [properties.get("sourceAddressPrefix")]
            if not all(re.fullmatch(r"[\d.]+(/\d+)?|[0-9a-f:]+(/\d+)?|\*|Internet", str(prefix)) for prefix in prefixes):
                raise Refusal(400, "SecurityRuleInvalidAddressPrefix", f"Security rule has invalid Address prefix. Value provided: {prefixes}")
            if not 100 <= properties["priority"] <= 4096:
                raise Refusal(400, "SecurityRuleInvalidPriority", "Priority must be between 100 and 4096.")
        return self.put(request, FIREWALL)

    def network_interfaces_get(self, request):
        return 200, self.shown(self.thing(request.path), request.query.get("$expand", [])), {}

    # --- machines --------------------------------------------------------------------------------------------------------------------

    def virtual_machines_create_or_update(self, request):
        self.group(request.path)
        if request.path.lower() in self.things:
            if request.headers.get("If-None-Match") == "*":
                raise Refusal(412, "PreconditionFailed", "The condition 'If-None-Match' was not met: the resource exists.")
            raise Refusal(409, "PropertyChangeNotAllowed", "Changing property 'networkProfile.networkInterfaceConfigurations' is not allowed.")
        body, properties = request.body, request.body["properties"]
        self.check_machine(body, properties, group_of(request.path))
        self.check_quota(body["location"], properties["hardwareProfile"]["vmSize"], properties.get("priority") == "Spot")
        now, name = time.time(), request.parts["vmName"]
        base = {"location": body["location"], "created_at": now}
        root = group_of(request.path)
        disk = properties["storageProfile"]["osDisk"]
        interface = properties["networkProfile"].pop("networkInterfaceConfigurations")[0]
        properties["networkProfile"].pop("networkApiVersion")
        address = interface["properties"]["ipConfigurations"][0]["properties"]["publicIPAddressConfiguration"]
        subnet = interface["properties"]["ipConfigurations"][0]["properties"]["subnet"]["id"]
        path = {kind: f"{root}/providers/{kind}/{part['name']}" for kind, part in ((DISK, disk), (NIC, interface), (ADDRESS, address))}
        number = next(self.numbers)
        disk["managedDisk"]["id"] = path[DISK]
        properties["networkProfile"]["networkInterfaces"] = [{"id": path[NIC], "properties": {"deleteOption": "Delete", "primary": True}}]
        machine = {**base, "id": request.path, "name": name, "type": VM, "tags": body.get("tags", {}), "properties": properties,
                   "uuid": str(uuid.uuid4()), **({"zones": body["zones"]} if "zones" in body else {})}
        parts = [(disk, DISK, {}, {}), (address, ADDRESS, address.get("tags", {}), {"ipAddress": f"192.0.2.{number % 254 + 1}"}),
                 (interface, NIC, interface.get("tags", {}), {
                     "virtualMachine": {"id": request.path}, "networkSecurityGroup": interface["properties"]["networkSecurityGroup"],
                     "ipConfigurations": [{"name": "primary", "properties": {
                         "privateIPAddress": f"10.71.{number // 250}.{number % 250 + 4}", "subnet": {"id": subnet},
                         "publicIPAddress": {"id": path[ADDRESS]}}}]})]
        machine["takes_along"] = []
        for part, kind, tags, shown in parts:
            self.things[path[kind].lower()] = {**base, "id": path[kind], "name": part["name"], "type": kind, "tags": tags, "properties": shown}
            option = part.get("deleteOption") or part.get("properties", {}).get("deleteOption")
            if option == "Delete":
                machine["takes_along"].append(path[kind].lower())
        self.things[request.path.lower()] = machine
        headers = self.operation(request.call, request.place, machine)
        is_spot = properties.get("priority") == "Spot"
        if not machine["failed"]:
            self.history.append({"id": machine["id"], "tags": machine["tags"], "from": now, "until": None,
                                 "usd_h": azure_catalog.price(properties["hardwareProfile"]["vmSize"], is_spot)})
            if self.real:
                self.boot(machine, self.things[path[ADDRESS].lower()])
        return 201, self.shown(machine), headers

    def boot(self, machine, address):
        machine["booting"] = True
        profile = machine["properties"]["osProfile"]
        key = profile["linuxConfiguration"]["ssh"]["publicKeys"][0]["keyData"]

        def run():
            booted = self.real.boot(machine["name"], key, profile["adminUsername"], "azure")
            with self.lock:
                address["properties"]["ipAddress"], machine["booting"] = booted, False
            if machine["id"].lower() not in self.things:
                self.real.kill(machine["name"])

        threading.Thread(target=run, daemon=True).start()

    def check_machine(self, body, properties, group):
        size, region = properties["hardwareProfile"]["vmSize"], body["location"]
        if size not in azure_catalog.TYPES:
            raise Refusal(400, "InvalidParameter", f"The value {size} provided for the VM size is not valid.")
        if (region, size) in azure_catalog.RESTRICTED or any(zone not in azure_catalog.zones(region) for zone in body.get("zones", [])):
            raise Refusal(409, "SkuNotAvailable", f"The requested VM size for resource '{size}' is currently not available in location '{region}' zones '{','.join(body.get('zones', []))}'.")
        if properties.get("priority") != "Spot" and ("evictionPolicy" in properties or "billingProfile" in properties):
            raise Refusal(400, "InvalidParameter", "evictionPolicy and billingProfile are for priority Spot.")
        image = properties["storageProfile"]["imageReference"]
        if "publisher" in image and (image["publisher"], image["offer"], image["sku"]) not in IMAGES:
            raise Refusal(404, "PlatformImageNotFound", f"The platform image '{image['publisher']}:{image['offer']}:{image['sku']}' is not available.")
        profile = properties["osProfile"]
        if profile["adminUsername"] in RESERVED_USERS:
            raise Refusal(400, "InvalidParameter", f"The Admin Username specified is not allowed: {profile['adminUsername']}")
        for key in profile["linuxConfiguration"]["ssh"]["publicKeys"]:
            if key["path"] != f"/home/{profile['adminUsername']}/.ssh/authorized_keys" or not key["keyData"].startswith("ssh-"):
                raise Refusal(400, "InvalidParameter", "Destination path or key data of the SSH public key is not valid.")
        interface = properties["networkProfile"]["networkInterfaceConfigurations"][0]["properties"]
        subnet = interface["ipConfigurations"][0]["properties"]["subnet"]["id"]
        for reference in (interface["networkSecurityGroup"]["id"], subnet.rsplit("/subnets/", 1)[0]):
            if not reference.lower().startswith(group.lower()) or reference.lower() not in self.things:
                raise Refusal(400, "InvalidResourceReference", f"Resource {reference} referenced by resource was not found.")

    def check_quota(self, region, size, is_spot):
        cores = int(float(azure_catalog.TYPES[size]["vcpus"]))
        family = azure_catalog.family(size)[1]
        used = self.used(region)
        wanted = [("lowPriorityCores", "LowPriorityCores")] if is_spot else [(family, f"{family} Cores"), ("cores", "Total Regional Cores")]
        for name, words in wanted:
            limit = self.limit(region, name)
            if used.get(name, 0) + cores > limit:
                raise Refusal(409, "OperationNotAllowed",
                              f"Operation could not be completed as it results in exceeding approved {words} quota. Additional details - Deployment "
                              f"Model: Resource Manager, Location: {region}, Current Limit: {limit}, Current Usage: {used.get(name, 0)}, Additional "
                              f"Required: {cores}, (Minimum) New Limit Required: {used.get(name, 0) + cores}.")

    def limit(self, region, name):
        return self.limits.get((region, name), azure_catalog.LIMITS.get(name, azure_catalog.FAMILY_LIMIT))

    def used(self, region):
        used = {}
        for thing in self.things.values():
            if thing["type"] == VM and thing["location"] == region:
                size = thing["properties"]["hardwareProfile"]["vmSize"]
                is_spot = thing["properties"].get("priority") == "Spot"
                for name in ["lowPriorityCores"] if is_spot else ["cores", azure_catalog.family(size)[1]]:
                    used[name] = used.get(name, 0) + int(float(azure_catalog.TYPES[size]["vcpus"]))
        return used

    def virtual_machines_get(self, request):
        return 200, self.shown(self.thing(request.path), request.query.get("$expand", [])), {}

    def virtual_machines_list(self, request):
        self.group(request.path)
        return self.page(request, [self.shown(thing, request.query.get("$expand", [])) for thing in self.in_group(request.path, VM)])

    def virtual_machines_list_by_location(self, request):
        here = [thing for thing in self.things.values() if thing["type"] == VM and thing["location"] == request.parts["location"]]
        return self.page(request, [self.shown(thing) for thing in here])

    def delete(self, request):
        if request.path.lower() not in self.things:
            return 204, None, {}
        thing = self.things[request.path.lower()]
        self.refuse_in_use(thing)
        self.begin_delete(thing, time.time())
        return 202, None, self.operation(request.call, {**request.place, "region": thing["location"]})

    virtual_machines_delete = disks_delete = network_interfaces_delete = public_ip_addresses_delete = delete
    virtual_networks_delete = network_security_groups_delete = delete

    def refuse_in_use(self, thing):
        here = [other for other in self.in_group(thing["id"]) if other is not thing]
        interfaces = [other for other in here if other["type"] == NIC]
        machines = [other for other in here if other["type"] == VM]
        if thing["type"] == FIREWALL and interfaces:
            raise Refusal(400, "InUseNetworkSecurityGroupCannotBeDeleted", f"Network security group {thing['id']} cannot be deleted because it is in use by {interfaces[0]['id']}.")
        if thing["type"] == NETWORK and interfaces:
            raise Refusal(400, "InUseSubnetCannotBeDeleted", f"Subnet nodes is in use by {interfaces[0]['id']} and cannot be deleted.")
        owner = next((machine for machine in machines if thing["id"].lower() in machine["takes_along"]), None)
        if owner and thing["type"] == NIC:
            raise Refusal(400, "NicInUse", f"Network Interface {thing['id']} is used by existing resource {owner['id']}.")
        if owner and thing["type"] == ADDRESS:
            raise Refusal(400, "PublicIPAddressCannotBeDeleted", f"Public IP address {thing['id']} can not be deleted since it is still allocated.")
        if owner and thing["type"] == DISK:
            raise Refusal(409, "OperationNotAllowed", f"Disk {thing['name']} is attached to VM {owner['id']}.")

    # --- the account -----------------------------------------------------------------------------------------------------------------

    def subscriptions_get(self, request):
        identity = request.parts["subscriptionId"]
        return 200, {"id": request.path, "subscriptionId": identity, "displayName": "Emulated", "state": "Enabled"}, {}

    def permissions_list(self, request):
        return 200, {"value": [{"actions": self.actions, "notActions": ["Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write"]}]}, {}

    def providers_get(self, request):
        namespace = request.parts["providerNamespace"]
        at = self.registered.get(namespace.lower())
        state = "NotRegistered" if at is None else "Registering" if at > time.time() else "Registered"
        return 200, {"namespace": namespace, "registrationState": state}, {}

    def providers_register(self, request):
        self.registered.setdefault(request.parts["providerNamespace"].lower(), time.time() + self.seconds.get("POST register", OPERATION_SECONDS))
        return self.providers_get(request)

    def submit_deallocate(self, request):
        if self.registered.get("microsoft.computeschedule", time.time() + 1) > time.time():
            raise Refusal(409, "MissingSubscriptionRegistration", "The subscription is not registered to use namespace 'Microsoft.ComputeSchedule'.")
        results = []
        for identity in request.body["resources"]["ids"]:
            thing = self.things.get(identity.lower())
            if thing is None:
                results.append({"resourceId": identity, "errorCode": "ResourceNotFound", "errorDetails": "The machine was not found."})
                continue
            deadline = request.body["schedule"]["deadline"]
            thing["deallocate_at"] = datetime.datetime.fromisoformat(deadline.replace("Z", "+00:00")).timestamp()
            results.append({"resourceId": identity, "errorCode": None, "errorDetails": None, "operation": {
                "operationId": str(uuid.uuid4()), "opType": "Deallocate", "deadline": deadline, "state": "PendingScheduling"}})
        return 200, {"description": "Deallocate Resource request", "type": "virtualMachines", "location": request.parts["location"], "results": results}, {}

    def usage_list(self, request):
        region = request.parts["location"]
        names = {"cores": "Total Regional vCPUs", "lowPriorityCores": "Total Regional Low-priority vCPUs", "virtualMachines": "Virtual Machines"}
        for size in azure_catalog.TYPES:
            family = azure_catalog.family(size)[1]
            names[family] = f"{family} vCPUs"
        used = self.used(region)
        return self.page(request, [{"unit": "Count", "currentValue": used.get(name, 0), "limit": self.limit(region, name),
                                    "name": {"value": name, "localizedValue": title}} for name, title in names.items()])

    def resource_skus_list(self, request):
        region = re.fullmatch(r"location eq '([^']+)'", request.query["$filter"][0])[1]
        return 200, {"value": list(azure_catalog.skus(region))}, {}

    def cost_query(self, request):
        dataset, period = request.body["dataset"], request.body["timePeriod"]
        tag, owner = dataset["filter"]["tags"], dataset["grouping"][0]["name"]
        begin, end = (datetime.datetime.fromisoformat(period[key].replace("Z", "+00:00")).timestamp() for key in ("from", "to"))
        totals = {}
        for line in self.history:
            if line["tags"].get(tag["name"]) in tag["values"] and begin <= line["from"] <= end:
                day = int(time.strftime("%Y%m%d", time.gmtime(line["from"])))
                key = (day, line["tags"].get(owner, ""))
                totals[key] = totals.get(key, 0) + line["usd_h"] * ((line["until"] or time.time()) - line["from"]) / 3600
        columns = [{"name": dataset["aggregation"]["totalCost"]["name"], "type": "Number"}, {"name": "UsageDate", "type": "Number"},
                   {"name": "TagKey", "type": "String"}, {"name": "TagValue", "type": "String"}, {"name": "Currency", "type": "String"}]
        rows = [[usd, day, owner, value, "USD"] for (day, value), usd in sorted(totals.items())]
        skip = int(request.query.get("$skiptoken", ["0"])[0])
        link = f"{HOST}{request.path}?api-version=2025-03-01&$skiptoken={skip + 1}" if skip + 1 < len(rows) else None
        return 200, {"properties": {"nextLink": link, "columns": columns, "rows": rows[skip : skip + 1]}}, {}

    def prices(self, request):
        text = request.query["$filter"][0]
        region = re.search(r"armRegionName eq '([^']+)'", text)[1]
        items = [item for item in azure_catalog.price_items(region) if azure_catalog.fits(item, text)]
        skip = int(request.query.get("$skip", ["0"])[0])
        link = f"https://prices.azure.com:443/api/retail/prices?$skip={skip + PAGE}" if skip + PAGE < len(items) else None
        page = items[skip : skip + PAGE]
        return 200, {"BillingCurrency": "USD", "Items": page, "NextPageLink": link, "Count": len(page)}, {}

    # --- tokens ----------------------------------------------------------------------------------------------------------------------

    def token(self, form):
        if form.get("client_secret") != [SECRET]:
            return 401, {"error": "invalid_client", "error_codes": [7000215], "error_description":
                         "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value."}
        claims = {"aud": form["scope"][0], "appid": form["client_id"][0], "oid": "00000000-0000-0000-0000-0000000000aa", "exp": int(time.time()) + 3600}
        plain = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)]
        token = ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in plain), uuid.uuid4().hex])
        self.tokens.add(token)
        return 200, {"token_type": "Bearer", "expires_in": 3600, "ext_expires_in": 3600, "access_token": token}

    # --- control ---------------------------------------------------------------------------------------------------------------------

    def control(self, method, path, body):
        shared = self.rules.control(method, path, body)
        if shared:
            return shared
        wanted = json.loads(body or b"{}")
        with self.lock:
            self.settle()
            if path == "/_x/machines":
                return 200, json.dumps([self.seen(thing) for thing in self.things.values() if thing["type"] == VM])
            if path == "/_x/everything":
                everything = [*self.groups.values(), *self.things.values()]
                return 200, json.dumps([{"kind": one["type"].rsplit("/", 1)[1], "id": one["id"], "name": one["name"], "region": one["location"],
                                         "tags": one.get("tags", {})} for one in everything])
            if path == "/_x/limit":
                self.limits[wanted["region"], wanted["name"]] = wanted["limit"]
                return 200, "{}"
            if path == "/_x/allow":
                self.actions = wanted["actions"]
                return 200, "{}"
            if path == "/_x/defer":
                self.seconds[wanted["name"]] = wanted["seconds"]
                return 200, "{}"
            machine = self.things.get(wanted.get("id", "").lower())
            if machine is None or machine["type"] != VM:
                return 404, json.dumps({"error": "no such machine"})
            if path == "/_x/kill":
                machine["die_at"] = time.time()
                if self.real:
                    self.real.kill(machine["name"])
                return 200, "{}"
            if path == "/_x/interrupt":
                machine["evict_at"] = time.time() + wanted["seconds"]
                if self.real:
                    self.real.interrupt(machine["name"], wanted["seconds"])
                return 200, "{}"
        return 404, json.dumps({"error": "no such control"})

    def seen(self, thing):
        address = next((self.things[key] for key in thing["takes_along"] if key in self.things and self.things[key]["type"] == ADDRESS), None)
        state = self.provisioning(thing)
        return {"id": thing["id"], "name": thing["name"], "region": thing["location"], "zone": (thing.get("zones") or [None])[0],
                "type": thing["properties"]["hardwareProfile"]["vmSize"],
                "market": "spot" if thing["properties"].get("priority") == "Spot" else "on-demand",
                "state": thing.get("power", "running") if state == "Succeeded" else state.lower(),
                "address": address and address["properties"]["ipAddress"], "tags": thing["tags"]}


CLOUD = Cloud()


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
