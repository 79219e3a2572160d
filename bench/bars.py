"""What labgate must reach, and whether it does: one line a bar.

A bar picks rows by test and fields, takes one column, and holds labgate's
median against a figure. The best peer and the limit program come from the same
rows. `Ratio` and the functions at the end are bars that compare rows with one
another.
"""

from dataclasses import dataclass, field

from lab import median, spread

MB = 1024.0  # kB


def good(row):
    return "error" not in row and "unsupported" not in row


def pick(rows, test, where):
    return [r for r in rows if r.get("test") == test and good(r) and all(r.get(k) == v for k, v in where.items())]


def values(rows, column, scale=1.0):
    return [r[column] * scale for r in rows if r.get(column) is not None]


def shown(found, unit=""):
    return (spread(found) + (f" {unit}" if unit else "")) if found else "–"


@dataclass
class Line:
    """One finished row of the table; `met` is None where nothing was measured."""

    what: str
    must: str
    labgate: str
    best: str
    limit: str
    met: bool | None


@dataclass
class Bar:
    what: str
    test: str
    column: str
    where: dict = field(default_factory=dict)
    at_most: float | None = None
    at_least: float | None = None
    unit: str = ""
    scale: float = 1.0
    limit: str = ""
    peers: bool = True

    def line(self, rows):
        mine, others, limit = [], {}, []
        for r in pick(rows, self.test, self.where):
            name = r.get("peer", "labgate")
            got = values([r], self.column, self.scale)
            if name == "labgate":
                mine += got
            elif name == self.limit:
                limit += got
            elif not name.startswith("limit"):
                others.setdefault(name, []).extend(got)
        worse_first = sorted((n for n in others if others[n]), key=lambda n: median(others[n]),
                             reverse=self.at_least is None)
        best = worse_first[-1] if worse_first and self.peers else None
        must = f"≤ {self.at_most:,g}" if self.at_least is None else f"≥ {self.at_least:,g}"
        return Line(self.what, f"{must} {self.unit}".strip(), shown(mine, self.unit),
                    f"{best} {shown(others[best])}" if best else "–", shown(limit), self.holds(mine))

    def holds(self, mine):
        if not mine:
            return None
        m = median(mine)
        return m <= self.at_most if self.at_least is None else m >= self.at_least


@dataclass
class Ratio:
    """One case in units of another: the median of the ratios within each run, whose figures were taken side by side."""

    what: str
    test: str
    column: str
    over: dict
    under: dict
    at_most: float | None = None
    at_least: float | None = None

    def line(self, rows):
        by_run = [{r["run"]: r[self.column] for r in pick(rows, self.test, w)} for w in (self.over, self.under)]
        must = f"≤ {self.at_most:g} ×" if self.at_least is None else f"≥ {self.at_least:g} ×"
        ratios = [by_run[0][run] / by_run[1][run] for run in by_run[0] if by_run[1].get(run)]
        if not ratios:
            return Line(self.what, must, "–", "–", "–", None)
        ratio = median(ratios)
        met = ratio <= self.at_most if self.at_least is None else ratio >= self.at_least
        extent = f" ({min(ratios):.2f}..{max(ratios):.2f})" if len(ratios) > 1 else ""
        of = " : ".join(f"{median(list(found.values())):,.0f}" for found in by_run)
        return Line(self.what, must, f"{ratio:.2f} ×{extent}, {of} ns", "–", "–", met)


def best_peer(rows, test, column, where, most=True):
    found = {}
    for r in pick(rows, test, where):
        if r["peer"] != "labgate" and not r["peer"].startswith("limit"):
            found.setdefault(r["peer"], []).extend(values([r], column))
    ranked = sorted((n for n in found if found[n]), key=lambda n: median(found[n]), reverse=most)
    return (ranked[0], found[ranked[0]]) if ranked else (None, [])


def against_peer(what, test, column, where, peer=None, at_least=None, at_most=None, limit=""):
    """labgate's median against that of a peer (the best one where none is named)."""
    def line(rows):
        name, theirs = best_peer(rows, test, column, where, most=at_least is not None)
        if peer:
            name, theirs = peer, values(pick(rows, test, dict(where, peer=peer)), column)
        mine = values(pick(rows, test, dict(where, peer="labgate")), column)
        bound = values(pick(rows, test, dict(where, peer=limit)), column)
        whose = peer or "the best peer"
        must = f"≥ {at_least:g} × {whose}" if at_least else f"≤ {at_most:g} × {whose}"
        met = None
        if mine and theirs:
            ratio = median(mine) / median(theirs)
            met = ratio >= at_least if at_least else ratio <= at_most
        return Line(what, must, shown(mine), f"{name} {shown(theirs)}" if name else "–", shown(bound), met)
    return line


