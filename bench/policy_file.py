"""A large file of the realistic kind: twelve networks, hosts, groups, forwards,
rules of every shape between them, and expectations that hold.

The expectations are made by a model of a few lines which knows no more than
what the rules below can say, so that a file which labgate refuses shows a fault
in one of the two.
"""

import random
from dataclasses import dataclass

import labgate

NETWORKS = ["lan", "office", "web", "db", "voice", "lab", "iot", "cams", "guest", "print", "mgmt", "backup"]
# Nothing leads from the first four to the last two.
APART, SHUT = NETWORKS[6:10], NETWORKS[10:]
ROAMERS = 20
SERVICES = [("tcp", 443), ("tcp", 80), ("tcp", 22), ("tcp", 5432), ("udp", 161), ("tcp", 445), ("udp", 5060)]


@dataclass
class Rule:
    verdict: str
    sources: list
    targets: list
    ports: list  # (transport, first, last); empty: everything
    without: tuple | None = None

    def toml(self):
        parts = [f"from = {names(self.sources)}", f"to = {names(self.targets)}"]
        if self.ports:
            parts.append(f"port = {names([port_text(p) for p in self.ports])}")
        if self.without:
            parts.append(f'except = "{port_text(self.without)}"')
        return f"  {{ {', '.join(parts)} }},\n"


def names(words):
    quoted = [f'"{w}"' for w in words]
    return quoted[0] if len(quoted) == 1 else f"[{', '.join(quoted)}]"


def port_text(port):
    transport, first, last = port
    return f"{transport}/{first}" if first == last else f"{transport}/{first}-{last}"


class Site:
    """What the file names, and the model."""

    def __init__(self, hosts, rules, seed):
        self.random = random.Random(seed)
        fixed = hosts - ROAMERS
        self.network = {f"h{i}": NETWORKS[i % len(NETWORKS)] for i in range(fixed)}
        self.address = {f"h{i}": f"10.20.{i % len(NETWORKS)}.{2 + i // len(NETWORKS)}" for i in range(fixed)}
        self.by_network = {n: [h for h, of in self.network.items() if of == n] for n in NETWORKS}
        self.roamers = [f"roamer{i}" for i in range(ROAMERS)]
        self.groups = {f"group{g}": self.some_hosts() for g in range(40)}
        self.forwarded = self.random.sample(list(self.network), 100)
        self.used = {}
        self.rules = [Rule("deny", [n], ["internet"], [("tcp", 25, 25)]) for n in NETWORKS]
        while len(self.rules) < rules:
            self.rules.append(self.any_rule())
        self.by_target = {}
        for rule in self.rules:
            for end in rule.targets:
                self.by_target.setdefault(end, []).append(rule)

    def some_hosts(self):
        """Members of a group: of one network, or of two."""
        of = self.random.sample(NETWORKS[:6], self.random.choice([1, 1, 2]))
        return self.random.sample([h for n in of for h in self.by_network[n]], self.random.randint(4, 16))

    def two_networks(self):
        while True:
            a, b = self.random.sample(NETWORKS, 2)
            if not (a in APART and b in SHUT):
                return a, b

    def port(self, key, transport=None):
        """A port that no earlier rule between the same two has."""
        used = self.used.setdefault(key, set())
        found = self.random.choice([s for s in SERVICES if s not in used] or [("tcp", 1024 + len(used))])
        used.add(found)
        return (transport or found[0], found[1], found[1])

    def any_rule(self):
        pick = self.random.random()
        a, b = self.two_networks()
        host = lambda n: self.random.choice(self.by_network[n])
        open_group = lambda: self.random.choice(list(self.groups))
        if pick < 0.62:
            source, target = host(a), host(b)
            return Rule("allow", [source], [target], [self.port((source, target))])
        if pick < 0.72:
            source, target = host(a), host(b)
            first = 20_000 + self.random.randrange(4000)
            return Rule("allow", [source], [target], [("udp", first, first + self.random.randint(1, 200))])
        if pick < 0.80:
            target = open_group()
            source = host(self.random.choice(NETWORKS[:6]))
            return Rule("allow", [source], [target], [self.port((source, target)), self.port((source, target), "udp")])
        if pick < 0.86:
            source, target = open_group(), host(self.random.choice(NETWORKS[:10]))
            return Rule("allow", [source], [target], [self.port((source, target))])
        if pick < 0.90:
            target = host(b)
            return Rule("allow", [a], [target], [self.port((a, target))])
        if pick < 0.93:
            source = host(self.random.choice(NETWORKS[:6]))
            return Rule("allow", [source], [self.random.choice(SHUT)], [("tcp", 8000, 8100)], ("tcp", 8022, 8022))
        if pick < 0.95:
            source, target = host(self.random.choice(NETWORKS[:6])), self.random.choice(self.roamers)
            return Rule("allow", [source], [target], [self.port((source, target))])
        if pick < 0.98:
            source, target = host(a), host(b)
            return Rule("deny", [source], [target], [self.port((source, target, "deny"))])
        source = host(a)
        return Rule("deny", [source], ["internet"], [self.port((source, "internet"))])

    def ends_of(self, host):
        """Whatever a rule may call it."""
        return [host, self.network[host], *(g for g, members in self.groups.items() if host in members)]

    def passes(self, source, target, transport, port):
        """Hosts of two networks, one packet."""
        sources = set(self.ends_of(source))
        hits = {rule.verdict for end in self.ends_of(target) for rule in self.by_target.get(end, ())
                if sources.intersection(rule.sources) and covers(rule, transport, port)}
        return hits == {"allow"}


