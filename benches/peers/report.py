"""The tables, and docs/peers.md with its pictures."""

import datetime
import os
from pathlib import Path
from typing import NamedTuple

import picture

MARK = "Panzer"


class Column(NamedTuple):
    """One figure of a measure. Of those with a reason, less is better and `Panzer` is compared."""

    key: str
    title: str
    unit: str = ""
    reason: str = ""


LOADS = ("Panzer starts the whole program again, and waits until each of its workers accepts; "
         "what is faster keeps the program, or starts a smaller one.")
MEASURES = {
    "reload": ("Reload", """
Twenty reloads, each as soon as the one before is over. *alone* is the time from the
command until the last answer of the old version is over and the new one has answered; *most* is
the longest of them. *lost* counts requests that failed, by what the client saw and on what
connection: `new` is one of one request, `kept` one that had requests before. *p99 in* is the
latency, up to the 99th of a hundred, of the requests that were under way during a reload, *p99
out* of all others, and *ratio* the first by the second.""", [
        Column("median_ms", "alone", "ms", LOADS), Column("most_ms", "most", "ms"),
        Column("requests", "requests"),
        Column("lost_sum", "lost", "requests", "What was lost is in the table, by kind."),
        Column("lost", "lost as"), Column("p99_inside_ms", "p99 in", "ms"),
        Column("p99_outside_ms", "p99 out", "ms"),
        Column("p99_ratio", "ratio", "times",
               "During a reload two versions share the processors, and the new one is started.")]),
    "respawn": ("Respawn", """
SIGKILL to a worker, twenty times. *forked* is the time until the kernel has made a process
below the supervisor, *answered* until the client has an answer of a process that was not there
before: the client asks every 16 ms, so this is no finer. Both are medians. *lost* are the
requests that the killed worker had in hand: there no supervisor can do anything.""", [
        Column("born_ms", "forked", "ms", "What is faster does less between wait(2) and fork(2); "
               "Panzer records the death, logs it and takes a row of its shared memory first."),
        Column("answered_ms", "answered", "ms", "Up to the 16 ms of the client it is chance which "
               "worker takes the next connection."), Column("not_replaced", "not replaced"),
        Column("lost_sum", "lost")]),
    "footprint": ("Footprint", """
Memory after a thousand answers, in KiB: of the processes that serve no request (*alone*), and of
all (*all*) with four workers. *PSS* counts a page that several processes share by its share,
*private* only what no other process has.""", [
        Column("supervisors", "supervisors"),
        Column("supervisors_pss_kib", "alone, PSS", "KiB", "Main is a process of its own beside "
               "the monitor, which is the application and has loaded it: both are counted."),
        Column("supervisors_private_kib", "alone, private", "KiB", "Main is a process of its own "
               "beside the monitor, which has loaded the application: both are counted."),
        Column("processes", "processes"),
        Column("all_pss_kib", "all, PSS", "KiB", "The workers are the application."),
        Column("all_private_kib", "all, private", "KiB", "The workers are the application.")]),
    "broken": ("Broken release", """
The next version cannot start (its file is broken, or its configuration), and a reload is asked
for: what is lost in five seconds, and whether the old version serves in the last of them.""", [
        Column("requests", "requests"),
        Column("lost_sum", "lost", "requests", "What was lost is in the table, by kind."),
        Column("lost", "lost as"), Column("serves_after", "old serves")]),
    "killed": ("Killed supervisor", """
SIGKILL to the process at the top. *lost* are the requests that failed in the two seconds after
it; *left* the processes of the service after ten, *answers* whether they do, and *port* whether
another server could listen on it then.""", [
        Column("requests", "requests"),
        Column("lost_sum", "lost", "requests", "When main is killed its monitor stops gracefully: "
               "what was accepted is answered, later clients are refused, nothing is left and the "
               "port is free for the main that the service manager starts. What loses nothing "
               "leaves workers that nothing supervises, and a port that is taken: no new "
               "supervisor can start before they are found and ended. `Restart=always` and a "
               "socket unit of systemd, which keeps the queue, close that gap of Panzer's."),
        Column("lost", "lost as"),
        Column("orphans", "left", "processes", "They were still in their graceful stop."),
        Column("serves_after", "answers"), Column("port", "port")]),
    "thousand": ("1,000 workers", """
A thousand workers instead of four: the time from the start until the last of them is forked
(*up*), and from the first SIGKILL to all of them until a thousand new ones are (*back*).""", [
        Column("workers", "workers"),
        Column("up_ms", "up", "ms", "The program is loaded once more, by the monitor that main "
               "starts, before the first fork."),
        Column("back_ms", "back", "ms", "Each death is recorded and logged before its slot is "
               "filled again."), Column("all_pss_kib", "PSS of all, KiB"),
        Column("back", "came back")]),
}


