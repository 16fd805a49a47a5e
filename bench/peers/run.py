"""make bench-peers: the same prompts through the same fake engine by the cluster and by its peers.

    python3 bench/peers/run.py [--only NAME,..] [--rows 96] [--k 8] [--in-flight 16] [--workers 2] [--out bench/peers/results]

Each peer runs three times, one after the other:

* paced: the engine takes 10 ms a step and 0.1 ms for each of at most 64 sequences. Is it kept full, and what does a request wait?
* instant: the engine takes no time. What does everything but the engine cost?
* kill: paced, and one of `--workers` workers gets SIGKILL when a third of the rows are answered. What is never answered, or answered with an error?

CPU is that of the peer's whole process tree from the first request to the last answer, read from /proc; the engine's own is not in it.
Needs Linux and Python 3.11; the peers need what `make bench-peers` installs. A peer that is not there is named in the report, with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NODE = shutil.which("node") or "node"
TICKS = os.sysconf("SC_CLK_TCK")
PACED = ["--max-num-seqs", "64", "--step-base-ms", "10", "--step-per-sequence-ms", "0.1", "--stream-interval", "64"]
MODES = {"paced": PACED, "instant": ["--instant"], "kill": PACED}
READY_S = 240
RUN_S = 300

# name: interpreter, script, package whose version is told, whether the driver itself is the worker that is killed
PYTHON = str(HERE / ".venv" / "bin" / "python")
VERDICT_PYTHON = str(HERE / ".venv-verdict" / "bin" / "python")
PEERS = {
    "cluster": (NODE, str(ROOT / "dist" / "bench" / "peers" / "cluster.js"), None, False),
    "ray_serve": (PYTHON, str(HERE / "ray_serve.py"), "ray", False),
    "openjudge": (PYTHON, str(HERE / "openjudge_client.py"), "py-openjudge", True),
    "verdict": (VERDICT_PYTHON, str(HERE / "verdict_client.py"), "verdict", True),
    "plain": (PYTHON, str(HERE / "plain.py"), "aiohttp", True),
}


def stat_of(pid: int) -> tuple[int, float] | None:
    """Parent and CPU seconds of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS


class Tree:
    """CPU seconds of some processes and all their descendants; those that have ended count with what was last read of them."""

    def __init__(self, roots: list[int]) -> None:
        self._members = set(roots)
        self._seconds: dict[int, float] = {}
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def seconds(self) -> float:
        self._read()
        with self._lock:
            return sum(self._seconds.values())

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.25):
            self._read()

    def _read(self) -> None:
        stats = {int(name): stat_of(int(name)) for name in os.listdir("/proc") if name.isdigit()}
        with self._lock:
            grown = True
            while grown:
                more = {pid for pid, stat in stats.items() if stat and stat[0] in self._members} - self._members
                self._members |= more
                grown = bool(more)
            for pid in self._members:
                stat = stats.get(pid)
                if stat:
                    self._seconds[pid] = stat[1]


class Lines:
    """A process's standard output as JSON lines, read with a deadline."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._lines: list[dict] = []
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                with self._changed:
                    self._lines.append(value)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, key: str, seconds: float) -> dict | None:
        """The line that has `key`; None when the process ended, or nothing came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or any(key in line for line in self._lines), seconds)
            return next((line for line in self._lines if key in line), None)


def start(command: list[str], log) -> subprocess.Popen:
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, start_new_session=True
    )


def tell(process: subprocess.Popen, word: str) -> None:
    try:
        process.stdin.write(f"{word}\n")
        process.stdin.flush()
    except OSError:
        pass  # it was killed


def end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Engine:
    def __init__(self, flags: list[str], log) -> None:
        script = str(ROOT / "dist" / "services" / "fake-engine" / "main.js")
        self._process = start([NODE, script, "--port", "0", *flags], log)
        for line in self._process.stdout:
            if "http://" in line:
                self.url = "http://" + line.split("http://", 1)[1].split()[0].rstrip('",}').rstrip("/")
                break
        else:
            raise RuntimeError("the fake engine did not start")
        threading.Thread(target=self._process.stdout.read, daemon=True).start()

    def close(self) -> None:
        end(self._process)


