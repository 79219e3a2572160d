#!/usr/bin/env python3
"""Putting rule sets in place, and what that costs the traffic under way.

Tests:

  load     N port forwards in place by nft and by libnftables, first and again,
           and one element of a map of N by four ways
  apply    labgate with N rules, half of them forwards and half filters: from
           exec until the last forward carries a packet, and from `labgate reload`
           of an edited file until it carries packets by the new file
  element  labgate: from the DHCP server's ACK to a client until a forward to
           that client, which has no fixed address, carries a packet; a rule that
           names the client gets its element in the same transaction. Alone, and
           with 200 DORA, 5,000 DNS queries and 20,000 new flows a second
  gap      longest pause of a running flow while the rules are replaced
"""

import ctypes
import json
import resource
import struct
import subprocess
import time

import dhcp_bench
import dns_bench
import labgate
import rulesets
from gateway import Gateway, Watch
from lab import GW_LAN, LAN, UP, Lab, Results, Server, cpu_seconds, options, tool, undisturbed, wait_quiet

TESTS = ["load", "apply", "element", "gap"]
SIZES = [100, 1000, 10000]
# A forward by raw netlink. Key: protocol and port, data: address and port, each padded to 4 bytes.
KEY, DATA = "06000000" + "00070000", "0a4d0009" + "00070000"


def timed(run):
    """Wall and CPU milliseconds of child processes."""
    u0, t0 = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    run()
    t1, u1 = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall_ms": round((t1 - t0) * 1e3, 2),
            "cpu_ms": round((u1.ru_utime + u1.ru_stime - u0.ru_utime - u0.ru_stime) * 1e3, 2)}


def library_timings(lab, commands):
    """Milliseconds of each command by libnftables, inside a thread in the gateway's namespace."""
    lib = ctypes.CDLL("libnftables.so.1")
    lib.nft_ctx_new.restype = ctypes.c_void_p
    def work():
        ctx, result = ctypes.c_void_p(lib.nft_ctx_new(0)), []
        for c in commands:
            t0 = time.monotonic()
            rc = lib.nft_run_cmd_from_buffer(ctx, c.encode())
            result.append((time.monotonic() - t0) * 1e3)
            assert rc == 0, c[:80]
        lib.nft_ctx_free(ctx)
        return result
    return lab.in_namespace("gw", work)


def load_tables(lab, n, shape, nft, add):
    text = rulesets.ruleset(shape, forwards=n)
    f = lab.file(f"{shape}.{n}.nft", text)
    again = lab.file(f"{shape}.{n}.again.nft", "delete table inet fw\n" + text)
    nft("flush", "ruleset")
    wait_quiet()
    add(what=f"nft -f, {shape}, first", n=n, **timed(lambda: nft("-f", f)))
    add(what=f"nft -f, {shape}, replace", n=n, **timed(lambda: nft("-f", again)))
    nft("flush", "ruleset")
    first, replace = library_timings(lab, [text, "delete table inet fw\n" + text])
    add(what=f"libnftables in process, {shape}, first", n=n, wall_ms=round(first, 2))
    add(what=f"libnftables in process, {shape}, replace", n=n, wall_ms=round(replace, 2))


def one_element(lab, n, nft, add):
    wait_quiet()
    key, value = "tcp . 7", "10.77.0.9 . 7"
    whole = ["add", "element", "inet", "fw", "forwards", f"{{ {key} : {value} }}"]
    gone = ["delete", "element", "inet", "fw", "forwards", f"{{ {key} }}"]
    add(what="nft add element, one process", n=n, **timed(lambda: nft(*whole)))
    add(what="nft delete element, one process", n=n, **timed(lambda: nft(*gone)))
    t = library_timings(lab, [" ".join(whole), " ".join(gone)] * 10)
    add(what="libnftables add element", n=n, wall_ms=round(sorted(t[::2])[5], 3))
    add(what="libnftables delete element", n=n, wall_ms=round(sorted(t[1::2])[5], 3))
    r = lab.json("gw", "nlset", "--table", "fw", "--set", "forwards", "--key-hex", KEY, "--data-hex", DATA, cpu=1)
    for what, row in (("add", r["add"]), ("delete", r["remove"])):
        add(what=f"raw netlink {what} element", n=n, wall_ms=row["p50_us"] / 1e3, p99_ms=row["p99_us"] / 1e3)


