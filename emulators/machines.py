"""Machines for emulated clouds and for tests of hosts that are reached over SSH: real programs in namespaces of their own.

A machine has a network namespace that a veth pair joins to this host, a root that is a private overlay of this host's, its own processes,
host name and cgroups, Debian's sshd with a fresh host key, and at 169.254.169.254 the metadata service of its cloud. It needs root.

    machines = Machines(folder)
    address = machines.boot("i-1", public_key, "ubuntu", "aws")      # reaches port 22 from this host
    machines.interrupt("i-1", 120)                                   # spot notice now, the machine is gone after 120 s
    machines.kill("i-1")                                             # gone at once, silently
    machines.close()                                                 # all gone; also when this process dies, however it dies

As a command, for people and for tests; such a machine stays until `down` or until it is interrupted:

    python emulators/machines.py up NAME --key FILE.pub [--user NAME] [--cloud aws|gcp|azure] [--env K=V]... [--image DIR]...
    python emulators/machines.py cut|heal|rebalance|down NAME
    python emulators/machines.py interrupt NAME SECONDS
    python emulators/machines.py list

Environment: NVBIND_SIM* of the caller goes into the machines; NVBIND_MACHINES_ENV (a JSON object) adds more. NVBIND_MACHINES_IMAGE names folders
(separated by colons) that lie over the root: files that an image has baked in. NVBIND_MACHINES_SHARE names folders of this host that the
machines see at the same place, each its own copy: they have a /tmp, /home, /root and /run of their own.
"""
import argparse
import contextlib
import ctypes
import datetime
import fcntl
import http.server
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.parse

# One file for each machine of this host, named after its address: who holds the address, and which processes are its.
REGISTRY = pathlib.Path("/run/nvbind-machines")
NETWORK = "10.217"
# This host, as every machine sees it.
GATEWAY = f"{NETWORK}.255.254"
METADATA = "169.254.169.254"
CGROUPS = pathlib.Path("/sys/fs/cgroup")
BOOT_SECONDS = 30


class MachineError(Exception):
    pass


# --- processes and files -------------------------------------------------------------------------------------------------------------


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise MachineError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def start_time(pid):
    """When a process began, in ticks since boot: with its number this names it for good. None when there is none."""
    try:
        text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def name_process(pid):
    return [pid, start_time(pid)]


def is_alive(process):
    return process is not None and process[1] is not None and start_time(process[0]) == process[1]


def write(path, text, mode=0o644):
    """A file that appears whole."""
    path = pathlib.Path(path)
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.rename(path)