def machine():
    """Where and when."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    system = os.uname()
    return {"date": datetime.date.today().isoformat(), "processors": os.cpu_count(),
            "model": model[0] if model else "unknown", "memory_gib": round(memory),
            "kernel": f"{system.sysname} {system.release} {system.machine}",
            "load": round(os.getloadavg()[0], 2)}


def shown(value):
    """A figure as it stands in a table: three digits that mean something."""
    if value is None:
        return "never"
    if isinstance(value, dict):
        return ", ".join(f"{number} {what.replace(', ', ' ')}" for what, number in
                         sorted(value.items())) or "none"
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


def row_of(name, row, measure, columns):
    """The cells of one system in the table of one measure."""
    bold = f"**{name}**" if name.startswith(MARK) else name
    rest = [""] * (len(columns) - 1)
    if "not_installed" in row:
        return [bold, f"not installed: {row['not_installed']}", *rest]
    found = row.get(measure, {"failed": "not measured"})
    for key in ("failed", "cannot"):
        if key in found:
            return [bold, f"{found[key]}".replace("\n", " ").replace("|", "/")[:160], *rest]
    return [bold, *(shown(found.get(column.key)) for column in columns)]


def table(results, order, measure):
    columns = MEASURES[measure][2]
    titles = ["system", *(f"{column.title}, {column.unit}" if column.unit in ("ms", "KiB")
                          else column.title for column in columns)]
    lines = [titles, ["---"] + ["---:"] * len(columns)]
    lines += [row_of(name, results["systems"][name], measure, columns)
              for name in order if name in results["systems"]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def systems_table(results, order):
    lines = [["system", "version", "what answers", "how it is reloaded"], ["---"] * 4]
    for name in order:
        if row := results["systems"].get(name):
            version = row.get("version", "not installed")
            lines.append([name, version, row["served"], row["reloaded"]])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tables(results, order):
    """All tables as text."""
    parts = [systems_table(results, order)]
    parts += [f"{MEASURES[name][0]}\n\n{table(results, order, name)}" for name in MEASURES]
    return "\n\n".join(parts)


def is_figure(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def better(results, order, measure, key, ours):
    """The systems of others whose figure is less, the least first."""
    found = []
    for name in order:
        value = results["systems"].get(name, {}).get(measure, {}).get(key)
        if not name.startswith(MARK) and is_figure(value) and value < ours:
            found.append((value, name))
    return sorted(found)


def behind(results, order):
    """A line for each figure in which Panzer is not first: by how much, and why."""
    lines = []
    for measure, (title, _, columns) in MEASURES.items():
        for column in columns:
            ours = results["systems"].get(MARK, {}).get(measure, {}).get(column.key)
            if not column.reason or not is_figure(ours):
                continue
            if ahead := better(results, order, measure, column.key, ours):
                others = ", ".join(f"{name} {shown(value)}" for value, name in ahead)
                lines.append(f"* **{title}, {column.title}**: Panzer {shown(ours)} {column.unit}; "
                             f"less have {others}. {column.reason}")
    return "\n".join(lines) or "It is first in every figure."


INTRODUCTION = """# Panzer beside others

`make bench-peers` has written this page: what reloads, deaths and memory are like with Panzer, and
with other servers and supervisors, by the same client in the same run. {date}; {processors}
processors ({model}), {memory_gib} GiB, {kernel}; load average {load} at the start.

Each system has 4 workers, and a handler whose answer is 12 bytes, the version and the pid, in the
language that the system is bound to. The client is one process: it opens four connections of one
request every 16 ms, and keeps four connections that send a request every 32 ms, some 375 requests
a second, which leaves the processors mostly idle. It repeats nothing. A connection that is closed
while no request is on it is no loss.

Compare rows that serve the same: `Panzer` with nginx and HAProxy, `Panzer -x` with s6, runit and
supervisord, `Panzer, gunicorn` and `Panzer, unicorn` with gunicorn and unicorn. Panzer runs with
`--delay 0`, as workers are killed faster than a back-off allows, and with `--probation 0`, as no
other system has a probation; one row has the second that is the default.
"""


LATENCIES = """
Every request of the first 12 s, by when it was sent; a lane has 0.1 ms at its foot and 10 s at its
top. Bands are reloads, red strokes lost requests.

![Latency of every request across reloads](peers-reload.svg)
"""

REPLACEMENTS = """
## Memory and replacement

The memory of the supervisor alone, by the time until a killed worker's replacement is forked.

![Memory of the supervisor against the time of a replacement](peers-memory.svg)
"""


def write_document(results, order, folder):
    """docs/peers.md and the pictures beside it."""
    parts = [INTRODUCTION.format(**results["machine"]), systems_table(results, order)]
    for name, (title, text, _) in MEASURES.items():
        parts.append(f"## {title}\n\n{text.strip()}\n\n{table(results, order, name)}")
        if name == "reload":
            parts.append(LATENCIES)
    parts.append(REPLACEMENTS)
    parts.append(f"## Where Panzer is not first\n\n{behind(results, order)}")
    (folder / "peers.md").write_text("\n\n".join(part.strip() for part in parts) + "\n")
    (folder / "peers-reload.svg").write_text(picture.reloads(results, order))
    (folder / "peers-memory.svg").write_text(picture.memory(results, order))