def undisturbed_dns(what, rate):
    """DNS answer times while DHCP works: not above the slowest run without it."""
    def line(rows):
        calm = values(pick(rows, "mixed", {"peer": "labgate", "rate": 0}), "dns_p99_us")
        busy = pick(rows, "mixed", {"peer": "labgate", "rate": rate, "held": 1000})
        p99, lost = values(busy, "dns_p99_us"), values(busy, "dns_lost")
        name, theirs = best_peer(rows, "mixed", "dns_p99_us", {"rate": rate, "held": 1000}, most=False)
        met = None if not calm or not p99 else median(p99) <= max(calm) and not any(lost)
        return Line(what, f"p99 ≤ that without, {shown(calm, 'µs')}; none lost",
                    f"{shown(p99, 'µs')}, {shown(lost)} lost" if p99 else "–",
                    f"{name} {shown(theirs)}" if name else "–", "–", met)
    return line


def never(what, test, columns, where=None):
    """Columns that must be 0 in every run of labgate's."""
    def line(rows):
        mine = pick(rows, test, dict(where or {}, peer="labgate"))
        found = [v for c in columns for v in values(mine, c)]
        return Line(what, "0", f"{sum(found):,g}" if found else "–", "–", "–", not any(found) if found else None)
    return line


def _dns():
    echo = "limit-echo-mmsg"
    for label, most in (("100", 5.0), ("10k", 5.0), ("100k", 5.5)):
        yield Bar(f"cached answer, {label} names: CPU a query", "warm", "server_cpu_us_per_query", {"names": label},
                  at_most=most, unit="µs", limit=echo)
    yield against_peer("cached answers a second, one thread, 10k names", "warm", "qps", {"names": "10k"},
                       at_least=1.5, limit=echo)
    yield against_peer("the same, every server behind labgate's rule set", "guarded", "qps", {},
                       at_least=1.5, limit=echo)
    yield never("wrong or lost cached answers", "warm", ["wrong", "lost", "servfail"])
    yield Bar("misses a second", "cold", "qps", {"mode": "saturation"}, at_least=45_000)
    yield never("wrong misses", "cold", ["wrong"])
    yield against_peer("a miss at 2,000/s: p50, µs", "cold", "p50_us", {"mode": "2000/s"}, peer="dnsmasq", at_most=1.0)
    yield Bar("TCP answers a second", "stream", "dnsperf_qps", {"kind": "tcp"}, at_least=80_000)
    yield Bar("resident, idle", "memory", "idle_rss_kb", at_most=20, unit="MB", scale=1 / MB)
    yield Bar("resident, 100k names cached", "memory", "full_rss_kb", at_most=70, unit="MB", scale=1 / MB)
    yield Bar("hosts file of 100,000 lines: to serve", "hosts", "ready_ms", at_most=200, unit="ms")
    yield Bar("hosts file of 100,000 lines: resident", "hosts", "loaded_rss_kb", at_most=45, unit="MB", scale=1 / MB)
    yield Bar("block list of 1,000,000: to serve", "block", "ready_ms", at_most=800, unit="ms")
    yield Bar("block list of 1,000,000: resident", "block", "loaded_rss_kb", at_most=60, unit="MB", scale=1 / MB)
    yield Bar("exec to first answer, whole gateway", "startup", "ready_ms", {"kind": "dns"}, at_most=100, unit="ms")


def _dhcp():
    journal = "limit-journal"
    for pool in ("250", "4k", "64k"):
        yield Bar(f"new clients served a second, pool of {pool}", "rate", "per_s", {"pool": pool, "phase": "fresh"},
                  at_least=20_000, limit=journal)
    for pool in ("250", "4k", "64k"):
        yield Bar(f"renewals a second, pool of {pool}", "rate", "per_s", {"pool": pool, "phase": "renew"},
                  at_least=40_000, limit=journal)
    yield never("addresses given twice, NAKs, moves", "rate", ["shared_addresses", "naks", "moved"])
    yield Bar("resident after 60,000 leases", "rate", "server_rss_kb", {"pool": "64k", "phase": "renew"}, at_most=40,
              unit="MB", scale=1 / MB)
    yield Bar("restart with 50,000 leases: to serve", "restart", "ready_ms", {"leases": 50_000}, at_most=100, unit="ms")
    yield Bar("exec to first lease", "startup", "ready_ms", {"kind": "dhcp"}, at_most=150, unit="ms")
    yield Bar("a new client waits, conflict check on: p99", "newcomer", "p99_us", at_most=50, unit="ms", scale=1e-3)
    yield undisturbed_dns("DNS while 1,000 DORA/s", 1000)