# --- the host's side -----------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def registry():
    REGISTRY.mkdir(mode=0o755, exist_ok=True)
    with open(REGISTRY / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def entries():
    for path in sorted(REGISTRY.glob("*.json")):
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            yield path, json.loads(path.read_text())


def reap():
    """Removes what dead owners have left; the addresses of the living. Call it with the registry locked."""
    alive = set()
    for path, entry in list(entries()):
        if is_alive(entry["owner"]):
            alive.add(path.stem)
        else:
            remove(path, entry)
    return alive


def claim_address(entry):
    """Takes a free address for a machine."""
    with registry():
        taken = reap()
        for number in range(1, 254 * 254):
            address = f"{NETWORK}.{number // 254}.{number % 254 + 1}"
            if address not in taken:
                entry.update(address=address, veth=f"nvm{number}", cgroup=f"nvbind-machine-{address}")
                write(REGISTRY / f"{address}.json", json.dumps(entry))
                return REGISTRY / f"{address}.json"
    raise MachineError(f"no address is free in {NETWORK}.0.0/16")


def remove(path, entry):
    """Ends a machine and removes its traces; the file goes last, so that a cut-off removal is done again."""
    for process in (entry.get("init"), entry.get("outer")):
        if is_alive(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process[0], signal.SIGKILL)
    subprocess.run(["ip", "link", "delete", entry["veth"]], capture_output=True)
    for process in (entry.get("init"), entry.get("outer")):
        deadline = time.monotonic() + 10
        while is_alive(process) and time.monotonic() < deadline:
            time.sleep(0.005)
    for hierarchy in cgroup_hierarchies():
        remove_cgroup(hierarchy / entry["cgroup"])
    if entry.get("folder"):
        shutil.rmtree(entry["folder"], ignore_errors=True)
    path.unlink(missing_ok=True)


def cgroup_hierarchies():
    if (CGROUPS / "cgroup.procs").exists():
        return [CGROUPS]
    return [path for path in sorted(CGROUPS.iterdir()) if not path.is_symlink() and (path / "cgroup.procs").exists()]


def make_cgroups(name):
    """A cgroup in each hierarchy, so that the containers of a machine go with it; [its cgroup.procs files]."""
    made = []
    for hierarchy in cgroup_hierarchies():
        folder = hierarchy / name
        folder.mkdir(exist_ok=True)
        # A cpuset takes no process before it has CPUs and memory.
        for knob in ("cpuset.cpus", "cpuset.mems"):
            if hierarchy.name == "cpuset" and (folder / knob).exists():
                (folder / knob).write_text((hierarchy / knob).read_text())
        if (folder / "cgroup.clone_children").exists():
            (folder / "cgroup.clone_children").write_text("1")
        made.append(str(folder / "cgroup.procs"))
    return made


def remove_cgroup(folder):
    for path, _, _ in os.walk(folder, topdown=False):
        for _ in range(200):
            try:
                os.rmdir(path)
            except FileNotFoundError:
                pass
            except OSError:
                time.sleep(0.01)
                continue
            break


def child_of(pid):
    with contextlib.suppress(FileNotFoundError):
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else None
    return None


def wait_for(what, seconds, look):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = look()
        if value:
            return value
        time.sleep(0.005)
    raise MachineError(f"{what}: not after {seconds} s")


def answers_ssh(address):
    with contextlib.suppress(OSError), socket.create_connection((address, 22), timeout=1) as connection:
        return connection.recv(4) == b"SSH-"
    return False


def boot(entry, config, persist):
    """Starts a machine. Unless it is to persist, it dies with the pipe that this returns beside its path in the registry."""
    path = claim_address(entry)
    try:
        return path, _boot(path, entry, config, persist)
    except BaseException:
        with registry():
            remove(path, entry)
        raise


def _boot(path, entry, config, persist):
    join = "for f in $NVBIND_MACHINE_CGROUPS; do echo $$ >$f; done; unset NVBIND_MACHINE_CGROUPS; exec \"$@\""
    namespaces = "unshare --net --mount --pid --uts --ipc --cgroup --fork --kill-child --propagation private".split()
    command = ["sh", "-c", join, "sh", *namespaces, sys.executable, os.path.abspath(__file__), "--init"]
    environment = {**os.environ, "NVBIND_MACHINE_CGROUPS": " ".join(make_cgroups(entry["cgroup"]))}
    log = open(pathlib.Path(entry["folder"]) / "log", "ab")
    outer = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, cwd="/", start_new_session=True, text=True
    )
    log.close()
    own = os.readlink("/proc/self/ns/net")

    def has_begun():
        if outer.poll() is not None:
            raise MachineError(f"the machine did not start: {tail(entry)}")
        with contextlib.suppress(FileNotFoundError, PermissionError):
            init = child_of(outer.pid)
            return init if init and os.readlink(f"/proc/{init}/ns/net") != own else None

    init = wait_for("namespaces", BOOT_SECONDS, has_begun)
    entry.update(init=name_process(init), outer=name_process(outer.pid))
    if persist:
        entry["owner"] = entry["init"]
    write(path, json.dumps(entry))
    join_network(entry)
    config = {**config, "address": entry["address"], "id": entry["id"], "folder": entry["folder"], "persist": persist}
    outer.stdin.write(json.dumps(config) + "\n")
    outer.stdin.flush()

    def is_up():
        if outer.poll() is not None:
            raise MachineError(f"the machine did not come up: {tail(entry)}")
        return answers_ssh(entry["address"])

    wait_for("sshd", BOOT_SECONDS, is_up)
    return outer


