"""What the emulated AWS says about money and limits: prices, quotas, the bill, and which image has NVIDIA's driver."""
import csv
import datetime
import json
import re
import time
from pathlib import Path

from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES

from aws_state import Fault, all_instances, ec2_answer, market_of, tags_of

REGIONS = ("us-east-1", "us-west-2", "eu-central-1")
CATALOG = Path(__file__).parent / "../crates/nvbind-cloud/src/catalog/instances.csv"

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
        for region in REGIONS:
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


def quota_of(kind, market):
    return next((row for row in QUOTAS if row[2] == market and any(kind.startswith(family) for family in row[3])), None)


def quota_value(region, row):
    return QUOTA_VALUES.get((region, row[0]), row[4])


def vcpus(kind):
    return INSTANCE_TYPES[kind]["VCpuInfo"]["DefaultVCpus"]


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
