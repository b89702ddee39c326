#!/usr/bin/env python3
"""A full IPv4 table into mcc and into BIRD, side by side; prints ratios, and beside each figure its target and whether it is met.

    cargo build --release
    bench/bgp/bench.py table      # one session: CPU and memory of the whole process
    bench/bgp/bench.py neighbors  # what a second and a third neighbor with the same table add
    bench/bgp/bench.py status     # the same as table, while the status is asked seven times a second
    bench/bgp/bench.py churn      # 20 other sessions, status, readiness and cache requests while a table comes and goes
    bench/bgp/bench.py bird       # a real BIRD announces the table, one prefix a message; CPU of the receiver
    bench/bgp/bench.py stream     # writes the UPDATEs of the table to --out, for `cargo bench -p mcc-bgp`

Needs Linux, Python 3.11 and, to compare with, `bird` in the PATH. Everything is on loopback. Each set that
arrives is compared prefix by prefix with the set that was sent. Numbers mean something on an idle machine only.
"""
import argparse, datetime, http.client, http.server, json, multiprocessing, os, random, shutil, socket, statistics, struct, subprocess, sys, tempfile, threading, time
import urllib.request

PREFIXES, SETS = 1_015_306, 253_531
NODE, ROUTER_AS, NODE_AS = "127.0.9.1", 65001, 65002
OBJECT_HOST = "objects.example"
MARK = b"\xff" * 16


MISSED = []


def against(what, value, target, unit=""):
    """A figure beside its target, and whether it is met. At the end the exit code says if one was missed."""
    met = value <= target
    if not met:
        MISSED.append(what)
    print(f"{what}: {value:.2f}{unit}; target: at most {target:g}{unit}: {'met' if met else 'MISSED'}")


def same_set(name, found, sent):
    """Prefix by prefix, never by count."""
    expected = text(sent)
    if found != expected:
        missing, more = sorted(expected - found), sorted(found - expected)
        sys.exit(f"{name} has another set than was sent: {len(missing)} missing {missing[:5]}, {len(more)} more {more[:5]}")


def message(kind, body=b""):
    return MARK + struct.pack("!HB", 19 + len(body), kind) + body


def attribute(flags, code, value):
    return bytes((flags, code, len(value))) + value


