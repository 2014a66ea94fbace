"""Microsoft's own description of Azure's interfaces, as far as it is published for Python: routes with their versions and query parameters
from the request builders, bodies from the models of azure-mgmt-compute 39.0.0 and azure-mgmt-network 33.1.0. What has no package here
(resource groups, ComputeSchedule, Cost Management) is described below by hand, from azure-mgmt-resource 26.0.0, -computeschedule 1.1.0 and
-costmanagement 5.0.0.
"""
import datetime
import enum
import importlib
import inspect
import pathlib
import re
import sys
import typing

# `azure.py` beside this file would hide Microsoft's package of that name.
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if pathlib.Path(entry).resolve() != HERE]

import azure.mgmt.compute.models._models as compute_models
import azure.mgmt.network.models._models as network_models

sys.path.insert(0, str(HERE))

BUILDERS = {
    "compute": """virtual_machines_create_or_update virtual_machines_get virtual_machines_delete virtual_machines_list
        virtual_machines_list_by_location usage_list resource_skus_list disks_delete""".split(),
    "network": """virtual_networks_create_or_update virtual_networks_delete network_security_groups_create_or_update
        network_security_groups_delete network_interfaces_get network_interfaces_delete public_ip_addresses_delete""".split(),
}
BODIES = {
    "virtual_machines_create_or_update": compute_models.VirtualMachine,
    "virtual_networks_create_or_update": network_models.VirtualNetwork,
    "network_security_groups_create_or_update": network_models.NetworkSecurityGroup,
}
SUBSCRIPTION = "/subscriptions/{subscriptionId}"
GROUP = SUBSCRIPTION + "/resourceGroups/{resourceGroupName}"
SCHEDULE = SUBSCRIPTION + "/providers/Microsoft.ComputeSchedule/locations/{location}"
# method, path, name, version, query parameters
BY_HAND = [
    ("GET", SUBSCRIPTION, "subscriptions_get", "2022-12-01", []),
    ("GET", SUBSCRIPTION + "/providers/Microsoft.Authorization/permissions", "permissions_list", "2022-04-01", []),
    ("GET", SUBSCRIPTION + "/providers/{providerNamespace}", "providers_get", "2025-04-01", ["$expand"]),
    ("POST", SUBSCRIPTION + "/providers/{providerNamespace}/register", "providers_register", "2025-04-01", []),
    ("GET", SUBSCRIPTION + "/resourceGroups", "resource_groups_list", "2025-04-01", ["$filter", "$top"]),
    ("PUT", GROUP, "resource_groups_create_or_update", "2025-04-01", []),
    ("DELETE", GROUP, "resource_groups_delete", "2025-04-01", ["forceDeletionTypes"]),
    ("GET", GROUP + "/resources", "resources_list_by_resource_group", "2025-04-01", ["$filter", "$expand", "$top"]),
    ("POST", SCHEDULE + "/virtualMachinesSubmitDeallocate", "submit_deallocate", "2025-05-01", []),
    ("POST", SUBSCRIPTION + "/providers/Microsoft.CostManagement/query", "cost_query", "2025-03-01", ["$skiptoken"]),
    ("GET", "/api/retail/prices", "prices", "2023-01-01-preview", ["$filter", "$skip", "currencyCode"]),
]
# Bodies by hand: `name!` is required; a set is an enumeration, a list an array of its one element, None anything.
OPERATORS = {"name!": str, "operator!": {"In"}, "values!": [str]}
PLAIN = {
    "resource_groups_create_or_update": {"location!": str, "tags": None, "managedBy": str},
    "submit_deallocate": {
        "schedule!": {"deadline": "time", "deadlineType!": {"InitiateAt", "CompleteBy"}, "timezone": str},
        "executionParameters!": {"retryPolicy": {"retryCount": int, "retryWindowInMinutes": int}, "optimizationPreference": str},
        "resources!": {"ids!": [str]},
        "correlationid!": "uuid",
    },
    "cost_query": {
        "type!": {"Usage", "ActualCost", "AmortizedCost"},
        "timeframe!": {"MonthToDate", "Custom"},
        "timePeriod": {"from!": "time", "to!": "time"},
        "dataset!": {
            "granularity": {"Daily", "Monthly"},
            "aggregation": {"totalCost!": {"name!": str, "function!": {"Sum"}}},
            "grouping": [{"type!": {"TagKey", "Dimension"}, "name!": str}],
            "filter": {"tags": OPERATORS, "dimensions": OPERATORS},
        },
    },
}
FORMS = {"time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"}


def pattern(path):
    return re.compile("^" + re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path)) + "$", re.IGNORECASE)


def published_routes():
    for package, names in BUILDERS.items():
        module = importlib.import_module(f"azure.mgmt.{package}")
        source = (pathlib.Path(module.__file__).parent / "operations/_operations.py").read_text()
        for name in names:
            start = source.index(f"\ndef build_{name}_request(")
            text = source[start : source.index("\ndef ", start + 1)]
            path = "".join(re.findall(r'"([^"]*)"', re.search(r'_url = (?:\(\n\s*)?((?:\s*"[^"]*")+)', text)[1]))
            version = re.search(r'"api-version", "([^"]+)"', text)[1]
            method = re.search(r'method="(\w+)"', text)[1]
            yield method, pattern(path), name, version, set(re.findall(r'_params\["([^"]+)"\]', text))


def hand_made_routes():
    for method, path, name, version, query in BY_HAND:
        yield method, pattern(path), name, version, {"api-version", *query}