def tail(entry):
    with contextlib.suppress(OSError):
        return " / ".join((pathlib.Path(entry["folder"]) / "log").read_text(errors="replace").splitlines()[-3:])
    return "no log"


def join_network(entry):
    veth, address, pid = entry["veth"], entry["address"], str(entry["init"][0])
    subprocess.run(["ip", "link", "delete", veth], capture_output=True)
    run("ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", pid)
    run("ip", "address", "add", f"{GATEWAY}/32", "dev", veth)
    run("ip", "link", "set", veth, "up")
    run("ip", "route", "replace", f"{address}/32", "dev", veth, "src", GATEWAY)
    # Machines reach each other through this host: what comes in from a machine may be passed on, nothing else changes.
    pathlib.Path(f"/proc/sys/net/ipv4/conf/{veth}/forwarding").write_text("1")
    in_network(entry, "link set lo up", f"address add {address}/32 dev eth0", f"address add {METADATA}/32 dev lo")
    connect(entry)


def in_network(entry, *commands):
    for command in commands:
        run("nsenter", "-t", str(entry["init"][0]), "-n", "ip", *command.split())


def connect(entry):
    in_network(
        entry, "link set eth0 up", f"route replace {GATEWAY}/32 dev eth0 scope link", f"route replace default via {GATEWAY} src {entry['address']}"
    )


def cut(entry):
    in_network(entry, "link set eth0 down")


def notice(entry, **what):
    """What the metadata service is to tell from now on."""
    path = pathlib.Path(entry["folder"]) / "notice"
    known = json.loads(path.read_text()) if path.exists() else {}
    write(path, json.dumps({**known, **what}))


def settings(public_key, user, cloud, environment, images):
    passed = {key: value for key, value in os.environ.items() if key.startswith("NVBIND_SIM")}
    passed.update(json.loads(os.environ.get("NVBIND_MACHINES_ENV", "{}")))
    folders = lambda name: filter(None, os.environ.get(name, "").split(":"))
    images = [*images, *folders("NVBIND_MACHINES_IMAGE")]
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", user):
        raise MachineError(f"'{user}' is no login name")
    if cloud not in (None, "aws", "gcp", "azure"):
        raise MachineError(f"'{cloud}' is no cloud: aws, gcp or azure")
    return {
        "public_key": public_key.strip(),
        "user": user,
        "cloud": cloud,
        "environment": {**passed, **environment},
        "images": [os.path.abspath(image) for image in images],
        "shared": [os.path.abspath(folder) for folder in folders("NVBIND_MACHINES_SHARE")],
    }


class Machines:
    """Machines that live as long as this process does."""

    def __init__(self, folder, environment=None, images=()):
        self.folder = pathlib.Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.environment, self.images = environment or {}, list(images)
        self.lock = threading.Lock()
        self.held = {}

    def boot(self, id, public_key, user="root", cloud=None):
        folder = self.folder / f"{re.sub('[^A-Za-z0-9-]', '_', id)}-{os.getpid()}-{time.monotonic_ns()}"
        folder.mkdir(mode=0o700)
        entry = {"id": id, "owner": name_process(os.getpid()), "folder": str(folder)}
        path, outer = boot(entry, settings(public_key, user, cloud, self.environment, self.images), persist=False)
        with self.lock:
            self.held[id] = (path, entry, outer)
        return entry["address"]

    def interrupt(self, id, seconds):
        """A spot notice now; the machine is taken back after these seconds."""
        notice(self._entry(id), interrupted_at=time.time(), ends_at=time.time() + seconds)

    def rebalance(self, id):
        """A hint that the machine may be taken back (AWS only)."""
        notice(self._entry(id), rebalance_at=time.time())

    def cut(self, id):
        cut(self._entry(id))

    def heal(self, id):
        connect(self._entry(id))

    def is_alive(self, id):
        with self.lock:
            held = self.held.get(id)
        return held is not None and held[2].poll() is None

    def kill(self, id):
        with self.lock:
            held = self.held.pop(id, None)
        if held:
            path, entry, outer = held
            with registry():
                remove(path, entry)
            outer.stdin.close()
            outer.wait()

    def close(self):
        for id in list(self.held):
            self.kill(id)

    def _entry(self, id):
        with self.lock:
            if id not in self.held:
                raise MachineError(f"no machine '{id}'")
            return self.held[id][1]


