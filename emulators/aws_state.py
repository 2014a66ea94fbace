"""The machines of the emulated AWS: moto's, with states that change with time, and requests for those on spot."""
import itertools
import os
import threading
import time

import moto.ec2.models.elastic_network_interfaces as interfaces
import moto.ec2.models.instances as instances
import moto.ec2.utils as ec2_utils
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.ec2.models.spot_requests import SpotInstanceRequest
from moto.ec2.utils import random_spot_request_id

PENDING_SECONDS = float(os.environ.get("NVBIND_EMULATED_PENDING_SECONDS", "0.3"))
INVISIBLE_SECONDS = float(os.environ.get("NVBIND_EMULATED_INVISIBLE_SECONDS", "0"))
STOPPING_SECONDS = 0.2
REQUEST_ID = "11111111-2222-3333-4444-555555555555"
ADDRESSES = (f"192.0.2.{number}" for number in itertools.cycle(range(1, 255)))
# Boots and ends real machines where there are any (machines.py).
REAL = {"machines": None}


class Fault(Exception):
    """An error answer."""

    def __init__(self, status, code, message):
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


def all_backends():
    return [(region, backend) for region, backend in list(ec2_backends[DEFAULT_ACCOUNT_ID].items())]


def all_instances(region=None):
    for name, backend in all_backends():
        for reservation in list(backend.reservations.values()):
            for instance in reservation.instances:
                if region in (None, name):
                    yield instance


def advance():
    """Lets time have its effect."""
    now = time.time()
    for instance in all_instances():
        end_with_guest(instance)
        due = getattr(instance, "due", None)
        if due is None or now < due or not getattr(instance, "is_booted", True):
            continue
        name, code = {"pending": ("running", 16), "shutting-down": ("terminated", 48)}[instance.state]
        instance._state.name, instance._state.code, instance.due = name, code, None


def end_with_guest(instance):
    """A real machine that has shut down ends its instance: that is its shutdown behaviour."""
    real = REAL["machines"]
    if real is not None and instance.state == "running" and not real.is_alive(instance.id):
        instance.terminate()
        instance.state_reason = instances.StateReason("Client.InstanceInitiatedShutdown: Instance initiated shutdown", "Client.InstanceInitiatedShutdown")


def set_state(instance, name, code, seconds):
    instance._state.name, instance._state.code, instance.due = name, code, time.time() + seconds


moto_terminate = instances.Instance.terminate


def terminate(self):
    if self.state in ("shutting-down", "terminated"):
        return type("State", (), {"name": self.state, "code": self.state_code})()
    before = moto_terminate(self)
    set_state(self, "shutting-down", 32, STOPPING_SECONDS)
    self.ended = time.time()
    self.ec2_backend.spot_instance_requests.pop(getattr(self, "spot_instance_request_id", None), None)
    if REAL["machines"] is not None:
        threading.Thread(target=REAL["machines"].kill, args=(self.id,)).start()
    return before


moto_reservations = instances.InstanceBackend.all_reservations
asking = threading.local()


def all_reservations(self, *args, **kwargs):
    found = moto_reservations(self, *args, **kwargs)
    if not getattr(asking, "is_blind", False) or INVISIBLE_SECONDS == 0:
        return found
    youngest = time.time() - INVISIBLE_SECONDS
    return [each for each in found if all(getattr(i, "launched", 0) < youngest for i in each.instances)]


instances.Instance.terminate = terminate
instances.InstanceBackend.all_reservations = all_reservations
interfaces.random_public_ip = lambda: next(ADDRESSES)
ec2_utils.filter_dict_attribute_mapping["client-token"] = "client_token"


class SpotRequest(SpotInstanceRequest):
    """A request that already has its machine."""

    __module__ = SpotInstanceRequest.__module__  # moto takes the service's name out of it

    def __init__(self, backend, instance, tags):
        self.made_for = instance
        super().__init__(
            backend, random_spot_request_id(), "", instance.image_id, "one-time", None, None, None, None, instance.key_name, [], None,
            instance.instance_type, instance.placement.zone, None, None, False, None, {"spot-instances-request": tags}, None, "terminate",
        )

    def launch_instance(self):
        return self.made_for


def tags_of(thing):
    return {tag["key"]: tag["value"] for tag in thing.get_tags()}


def market_of(instance):
    return "spot" if instance.lifecycle == "spot" else "on-demand"


def ec2_answer(action, inside):
    body = f'<{action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>{REQUEST_ID}</requestId>{inside}</{action}Response>'
    return "200 OK", [("Content-Type", "text/xml;charset=UTF-8")], body.encode()
