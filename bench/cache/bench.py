#!/usr/bin/env python3
"""The cache beside nginx and Varnish on one machine; prints ratios, and whether each is what it has to be.

    cargo build --release --workspace
    bench/cache/bench.py warm         # 1 MiB ranges of a 1 GiB object in memory: CPU seconds per GB, GB/s of one core
    bench/cache/bench.py connections  # the same for 400 clients
    bench/cache/bench.py small        # objects of 1 KiB: requests per second
    bench/cache/bench.py cold         # ranges that are on the drive only, and what that does to another client
    bench/cache/bench.py miss         # a first download, the origin 30 ms away; one client, and eight at once
    bench/cache/bench.py tls          # HTTPS hits: CPU seconds per GB
    bench/cache/bench.py idle         # 20,000 idle connections beside 2,000 busy ones, on two cores
    bench/cache/bench.py eviction     # byte miss ratio on a made trace (cargo bench -p mcc-cache --bench eviction)
    bench/cache/bench.py restart      # a drive of 10 TB indexed: seconds, memory (cargo bench -p mcc-cache --bench restart)
    bench/cache/bench.py all          # all of it, and the table of docs/benchmarks.md

Needs Linux, Python 3.11, root (for nginx and the limits), openssl, nginx with the slice module, and two cores; Varnish if it is there. The server under
test has one core, clients and origin have the other. Servers take turns in short windows. Each response's length and range is checked, a
share is compared byte for byte, and a hit that reaches the origin, a failed request or a wrong byte ends the run. Numbers mean something on
an idle machine only.
"""
import argparse, datetime, itertools, json, os, pathlib, platform, re, resource, shutil, statistics, subprocess, sys, tempfile

sys.dont_write_bytecode = True
from servers import HOST, Mcc, NginxAio, NginxSlice, NginxStatic, Origin, Varnish

MIB, GIB = 1 << 20, 1 << 30
FILES = {"small": 1024, "big": GIB, "cold": 4 * GIB, "first": 64 * MIB}
CIPHER = "TLS13_AES_128_GCM_SHA256"
LATENCY_MS = 30
IDLE, BUSY = 20_000, 2_000


