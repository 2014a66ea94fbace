"""What there is at the emulated Azure: resource groups with their networks, firewalls and machines, and how they come and go."""
import copy
import datetime
import itertools
import json
import os
import re
import threading
import time
import uuid

import azure_catalog
from azure_account import HOST, OPERATION_SECONDS, VM, Account, Refusal, page
from rules import Rules

IMAGES = {("microsoft-dsvm", "ubuntu-hpc", "2204"), ("microsoft-dsvm", "ubuntu-hpc", "2404")}
RESERVED_USERS = {"root", "admin", "administrator", "user", "guest", "test"}
DISK = "Microsoft.Compute/disks"
NIC, ADDRESS = "Microsoft.Network/networkInterfaces", "Microsoft.Network/publicIPAddresses"
FIREWALL, NETWORK = "Microsoft.Network/networkSecurityGroups", "Microsoft.Network/virtualNetworks"


def timestamp(at):
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f0+00:00")


def group_of(path):
    return re.match(r"(/subscriptions/[^/]+/resourcegroups/[^/]+)", path, re.IGNORECASE)[1]


class Cloud(Account):
    def __init__(self):
        super().__init__()
        self.lock = threading.RLock()
        self.rules = Rules()
        self.groups, self.operations = {}, {}
        self.numbers = itertools.count(1)
        self.real = None
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
        return page(request, [{**group, "properties": {"provisioningState": "Succeeded"}} for group in groups])

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
        return page(request, things)

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

    def virtual_machines_get(self, request):
        return 200, self.shown(self.thing(request.path), request.query.get("$expand", [])), {}

    def virtual_machines_list(self, request):
        self.group(request.path)
        return page(request, [self.shown(thing, request.query.get("$expand", [])) for thing in self.in_group(request.path, VM)])

    def virtual_machines_list_by_location(self, request):
        here = [thing for thing in self.things.values() if thing["type"] == VM and thing["location"] == request.parts["location"]]
        return page(request, [self.shown(thing) for thing in here])

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
