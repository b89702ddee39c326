"""The servers under test and the origin: how each is configured, started and stopped."""
import json, os, pathlib, shutil, signal, socket, subprocess, sys, time, urllib.request

HERE = pathlib.Path(__file__).resolve().parent
HOST = "bench.test"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait(condition, what, seconds=30):
    deadline = time.time() + seconds
    while True:
        try:
            if condition():
                return
        except (OSError, ValueError):
            pass
        if time.time() > deadline:
            sys.exit(f"{what} did not come")
        time.sleep(0.05)


def get(port, path):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": HOST})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def processes(pid):
    """`pid` and all that descend from it."""
    found = [pid]
    for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found += processes(int(child))
    return found


class Program:
    """Something that runs in a folder of its own, on given processors, and answers on a port."""

    def __init__(self, bench, cpus):
        self.folder = pathlib.Path(bench.work) / f"{self.name}-{bench.number()}"
        self.folder.mkdir()
        self.bench, self.cpus, self.port = bench, cpus, free_port()

    def start(self, command):
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            [str(word) for word in command], cwd=self.folder, stdout=self.log, stderr=self.log,
            preexec_fn=lambda: os.sched_setaffinity(0, self.cpus))
        self.bench.running.append(self)
        wait(self.answers, f"the answer of {self.name} (see {self.folder}/log)")
        return self

    def answers(self):
        if self.process.poll() is not None:
            sys.exit(f"{self.name} has ended; see {self.folder}/log")
        return len(get(self.port, "/small")) == 1024

    def pids(self):
        return processes(self.process.pid)

    def stop(self):
        children = self.pids()[1:]
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.bench.running.remove(self)
        shutil.rmtree(self.folder, ignore_errors=True)


class Origin(Program):
    """`mcc-load origin` over the bench's files."""
    name = "origin"

    def __init__(self, bench, latency_ms=0, mb_per_s=None):
        super().__init__(bench, bench.load_cpu)
        pace = ["--mb-per-s", mb_per_s] if mb_per_s else []
        self.start([bench.load_program, "origin", "--listen", f"127.0.0.1:{self.port}", "--dir", bench.files,
                    "--latency-ms", latency_ms, *pace])

    def counters(self):
        return json.loads(get(self.port, "/counters"))


class Server(Program):
    """A server under test in front of `origin`."""

    def __init__(self, bench, origin, cpus=None, **settings):
        super().__init__(bench, cpus or bench.server_cpu)
        self.tls_port, self.origin = free_port(), origin
        self.start(self.configure(**settings))

    def template(self, name, **values):
        text = (HERE / "conf" / name).read_text()
        values = dict(dir=self.folder, port=self.port, tls_port=self.tls_port, files=self.bench.files, workers=len(self.cpus),
                      certificate=self.bench.certificate, key=self.bench.key, **values)
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        (self.folder / name).write_text(text)
        return self.folder / name

    def stored_files(self):
        """Where the content lies that it serves."""
        return [file for file in self.folder.rglob("*") if file.is_file()]


class Mcc(Server):
    name = "mcc"

    def configure(self, drive_gib=6):
        (self.folder / "drive").mkdir()
        admin = free_port()
        (self.folder / "mcc.toml").write_text(
            f'[node]\nname = "bench"\naddress = "127.0.0.1"\ndata_dir = "."\n'
            f'[http]\nlisten = ["127.0.0.1:{self.port}"]\n'
            f'[https]\nlisten = ["127.0.0.1:{self.tls_port}"]\n'
            f'certificate = "{self.bench.certificate}"\nkey = "{self.bench.key}"\n'
            f'[admin]\nlisten = "127.0.0.1:{admin}"\n'
            f'[[drive]]\npath = "drive"\nsize = "{drive_gib}GiB"\n'
            f'[[origin]]\nhost = "{HOST}"\nconnect = "127.0.0.1:{self.origin.port}"\n'
            f'[bgp]\nlisten = []\n')
        return [self.bench.mcc_program, "run", "--config", "mcc.toml"]

    @staticmethod
    def version(bench):
        return subprocess.run([bench.mcc_program, "--version"], capture_output=True, text=True).stdout.strip()


class Nginx(Server):
    @staticmethod
    def version(bench):
        return subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip().replace("nginx version: ", "")

    def run(self, conf):
        (self.folder / "tmp").mkdir()
        return ["nginx", "-p", self.folder, "-c", conf, "-g", "daemon off;"]


class NginxSlice(Nginx):
    """proxy_cache and slice 1m."""
    name = "nginx-slice"

    def configure(self):
        return self.run(self.template("nginx-slice.conf", origin=f"127.0.0.1:{self.origin.port}"))


class NginxStatic(Nginx):
    """The files themselves."""
    name = "nginx-static"

    def configure(self, aio=""):
        return self.run(self.template("nginx-static.conf", aio=aio))

    def stored_files(self):
        return list(self.bench.files.iterdir())


class NginxAio(NginxStatic):
    """The files themselves, read by a pool of threads."""
    name = "nginx-aio"

    def configure(self):
        return super().configure("aio threads;")


class Varnish(Server):
    name = "varnish"

    def configure(self):
        vcl = self.template("varnish.vcl", origin_host="127.0.0.1", origin_port=self.origin.port)
        return ["varnishd", "-F", "-n", self.folder / "state", "-f", vcl, "-a", f"127.0.0.1:{self.port}", "-s", "malloc,2G",
                "-j", "none", "-p", "thread_pools=1", "-t", "3600"]

    @staticmethod
    def version(bench):
        said = subprocess.run(["varnishd", "-V"], capture_output=True, text=True).stderr
        return said.split("(", 1)[1].split(" ", 1)[0]