class Bench:
    """Programs, files, and what was measured."""

    def __init__(self, args):
        self.args = args
        root = pathlib.Path(__file__).resolve().parents[2]
        self.mcc_program = os.path.abspath(args.mcc or root / "target/release/mcc")
        self.load_program = os.path.abspath(args.load or root / "target/release/mcc-load")
        for program in (self.mcc_program, self.load_program):
            if not os.access(program, os.X_OK):
                sys.exit(f"no {program}: cargo build --release --workspace")
        if not shutil.which("nginx"):
            sys.exit("no nginx in the PATH")
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            sys.exit("two cores are needed: one for the server, one for the clients")
        self.all_cpus, self.server_cpu, self.load_cpu = set(cpus[:2]), {cpus[0]}, {cpus[1]}
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="cache-bench-", dir=args.dir))
        self.files = self.work / "files"
        self.files.mkdir()
        self.running, self.numbers, self.rows = [], itertools.count(), []
        self.certificate, self.key = self.work / "certificate.pem", self.work / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={HOST}",
             "-addext", f"subjectAltName=DNS:{HOST}", "-out", self.certificate, "-keyout", self.key], check=True, capture_output=True)
        self.make("small")

    def number(self):
        return next(self.numbers)

    def make(self, name):
        if not (self.files / name).exists():
            subprocess.run([self.load_program, "make", self.files / name, str(FILES[name])], check=True)

    def peers(self, *kinds):
        return [kind for kind in kinds if kind is not Varnish or (shutil.which("varnishd") and not self.args.no_varnish)]

    def close(self):
        for program in list(self.running):
            program.stop()
        shutil.rmtree(self.work, ignore_errors=True)

    # What is asked.

    def start_load(self, server, name, path=None, cpus=None, tls=False, **options):
        command = [self.load_program, "get", "--address", f"127.0.0.1:{server.tls_port if tls else server.port}", "--path", path or f"/{name}",
                   "--size", str(FILES[name]), "--pids", ",".join(map(str, server.pids()))]
        command += ["--tls", CIPHER] if tls else []
        for key, value in options.items():
            command += [f"--{key.replace('_', '-')}", str(value)]
        cpus = cpus or self.load_cpu
        return subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, cpus))

    def finish(self, server, process, may_fail=False):
        output, _ = process.communicate()
        if process.returncode:
            sys.exit(f"{server.name}: the load client failed")
        report = json.loads(output)
        if report["failed"] and not may_fail:
            sys.exit(f"{server.name}: {report['failed']} of {report['requests'] + report['failed']} responses are wrong: {report['first_failure']}")
        return report

    def load(self, server, name, may_fail=False, **options):
        return self.finish(server, self.start_load(server, name, **options), may_fail)

    def fill(self, server, name):
        """Until the server has all of an object: a pass over it that the origin does not see."""
        piece = min(FILES[name], 64 * MIB)
        for _ in range(20):
            before = server.origin.counters()["bytes"]
            self.load(server, name, range=piece, order="sequential", connections=1, requests=FILES[name] // piece, seconds=120, verify_every=0)
            if server.origin.counters()["bytes"] == before:
                return
        sys.exit(f"{server.name} does not keep /{name}")

    def hits(self, server, name, **options):
        before = server.origin.counters()["bytes"]
        report = self.load(server, name, **options)
        fetched = server.origin.counters()["bytes"] - before
        if fetched:
            sys.exit(f"{server.name}: {fetched} bytes came from the origin while hits were measured")
        return report

    def interleaved(self, servers, measure):
        """{server's name: [report of each round]}. The first round warms up and is not counted."""
        reports = {server.name: [] for server in servers}
        for round_ in range(self.args.rounds + 1):
            for server in servers:
                report = measure(server, round_)
                if round_:
                    reports[server.name].append(report)
            progress(f"round {round_} of {self.args.rounds}")
        return reports

    # What is shown.

    def show(self, title, reports, columns):
        """A table of medians, smallest and largest: {heading: value of a report}."""
        print(f"\n## {title}\n")
        print(f"{'':14}" + "".join(f"{heading:>26}" for heading in columns))
        for name, of_server in reports.items():
            print(f"{name:14}" + "".join(f"{spread([value(report) for report in of_server]):>26}" for value in columns.values()))
        print(flush=True)

    def compare(self, work, reports, peer, value, sign, target, unit=""):
        """A row: ours over a peer's, round by round, with what the ratio has to be."""
        ours, theirs = ([value(report) for report in reports[name]] for name in ("mcc", peer))
        ratios = [a / b if b else float("inf") for a, b in zip(ours, theirs)]
        self.row(work, spread(ours) + unit, f"{peer}: {spread(theirs)}{unit}", spread(ratios, 2) + " x", sign, target, " x", statistics.median(ratios))

    def row(self, work, ours, peer, result, sign, target, unit, value):
        met = value <= target if sign == "≤" else value >= target
        row = (work, ours, peer, result, f"{sign} {target:g}{unit}", "met" if met else "**missed**")
        self.rows.append(row)
        print(" | ".join(row), flush=True)


def spread(values, digits=None):
    middle = statistics.median(values)
    if digits is None:
        digits = 3 if middle < 1 else 2 if middle < 100 else 0
    return f"{middle:,.{digits}f} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def progress(text):
    if sys.stderr.isatty():
        print(f"\r{text}   ", end="", file=sys.stderr, flush=True)


def speed(report):
    return report["bytes"] / 1e9 / report["seconds"]


def cpu_per_gb(report):
    return (report["cpu_user"] + report["cpu_system"]) / (report["bytes"] / 1e9)


def rate(report):
    return report["requests"] / report["seconds"]


def cpu_per_request(report):
    return (report["cpu_user"] + report["cpu_system"]) * 1e6 / report["requests"]


def latency(key):
    return lambda report: report["latency"][key]


RANGES = {"GB/s": speed, "CPU s per GB": cpu_per_gb, "p50 µs": latency("p50"), "p99 µs": latency("p99")}


def warm_servers(bench, name, *kinds):
    origin = Origin(bench)
    bench.make(name)
    servers = [kind(bench, origin) for kind in bench.peers(Mcc, *kinds)]
    for server in servers:
        bench.fill(server, "small")
        bench.fill(server, name)
    os.sync()
    return servers


def warm_mode(bench):
    servers = warm_servers(bench, "big", NginxSlice, NginxStatic, Varnish)
    reports = bench.interleaved(servers, lambda server, _: bench.hits(server, "big", range=MIB, seconds=bench.args.seconds))
    bench.show("1 MiB ranges of a warm 1 GiB object, 16 connections, one core", reports, RANGES)
    what = "1 MiB ranges of a warm 1 GiB object, "
    bench.compare(what + "CPU s per GB", reports, "nginx-slice", cpu_per_gb, "≤", 0.80)
    bench.compare(what + "CPU s per GB", reports, "nginx-static", cpu_per_gb, "≤", 1.0)
    bench.compare(what + "GB/s of one core", reports, "nginx-slice", speed, "≥", 1.2)


def connections_mode(bench):
    servers = warm_servers(bench, "big", NginxSlice, NginxStatic, Varnish)
    reports = bench.interleaved(servers, lambda server, _: bench.hits(server, "big", range=MIB, connections=400, seconds=bench.args.seconds))
    bench.show("The same, 400 connections", reports, RANGES)
    bench.compare("1 MiB ranges, 400 connections, GB/s", reports, "nginx-slice", speed, "≥", 1.2)


def small_mode(bench):
    servers = warm_servers(bench, "small", NginxSlice, NginxStatic, Varnish)
    reports = bench.interleaved(servers, lambda server, _: bench.hits(server, "small", connections=64, seconds=bench.args.seconds))
    bench.show("Objects of 1 KiB, 64 connections, one core", reports,
               {"requests/s": rate, "CPU µs per request": cpu_per_request, "p50 µs": latency("p50"), "p99 µs": latency("p99")})
    bench.compare("1 KiB objects, requests/s", reports, "nginx-slice", rate, "≥", 3)


def cold_mode(bench):
    servers = warm_servers(bench, "cold", NginxAio)

    def measure(server, _):
        for file in server.stored_files():
            forget(file)
        before = server.origin.counters()["bytes"]
        read = read_from_drive(bench.work)
        seconds = bench.args.seconds
        ranges = bench.start_load(server, "cold", range=MIB, order="once", seconds=seconds, verify_every=256)
        other = bench.load(server, "small", connections=1, seconds=seconds, verify_every=16)
        report = bench.finish(server, ranges)
        if server.origin.counters()["bytes"] != before:
            sys.exit(f"{server.name}: bytes came from the origin while reads from the drive were measured")
        return report | {"other": other, "read": (read_from_drive(bench.work) - read) / report["bytes"]}

    reports = bench.interleaved(servers, measure)
    other_p99 = lambda report: report["other"]["latency"]["p99"]
    bench.show("1 MiB ranges that are on the drive only, 16 connections; another client asks for 1 KiB again and again", reports,
               {"GB/s": speed, "CPU s per GB": cpu_per_gb, "other's requests/s": lambda report: rate(report["other"]),
                "other's p50 µs": lambda report: report["other"]["latency"]["p50"], "other's p99 µs": other_p99,
                "drive's bytes / sent": lambda report: report["read"]})
    bench.compare("cold file, GB/s", reports, "nginx-aio", speed, "≥", 1.3)
    bench.compare("cold file, p99 of another client's small request", reports, "nginx-aio", other_p99, "≤", 1.0, " µs")


def forget(file):
    """Has the kernel write back what it holds of a file, and drop it."""
    fd = os.open(file, os.O_RDONLY)
    os.fdatasync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def read_from_drive(folder):
    """Bytes read from the block device under `folder` so far; not a number where there is none."""
    device = os.stat(folder).st_dev
    try:
        with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat") as stat:
            return int(stat.read().split()[2]) * 512
    except OSError:
        return float("nan")


class Direct:
    """The origin asked directly."""
    name = "directly"

    def __init__(self, origin):
        self.origin, self.port = origin, origin.port

    def pids(self):
        return self.origin.pids()


def miss_mode(bench):
    bench.make("first")
    origin = Origin(bench, LATENCY_MS, bench.args.origin_mb_per_s)
    servers = [kind(bench, origin) for kind in bench.peers(Mcc, NginxSlice, Varnish)] + [Direct(origin)]
    size = FILES["first"]

    def first_download(how, **options):
        def measure(server, round_):
            # Another path is another object with the same content. The first round is compared byte for byte.
            path = f"/{how}-{round_}-{server.name}/first"
            before = origin.counters()
            report = bench.load(server, "first", path=path, seconds=60, verify_every=0 if round_ else 1, **options)
            after = origin.counters()
            fetched, asked = ((after[key] - before[key]) for key in ("bytes", "requests"))
            return report | {"fetched": fetched / size, "asked": asked}
        return bench.interleaved(servers, measure)

    columns = {"MB/s each": lambda report: size / report["seconds"] / 1e6, "first byte ms, slowest": lambda report: report["first_byte"]["max"] / 1000,
               "origin's bytes / object": lambda report: report["fetched"], "origin's requests": lambda report: report["asked"]}
    whole = first_download("whole", connections=1, requests=1)
    bench.show(f"First download of 64 MiB, the origin {LATENCY_MS} ms away, one GET", whole, columns)
    ranges = first_download("ranges", connections=1, range=MIB, order="sequential", requests=size // MIB)
    bench.show("First download in 1 MiB ranges, one after the other", ranges, columns)
    eight = first_download("eight", connections=8, requests=1)
    bench.show("Eight clients at once, one GET each", eight, columns)

    mb_per_s = columns["MB/s each"]
    what = f"first download of a cold 64 MiB object, origin {LATENCY_MS} ms away, "
    bench.compare(what + "MB/s", whole, "nginx-slice", mb_per_s, "≥", 10)
    bench.compare(what + "MB/s", whole, "directly", mb_per_s, "≥", 0.8)
    bench.compare(what + "in 1 MiB ranges, MB/s", ranges, "nginx-slice", mb_per_s, "≥", 10)
    slowest = columns["first byte ms, slowest"]
    direct = [slowest(report) for report in whole["directly"]]
    late = [slowest(ours) - theirs for ours, theirs in zip(eight["mcc"], direct)]
    nginx = spread([slowest(report) for report in eight["nginx-slice"]], 1)
    bench.row("eight clients on it together, slowest first byte", spread([slowest(report) for report in eight["mcc"]], 1) + " ms",
              f"directly: {spread(direct, 1)} ms, nginx-slice: {nginx} ms", f"+{spread(late, 1)} ms", "≤", 5, " ms", statistics.median(late))
    fetched = [report["fetched"] for report in eight["mcc"]]
    nginx = spread([report["fetched"] for report in eight["nginx-slice"]], 2)
    bench.row("eight clients on it together, origin's bytes / object", spread(fetched, 2), f"nginx-slice: {nginx}", spread(fetched, 2), "≤", 1.0, "",
              round(max(fetched), 3))


def tls_mode(bench):
    servers = warm_servers(bench, "big", NginxSlice, NginxStatic)
    reports = bench.interleaved(servers, lambda server, _: bench.hits(server, "big", range=MIB, tls=True, seconds=bench.args.seconds))
    bench.show(f"HTTPS, {CIPHER}, 1 MiB ranges of a warm 1 GiB object, 16 connections, one core", reports, RANGES)
    bench.compare("HTTPS hits, CPU s per GB", reports, "nginx-slice", cpu_per_gb, "≤", 1.0)
    bench.compare("HTTPS hits, CPU s per GB", reports, "nginx-static", cpu_per_gb, "≤", 1.0)


def open_files():
    """The most files that a program may have open from now on."""
    wanted = IDLE + BUSY + 10_000
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, most)))
    except ValueError:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def idle_mode(bench):
    most = open_files()
    # A busy connection is one open file for its client and up to two for a server.
    idle = min(IDLE, most - 2 * BUSY - 500)
    fewer = f" ({IDLE:,} were wanted; a process may have {most:,} open files here)" if idle < IDLE else ""
    what = f"{idle:,} idle + {BUSY:,} busy connections{fewer}, "
    bench.make("big")
    origin = Origin(bench)
    reports = {}
    for kind in (Mcc, NginxSlice):
        server = kind(bench, origin, cpus=bench.all_cpus)
        bench.fill(server, "big")
        reports[server.name] = [bench.load(server, "big", may_fail=True, cpus=bench.all_cpus, range=MIB, connections=BUSY, idle=idle, seconds=5)]
        server.stop()
    failed = lambda report: report["failed"] + report["idle"]["failed"]
    memory = lambda report: (report["idle"]["resident_with"] - report["idle"]["resident_before"]) / 1024 / idle
    bench.show(what + "two cores shared with the clients", reports,
               {"failed requests": failed, "KiB resident per idle one": memory, "idle ones open": lambda report: report["idle"]["connections"], **RANGES})
    for name, (report,) in reports.items():
        for why in (report["first_failure"], report["idle"]["first_failure"]):
            print(f"{name}: {why}" if why else "", end="\n" if why else "")
    (ours,), (nginx,) = reports["mcc"], reports["nginx-slice"]
    bench.row(what + "failed requests", f"{failed(ours)}", f"nginx-slice: {failed(nginx)}", f"{failed(ours)}", "≤", 0, "", failed(ours))
    bench.row(what + "KiB resident per idle one", f"{memory(ours):.1f}", f"nginx-slice: {memory(nginx):.1f}", f"{memory(ours):.1f}", "≤", 16, " KiB",
              memory(ours))