def _packets():
    cost = "burst_ns"
    def flow(way, what, n, shape="labgate"):
        return {"way": way, "what": what, "n": n, "shape": shape}
    kinds = (("past 10,000 forwards", "out", "forwards", 0), ("past 10,000 denials", "out", "filters", 0),
             ("by one of 10,000 permissions", "out", "allowed", 0), ("into one of 10,000 forwards", "in", "forwards", 100))
    for label, way, what, few in kinds:
        yield Ratio(f"new flow {label} : {'none' if few == 0 else f'of {few}'}", "flows", cost, flow(way, what, 10_000),
                    flow(way, what, few), at_most=1.1)
    yield Ratio("new flow past nothing : written by hand", "flows", cost, flow("out", "forwards", 0),
                flow("out", "forwards", 0, "hand"), at_most=1.05)
    for label, way, what, _ in kinds:
        yield Ratio(f"new flow {label} : written by hand", "flows", cost, flow(way, what, 10_000),
                    flow(way, what, 10_000, "hand"), at_most=1.05)
    for label, way, what, _ in kinds:
        yield Ratio(f"new flow {label}, one rule each : labgate", "flows", cost, flow(way, what, 10_000, "linear"),
                    flow(way, what, 10_000), at_least=10)
    many, none = "10000 forwards and filters, {}", "zone firewall and masquerade, {}"
    yield Ratio("established packet, 10,000 of each : none", "packets", cost, {"case": many.format("labgate")},
                {"case": none.format("labgate")}, at_most=1.1)
    yield Ratio("established packet, 10,000 of each : written by hand", "packets", cost,
                {"case": many.format("labgate")}, {"case": many.format("hand")}, at_most=1.05)
    yield Bar("reload of 1,000 rules: in effect", "apply", "effect_ms", {"n": 1000}, at_most=50, unit="ms")
    yield Bar("reload of 10,000 rules: in effect", "apply", "effect_ms", {"n": 10_000}, at_most=500,
              unit="ms")
    yield Bar("lease ACK to rule and forward in place, DHCP, DNS and packets under way: median", "element", "in_place_ms",
              {"load": "all"}, at_most=5, unit="ms")
    def lost(rows):
        found = values(pick(rows, "gap", {"what": "labgate reload"}), "missing")
        return Line("packets of an allowed flow lost in a reload", "0", f"{sum(found):,g}" if found else "–", "–", "–",
                    not any(found) if found else None)
    yield lost


def _whole():
    yield Bar("program", "startup", "binary_kb", {"kind": "dns"}, at_most=15, unit="MB", scale=1 / MB, peers=False)
    yield Bar("resident at rest, whole gateway", "startup", "rss_kb", {"kind": "dns"}, at_most=16, unit="MB",
              scale=1 / MB, peers=False)
    yield Bar("CPU at rest", "startup", "rest_cpu_percent", {"kind": "dns"}, at_most=0.1, unit="%", peers=False)
    yield Bar("`labgate check`, the 31-line file", "check", "check_ms", {"file": "the 31-line file"}, at_most=10,
              unit="ms")
    site = "12 networks, 1,000 hosts, 10,000 rules, 500 expectations"
    yield Bar(f"`labgate check`, {site}", "check", "check_ms", {"file": site}, at_most=2000, unit="ms")
    yield Bar("the same: memory", "check", "rss_kb", {"file": site}, at_most=200, unit="MB", scale=1 / MB)
    yield Bar("`labgate plan` of it with 20 rules changed", "check", "plan_ms", {"file": f"plan: {site}"}, at_most=3000,
              unit="ms")
    yield Bar("`labgate check`, 5,000 hosts and 10,000 rules", "check", "check_ms",
              {"file": "5,000 hosts and 10,000 rules"}, at_most=1000, unit="ms")


GROUPS = [("DNS", _dns), ("DHCP", _dhcp), ("Firewall and NAT", _packets), ("The whole", _whole)]


def lines(rows):
    """(group, its lines) for the report."""
    for title, bars in GROUPS:
        yield title, [b(rows) if callable(b) else b.line(rows) for b in bars()]
