"""What the emulated Azure rents out: machine types, families, quotas and prices, from nvbind's own catalog, with the odd entries of the real lists."""
import csv
import pathlib
import re

TABLE = pathlib.Path(__file__).parent / "../crates/nvbind-cloud/src/catalog/instances.csv"
with TABLE.open() as file:
    TYPES = {row["instance_type"]: row for row in csv.DictReader(file) if row["provider"] == "azure" and row["status"] != "retired"}
with TABLE.open() as file:
    RETIRED = {row["instance_type"]: row for row in csv.DictReader(file) if row["provider"] == "azure" and row["status"] == "retired"}

# Families by the form of the name; the spaces are Azure's own.
FAMILIES = [
    (r"Standard_NC\d+as_T4_v3", "Standard NCASv3_T4 Family", "StandardNCASv3_T4Family"),
    (r"Standard_NC\d+ads_A100_v4", "standardNCADSA100v4Family", "standardNCADSA100v4Family"),
    (r"Standard_NC\d+ad\w*s_H100_v5", "StandardNCadsH100v5Family", "StandardNCadsH100v5Family"),
    (r"Standard_ND\d+asr_v4", "standardNDASv4_A100Family", "standardNDASv4_A100Family"),
    (r"Standard_ND\d+amsr_A100_v4", "standardNDAMSv4_A100Family", "standardNDAMSv4_A100Family"),
    (r"Standard_ND\d+isr_H100_v5", "standardNDSH100v5Family", "standardNDSH100v5Family"),
    (r"Standard_NV\d+ad\w*_A10_v5", "StandardNVADSA10v5Family", "StandardNVADSA10v5Family"),
]
ZONES = {"westus": []}
# The subscription may not have these.
RESTRICTED = {("eastus2", "Standard_ND96isr_H200_v5")}
LIMITS = {"cores": 2000, "lowPriorityCores": 2000}
FAMILY_LIMIT = 1000
SPOT_SHARE = 0.25


def family(name):
    """(as the list of machine types has it, as the list of usages has it)"""
    for form, in_skus, in_usages in FAMILIES:
        if re.fullmatch(form, name):
            return in_skus, in_usages
    plain = re.sub(r"\W|_", "", name[len("Standard_") :])
    return f"standard{plain}Family", f"standard{plain}Family"


def zones(region):
    return ZONES.get(region, ["1", "2", "3"])


def skus(region):
    for name, row in TYPES.items():
        restrictions = []
        if (region, name) in RESTRICTED:
            restrictions = [{"type": "Location", "values": [region], "reasonCode": "NotAvailableForSubscription",
                             "restrictionInfo": {"locations": [region]}}]
        yield {"resourceType": "virtualMachines", "name": name, "tier": "Standard", "size": name[9:], "family": family(name)[0],
               "locations": [region], "locationInfo": [{"location": region, "zones": zones(region)}],
               "capabilities": [{"name": "vCPUs", "value": row["vcpus"]}, {"name": "MemoryGB", "value": row["memory_gib"]},
                                {"name": "GPUs", "value": row["gpus"]}, {"name": "LowPriorityCapable", "value": "True"}],
               "restrictions": restrictions}
    yield {"resourceType": "disks", "name": "StandardSSD_LRS", "tier": "Standard", "size": "E10", "locations": [region], "restrictions": []}


def price(name, is_spot):
    row = {**TYPES, **RETIRED}[name]
    on_demand = float(row["on_demand_usd_h"])
    return float(row["spot_low_usd_h"] or on_demand * SPOT_SHARE) if is_spot else on_demand


# --- the Retail Prices API -----------------------------------------------------------------------------------------------------------


def price_items(region):
    """What the list has for a region, with what is to be left out: Windows, dedicated hosts, the old Low Priority, reservations, zeroes,
    prices that were in force before."""
    for name in {**TYPES, **RETIRED}:
        size = name[9:].replace("_", " ")
        for suffix, usd in [("", price(name, False)), (" Spot", price(name, True))]:
            item = {
                "currencyCode": "USD", "retailPrice": usd, "unitPrice": usd, "armRegionName": region, "unitOfMeasure": "1 Hour",
                "meterName": size + suffix, "skuName": size + suffix, "productName": "Virtual Machines Series", "serviceName": "Virtual Machines",
                "armSkuName": name, "type": "Consumption", "effectiveStartDate": "2026-06-01T00:00:00Z", "isPrimaryMeterRegion": True,
            }
            yield {**item, "retailPrice": usd * 3, "effectiveStartDate": "2024-01-01T00:00:00Z"}
            yield item
            yield {**item, "productName": "Virtual Machines Series Windows", "retailPrice": usd * 1.4, "effectiveStartDate": "2026-07-01T00:00:00Z"}
        yield {**item, "meterName": size + " Low Priority", "skuName": size + " Low Priority", "retailPrice": 0.01, "effectiveStartDate": "2026-07-01T00:00:00Z"}
        yield {**item, "productName": "Series Dedicated Host", "skuName": size, "retailPrice": 99.0, "effectiveStartDate": "2026-07-01T00:00:00Z"}
        yield {**item, "type": "Reservation", "unitOfMeasure": "1 Hour", "skuName": size, "retailPrice": 9999.0, "effectiveStartDate": "2026-07-01T00:00:00Z"}
        yield {**item, "skuName": size, "retailPrice": 0.0, "effectiveStartDate": "2026-07-01T00:00:00Z"}


# In a filter the type is called priceType.
FIELDS = {"priceType": "type"}


def fits(item, text):
    """Evaluates a filter of OData, as far as the price list takes it: and, or, eq, contains() eq true|false, brackets."""
    tokens = re.findall(r"\(|\)|,|'[^']*'|\w+", text)

    def value(token):
        return token[1:-1] if token.startswith("'") else item.get(FIELDS.get(token, token))

    def term():
        token = tokens.pop(0)
        if token == "(":
            result = any_of()
            assert tokens.pop(0) == ")"
            return result
        if token == "contains":
            assert tokens.pop(0) == "("
            whole = value(tokens.pop(0))
            assert tokens.pop(0) == ","
            part = value(tokens.pop(0))
            assert tokens.pop(0) == ")" and tokens.pop(0) == "eq"
            return (part in whole) == (tokens.pop(0) == "true")
        assert tokens.pop(0) == "eq", text
        return value(token) == value(tokens.pop(0))

    def all_of():
        results = [term()]
        while tokens and tokens[0] == "and":
            tokens.pop(0)
            results.append(term())
        return all(results)

    def any_of():
        results = [all_of()]
        while tokens and tokens[0] == "or":
            tokens.pop(0)
            results.append(all_of())
        return any(results)

    result = any_of()
    assert not tokens, tokens
    return result