def cargo_bench(name, *patterns):
    """Runs a bench of mcc-cache and shows what it prints: the numbers that `patterns` find in it."""
    root = pathlib.Path(__file__).resolve().parents[2]
    output = subprocess.run(["cargo", "bench", "--quiet", "-p", "mcc-cache", "--bench", name], cwd=root, capture_output=True, text=True)
    print(f"\n## {name}\n\n{output.stdout}{output.stderr if output.returncode else ''}")
    found = [re.search(pattern, output.stdout, re.M) for pattern in patterns]
    if output.returncode or not all(found):
        sys.exit(f"the bench `{name}` failed")
    return [float(match[1]) for match in found]


def eviction_mode(bench):
    worst, = cargo_bench("eviction", r"^at worst (-?[\d.]+) % above the best")
    bench.row("eviction, byte miss ratio on a made trace", "mcc's S3-FIFO", "best of LRU, SIEVE, S3-FIFO at each size", f"{worst:+.1f} % at worst", "≤", 3, " %",
              worst)


def restart_mode(bench):
    seconds, memory = cargo_bench("restart", r"^all indexed after +([\d.]+) s", r"^memory added +([\d.]+) MB")
    bench.row("RAM for a 10 TB index", f"{memory:.0f} MB", "-", f"{memory:.0f} MB", "≤", 300, " MB", memory)
    bench.row("restart with 10 TB indexed", f"{seconds:.1f} s", "-", f"{seconds:.1f} s", "≤", 5, " s", seconds)