def quantile(values: list[float], share: float) -> float | None:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def measure(name: str, mode: str, args, folder: Path) -> dict:
    interpreter, script, _, is_worker = PEERS[name]
    rows = folder / "rows.jsonl"
    lines = rows.read_text().splitlines(keepends=True)
    out = folder / f"{name}-{mode}.jsonl"
    with open(folder / f"{name}-{mode}.log", "w", encoding="utf-8") as log:
        engine = Engine(MODES[mode], log)
        drivers: list[subprocess.Popen] = []
        tree = None
        try:
            # A library is its own worker: as many processes share the rows.
            parts = args.workers if is_worker else 1
            for part in range(parts):
                mine = folder / f"{name}-{mode}-{part}.rows"
                mine.write_text("".join(lines[part::parts]))
                in_flight = max(1, args.in_flight // parts)
                command = [interpreter, script, engine.url, str(mine), str(out), str(in_flight), str(args.workers)]
                drivers.append(start(command, log))
            told = [Lines(driver) for driver in drivers]
            ready = [line.wait_for("ready", READY_S) for line in told]
            if None in ready:
                return {"failed": f"it was not ready: {last_words(folder / f'{name}-{mode}.log')}"}
            workers = [pid for line in ready for pid in line["workers"]]
            tree = Tree([driver.pid for driver in drivers])
            before, began = tree.seconds(), time.time()
            for driver in drivers:
                tell(driver, "go")
            if mode == "kill":
                wait_until(lambda: answered(out) * 3 >= args.rows, RUN_S)
                os.kill(workers[0], signal.SIGKILL)
            over = [line.wait_for("done", RUN_S) for line in told]
            cpu = tree.seconds() - before
            report = figures(out, args.rows, began, cpu)
            if mode != "kill" and None in over:
                report["failed"] = f"it did not end: {last_words(folder / f'{name}-{mode}.log')}"
            return report
        finally:
            for driver in drivers:
                tell(driver, "end")
            for driver in drivers:
                try:
                    driver.wait(20)
                except subprocess.TimeoutExpired:
                    end(driver)
            if tree:
                tree.close()
            engine.close()


def answered(out: Path) -> int:
    return len(out.read_text().splitlines()) if out.exists() else 0


def wait_until(true, seconds: float) -> None:
    give_up = time.time() + seconds
    while not true() and time.time() < give_up:
        time.sleep(0.02)


def figures(out: Path, rows: int, began: float, cpu: float) -> dict:
    answers = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    good = [answer for answer in answers if answer["ok"]]
    samples = sum(answer["samples"] for answer in good)
    took = max((answer["end"] for answer in answers), default=began) - began
    seconds = [answer["end"] - answer["start"] for answer in good]
    errors = [answer.get("error", "") for answer in answers if not answer["ok"]]
    return {
        "samples": samples,
        "seconds": round(took, 2),
        "samples_per_s": round(samples / took, 1) if took > 0 else None,
        "p50_s": quantile(seconds, 0.5),
        "p99_s": quantile(seconds, 0.99),
        "failed_requests": rows - len(good),
        "told_errors": len(errors),
        "first_error": errors[0] if errors else None,
        "cpu_s_per_1000": round(1000 * cpu / samples, 2) if samples else None,
    }


def last_words(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def version_of(name: str) -> str | None:
    """None when the peer cannot run here."""
    interpreter, _, package, _ = PEERS[name]
    if package is None:
        return json.loads((ROOT / "package.json").read_text())["version"]
    if not Path(interpreter).exists():
        return None
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    found = subprocess.run([interpreter, "-c", ask], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def cell(value, form: str) -> str:
    return "-" if value is None else format(value, form)


def page(report: dict) -> str:
    lines = [
        f"{report['machine']}; {report['rows']} requests, k = {report['k']}, {report['in_flight']} open, {report['workers']} workers; {report['date']}",
        "",
        "| peer | version | run | samples/s | p50 | p99 | requests failed | CPU s per 1,000 samples |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for peer in report["peers"]:
        for mode, run in peer.get("runs", {}).items():
            if "samples" not in run:
                lines.append(f"| {peer['name']} | {peer['version']} | {mode} | {run['failed']} | | | | |")
                continue
            lines.append(
                f"| {peer['name']} | {peer['version']} | {mode} | {cell(run['samples_per_s'], '.1f')} | {cell(run['p50_s'], '.2f')} s "
                f"| {cell(run['p99_s'], '.2f')} s | {run['failed_requests']} | {cell(run['cpu_s_per_1000'], '.2f')} |"
            )
        if "why_not" in peer:
            lines.append(f"| {peer['name']} | | not run: {peer['why_not']} | | | | | |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="The cluster and its peers on the same prompts and the same fake engine.")
    parser.add_argument("--only", default=",".join(PEERS), help="names, separated by commas")
    parser.add_argument("--modes", default=",".join(MODES), help="of paced, instant, kill")
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--warm", type=int, default=32, help="requests before it begins, which count for nothing")
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--in-flight", type=int, default=16, help="requests open at once")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", default=str(HERE / "results"))
    args = parser.parse_args()
    names, modes = args.only.split(","), args.modes.split(",")
    for name in names:
        if name not in PEERS:
            parser.error(f"--only {name}: expected one of {', '.join(PEERS)}")
    for mode in modes:
        if mode not in MODES:
            parser.error(f"--modes {mode}: expected one of {', '.join(MODES)}")
    out = Path(args.out)
    try:
        # Before anything is measured: made, and it takes a file.
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as probe:
            probe.write(b"x")
    except OSError as error:
        parser.error(f"--out {out}: nothing can be written there: {error}")
    folder = Path(tempfile.mkdtemp(prefix="grm-peers-"))
    rows = subprocess.run(
        [NODE, str(ROOT / "dist" / "bench" / "peers" / "rows.js"), str(args.rows), str(args.k), str(args.warm)],
        capture_output=True,
        text=True,
        check=True,
    )
    (folder / "rows.jsonl").write_text(rows.stdout)
    peers = []
    for name in names:
        version = version_of(name)
        if version is None:
            peers.append({"name": name, "why_not": f"{PEERS[name][2]} is not installed"})
            continue
        runs = {}
        for mode in modes:
            runs[mode] = measure(name, mode, args, folder)
            if "samples" not in runs[mode]:
                runs[mode] = measure(name, mode, args, folder)
            print(f"{name} {version} {mode}: {json.dumps(runs[mode])}", file=sys.stderr, flush=True)
        peers.append({"name": name, "version": version, "runs": runs})
    report = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}",
        "rows": args.rows,
        "k": args.k,
        "in_flight": args.in_flight,
        "workers": args.workers,
        "peers": peers,
    }
    (out / "latest.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "latest.md").write_text(page(report))
    print(page(report))
    print(f"logs: {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