# --- inside: the machine's process 1 -------------------------------------------------------------------------------------------------

LIBC = ctypes.CDLL(None, use_errno=True)
MS_BIND, MS_REC, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1000, 0x4000, 2, 4, 8
MNT_DETACH = 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(os.uname().machine)


def mount(source, target, kind=None, flags=0, data=None):
    encode = lambda text: None if text is None else str(text).encode()
    if LIBC.mount(encode(source), encode(target), encode(kind), flags, encode(data)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {kind or 'bind'} on {target}: {os.strerror(number)}")


def enter_root(images, shared):
    """A private, writable root over this host's; /var/lib/nvbind is no overlay, since containers put overlays there."""
    base = pathlib.Path("/mnt")
    mount("tmpfs", base, "tmpfs", 0, "mode=0755,size=16g")
    for name in ("upper", "work", "root", "state"):
        (base / name).mkdir()
    # A layer of the overlay may not lie below another one, so what an image has is copied.
    for image in images:
        run("cp", "-a", f"{image}/.", str(base / "upper"))
    mount("overlay", base / "root", "overlay", 0, f"lowerdir=/,upperdir={base}/upper,workdir={base}/work")
    root = base / "root"
    mount("/dev", root / "dev", None, MS_BIND | MS_REC)
    mount("proc", root / "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("sysfs", root / "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount_cgroups(root / "sys/fs/cgroup")
    mount("devpts", root / "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5")
    mount(root / "dev/pts/ptmx", root / "dev/ptmx", None, MS_BIND)
    mount("tmpfs", root / "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for name, mode in (("run", "0755"), ("tmp", "1777"), ("root", "0700"), ("home", "0755")):
        mount("tmpfs", root / name, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode}")
    for number, folder in enumerate(shared):
        target, own = root / folder.lstrip("/"), base / f"shared-{number}"
        target.mkdir(parents=True, exist_ok=True)
        for name in ("upper", "work"):
            (own / name).mkdir(parents=True)
        mount("overlay", target, "overlay", 0, f"lowerdir={folder},upperdir={own}/upper,workdir={own}/work")
    state = root / "var/lib/nvbind"
    state.mkdir(parents=True, exist_ok=True)
    mount("tmpfs", state, "tmpfs", 0, "mode=0711")
    os.chdir(root)
    if LIBC.syscall(PIVOT_ROOT, b".", b".") != 0:
        raise OSError(ctypes.get_errno(), "pivot_root")
    LIBC.umount2(b".", MNT_DETACH)
    os.chdir("/")


def mount_cgroups(target):
    """The machine's own cgroups as its root ones, in the layout of this host."""
    if (CGROUPS / "cgroup.procs").exists():
        mount("cgroup2", target, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        leave_root_cgroup(target)
        return
    mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755")
    for hierarchy in sorted(CGROUPS.iterdir()):
        if hierarchy.is_symlink():
            (target / hierarchy.name).symlink_to(os.readlink(hierarchy))
        elif (hierarchy / "cgroup.procs").exists():
            (target / hierarchy.name).mkdir()
            # A bind: it shows the machine's own cgroup whatever options the hierarchy was mounted with.
            mount(hierarchy / own_cgroup(), target / hierarchy.name, None, MS_BIND)


def own_cgroup():
    return os.environ["NVBIND_MACHINE_CGROUP"]


def leave_root_cgroup(root):
    """A version 2 cgroup with controllers for its children holds no process itself."""
    (root / "init").mkdir(exist_ok=True)
    (root / "init/cgroup.procs").write_text(str(os.getpid()))
    with contextlib.suppress(OSError):
        controllers = (root / "cgroup.controllers").read_text().split()
        (root / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def make_user(user, public_key):
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        number = 1000
        with contextlib.suppress(KeyError):
            while pwd.getpwuid(number):
                number += 1
        append("/etc/passwd", f"{user}:x:{number}:{number}:{user}:/home/{user}:/bin/bash\n")
        append("/etc/group", f"{user}:x:{number}:\n")
        append("/etc/shadow", f"{user}:*:20000:0:99999:7:::\n")
        entry = pwd.getpwnam(user)
    for home, owner, group in (("/root", 0, 0), (entry.pw_dir, entry.pw_uid, entry.pw_gid)):
        folder = pathlib.Path(home) / ".ssh"
        for path, mode in ((folder.parent, 0o700), (folder, 0o700)):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(mode)
            os.chown(path, owner, group)
        keys = folder / "authorized_keys"
        write(keys, public_key + "\n", 0o600)
        os.chown(keys, owner, group)
    if os.path.isdir("/etc/sudoers.d") and user != "root":
        write("/etc/sudoers.d/90-machine", f'Defaults env_keep += "NVBIND_*"\n{user} ALL=(ALL) NOPASSWD:ALL\n', 0o440)


def append(path, text):
    with open(path, "a") as file:
        file.write(text)


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def start_sshd(config):
    pathlib.Path("/run/sshd").mkdir(mode=0o755)
    key = "/run/sshd/host_key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", config["id"], "-f", key)
    lines = [
        f"ListenAddress {config['address']}",
        f"HostKey {key}",
        "PidFile none",
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "UsePAM no",
        "UseDNS no",
        "MaxStartups 200",
        "MaxSessions 100",
        "Subsystem sftp internal-sftp",
    ]
    if config["environment"]:
        lines.append("SetEnv " + " ".join(quoted(f"{key}={value}") for key, value in config["environment"].items()))
    write("/run/sshd/config", "\n".join(lines) + "\n", 0o600)
    write("/etc/environment", "".join(f"{key}={quoted(value)}\n" for key, value in config["environment"].items()))
    return subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", "/run/sshd/config"], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


def init():
    """Process 1 of a machine. Its death is the machine's."""
    config = json.loads(sys.stdin.readline() or "null")
    if config is None:
        return
    os.environ["NVBIND_MACHINE_CGROUP"] = f"nvbind-machine-{config['address']}"
    folder = os.open(config["folder"], os.O_PATH | os.O_DIRECTORY)
    enter_root(config["images"], config["shared"])
    host_name = re.sub("[^A-Za-z0-9-]", "-", config["id"])[:60]
    socket.sethostname(host_name)
    write("/etc/hostname", host_name + "\n")
    write("/etc/hosts", f"127.0.0.1 localhost\n{config['address']} {host_name}\n{METADATA} metadata.google.internal metadata\n")
    make_user(config["user"], config["public_key"])
    notices = Notices(folder)
    if config["cloud"]:
        serve_metadata(config, notices)
    sshd = start_sshd(config)
    threading.Thread(target=notices.watch, daemon=True).start()
    if not config["persist"]:
        threading.Thread(target=end_with_owner, daemon=True).start()
    while True:
        pid, _ = os.wait()
        if pid == sshd.pid:
            os._exit(1)


def end_with_owner():
    """The owner holds the other end of the pipe: when it is closed, the owner is dead."""
    sys.stdin.read()
    os._exit(0)


class Notices:
    """What the host has told this machine: a file in the machine's folder, which is not below its root."""

    def __init__(self, folder):
        self.folder = folder

    def read(self):
        try:
            with open(os.open("notice", os.O_RDONLY, dir_fd=self.folder)) as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    def watch(self):
        """The machine ends when its time is over."""
        while time.time() < self.read().get("ends_at", float("inf")):
            time.sleep(0.02)
        os._exit(0)


# --- the metadata services -----------------------------------------------------------------------------------------------------------


def iso(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Metadata(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    config, notices = None, None

    def log_message(self, *_):
        pass

    def answer(self, status, body="", kind="text/plain", **headers):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def url(self):
        url = urllib.parse.urlsplit(self.path)
        return url.path, dict(urllib.parse.parse_qsl(url.query))


class AwsMetadata(Metadata):
    """IMDSv2: docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html. Version 1 is switched off."""

    tokens = {}

    def do_PUT(self):
        self.body()
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path != "/latest/api/token":
            return self.answer(404)
        if not ttl.isdigit() or not 1 <= int(ttl) <= 21600:
            return self.answer(400)
        if self.headers.get("X-Forwarded-For"):
            return self.answer(403)
        token = os.urandom(40).hex()
        self.tokens[token] = time.monotonic() + int(ttl)
        self.answer(200, token, **{"X-aws-ec2-metadata-token-ttl-seconds": ttl})

    def do_GET(self):
        if self.tokens.get(self.headers.get("X-aws-ec2-metadata-token"), 0) < time.monotonic():
            return self.answer(401)
        told = self.notices.read()
        known = {"instance-id": self.config["id"], "local-ipv4": self.config["address"]}
        if "ends_at" in told:
            known["spot/instance-action"] = json.dumps({"action": "terminate", "time": iso(told["ends_at"])})
            known["spot/termination-time"] = iso(told["ends_at"])
        if "rebalance_at" in told:
            known["events/recommendations/rebalance"] = json.dumps({"noticeTime": iso(told["rebalance_at"])})
        path, _ = self.url()
        value = known.get(path.removeprefix("/latest/meta-data/"))
        self.answer(404) if value is None else self.answer(200, value)


class GcpMetadata(Metadata):
    """cloud.google.com/compute/docs/metadata/querying-metadata, with wait_for_change."""

    def values(self):
        interrupted = "ends_at" in self.notices.read()
        return {
            "instance/preempted": "TRUE" if interrupted else "FALSE",
            "instance/name": self.config["id"],
            "instance/id": str(int.from_bytes(self.config["id"].encode()[:7], "big")),
            "instance/maintenance-event": "NONE",
        }

    def do_GET(self):
        path, query = self.url()
        if self.headers.get("Metadata-Flavor") != "Google" or self.headers.get("X-Forwarded-For"):
            return self.answer(403)
        name = path.removeprefix("/computeMetadata/v1/")
        value = self.values().get(name)
        if value is None:
            return self.answer(404)
        if query.get("wait_for_change", "").lower() == "true":
            value = self.changed(name, value, query)
        self.answer(200, value, "application/text", ETag=self.tag(value), **{"Metadata-Flavor": "Google"})

    def changed(self, name, value, query):
        """Waits until the value is another one than the caller has seen, or until the time-out."""
        deadline = time.monotonic() + float(query.get("timeout_sec", 3600))
        seen = query.get("last_etag", self.tag(value))
        while self.tag(value) == seen and time.monotonic() < deadline:
            time.sleep(0.02)
            value = self.values()[name]
        return value

    @staticmethod
    def tag(value):
        return f"{int.from_bytes(value.encode(), 'big') & 0xffffffffffffffff:016x}"


class AzureMetadata(Metadata):
    """learn.microsoft.com/azure/virtual-machines/linux/scheduled-events"""

    acknowledged = set()

    def do_GET(self):
        path, query = self.url()
        if self.headers.get("Metadata") != "true" or "api-version" not in query:
            return self.answer(400, json.dumps({"error": "Bad request. Required metadata header or api-version not specified"}), "application/json")
        if path == "/metadata/instance/compute/name":
            return self.answer(200, self.config["id"])
        if path != "/metadata/scheduledevents":
            return self.answer(404)
        self.answer(200, json.dumps(self.document()), "application/json")

    def document(self):
        told = self.notices.read()
        if "ends_at" not in told:
            return {"DocumentIncarnation": 1, "Events": []}
        event = {
            "EventId": f"C7061BAC-AFDC-4513-B24B-{int(told['interrupted_at'] * 1000) & 0xffffffffffff:012X}",
            "EventStatus": "Scheduled",
            "EventType": "Preempt",
            "ResourceType": "VirtualMachine",
            "Resources": [self.config["id"]],
            "NotBefore": datetime.datetime.fromtimestamp(told["ends_at"], datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "Description": "",
            "EventSource": "Platform",
            "DurationInSeconds": -1,
        }
        if event["EventId"] in self.acknowledged:
            event.update(EventStatus="Started", NotBefore="")
        return {"DocumentIncarnation": 2, "Events": [event]}

    def do_POST(self):
        request = json.loads(self.body() or b"{}")
        if self.headers.get("Metadata") != "true":
            return self.answer(400)
        self.acknowledged.update(start["EventId"] for start in request.get("StartRequests", []))
        self.answer(200)


def serve_metadata(config, notices):
    kind = {"aws": AwsMetadata, "gcp": GcpMetadata, "azure": AzureMetadata}[config["cloud"]]
    handler = type("Handler", (kind,), {"config": config, "notices": notices})
    server = type("Server", (socketserver.ThreadingTCPServer,), {"daemon_threads": True, "allow_reuse_address": True})
    service = server((METADATA, 80), handler)
    threading.Thread(target=service.serve_forever, daemon=True).start()


# --- the command ---------------------------------------------------------------------------------------------------------------------


def named(name):
    for path, entry in entries():
        if entry["id"] == name and is_alive(entry["owner"]):
            return path, entry
    raise MachineError(f"no machine '{name}'")


def up(arguments):
    with contextlib.suppress(MachineError):
        raise SystemExit(f"machines: '{named(arguments.name)[1]['id']}' is up already")
    base = pathlib.Path("/tmp/nvbind-machines")
    base.mkdir(mode=0o700, exist_ok=True)
    folder = base / f"{re.sub('[^A-Za-z0-9-]', '_', arguments.name)}-{time.monotonic_ns()}"
    folder.mkdir(mode=0o700)
    environment = dict(pair.split("=", 1) for pair in arguments.env)
    config = settings(pathlib.Path(arguments.key).read_text(), arguments.user, arguments.cloud, environment, arguments.image)
    entry = {"id": arguments.name, "owner": name_process(os.getpid()), "folder": str(folder)}
    boot(entry, config, persist=True)
    print(entry["address"])


def down(arguments):
    """A machine that has ended by itself is no error: its traces are removed."""
    with registry():
        for path, entry in list(entries()):
            if entry["id"] == arguments.name and (entry["owner"] == entry.get("init") or not is_alive(entry["owner"])):
                remove(path, entry)
        reap()


def listed(_):
    with registry():
        reap()
        for _, entry in entries():
            print(entry["id"], entry["address"])


def main():
    parser = argparse.ArgumentParser(prog="machines.py", description="Machines in namespaces, reached over SSH.")
    commands = parser.add_subparsers(required=True)
    add = commands.add_parser("up")
    add.add_argument("name")
    add.add_argument("--key", required=True, help="file with the public key that may log in")
    add.add_argument("--user", default="root")
    add.add_argument("--cloud", choices=["aws", "gcp", "azure"])
    add.add_argument("--env", action="append", default=[], metavar="K=V")
    add.add_argument("--image", action="append", default=[], metavar="DIR", help="folder that lies over the root")
    add.set_defaults(act=up)
    actions = {
        "cut": lambda arguments: cut(named(arguments.name)[1]),
        "heal": lambda arguments: connect(named(arguments.name)[1]),
        "rebalance": lambda arguments: notice(named(arguments.name)[1], rebalance_at=time.time()),
        "down": down,
    }
    for name, act in actions.items():
        add = commands.add_parser(name)
        add.add_argument("name")
        add.set_defaults(act=act)
    add = commands.add_parser("interrupt")
    add.add_argument("name")
    add.add_argument("seconds", type=float)
    add.set_defaults(
        act=lambda arguments: notice(
            named(arguments.name)[1], interrupted_at=time.time(), ends_at=time.time() + arguments.seconds
        )
    )
    commands.add_parser("list").set_defaults(act=listed)
    arguments = parser.parse_args()
    try:
        arguments.act(arguments)
    except MachineError as error:
        raise SystemExit(f"machines: {error}")


if __name__ == "__main__":
    init() if sys.argv[1:] == ["--init"] else main()
