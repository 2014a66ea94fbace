"""What an emulated cloud is told to do wrong, and what it has been asked: the same for all three.

POST /_x/rule   {"call": "RunInstances", "when": "before"|"after", "do": "error"|"drop"|"delay"|"kill",
                 "nth": 1, "count": 1, "match": {"region": "us-east-1", "zone": "*", "type": "*", "market": "spot"},
                 "status": 500, "code": "InsufficientInstanceCapacity", "message": "...", "retry_after": 1,
                 "seconds": 2.0, "pid": 4711}
    `call` is the operation (AWS: the action; GCP: `instances.insert`; Azure: `PUT virtualMachines`) or `*`. `nth`: the first matching
    call that it holds for; `count`: for how many, -1 for ever. `before` acts instead of the operation, `after` once it has had its effect:
    `error` answers with status, code and message; `drop` closes the connection without an answer; `delay` waits; `kill` sends SIGKILL to a
    process and then drops the connection.
POST /_x/reset  forgets rules and log; what exists stays
GET  /_x/log    every call so far: [{"at": seconds since 1970, "call": ..., "region": ..., "zone": ..., "type": ..., "market": ..., "status": ...}]
"""
import json
import os
import signal
import threading
import time


class Rules:
    def __init__(self):
        self.lock = threading.Lock()
        self.reset()

    def reset(self):
        self.rules, self.log = [], []

    def add(self, rule):
        with self.lock:
            self.rules.append({"when": "before", "do": "error", "nth": 1, "count": 1, "match": {}, **rule})

    def control(self, method, path, body):
        """Answers a request below /_x/: (status, JSON text); None when it is no path of this module."""
        with self.lock if path != "/_x/rule" else threading.Lock():
            if path == "/_x/log":
                return 200, json.dumps(self.log)
            if path == "/_x/reset":
                self.reset()
                return 200, "{}"
        if path == "/_x/rule":
            self.add(json.loads(body))
            return 200, "{}"
        return None

    def record(self, call, status, **place):
        with self.lock:
            self.log.append({"at": time.time(), "call": call, "status": status, **place})

    def hit(self, when, call, **place):
        """The rule that holds for this call now, after its delay and its kill: None, or a dict whose `do` is error or drop."""
        with self.lock:
            rule = next((rule for rule in self.rules if self._holds(rule, when, call, place)), None)
        if rule is None:
            return None
        if rule["do"] == "delay":
            time.sleep(rule.get("seconds", 1))
            return None
        if rule["do"] == "kill":
            try:
                os.kill(rule["pid"], signal.SIGKILL)
            except ProcessLookupError:
                pass
            return {**rule, "do": "drop"}
        return rule

    @staticmethod
    def _holds(rule, when, call, place):
        if rule["when"] != when or rule["call"] not in ("*", call) or rule["count"] == 0:
            return False
        if any(wanted not in ("*", place.get(key)) for key, wanted in rule["match"].items()):
            return False
        rule["nth"] -= 1
        if rule["nth"] > 0:
            return False
        if rule["count"] > 0:
            rule["count"] -= 1
        return True