def load(lab, gw, run, a, out):
    gw.unload()
    nft = lambda *argv: lab.run("gw", "nft", *argv, cpu=1)
    def add(**row):
        out.add(test="load", run=run, **row)
    nft("flush", "ruleset")
    add(what="nft, nothing to do", n=0, **timed(lambda: nft("list", "tables")))
    for n in SIZES:
        for shape in ("linear", "map"):
            load_tables(lab, n, shape, nft, add)
        one_element(lab, n, nft, add)
    nft("flush", "ruleset")


def new_flows(lab, gw, dport, rate, secs):
    """From outside, one packet a flow to a forwarded port, in the background."""
    flags = gw.sender("in", "--src-ip", UP, "--sport", 2000, "--sports", 60000, "--flows", 60000,
                      "--dport", dport, "--rate", rate, "--secs", secs)
    return lab.popen("up", tool("pktblast"), *flags, stderr=subprocess.DEVNULL)


def monotonic_to_wall():
    return time.time() - time.monotonic()


def apply(lab, gw, run, a, out):
    gw.sinks(True)
    watch = Watch(lab, "lan", "lan0")
    for n in SIZES:
        gw.unload()
        half = {"forwards": n // 2, "filters": n // 2}
        files = labgate.rules(lab, **half)
        inner = rulesets.forward_target(n // 2 - 1)[2]
        sender = new_flows(lab, gw, rulesets.forward_target(n // 2 - 1)[0], 2000, 600)
        try:
            watch.expect(lambda s, d, p: {inner: "packet by the first file", 7: "packet by the second file"}.get(d))
            gw.daemon = Server(lab, files.argv())
            started = watch.wait("packet by the first file", 60) - monotonic_to_wall() - gw.daemon.exec_ns() / 1e9
            time.sleep(1)
            # The same file with one forward changed.
            files.config.write_text(labgate.rules_text(**half, last_port=7))
            cpu0, t0 = cpu_seconds(gw.daemon.pids), time.time()
            files.verb("reload")
            t1 = time.time()
            effect = watch.wait("packet by the second file", 60) - t0
            row = {"reload_ms": (t1 - t0) * 1e3, "effect_ms": effect * 1e3,
                   "daemon_cpu_ms": (cpu_seconds(gw.daemon.pids) - cpu0) * 1e3}
        finally:
            sender.kill()
            sender.communicate()
        out.add(test="apply", peer="labgate", n=n, run=run, start_ms=round(started * 1e3, 1),
                **{k: round(v, 1) for k, v in row.items()})
    watch.close()
    gw.sinks(False)


def is_ack(payload, mac):
    """A DHCP message to `mac` with option 53 = 5; the servers put that option first."""
    return len(payload) > 243 and payload[0] == 2 and payload[28:34] == mac and payload[240:243] == b"\x35\x01\x05"


def client_mac(i):
    """Of dora's client number i."""
    return b"\x02\x67" + struct.pack("!I", i)


class Load:
    """Everything a router does, all the time, beside what is measured."""

    DORAS, QUERIES, PACKETS = 200, 5000, 20_000

    def __init__(self, lab, gw, run, secs=600):
        # A second relay: two programs cannot share the first one's port.
        lab.run("lan", "ip", "addr", "replace", "10.77.0.3/16", "dev", "lan0")
        names = dns_bench.name_file(lab, "100", dns_bench.names(100))
        flags = gw.sender("out", "--src-ip", "10.77.100.1", "--src-ips", 4, "--sports", 50_000, "--flows", 200_000,
                          "--dport", 1000, "--dports", 1024, "--rate", self.PACKETS, "--secs", secs)
        relay = ["--relay", "10.77.0.3", "--server", GW_LAN]
        self.running = [
            lab.popen("lan", tool("pktblast"), *flags),
            lab.popen("lan", tool("dnsblast"), "--server", dns_bench.SERVER, "--names", names, "--rate", self.QUERIES,
                      "--sockets", 10, "--secs", secs),
            lab.popen("lan", tool("dora"), *relay, *dhcp_bench.CLIENT, "--clients", 1000, "--offset", 1_000_000 + run,
                      "--rate", self.DORAS, "--secs", secs, "--phases", "repeat"),
        ]

    @staticmethod
    def rates():
        return {"doras": Load.DORAS, "dns_qps": Load.QUERIES, "packets_per_s": Load.PACKETS}

    def stop(self):
        for process in self.running:
            process.kill()
            process.communicate()


def element(lab, gw, run, a, out, clients=100):
    gw.sinks(True)
    upstream = Server(lab, [tool("dns-answer"), "--bind", f"{UP}:53"], ns="up", cpu=0)
    watch = Watch(lab, "lan", "lan0")
    for label in ("none", "all"):
        text = labgate.config(pool=("10.77.110.0", "10.77.129.250"),
                              host=[(f"roamer{i}", f'{{ mac = "{client_mac(i).hex(":")}" }}') for i in range(clients)],
                              allow=[f'{{ from = "internet", to = "roamer{i}", port = "tcp/{20000 + i}" }}'
                                     for i in range(clients)],
                              forward=[(f"udp/{10000 + i}", f"roamer{i}") for i in range(clients)])
        files = labgate.Files(lab, text)
        files.tries.append(("out", LAN, 9))
        gw.load(files)
        load = Load(lab, gw, run) if label == "all" else None
        try:
            late = sorted(moved_in(lab, gw, watch, i) for i in range(clients))
        finally:
            if load:
                load.stop()
        out.add(test="element", peer="labgate", run=run, load=label, clients=clients, in_place_ms=quantile(late, 0.5),
                p99_ms=quantile(late, 0.99), max_ms=round(late[-1], 3), **(Load.rates() if load else {}))
    watch.close()
    upstream.stop()
    gw.sinks(False)


def quantile(ascending, q):
    return round(ascending[min(len(ascending) - 1, int(q * len(ascending)))], 3)


def moved_in(lab, gw, watch, i):
    """Milliseconds from client i's ACK until its forward carries a packet. Negative: it did before the ACK came."""
    sender = new_flows(lab, gw, 10000 + i, 5000, 30)
    mac = client_mac(i)
    try:
        watch.expect(lambda s, d, p: "forwarded packet" if d == 10000 + i else
                     "ACK" if s == 67 and is_ack(p, mac) else None)
        time.sleep(0.05)
        lab.run("lan", tool("dora"), *dhcp_bench.RELAY, "--clients", 1, "--offset", i, "--secs", 5, "--phases", "fresh")
        return (watch.wait("forwarded packet", 5) - watch.wait("ACK", 5)) * 1e3
    finally:
        sender.kill()
        sender.communicate()


def probe(lab, act):
    """A flow of 10,000 packets a second while `act` happens: its pauses and losses."""
    recv = lab.popen("up", tool("udpprobe"), "recv", "--bind", f"{UP}:9", "--secs", 12, cpu=0, fifo=True)
    time.sleep(0.1)
    send = lab.popen("lan", tool("udpprobe"), "send", "--to", f"{UP}:9", "--rate", 10000, "--secs", 3, cpu=0, fifo=True)
    time.sleep(0.7)
    t0 = time.monotonic()
    act()
    took = time.monotonic() - t0
    row = json.loads(recv.communicate()[0])
    row.update(json.loads(send.communicate()[0]), action_ms=round(took * 1e3, 1))
    return row


def gap_actions(lab, gw, shape, n):
    """(label, what to do meanwhile) for one shape of n forwards, which is loaded now."""
    yield "nothing", lambda: None
    if shape == "labgate":
        files = gw.daemon_files
        ports = iter(range(7000, 8000))
        def reload():
            files.config.write_text(labgate.rules_text(forwards=n, last_port=next(ports)))
            files.verb("reload")
        yield "labgate reload", reload
        return
    text = rulesets.ruleset(shape, forwards=n)
    replace = lab.file("replace.nft", "delete table inet fw\n" + text)
    yield f"replace table, {shape}", lambda: lab.run("gw", "nft", "-f", replace, cpu=1)


def gap(lab, gw, run, a, out, n=10000):
    for shape in ("linear", "map", "labgate"):
        rules = gw.rules(shape, forwards=n)
        gw.load(rules)
        gw.daemon_files = rules
        for label, act in gap_actions(lab, gw, shape, n):
            out.add(test="gap", shape=shape, what=label, run=run, **undisturbed(lab, lambda: probe(lab, act), tries=2))


def main():
    a = options(__doc__, ["labgate"], TESTS)
    out = Results(a.out)
    with Lab() as lab:
        gw = Gateway(lab)
        gw.neighbours()
        for test in a.tests:
            for run in range(a.runs):
                try:
                    globals()[test](lab, gw, run, a, out)
                except Exception as e:  # the other tests still tell something
                    out.add(test=test, peer="labgate", run=run, error=str(e)[-600:])
        gw.unload()


if __name__ == "__main__":
    main()