ROUTES = [*published_routes(), *hand_made_routes()]


def route(method, path):
    """(name, parts of the path, version, query parameters), or None."""
    for known, expression, name, version, query in ROUTES:
        match = known == method and expression.match(path)
        if match:
            return name, match.groupdict(), version, query
    return None


def faults(name, query, version, known_query, body):
    """What is wrong with a request, in words."""
    errors = [f"unknown query parameter {key}" for key in query if key not in known_query]
    if query.get("api-version") != [version]:
        errors.append(f"api-version {query.get('api-version')} is not {version}")
    if name in BODIES:
        model(body, BODIES[name], "body", errors) if isinstance(body, dict) else errors.append("no body")
    if name in PLAIN:
        plain(body, PLAIN[name], "body", errors)
    return errors


def plain(value, wanted, at, errors):
    if isinstance(wanted, dict):
        if not isinstance(value, dict):
            return errors.append(f"{at}: not an object")
        known = {key.rstrip("!"): inner for key, inner in wanted.items()}
        errors += [f"{at}.{key}: unknown property" for key in value if key not in known]
        errors += [f"{at}.{key[:-1]}: required" for key in wanted if key.endswith("!") and key[:-1] not in value]
        for key in value.keys() & known.keys():
            plain(value[key], known[key], f"{at}.{key}", errors)
    elif isinstance(wanted, list):
        if not isinstance(value, list) or not value:
            return errors.append(f"{at}: not an array with something in it")
        for index, inner in enumerate(value):
            plain(inner, wanted[0], f"{at}[{index}]", errors)
    elif isinstance(wanted, set) and value not in wanted:
        errors.append(f"{at}: {value!r} is none of {sorted(wanted)}")
    elif isinstance(wanted, str) and not re.fullmatch(FORMS[wanted], str(value)):
        errors.append(f"{at}: {value!r} is no {wanted}")
    elif isinstance(wanted, type) and not isinstance(value, wanted):
        errors.append(f"{at}: not a {wanted.__name__}")


# --- the models of the packages ------------------------------------------------------------------------------------------------------


def fields(kind):
    kind()  # Resolves the fields.
    hints = {}
    for parent in reversed(kind.__mro__):
        hints.update(getattr(parent, "__annotations__", {}))
    return {field._rest_name: (hints[name], field._visibility or []) for name, field in kind._attr_to_rest_field.items() if name in hints}


def names_of(kind):
    package = importlib.import_module(kind.__module__.rsplit(".", 1)[0] + "._enums")
    models = importlib.import_module(kind.__module__)
    return {"_models": models, **vars(typing), **vars(package), **vars(models), "datetime": datetime, "Any": typing.Any}


KNOWN = {}
# Microsoft lists sizes as an enumeration that is open: new ones are not in it.
OPEN = {"VirtualMachineSizeTypes"}


def model(value, kind, at, errors):
    if not isinstance(value, dict):
        return errors.append(f"{at}: not an object")
    if kind not in KNOWN:
        KNOWN[kind] = fields(kind)
    known, names = KNOWN[kind], names_of(kind)
    for key, inner in value.items():
        if key not in known:
            errors.append(f"{at}.{key}: unknown property of {kind.__name__}")
        elif known[key][1] == ["read"]:
            errors.append(f"{at}.{key}: read-only")
        elif inner is not None:
            typed(inner, known[key][0], names, f"{at}.{key}", errors)
    for key, (hint, visibility) in known.items():
        is_optional = type(None) in typing.get_args(hint) or "Optional[" in str(hint)
        if key not in value and visibility != ["read"] and not is_optional:
            errors.append(f"{at}.{key}: required")


def typed(value, hint, names, at, errors):
    if isinstance(hint, typing.ForwardRef):
        hint = hint.__forward_arg__
    if isinstance(hint, str):
        hint = eval(hint, dict(names))
    if isinstance(hint, typing.ForwardRef):
        return typed(value, hint, names, at, errors)
    origin, inner = typing.get_origin(hint), [one for one in typing.get_args(hint) if one is not type(None)]
    if origin is typing.Union:
        words = [one for one in inner if isinstance(one, typing.ForwardRef)]
        if str in inner and words:
            return enumerated(value, names[words[0].__forward_arg__.replace("_models.", "")], at, errors)
        if len(inner) == 1:
            typed(value, inner[0], names, at, errors)
    elif origin is list:
        if not isinstance(value, list):
            return errors.append(f"{at}: not an array")
        for index, one in enumerate(value):
            typed(one, inner[0], names, f"{at}[{index}]", errors)
    elif origin is dict:
        if not isinstance(value, dict):
            return errors.append(f"{at}: not an object")
        for key, one in value.items():
            typed(one, inner[1], names, f"{at}.{key}", errors)
    elif inspect.isclass(hint) and any(parent.__name__ == "Model" for parent in hint.__mro__):
        model(value, hint, at, errors)
    elif hint in (str, bool) and not isinstance(value, hint):
        errors.append(f"{at}: not a {hint.__name__}")
    elif hint is int and (isinstance(value, bool) or not isinstance(value, int)):
        errors.append(f"{at}: not an integer")
    elif hint is float and (isinstance(value, bool) or not isinstance(value, (int, float))):
        errors.append(f"{at}: not a number")


def enumerated(value, words, at, errors):
    known = [word.value.lower() for word in words] if issubclass(words, enum.Enum) else []
    if not isinstance(value, str) or words.__name__ not in OPEN and value.lower() not in known:
        errors.append(f"{at}: {value!r} is not a {words.__name__}")
