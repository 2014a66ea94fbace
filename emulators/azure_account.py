"""The account at the emulated Azure: tokens, permissions, registrations, quotas, machine types, prices and the bill."""
import base64
import datetime
import json
import re
import time
import uuid

import azure_catalog

OPERATION_SECONDS = 0.1
PAGE = 5
HOST = "https://management.azure.com"
SECRET = "emulated-secret"
VM = "Microsoft.Compute/virtualMachines"


class Refusal(Exception):
    def __init__(self, status, code, message):
        self.status, self.code, self.message = status, code, message


def page(request, entries):
    """One page of a list, with the link to the next one."""
    skip = int(request.query.get("$skiptoken", ["0"])[0])
    out = {"value": entries[skip : skip + PAGE]}
    if skip + PAGE < len(entries):
        query = "&".join(f"{key}={value[0].replace(' ', '%20')}" for key, value in request.query.items() if key != "$skiptoken")
        out["nextLink"] = f"{HOST}{request.path}?{query}&$skiptoken={skip + PAGE}"
    return 200, out, {}


class Account:
    """What does not lie in a resource group. `things` are the resources by their ids in small letters."""

    def __init__(self):
        self.things, self.limits, self.registered = {}, {}, {}
        # How long operations of a call take, where that was said.
        self.seconds = {}
        # What each machine cost, and from when until when.
        self.history = []
        self.tokens, self.actions = set(), ["*"]

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
        return page(request, [{"unit": "Count", "currentValue": used.get(name, 0), "limit": self.limit(region, name),
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

    def token(self, form):
        if form.get("client_secret") != [SECRET]:
            return 401, {"error": "invalid_client", "error_codes": [7000215], "error_description":
                         "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value."}
        claims = {"aud": form["scope"][0], "appid": form["client_id"][0], "oid": "00000000-0000-0000-0000-0000000000aa", "exp": int(time.time()) + 3600}
        plain = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)]
        token = ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in plain), uuid.uuid4().hex])
        self.tokens.add(token)
        return 200, {"token_type": "Bearer", "expires_in": 3600, "ext_expires_in": 3600, "access_token": token}

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