def table(seed=1):
    """[(attributes, [NLRI bytes])]: as many prefixes and attribute sets as the Internet of 2026 has."""
    rng = random.Random(seed)
    lengths = [24] * 60 + [23] * 9 + [22] * 11 + [21] * 5 + [20] * 5 + [19] * 4 + [18] * 2 + [16] * 3 + [17]
    special = {0, 10, 100, 127, 169, 172, 192, 198, 203} | set(range(224, 256))
    seen, sets = set(), [[] for _ in range(SETS)]
    while len(seen) < PREFIXES:
        length = rng.choice(lengths)
        first = rng.randrange(1, 224)
        if first in special:
            continue
        address = (first << 24 | rng.getrandbits(24)) >> (32 - length) << (32 - length)
        if (address, length) in seen:
            continue
        n = len(seen)
        seen.add((address, length))
        nlri = bytes((length,)) + struct.pack("!I", address)[: (length + 7) // 8]
        # Each set at least once, and then by chance.
        sets[n if n < SETS else rng.randrange(SETS)].append(nlri)
    return seen, sets


def real_table(file):
    """The same from lines `prefix|AS path|communities|MED`, such as a route collector's table gives."""
    seen, groups = set(), {}
    for line in open(file):
        prefix, path, communities, med = line.rstrip("\n").split("|")
        address, length = prefix.split("/")
        address, length = struct.unpack("!I", socket.inet_aton(address))[0], int(length)
        seen.add((address, length))
        nlri = bytes((length,)) + struct.pack("!I", address)[: (length + 7) // 8]
        groups.setdefault((path, communities, med), []).append(nlri)
    REAL.extend(groups)
    return seen, list(groups.values())


REAL = []


def words(number, neighbor):
    """AS path, communities and MED of an attribute set."""
    if REAL:
        path, communities, med = REAL[number]
        path = [ROUTER_AS] + [int(asn) for asn in path.split()]
        return path, [tuple(map(int, c.split(":"))) for c in communities.split()], int(med) if med else None
    rng = random.Random(number * 7 + neighbor)
    path = [ROUTER_AS] + [rng.randrange(1000, 60000) for _ in range(rng.randrange(1, 6))] + [100_000 + number]
    communities = [(ROUTER_AS, rng.randrange(1000)) for _ in range(rng.randrange(1, 5))] if number % 2 == 0 else []
    return path, communities, number % 1000 if number % 3 == 0 else None


def attributes(number, neighbor):
    path, communities, med = words(number, neighbor)
    out = attribute(0x40, 1, b"\0") + attribute(0x40, 2, struct.pack(f"!BB{len(path)}I", 2, len(path), *path))
    out += attribute(0x40, 3, socket.inet_aton(f"127.0.9.{2 + neighbor}"))
    if med is not None:
        out += attribute(0x80, 4, struct.pack("!I", med))
    if communities:
        out += attribute(0xC0, 8, b"".join(struct.pack("!HH", *community) for community in communities))
    return out


def updates(sets, neighbor, single):
    """Pre-built UPDATEs: packed by attribute set, or one prefix a message as BIRD sends them."""
    out = bytearray()
    for number, prefixes in enumerate(sets):
        head = attributes(number, neighbor)
        size = 1 if single else max(1, (4096 - 23 - len(head)) // 5)
        for i in range(0, len(prefixes), size):
            out += message(2, struct.pack("!HH", 0, len(head)) + head + b"".join(prefixes[i : i + size]))
    return bytes(out)


def withdrawals(sets):
    flat, out = [nlri for prefixes in sets for nlri in prefixes], bytearray()
    for i in range(0, len(flat), 800):
        body = b"".join(flat[i : i + 800])
        out += message(2, struct.pack("!H", len(body)) + body + b"\0\0")
    return bytes(out)


class Router:
    """Dials the receiver from its own address and does what it is told."""

    def __init__(self, last, port, hold=90):
        self.address = f"127.0.9.{last}"
        deadline = time.time() + 20
        while True:
            self.socket = socket.socket()
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind((self.address, 0))
            try:
                self.socket.connect((NODE, port))
                capability = bytes((1, 4, 0, 1, 0, 1, 65, 4)) + struct.pack("!I", ROUTER_AS)
                body = struct.pack("!BHH4sB", 4, ROUTER_AS, hold, socket.inet_aton(self.address), len(capability) + 2)
                self.socket.sendall(message(1, body + bytes((2, len(capability))) + capability))
                while self.receive() != 1:
                    pass
                self.socket.sendall(message(4))
                while self.receive() != 4:
                    pass
                break
            except (OSError, EOFError):
                self.socket.close()
                if time.time() > deadline:
                    sys.exit(f"no session from {self.address}")
                time.sleep(0.1)
        self.alive, self.lock = True, threading.Lock()
        threading.Thread(target=self.drain, daemon=True).start()
        threading.Thread(target=self.keep, args=(max(hold / 3, 1),), daemon=True).start()

    def receive(self):
        head = self.exactly(19)
        self.exactly(struct.unpack("!H", head[16:18])[0] - 19)
        if head[18] == 3:
            raise EOFError
        return head[18]

    def exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def drain(self):
        try:
            while self.socket.recv(65536):
                pass
        except OSError:
            pass
        self.alive = False

    def keep(self, interval):
        while self.alive:
            time.sleep(interval)
            try:
                with self.lock:
                    self.socket.sendall(message(4))
            except OSError:
                return

    def send(self, data):
        view = memoryview(data)
        for i in range(0, len(view), 1 << 20):
            with self.lock:
                self.socket.sendall(view[i : i + (1 << 20)])

    def end_of_rib(self):
        self.send(message(2, b"\0\0\0\0"))


class Receiver:
    def __init__(self, folder, routers):
        self.folder, self.port = folder, free_port()
        self.configure(routers)
        self.process = subprocess.Popen(self.command, cwd=folder, stdout=subprocess.DEVNULL, stderr=open(f"{folder}/log", "w"))
        wait(self.ready, "the receiver")

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, key="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith(key)) / 1024

    def settle(self):
        """Until no CPU time has been used for a second."""
        last, calm = self.cpu(), 0
        while calm < 5:
            time.sleep(0.2)
            now = self.cpu()
            last, calm = now, calm + 1 if now - last < 0.02 else 0

    def stop(self):
        self.process.kill()
        self.process.wait()


class Origin:
    """Answers every request with the same small object."""

    BODY = b"x" * 4096

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = Origin.BODY
                status, begin, end = 200, 0, len(body) - 1
                asked = self.headers.get("Range", "")
                if asked.startswith("bytes="):
                    first, last = asked[6:].split("-")
                    status, begin, end = 206, int(first), min(int(last or end), end)
                self.send_response(status)
                if status == 206:
                    self.send_header("Content-Range", f"bytes {begin}-{end}/{len(body)}")
                self.send_header("Content-Length", str(end - begin + 1))
                self.send_header("ETag", '"1"')
                self.send_header("Accept-Ranges", "bytes")
                self.end_headers()
                self.wfile.write(body[begin : end + 1])

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((NODE, 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Mcc(Receiver):
    name = "mcc"
    origin = None

    def configure(self, routers):
        self.admin, self.http = free_port(), free_port()
        neighbors = "".join(
            f'[[bgp.neighbor]]\naddress = "127.0.9.{last}"\nasn = {ROUTER_AS}\nlocal_asn = {NODE_AS}\npassive = true\n'
            f"hold_time = {hold}\nstale_time = 5\nmax_prefixes = 2000000\n"
            "[bgp.neighbor.accept]\nmin_length = 1\nmax_length = 32\nallow_bogons = true\n"
            for last, hold in routers
        )
        origin = f'[[origin]]\nhost = "{OBJECT_HOST}"\nconnect = "{NODE}:{self.origin.port}"\n' if self.origin else ""
        os.makedirs(f"{self.folder}/drive", exist_ok=True)
        with open(f"{self.folder}/mcc.toml", "w") as f:
            f.write(
                f'[node]\nname = "bench"\naddress = "{NODE}"\ndata_dir = "."\n[http]\nlisten = ["{NODE}:{self.http}"]\n[https]\nlisten = ["{NODE}:0"]\n'
                f'[admin]\nlisten = "{NODE}:{self.admin}"\n[[drive]]\npath = "drive"\nsize = "64MiB"\n'
                f'{origin}[bgp]\nlisten = ["{NODE}:{self.port}"]\nrouter_id = "192.0.2.1"\n{neighbors}'
            )
        self.command = [MCC, "run", "--config", "mcc.toml"]

    def get(self, path):
        with urllib.request.urlopen(f"http://{NODE}:{self.admin}{path}", timeout=60) as answer:
            return json.load(answer)

    def ready(self):
        return self.get("/v1/bgp") is not None

    def received(self):
        return self.get("/v1/bgp")["neighbors"][0]["received"]

    def seconds_of_table(self):
        """From Established to End-of-RIB, by the node's own history of its first neighbor."""
        history = self.get("/v1/bgp/history")["neighbors"][0]
        at = lambda records, what: next(datetime.datetime.fromisoformat(it["at"]) for it in reversed(records) if what(it))
        began = at(history["states"], lambda it: it["to"] == "Established")
        ended = at(history["messages"], lambda it: it["type"] == "End-of-RIB" and it["direction"] == "received")
        return (ended - began).total_seconds()

    def of_neighbor(self, address):
        found, after = set(), ""
        while after is not None:
            page = self.get(f"/v1/bgp/routes?neighbor={address}&limit=8192{after}")
            found.update(route["prefix"] for route in page["routes"])
            after = f"&after={page['next']}" if page.get("next") else None
        return found

    def prefixes(self):
        found, after = set(), ""
        while after is not None:
            page = self.get(f"/v1/footprint?limit=8192{after}")
            found.update(entry["prefix"] for entry in page["prefixes"])
            after = f"&after={page['next']}" if page.get("next") else None
        return found


class Bird(Receiver):
    name = "BIRD"

    def configure(self, routers):
        sessions = "".join(
            f"protocol bgp n{last} {{ local {NODE} port {self.port} as {NODE_AS}; neighbor 127.0.9.{last} as {ROUTER_AS};\n"
            f" passive; multihop; strict bind; hold time {hold}; ipv4 {{ import all; export none; }}; }}\n"
            for last, hold in routers
        )
        with open(f"{self.folder}/bird.conf", "w") as f:
            f.write(f"router id 192.0.2.1;\nprotocol device {{}}\n{sessions}")
        self.command = ["bird", "-f", "-c", "bird.conf", "-s", "bird.ctl"]

    def ask(self, question):
        return subprocess.run(["birdc", "-s", f"{self.folder}/bird.ctl", *question.split()], capture_output=True, text=True).stdout

    def ready(self):
        return "Router ID" in self.ask("show status")

    def received(self):
        return int(self.ask("show route count").split(" of ")[0].rsplit("\n", 1)[1])

    def prefixes(self):
        lines = self.ask("show route primary").splitlines()
        return {line.split()[0] for line in lines if line[:1].isdigit() and "/" in line.split()[0]}


class BirdRouter:
    """A real BIRD that announces the table: static routes, exported over one session. It sends one prefix a message."""

    def __init__(self, port, sets, prefixes):
        self.folder = tempfile.mkdtemp(prefix="bgp-bench-router-")
        with open(f"{self.folder}/routes.conf", "w") as f:
            for number, of_set in enumerate(sets):
                path, communities, med = words(number, 0)
                actions = "".join(f" bgp_path.prepend({asn});" for asn in reversed(path[1:]))
                actions += "".join(f" bgp_community.add(({high},{low}));" for high, low in communities)
                actions += f" bgp_med = {med};" if med is not None else ""
                for nlri in of_set:
                    address = socket.inet_ntoa(nlri[1:].ljust(4, b"\0"))
                    f.write(f"route {address}/{nlri[0]} blackhole {{{actions} }};\n")
        with open(f"{self.folder}/bird.conf", "w") as f:
            f.write(
                f'router id 192.0.2.2;\nprotocol device {{}}\nprotocol static announced {{ ipv4;\ninclude "routes.conf";\n}}\n'
                f"protocol bgp to_receiver {{ disabled; local 127.0.9.2 as {ROUTER_AS}; neighbor {NODE} port {port} as {NODE_AS};\n"
                " multihop; strict bind; hold time 240; ipv4 { import none; export where source = RTS_STATIC; next hop self; }; }\n"
            )
        command = ["bird", "-f", "-c", "bird.conf", "-s", "bird.ctl"]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=open(f"{self.folder}/log", "w"))
        wait(lambda: int(self.ask("show route count").split(" of ")[0].rsplit("\n", 1)[1]) == len(prefixes), "the table of the BIRD that announces", 300)

    def ask(self, question):
        return subprocess.run(["birdc", "-s", f"{self.folder}/bird.ctl", *question.split()], capture_output=True, text=True).stdout

    def announce(self):
        self.ask("enable to_receiver")

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)


def free_port():
    with socket.socket() as s:
        s.bind((NODE, 0))
        return s.getsockname()[1]


def wait(condition, what, seconds=30):
    deadline = time.time() + seconds
    while True:
        try:
            if condition():
                return
        except (OSError, ValueError, IndexError):
            pass
        if time.time() > deadline:
            sys.exit(f"{what} did not come")
        time.sleep(0.05)


def text(prefixes):
    return {f"{socket.inet_ntoa(struct.pack('!I', address))}/{length}" for address, length in prefixes}


def load(receiver, data, poll=None):
    """One full table; seconds until the receiver is idle, CPU seconds."""
    before = receiver.cpu()
    router = Router(2, receiver.port)
    stop = threading.Event()
    if poll:
        def asking():
            while not stop.wait(1 / 7):
                subprocess.run([MCC, "bgp", "status", "--json", "--admin", f"http://{NODE}:{receiver.admin}"], stdout=subprocess.DEVNULL)
        threading.Thread(target=asking, daemon=True).start()
    began = time.time()
    router.send(data)
    router.end_of_rib()
    last, changed = receiver.cpu(), time.time()
    while time.time() - changed < 1.5:
        time.sleep(0.02)
        now = receiver.cpu()
        if now - last >= (0.03 if poll else 0.01):
            last, changed = now, time.time()
    stop.set()
    return changed - began, last - before, router


def fresh(kind, routers):
    return kind(tempfile.mkdtemp(prefix="bgp-bench-"), routers)


def median(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def compare(runs, single, sets, prefixes, poll=False):
    data = updates(sets, 0, single)
    kinds = [Mcc] + ([Bird] if shutil.which("bird") and not poll else [])
    results = {kind.name: [] for kind in kinds}
    for run in range(runs):
        for kind in kinds:
            receiver = fresh(kind, [(2, 90)])
            seconds, cpu, router = load(receiver, data, poll)
            memory = receiver.memory()
            wait(lambda: receiver.received() == len(prefixes), "the whole table", 60)
            if run == 0:
                same_set(kind.name, receiver.prefixes(), prefixes)
            results[kind.name].append((seconds, cpu, memory))
            receiver.stop()
    return results


def table_mode(args, sets, prefixes):
    for single in (False, True):
        how = "one prefix a message" if single else "packed by attribute set"
        results = compare(args.runs, single, sets, prefixes)
        print(f"\n{len(prefixes):,} prefixes, {len(sets):,} attribute sets, {how}; every prefix compared")
        print(f"{'':6}{'seconds':>22}{'CPU seconds':>22}{'MB resident':>24}{'x BIRD: CPU':>14}{'memory':>8}")
        bird = results.get("BIRD")
        for name, runs in results.items():
            seconds, cpu, memory = zip(*runs)
            ratio = ["", ""]
            if bird:
                _, bird_cpu, bird_memory = zip(*bird)
                ratio = [f"{statistics.median(cpu) / statistics.median(bird_cpu):.2f}",
                         f"{statistics.median(memory) / statistics.median(bird_memory):.2f}"]
            print(f"{name:6}{median(seconds):>22}{median(cpu):>22}{median(memory):>24}{ratio[0]:>14}{ratio[1]:>8}")
        if bird:
            for what, column in (("CPU", 1), ("memory", 2)):
                ours, theirs = ([run[column] for run in results[name]] for name in ("mcc", "BIRD"))
                against(f"{what} x BIRD, {how}", statistics.median(ours) / statistics.median(theirs), 0.5)


def neighbors_mode(args, sets, prefixes):
    receiver = fresh(Mcc, [(2, 90), (3, 90), (4, 90)])
    before = receiver.memory()
    routers, added = [], []
    for neighbor, own in ((0, True), (1, False), (2, True)):
        router = Router(2 + neighbor, receiver.port)
        router.send(updates(sets, neighbor if own else 0, False))
        router.end_of_rib()
        receiver.settle()
        now = receiver.memory()
        kind = "attribute sets of its own" if own else "the same attribute sets"
        print(f"neighbor {neighbor + 1}, {kind}: +{now - before:.1f} MB, {now:.1f} MB in all")
        added.append(now - before)
        before = now
        routers.append(router)
    # Not before all are there: the questions take memory too, which is no part of the next neighbor's.
    for neighbor in range(3):
        wait(lambda: receiver.get("/v1/bgp")["neighbors"][neighbor]["accepted"] == len(prefixes), "the whole table", 60)
        same_set(f"neighbor {neighbor + 1}", receiver.of_neighbor(f"127.0.9.{2 + neighbor}"), prefixes)
    same_set("the footprint", receiver.prefixes(), prefixes)
    print("every prefix of each neighbor compared")
    against("a further neighbor with the same attribute sets", added[1], 16, " MB")
    receiver.stop()


def status_mode(args, sets, prefixes):
    data, seconds, cpu = updates(sets, 0, False), {False: [], True: []}, {False: [], True: []}
    for _ in range(args.runs):
        for poll in (False, True):
            receiver = fresh(Mcc, [(2, 90)])
            cpu[poll].append(load(receiver, data, poll)[1])
            wait(lambda: receiver.received() == len(prefixes), "the whole table", 60)
            seconds[poll].append(receiver.seconds_of_table())
            receiver.stop()
    for poll, what in ((False, "not asked:"), (True, "asked 7 times a second:")):
        print(f"{what:24}{median(seconds[poll])} s from Established to End-of-RIB, {median(cpu[poll])} CPU s")
    against("slower while it is asked", 100 * (statistics.median(seconds[True]) / statistics.median(seconds[False]) - 1), 5, " %")


def fetch_object(receiver):
    """Until the object is on the drive: what is measured is a hit."""
    for _ in range(3):
        object_request(http.client.HTTPConnection(NODE, receiver.http, timeout=60))
        time.sleep(0.5)


def object_request(connection):
    connection.request("GET", "/object", headers={"Host": OBJECT_HOST})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200 or body != Origin.BODY:
        sys.exit(f"the node answered {answer.status} with {len(body)} bytes")


class Asker:
    """Asks one thing after the other, `pause` seconds between them, and keeps the milliseconds of each. In a process
    of its own: the threads of one wait for each other, while a million prefixes are compared for most of a second."""

    def __init__(self, ask, pause):
        fork = multiprocessing.get_context("fork")
        self.stop, self.times = fork.Event(), fork.SimpleQueue()
        self.process = fork.Process(target=self.run, args=(ask, pause), daemon=True)
        self.process.start()

    def run(self, ask, pause):
        times = []
        while not self.stop.wait(pause):
            began = time.perf_counter()
            ask()
            times.append((time.perf_counter() - began) * 1000)
        self.times.put(sorted(times))

    def finish(self):
        self.stop.set()
        return self.times.get()


def client(receiver):
    """200 requests a second at most, over one connection."""
    connection = http.client.HTTPConnection(NODE, receiver.http, timeout=60)
    return Asker(lambda: object_request(connection), 0.005)


def bird_mode(args, sets, prefixes):
    if not shutil.which("bird"):
        sys.exit("this needs `bird` in the PATH")
    results = {kind.name: [] for kind in (Mcc, Bird)}
    for run in range(args.runs):
        for kind in (Mcc, Bird):
            receiver = fresh(kind, [(2, 240)])
            router = BirdRouter(receiver.port, sets, prefixes)
            before = receiver.cpu()
            began = time.time()
            router.announce()
            # To ask for the number of routes costs some receivers a walk over all. So: until nothing has
            # come for longer than the three seconds that it holds back its last prefixes for.
            last, changed = before, time.time()
            while last == before or time.time() - changed < 4:
                time.sleep(0.1)
                now = receiver.cpu()
                if now - last >= 0.01:
                    last, changed = now, time.time()
            seconds = changed - began
            if receiver.received() != len(prefixes):
                sys.exit(f"{kind.name}: not the whole table has come")
            results[kind.name].append((seconds, last - before, receiver.memory()))
            if run == 0:
                same_set(kind.name, receiver.prefixes(), prefixes)
            router.stop()
            receiver.stop()
    print(f"\n{len(prefixes):,} prefixes from a real BIRD, one a message; every prefix compared")
    for name, runs in results.items():
        seconds, cpu, memory = zip(*runs)
        print(f"{name:6}{median(seconds):>22} s {median(cpu):>22} CPU s {median(memory):>24} MB")
    ours, theirs = ([cpu for _, cpu, _ in results[name]] for name in ("mcc", "BIRD"))
    against("CPU x BIRD, from a BIRD", statistics.median(ours) / statistics.median(theirs), 0.5)


def churn_mode(args, sets, prefixes):
    others = [(100 + i, 3) for i in range(20)]
    Mcc.origin = Origin()
    receiver = fresh(Mcc, [(2, 90)] + others)
    data, gone = updates(sets, 0, False), withdrawals(sets)
    fetch_object(receiver)
    calm = client(receiver)
    time.sleep(15)
    calm = calm.finish()

    def asker(path):
        def ask():
            try:
                urllib.request.urlopen(f"http://{NODE}:{receiver.admin}{path}", timeout=60).read()
            except OSError:
                pass
        return Asker(ask, 0.02)

    askers = {path: asker(path) for path in ("/v1/bgp", "/readyz")}
    busy = client(receiver)
    routers = [Router(last, receiver.port, hold) for last, hold in others]
    router = Router(2, receiver.port)
    for turn in range(3):
        for what, bytes_ in (("announce", data), ("withdraw", gone), ("announce", data)):
            began = time.time()
            router.send(bytes_)
            expected = 0 if what == "withdraw" else len(prefixes)
            wait(lambda: receiver.received() == expected, what, 60)
            print(f"turn {turn + 1}: {what} all {time.time() - began:.2f} s")
            if turn == 0:
                wait(lambda: receiver.get("/v1/bgp")["footprint"]["prefixes"] == expected, "the footprint", 60)
                same_set(f"the footprint after {what}", receiver.prefixes(), prefixes if expected else set())
        # Another thread reads from it: close alone would end nothing.
        router.socket.shutdown(socket.SHUT_RDWR)
        began = time.time()
        wait(lambda: receiver.received() == 0, "end of the stale routes", 60)
        print(f"turn {turn + 1}: session lost, all gone {time.time() - began - 5:.2f} s after stale_time")
        router = Router(2, receiver.port)
    time.sleep(4)
    answers = {path: asker.finish() for path, asker in askers.items()}
    busy = busy.finish()
    status = receiver.get("/v1/bgp")["neighbors"]
    flaps = sum(n["flaps"] for n in status[1:])
    up = sum(n["state"] == "Established" for n in status[1:])
    print(f"20 other sessions with a hold time of 3 s: {up} up, {flaps} flaps (target 20, 0)")
    for path, times in answers.items():
        print(f"{path}: {len(times)} answers, median {times[len(times) // 2]:.1f} ms, 99 % {times[int(len(times) * 0.99)]:.1f} ms")
        against(f"{path}: the longest", times[-1], 50, " ms")
    for what, times in (("without churn", calm), ("with churn", busy)):
        print(f"cache request {what}: {len(times)} answers, median {times[len(times) // 2]:.2f} ms, 99 % {times[int(len(times) * 0.99)]:.2f} ms")
    # "Keep their latency": what the machine's two busy cores cost a thread that waits for one of them is not ours to promise.
    against("cache request with churn, 99 %", busy[int(len(busy) * 0.99)], max(2 * calm[int(len(calm) * 0.99)], 10), " ms")
    receiver.stop()
    if flaps or up != 20:
        sys.exit(1)


def stream_mode(args, sets, prefixes):
    with open(args.out, "wb") as file:
        file.write(updates(sets, 0, args.single))
    print(f"{len(prefixes):,} prefixes in {os.path.getsize(args.out):,} bytes: {args.out}")


def main():
    global MCC
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["table", "neighbors", "status", "churn", "bird", "stream"])
    parser.add_argument("--mcc", default=os.path.join(os.path.dirname(__file__), "../../target/release/mcc"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--table", help="lines `prefix|AS path|communities|MED` in place of the made table")
    parser.add_argument("--out", default="updates.bin", help="the file of `stream`")
    parser.add_argument("--single", action="store_true", help="`stream`: one prefix a message")
    args = parser.parse_args()
    MCC = os.path.abspath(args.mcc)
    prefixes, sets = real_table(args.table) if args.table else table()
    modes = {"table": table_mode, "neighbors": neighbors_mode, "status": status_mode, "churn": churn_mode, "bird": bird_mode, "stream": stream_mode}
    modes[args.mode](args, sets, prefixes)
    if MISSED:
        sys.exit(f"missed: {'; '.join(MISSED)}")


main()
