"""labgate as a peer: its configuration file, its command line, its lease store.

Every start has a folder of its own for state and control socket, so that no
run finds what an earlier one left. One network, 10.77.0.1/16 on gwlan; the
uplink gwup keeps the address that the lab gave it.
"""

import itertools
import os
import shutil
import sqlite3

import rulesets
from lab import GW_LAN, HERE, LAN, UP, Command

_starts = itertools.count()


def binary():
    """The program under test: $LABGATE_BIN, else the release build of this tree."""
    base = os.environ.get("CARGO_TARGET_DIR", str(HERE.parent / "target"))
    path = os.environ.get("LABGATE_BIN") or f"{base}/release/labgate"
    found = shutil.which(path)
    if not found:
        raise SystemExit(f"{path} not found: run bench/build, or set LABGATE_BIN")
    return found


def config(pool=None, cache=None, hosts_file=None, host=(), deny=(), allow=(), forward=(), internet=True):
    """The file. `host`, `forward`: (name, value) pairs, `deny` and `allow`: rules, all as TOML. `internet`: may
    everybody open connections to it?"""
    dhcp = "false"
    if pool:
        dhcp = f'{{ pool = "{pool[0]}-{pool[1]}", lease-time = "1h" }}'
    dns = [f'upstream = ["{UP}"]']
    if cache:
        dns.append(f"cache = {{ size = {cache} }}")
    if hosts_file:
        dns.append(f'hosts = ["{hosts_file}"]')
    text = f"""[wan]
interface = "gwup"
address = "system"

[network.lan]
interface = "gwlan"
address = "{GW_LAN}/16"
admin = true
dhcp = {dhcp}
internet = {"true" if internet else "false"}

[dns]
""" + "\n".join(dns) + "\n"
    if host:
        text += "\n[host]\n" + "".join(f"{n} = {v}\n" for n, v in host)
    if deny or allow:
        text += "\n[firewall]\n"
        for key, rules in (("allow", allow), ("deny", deny)):
            if rules:
                text += f"{key} = [\n" + "".join(f"  {r},\n" for r in rules) + "]\n"
    if forward:
        text += "\n[port-forward]\n" + "".join(f'"{k}" = "{v}"\n' for k, v in forward)
    return text


class Files:
    """The folder of one start, and the command lines that use it."""

    def __init__(self, lab, text):
        self.lab = lab
        self.folder = lab.folder(f"labgate.{next(_starts)}")
        self.config = self.folder / "labgate.toml"
        self.config.write_text(text)
        # Packets that pass once everything is in place: way, source, destination port.
        self.tries = []
        self.state, self.runtime = self.folder / "state", self.folder / "runtime"
        self.state.mkdir()

    def argv(self, verb="run", *more):
        """A verb that works on this folder."""
        return Command([binary(), "--config", self.config, "--state-dir", self.state,
                        "--runtime-dir", self.runtime, verb, *more], self.clean)

    def verb(self, verb, *more, **kw):
        """Run a verb in the gateway's namespace to its end."""
        return self.lab.run("gw", *self.argv(verb, *more), cpu=1, **kw)

    def clean(self):
        """Leave the namespace as it was, or the next peer would run behind this one's firewall."""
        self.verb("teardown", check=False)
        self.lab.run("gw", "nft", "flush", "ruleset")
        self.lab.run("gw", "sysctl", "-qw", "net.ipv4.ip_forward=1")


def dns(lab, opt):
    """As a DNS peer; see dns_peers.py for `opt`."""
    from dns_peers import CACHE, Unsupported  # which imports this module
    if opt.get("tls"):
        raise Unsupported("no DNS over TLS yet")
    if opt.get("block"):
        raise Unsupported("no block lists yet")
    hosts = None
    if opt.get("hosts"):
        hosts = lab.file("hosts", "".join(f"{a} {n}\n" for n, a in opt["hosts"]))
    text = config(cache=None if opt.get("default_cache") else CACHE, hosts_file=hosts)
    return Files(lab, text).argv()


def store_leases(state, leases):
    """A lease store as labgate would have left it; `leases` as in dhcp_peers.py. The clients send a client
    identifier, 01 and their MAC, which the store keeps behind an octet 00 of its own."""
    db = sqlite3.connect(state / "leases.db")
    db.executescript("""
        PRAGMA journal_mode = WAL;
        CREATE TABLE lease (address TEXT PRIMARY KEY, client TEXT NOT NULL, mac TEXT, network TEXT NOT NULL,
            host_name TEXT, expires_unix INTEGER, acknowledged_unix INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        PRAGMA user_version = 1;""")
    db.executemany("INSERT INTO lease VALUES (?, ?, ?, 'lan', ?, ?, ?)",
                   ((ip, f"00:01:{mac}", mac, host, expires, expires - 3600) for ip, mac, host, expires in leases))
    db.commit()
    db.close()


def dhcp(lab, opt):
    """As a DHCP peer; see dhcp_peers.py for `opt`."""
    files = Files(lab, config(pool=(opt["first"], opt["last"])))
    if opt.get("leases"):
        store_leases(files.state, opt["leases"])
    return files.argv(), {}


def rules_text(forwards=0, filters=0, allowed=0, proto="udp", hosts=rulesets.HOSTS, last_port=None):
    """The file for the forwards, filters and permissions of rulesets.py. `last_port`: another inner port for the last
    forward."""
    host, forward = {}, []
    for i in range(forwards):
        outer, ip, inner = rulesets.forward_target(i, hosts)
        name = host.setdefault(ip, f"f{len(host)}")
        if last_port and i == forwards - 1:
            inner = last_port
        forward.append((f"{proto}/{outer}", f"{name}:{inner}"))
    def rules(pairs):
        return [f'{{ from = "{host.setdefault(ip, f"f{len(host)}")}", to = "internet", port = "{proto}/{port}" }}'
                for ip, port in pairs]
    deny = rules(map(rulesets.blocked_pair, range(filters)))
    allow = rules(map(rulesets.allowed_pair, range(allowed)))
    hosts = [(name, f'{{ mac = "{made_up_mac(k)}", ip = "{ip}" }}') for k, (ip, name) in enumerate(host.items())]
    return config(host=hosts, deny=deny, allow=allow, forward=forward, internet=not allowed)


def made_up_mac(k):
    return "02:00:" + ":".join(f"{b:02x}" for b in k.to_bytes(4, "big"))


def rules(lab, forwards=0, filters=0, allowed=0, proto="udp", hosts=rulesets.HOSTS):
    """As a rule set of the packet benches."""
    files = Files(lab, rules_text(forwards, filters, allowed, proto, hosts))
    if forwards and proto == "udp":
        files.tries.append(("in", UP, rulesets.forward_target(forwards - 1, hosts)[0]))
    files.tries.append(("out", *rulesets.allowed_pair(allowed - 1)) if allowed else ("out", LAN, 9))
    return files