MODES = {"warm": warm_mode, "connections": connections_mode, "small": small_mode, "cold": cold_mode, "miss": miss_mode, "tls": tls_mode,
         "idle": idle_mode, "eviction": eviction_mode, "restart": restart_mode}


def print_table(bench):
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    versions = [kind.version(bench) for kind in bench.peers(Mcc, NginxSlice, Varnish)]
    print(f"\n{datetime.date.today()}, Linux {platform.release().split('-')[0]}, {cpu}, two cores; {', '.join(versions)}; `bench/cache/bench.py {' '.join(sys.argv[1:])}`. "
          f"Medians of {bench.args.rounds} windows (smallest-largest).\n")
    print("| work | mcc | peer | ratio or result | target | |\n|---|---|---|---|---|---|")
    for row in bench.rows:
        print("| " + " | ".join(row) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=[*MODES, "all"])
    parser.add_argument("--mcc", help="the program under test, target/release/mcc by default")
    parser.add_argument("--load", help="the load client, target/release/mcc-load by default")
    parser.add_argument("--rounds", type=int, default=7, help="windows of each server, after one that is not counted")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a window")
    parser.add_argument("--dir", help="where to put the work folder, of 14 GB at most; the drive under it is what `cold` reads from")
    parser.add_argument("--origin-mb-per-s", type=int, help="in `miss`: the most that the origin sends on one connection; else what loopback gives")
    parser.add_argument("--no-varnish", action="store_true")
    args = parser.parse_args()
    bench = Bench(args)
    try:
        for mode in MODES if args.mode == "all" else [args.mode]:
            MODES[mode](bench)
            for program in list(bench.running):
                program.stop()
        print_table(bench)
    finally:
        bench.close()


main()
