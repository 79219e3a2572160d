#!/usr/bin/env python3
"""How long `labgate check` takes, and what memory, for a home, for a campus and for a file with 500 expectations."""

import os
import resource
import subprocess
import time

import labgate
from lab import ENV, Lab, Results, options, wait_quiet
from policy_file import policy_file

HOME = """[wan]
interface = "eth0"

[network.lan]
interface = "eth1"
address   = "192.168.1.1/24"
admin     = true

[network.iot]
interface = "eth1.20"
address   = "192.168.20.1/24"

[network.web]
interface = "eth1.30"
address   = "192.168.30.1/24"

[network.db]
interface = "eth1.40"
address   = "192.168.40.1/24"
internet  = false

[host]
nas     = { mac = "52:54:00:00:01:10", ip = "192.168.1.10", alias = ["cloud"] }
printer = { mac = "52:54:00:00:01:11", ip = "192.168.1.11" }
web1    = { mac = "52:54:00:00:30:10", ip = "192.168.30.10" }
db1     = { mac = "52:54:00:00:40:10", ip = "192.168.40.10" }

[dns]
upstream  = ["9.9.9.9", "1.1.1.1"]

[firewall]
allow = [
  { from = "lan", to = ["iot", "web"] },
  { from = "web", to = "db", port = "tcp/5432" },
]

[port-forward]
"tcp/443" = "nas"
"""


def campus(hosts=5_000, rules=10_000):
    """Two networks, hosts with fixed addresses, and a rule for each of many pairs of them."""
    address = lambda i: f"10.{10 + i % 2}.{i // 2 // 250}.{1 + i // 2 % 250}"
    text = '[wan]\ninterface = "eth0"\n'
    for n in (0, 1):
        text += (f'\n[network.net{n}]\ninterface = "eth{n + 1}"\naddress = "10.{10 + n}.255.254/16"\n'
                 f"admin = {'true' if n == 0 else 'false'}\n")
    text += "\n[host]\n" + "".join(
        f'h{i} = {{ mac = "{labgate.made_up_mac(i)}", ip = "{address(i)}" }}\n' for i in range(hosts))
    text += "\n[firewall]\nallow = [\n" + "".join(
        f'  {{ from = "h{2 * (k % (hosts // 2))}", to = "h{2 * (k * 7 % (hosts // 2)) + 1}", port = "tcp/{1000 + k}" }},\n'
        for k in range(rules)) + "]\n"
    return text


# A child's account begins with what its parent held.
OWN_RSS_KB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measured(lab, *words):
    """Milliseconds, CPU milliseconds and memory of one call, and what it said where it failed."""
    with open(lab.dir / "said", "w+") as said:
        t0 = time.monotonic()
        child = subprocess.Popen(lab.argv("up", labgate.binary(), *words), stdout=said, stderr=said, env=ENV)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        took = time.monotonic() - t0
        said.seek(0)
        error = {"error": said.read()[-600:]} if child.returncode else {}
    return {"check_ms": round(took * 1e3, 2), "cpu_ms": round((used.ru_utime + used.ru_stime) * 1e3, 2),
            "rss_kb": used.ru_maxrss if used.ru_maxrss > 2 * OWN_RSS_KB else None, **error}


def main():
    a = options(__doc__, ["labgate"], ["check"])
    out = Results(a.out)
    with Lab() as lab:
        files = {"the 31-line file": (lab.file("home.toml", HOME), 20),
                 "5,000 hosts and 10,000 rules": (lab.file("campus.toml", campus()), 3),
                 "12 networks, 1,000 hosts, 10,000 rules, 500 expectations": (lab.file("site.toml", policy_file()), 3)}
        for run in range(a.runs):
            for label, (path, times) in files.items():
                wait_quiet()
                for _ in range(times):
                    out.add(test="check", peer="labgate", file=label, run=run, **measured(lab, "check", path))


if __name__ == "__main__":
    main()
