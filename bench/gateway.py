"""The gateway of the packet benches: rule sets put in place, packets sent past them.

A rule set is text for `nft -f`, or a labgate.Files: then the daemon is started
and keeps its own table, as it would at home.
"""

import itertools
import json
import socket
import struct
import threading
import time

import labgate
import rulesets
from lab import GW_UP, UP, Server, sh

SO_TIMESTAMPNS = 35
ETH_P_ALL = 3


class Gateway:
    """The namespaces' link addresses, what is loaded now, and senders for both directions."""

    def __init__(self, lab):
        self.lab = lab
        self.daemon = None
        self.mac = {}
        for ns, iface in (("lan", "lan0"), ("gw", "gwlan"), ("gw", "gwup"), ("up", "up0")):
            row = json.loads(sh("ip", "-j", "-n", lab.ns(ns), "link", "show", iface).stdout)[0]
            self.mac[iface] = row["address"]

    def nft(self, text, ns="gw"):
        self.lab.run(ns, "nft", "-f", self.lab.file("rules.nft", text), cpu=1)

    def rules(self, shape, **what):
        """A rule set of one shape: "linear", "map", "hand" or "labgate"."""
        return labgate.rules(self.lab, **what) if shape == "labgate" else rulesets.ruleset(shape, **what)

    def load(self, rules):
        """Put `rules` in place of whatever was there, and forget all connections."""
        self.unload()
        if isinstance(rules, str):
            self.nft("flush ruleset\n" + rules)
        else:
            self.daemon = Server(self.lab, rules.argv())
            self.wait_open(rules)
        self.lab.run("gw", "conntrack", "-F", check=False)

    def unload(self):
        if self.daemon:
            self.daemon.stop()
            self.daemon = None

    def wait_open(self, rules, limit=60):
        """Until the table is there and packets pass. Each try is a new flow: conntrack would go on with what it decided
        before the rules were there."""
        stop = time.monotonic() + limit
        def still(what):
            if time.monotonic() > stop or not self.daemon.alive():
                raise RuntimeError(f"labgate {what}:\n" + self.daemon.tail())
        while self.lab.run("gw", "nft", "list", "table", "inet", "labgate", check=False).returncode:
            still("makes no table")
            time.sleep(0.02)
        for port in itertools.count(40000):
            few = ["--sport", port, "--count", 10]
            if all(self.blast(way, "--src-ip", source, "--dport", to, *few)["arrived"] >= 8
                   for way, source, to in rules.tries):
                return
            still("lets nothing pass")
            time.sleep(0.05)

    def sinks(self, on):
        """Drop test packets as they enter the end hosts, before any socket."""
        for ns, iface in (("lan", "lan0"), ("up", "up0")):
            self.nft("flush ruleset\n" + (f"""table netdev sink {{
  chain in {{
    type filter hook ingress device "{iface}" priority 0; policy accept;
    udp dport {{ 53, 67, 68 }} accept
    udp sport 53 accept
    ip protocol udp drop
  }}
}}
""" if on else ""), ns)

    def neighbours(self, nets=range(100, 250)):
        """Fixed ARP entries for every inner address the tests forward to: those of 10.77.`nets`."""
        lines = [f"neigh replace 10.77.{x}.{y} lladdr {self.mac['lan0']} dev gwlan nud permanent"
                 for x in nets for y in range(256)]
        limits = [f"net.ipv4.neigh.default.gc_thresh{n}=100000" for n in (3, 2, 1)]
        self.lab.run("gw", "sysctl", "-qw", *limits, check=False)
        self.lab.run("gw", "ip", "-batch", self.lab.file("neigh", "\n".join(lines) + "\n"), check=False)
        self.lab.run("gw", "ip", "neigh", "replace", UP, "lladdr", self.mac["up0"], "dev", "gwup", "nud", "permanent")

    def link_stats(self, ns, iface):
        row = json.loads(sh("ip", "-j", "-s", "-n", self.lab.ns(ns), "link", "show", iface).stdout)[0]
        return row["stats64"]["rx"]["packets"]

    def blast(self, way, *flags):
        """Packets from lan to up ("out"), or from up to the gateway's outer address ("in")."""
        return blast_together([(self, way, flags)])[0]

    def sender(self, way, *flags):
        """The namespace of one direction, and flags of pktblast for it."""
        ns, iface, first_hop, to = ("lan", "lan0", "gwlan", UP) if way == "out" else ("up", "up0", "gwup", GW_UP)
        return ["--netns", self.lab.ns(ns), "--iface", iface, "--src-mac", self.mac[iface],
                "--dst-mac", self.mac[first_hop], "--dst-ip", to, *flags]

    def arrivals(self, way):
        return self.link_stats("up", "up0") if way == "out" else self.link_stats("lan", "lan0")


def blast_together(senders, *flags):
    """Packets through several gateways whose bursts alternate: (gateway, way, flags) each. `flags` are for all."""
    lab = senders[0][0].lab
    before = [gw.arrivals(way) for gw, way, _ in senders]
    if len(senders) == 1:
        gw, way, own = senders[0]
        what = gw.sender(way, *own)
    else:
        lines = [" ".join(map(str, gw.sender(way, *own))) for gw, way, own in senders]
        what = ["--lines", lab.file("senders", "\n".join(lines) + "\n")]
    found = lab.json("lan", "pktblast", *what, *flags)
    rows = [found] if isinstance(found, dict) else found
    for row, b, (gw, way, _) in zip(rows, before, senders, strict=True):
        row["arrived"] = gw.arrivals(way) - b
        row["delivered"] = round(row["arrived"] / max(1, row["sent"]), 4)
    return rows


class Watch:
    """Sees UDP packets enter an end host's interface, with the kernel's time stamps."""

    def __init__(self, lab, ns, iface):
        self.seen = {}
        self.wanted = None
        self.ended = False
        self.socket = lab.in_namespace(ns, lambda: self._open(iface))
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    @staticmethod
    def _open(iface):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        s.bind((iface, 0))
        s.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        s.settimeout(0.1)
        return s

    def expect(self, wanted):
        """From now on note when `wanted(source port, destination port, payload)` first gives each of its labels."""
        self.seen, self.wanted = {}, wanted

    def wait(self, label, limit):
        """Wall-clock seconds of the first packet with that label."""
        stop = time.monotonic() + limit
        while label not in self.seen:
            if time.monotonic() > stop:
                raise RuntimeError(f"no {label} came through within {limit} s")
            time.sleep(0.001)
        return self.seen[label]

    def _listen(self):
        while not self.ended:
            try:
                frame, extra, _, where = self.socket.recvmsg(2048, 64)
            except TimeoutError:
                continue
            except OSError:
                return
            if where[2] == socket.PACKET_OUTGOING or len(frame) < 42 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
                continue
            at = 14 + (frame[14] & 15) * 4
            source, dest = struct.unpack("!HH", frame[at:at + 4])
            label = self.wanted and self.wanted(source, dest, frame[at + 8:])
            if label and label not in self.seen:
                s, ns = struct.unpack("qq", extra[0][2])
                self.seen[label] = s + ns / 1e9

    def close(self):
        self.ended = True
        self.thread.join()
        self.socket.close()
