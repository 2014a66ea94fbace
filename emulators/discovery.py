"""Checks requests against Google's own description of an API (discovery document), as google-api-python-client brings it.

    api = Discovery("compute.v1")
    method, arguments, errors = api.check("POST", "/compute/v1/projects/p/zones/z/instances", {"requestId": ["..."]}, {"name": "x"})
"""
import importlib.util
import json
import os
import re
from urllib.parse import unquote

# System parameters that Google's Rust client adds; the document does not list them.
NOT_LISTED = ("$alt", "$apiVersion")
RANGES = {
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
}


class Discovery:
    def __init__(self, name):
        package = os.path.dirname(importlib.util.find_spec("googleapiclient").origin)
        with open(os.path.join(package, "discovery_cache/documents", f"{name}.json")) as file:
            self.document = json.load(file)
        self.schemas, self.common = self.document["schemas"], self.document["parameters"]
        self.routes = [self._route(method) for method in _methods(self.document["resources"])]

    def _route(self, method):
        base = "/" + self.document["servicePath"]
        path = method.get("flatPath") or method["path"]
        path = base + path.removeprefix(self.document["servicePath"])
        pattern = re.sub(r"\\\{\+?(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path.replace("//", "/")))
        return method["httpMethod"], re.compile(f"^{pattern}$"), method

    def check(self, verb, path, query, body):
        """The method that is called (None: there is none), its arguments, and what is wrong with them."""
        hits = [(method, pattern.match(path)) for wanted, pattern, method in self.routes if wanted == verb and pattern.match(path)]
        if not hits:
            return None, {}, [f"no method for {verb} {path}"]
        method, found = hits[0]
        arguments = {key: unquote(value) for key, value in found.groupdict().items()}
        parameters, errors = method.get("parameters", {}), []
        for key, value in arguments.items():
            self.value(value, parameters.get(key, {"type": "string"}), key, errors)
        for key, values in query.items():
            if key in NOT_LISTED:
                continue
            parameter = parameters.get(key) or self.common.get(key)
            if parameter is None or parameter.get("location") != "query":
                errors.append(f"unknown query parameter {key}")
                continue
            if len(values) > 1 and not parameter.get("repeated"):
                errors.append(f"{key}: repeated")
            for value in values:
                self.value(value, parameter, key, errors)
            arguments[key] = values[0]
        flat = "flatPath" in method and method["flatPath"] != method["path"]
        errors += [f"missing parameter {key}" for key, parameter in parameters.items()
                   if parameter.get("required") and key not in arguments and not (flat and parameter.get("location") == "path")]
        if "request" in method:
            if body is None:
                errors.append("missing body")
            else:
                self.value(body, method["request"], "body", errors, method["id"])
        elif body:
            errors.append("body not allowed")
        return method, arguments, errors

    def value(self, value, schema, at, errors, method=None):
        if "$ref" in schema:
            schema = self.schemas[schema["$ref"]]
        kind, form = schema.get("type", "any"), schema.get("format")
        if kind == "object":
            self._object(value, schema, at, errors, method)
        elif kind == "array":
            if not isinstance(value, list):
                errors.append(f"{at}: not an array")
                return
            # What the document says of an array's pattern holds for its items.
            items = {**schema["items"], "pattern": schema["pattern"]} if "pattern" in schema else schema["items"]
            for index, item in enumerate(value):
                self.value(item, items, f"{at}[{index}]", errors, method)
        elif kind == "boolean":
            if not isinstance(value, bool) and value not in ("true", "false"):
                errors.append(f"{at}: not a boolean")
        elif kind == "integer" or form in ("int64", "uint64"):
            low, high = RANGES.get(form, RANGES["int64"])
            if isinstance(value, bool) or not re.fullmatch(r"-?\d+", str(value)) or not low <= int(value) <= high:
                errors.append(f"{at}: not {form}: {value!r}")
        elif kind == "number":
            try:
                float(value)
            except (TypeError, ValueError):
                errors.append(f"{at}: not a number")
        elif kind == "string":
            if not isinstance(value, str):
                errors.append(f"{at}: not a string")
                return
            if "enum" in schema and value not in schema["enum"]:
                errors.append(f"{at}: {value!r} not in enum")
            if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
                errors.append(f"{at}: {value!r} does not match {schema['pattern']}")

    def _object(self, value, schema, at, errors, method):
        if not isinstance(value, dict):
            errors.append(f"{at}: not an object")
            return
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        wanted = (key for key, field in known.items() if method in field.get("annotations", {}).get("required", []))
        errors += [f"{at}.{key}: missing" for key in wanted if key not in value]
        for key, item in value.items():
            if key in known:
                if known[key].get("readOnly") or "[Output Only]" in known[key].get("description", ""):
                    errors.append(f"{at}.{key}: output only")
                self.value(item, known[key], f"{at}.{key}", errors, method)
            elif others:
                self.value(item, others, f"{at}.{key}", errors, method)
            else:
                errors.append(f"{at}.{key}: unknown field")


def _methods(resources):
    for resource in resources.values():
        yield from resource.get("methods", {}).values()
        yield from _methods(resource.get("resources", {}))