def covers(rule, transport, port):
    def within(p):
        return p[0] == transport and p[1] <= port <= p[2]
    return (not rule.ports or any(map(within, rule.ports))) and not (rule.without and within(rule.without))


def expectations(site, count):
    """(from, to, result)"""
    found = {}
    between_hosts = [r for r in site.rules if r.verdict == "allow" and r.sources[0] in site.network
                     and r.targets[0] in site.network]
    shares = {"pass": count * 5 // 10, "random": count * 3 // 10, "apart": len(APART) * len(SHUT), "mail": len(NETWORKS)}
    # Of the last quarter none: those may be edited.
    for rule in site.random.sample(between_hosts[:len(between_hosts) * 3 // 4], shares["pass"]):
        transport, first, _ = rule.ports[0]
        add(found, site, rule.sources[0], rule.targets[0], transport, first)
    for _ in range(shares["random"]):
        a, b = site.two_networks()
        transport, port = site.random.choice(SERVICES)
        add(found, site, site.random.choice(site.by_network[a]), site.random.choice(site.by_network[b]), transport, port)
    for a in APART:
        for b in SHUT:
            found[a, b, None] = "deny"
    for n in NETWORKS:
        found[n, "internet", "tcp/25"] = "deny"
    not_forwarded = [h for h in site.network if h not in site.forwarded]
    for host in site.random.sample(not_forwarded, len(not_forwarded)):
        if len(found) >= count:
            break
        found["internet", host, None] = "deny"
    assert len(found) == count, f"{len(found)} expectations"
    return found


def add(found, site, source, target, transport, port):
    allowed = site.passes(source, target, transport, port)
    found[source, target, f"{transport}/{port}"] = "allow" if allowed else "deny"


def policy_file(hosts=1000, rules=10_000, expected=500, seed=1, edits=0):
    """The text. With `edits` that many permissions are others: a file to come after the first."""
    site = Site(hosts, rules, seed)
    text = '[wan]\ninterface = "eth0"\naddress = "203.0.113.2/24"\ngateway = "203.0.113.1"\n'
    for k, name in enumerate(NETWORKS):
        text += (f'\n[network.{name}]\ninterface = "eth{k + 1}"\naddress = "10.20.{k}.1/24"\n'
                 f'admin = {"true" if k == 0 else "false"}\ninternet = {"false" if name in SHUT else "true"}\n')
    macs = {h: labgate.made_up_mac(k) for k, h in enumerate([*site.network, *site.roamers])}
    text += "\n[host]\n"
    text += "".join(f'{h} = {{ mac = "{macs[h]}", ip = "{ip}" }}\n' for h, ip in site.address.items())
    text += "".join(f'{h} = {{ mac = "{macs[h]}" }}\n' for h in site.roamers)
    text += "\n[group]\n" + "".join(f"{g} = [{', '.join(map(quoted, members))}]\n" for g, members in site.groups.items())
    held = expectations(site, expected)
    edited(site, edits)
    text += "\n[firewall]\n"
    for verdict in ("allow", "deny"):
        text += f"{verdict} = [\n" + "".join(r.toml() for r in site.rules if r.verdict == verdict) + "]\n"
    text += "expect = [\n" + "".join(
        f'  {{ from = "{a}", to = "{b}", ' + (f'port = "{port}", ' if port else "") + f'result = "{result}" }},\n'
        for (a, b, port), result in held.items()) + "]\n"
    text += "\n[port-forward]\n" + "".join(f'"tcp/{8000 + k}" = "{h}:443"\n' for k, h in enumerate(site.forwarded))
    return text


def quoted(word):
    return f'"{word}"'


def edited(site, edits):
    """Other ports for the last permissions between two hosts: beyond what any expectation is about."""
    left = edits
    for rule in reversed(site.rules):
        if left and rule.verdict == "allow" and rule.ports[0][0] == "udp" and rule.ports[0][1] >= 20_000:
            rule.ports = [("udp", 40_000 + left, 40_000 + left)]
            left -= 1
