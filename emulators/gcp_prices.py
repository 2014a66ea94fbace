"""Entries of Google's price list for the emulated Cloud Billing, worded as the real ones are, with those that mislead."""

AMERICAS = ["us-central1", "us-east1", "us-west1"]
EUROPE = ["europe-west1", "europe-west4"]

# What is priced, on demand and on spot, in USD an hour; SSD by the month. A2, A100 and N1 are list prices of 2026 in us-central1; H100, H200 and
# B200 are of the right size and no more.
PARTS = [
    ("N1 Predefined Instance Core", "Compute", 0.031611, 0.00698),
    ("N1 Predefined Instance Ram", "Compute", 0.004237, 0.000937),
    ("A2 Instance Core", "Compute", 0.031611, 0.01659),
    ("A2 Instance Ram", "Compute", 0.004237, 0.00222),
    ("G2 Instance Core", "Compute", 0.024988, 0.014047),
    ("G2 Instance Ram", "Compute", 0.002927, 0.001645),
    ("A3 Instance Core", "Compute", 0.029317, 0.0169),
    ("A3 Instance Ram", "Compute", 0.002553, 0.00147),
    ("A3Plus Instance Core", "Compute", 0.030317, 0.0179),
    ("A3Plus Instance Ram", "Compute", 0.002653, 0.00157),
    ("G4 Instance Core", "Compute", 0.03, 0.012),
    ("G4 Instance Ram", "Compute", 0.003, 0.0012),
    ("Nvidia Tesla T4 GPU", "Compute", 0.35, 0.14),
    ("Nvidia Tesla P4 GPU", "Compute", 0.60, 0.216),
    ("Nvidia Tesla P100 GPU", "Compute", 1.46, 0.43),
    ("Nvidia Tesla V100 GPU", "Compute", 2.48, 0.74),
    ("Nvidia L4 GPU", "Compute", 0.560040, 0.3148),
    ("Nvidia Tesla A100 GPU", "Compute", 2.933908, 1.5399),
    ("Nvidia Tesla A100 80GB GPU", "Compute", 3.928085, 2.1),
    ("Nvidia H100 80GB GPU", "Compute", 9.796, 5.54),
    ("Nvidia H100 80GB Mega GPU", "Compute", 10.2, 5.7),
    ("Nvidia H200 141GB GPU", "Compute", 9.3, 4.4),
    ("Nvidia RTX 6000 96GB", "Compute", 2.52, 1.0),
    ("SSD backed Local Storage", "Storage", 0.08, 0.048),
]

# Each of these would give a wrong price if it were taken for what it looks like.
MISLEADING = [
    ("Nvidia Tesla A100 80GB GPU attached to DWS Defined Duration VMs running in Americas", "Compute", "OnDemand", 1.846198),
    ("Nvidia Tesla A100 GPU attached to DWS Defined Duration VMs running in Americas", "Compute", "OnDemand", 1.61365),
    ("DWS Defined Duration A2 Core running in Americas", "Compute", "OnDemand", 0.01739),
    ("Reserved Nvidia Tesla A100 80GB GPU in Americas", "Compute", "OnDemand", 0.0),
    ("Reserved Nvidia H200 141GB GPU in Americas in Calendar Mode", "Compute", "OnDemand", 3.1),
    ("Commitment v1: Nvidia L4 GPU running in Americas for 1 Year", "Compute", "Commit1Yr", 0.3),
    ("N1 Custom Instance Core running in Americas", "Compute", "OnDemand", 0.033174),
    ("A2 Sole Tenancy Instance Core running in Americas", "Compute", "OnDemand", 0.003),
    ("Nvidia B200 (1 gpu slice) running in Americas", "Compute", "OnDemand", 11.277),
    # On spot, whatever it says.
    ("Nvidia B200 (1 gpu slice) attached to Spot Preemptible VMs running in Americas", "Compute", "OnDemand", 4.0758),
    ("Network Internet Egress from Americas to Americas", "Network", "OnDemand", 0.12),
]


def skus():
    """Every entry."""
    number = iter(range(1, 10_000))
    for place, regions, factor in [("Americas", AMERICAS, 1.0), ("EMEA", EUROPE, 1.1)]:
        for name, family, on_demand, spot in PARTS:
            where = f"in {place}" if family == "Storage" else f"running in {place}"
            yield _sku(next(number), f"{name} {where}", family, "OnDemand", on_demand * factor, regions)
            if name.startswith(("Nvidia", "SSD")):
                text = f"{name} attached to Spot Preemptible VMs {where}"
            else:
                text = f"Spot Preemptible {name} {where}"
            yield _sku(next(number), text, family, "Preemptible", spot * factor, regions)
    for description, family, usage, price in MISLEADING:
        yield _sku(next(number), description, family, usage, price, AMERICAS)


def _sku(number, description, family, usage, price, regions):
    identity = f"0000-0000-{number:04X}"
    unit = {"currencyCode": "USD", "units": str(int(price)), "nanos": round((price - int(price)) * 1e9)}
    return {
        "name": f"services/6F81-5844-456A/skus/{identity}",
        "skuId": identity,
        "description": description,
        "category": {"serviceDisplayName": "Compute Engine", "resourceFamily": family, "resourceGroup": "GPU", "usageType": usage},
        "serviceRegions": regions,
        "serviceProviderName": "Google",
        "pricingInfo": [{"summary": "", "effectiveTime": "2026-11-01T00:00:00Z", "currencyConversionRate": 1, "pricingExpression": {
            "usageUnit": "GiBy.mo" if family == "Storage" else "h", "displayQuantity": 1,
            "tieredRates": [{"startUsageAmount": 0, "unitPrice": unit}]}}],
    }
