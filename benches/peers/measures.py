"""What is measured. Each measure starts the system anew, and returns what the tables show."""

import os
import signal
import socket
import time
from statistics import median

import processes
from load import Load, losses
from system import Failed, accepts

# How long no answer of the old version may come for the new one to answer alone.
QUIET = 1.0
# A reload that takes longer is given up.
LIMIT = 30.0
# Answers before the first event, and between two.
WARM, BETWEEN = 400, 100
# A thousand workers may take so long to start.
PATIENCE = 150.0


class Bench:
    """Where all measures of a run take place."""

    def __init__(self, connector, rounds, many):
        self.connector, self.rounds, self.many = connector, rounds, many

    def run(self, system, measure):
        """One measure of one system, which is ended afterwards whatever has happened."""
        begun = time.monotonic()
        try:
            result = measure(self, system)
        except (Failed, processes.Missed, OSError, ValueError) as error:
            result = {"failed": str(error) or repr(error)}
        finally:
            if system.child:
                system.stop()
        return result | {"took": round(time.monotonic() - begun, 1)}


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def milliseconds(seconds):
    return None if seconds is None else round(seconds * 1000, 3)


def reload(bench, system):
    """The command, until the new version answers alone; and what was lost on the way."""
    system.start()
    times, windows, never = [], [], 0
    with Load(system.port) as load:
        if not load.wait_answers(WARM):
            raise Failed(f"{system.name} does not answer: {losses(load.since(0))}")
        start = time.monotonic()
        for number in range(bench.rounds):
            taken = reload_once(load, system, f"{number + 2:04d}")
            if taken is None:
                never += 1
                continue
            times.append(taken[1] - taken[0])
            windows.append(taken)
            if not load.wait_answers(BETWEEN):
                break
    records = load.since(start)
    inside, outside = divide(records, windows)
    p99 = percentile(inside, 0.99), percentile(outside, 0.99)
    return {
        "rounds": bench.rounds, "never_alone": never,
        "median_ms": milliseconds(median(times)) if times else None,
        "most_ms": milliseconds(max(times)) if times else None,
        "requests": len(records), "lost": losses(records),
        "lost_sum": sum(record.is_lost for record in records),
        "p99_inside_ms": milliseconds(p99[0]), "p99_outside_ms": milliseconds(p99[1]),
        "p99_ratio": round(p99[0] / p99[1], 2) if all(p99) else None,
        "picture": picture(records, windows),
    }


def reload_once(load, system, version):
    """When it was asked for, and when the new version began to answer alone."""
    old = {record.version for record in load.since(0) if not record.is_lost}
    system.write_version(version)
    seen, asked = len(load.records), time.monotonic()
    first_new, last_old = None, asked
    system.reload()

    def is_alone(records):
        nonlocal seen, first_new, last_old
        for record in records[seen:]:
            if record.is_lost:
                continue
            if record.version in old:
                last_old = max(last_old, record.over)
            elif first_new is None:
                first_new = record.over
        seen = len(records)
        return first_new is not None and records[-1].over > max(first_new, last_old) + QUIET

    if not load.wait_for(is_alone, LIMIT):
        return None
    return asked, max(first_new, last_old)


def divide(records, windows):
    """The latencies of requests that were under way during a reload, and of all others."""
    inside, outside = [], []
    for record in records:
        is_inside = any(record.over >= begun and record.begun <= end for begun, end in windows)
        if not record.is_lost:
            (inside if is_inside else outside).append(record.over - record.begun)
    return inside, outside


# Seconds of the picture.
SPAN = 12.0


def picture(records, windows):
    """The first seconds, from half a second before the first reload on: for the picture."""
    if not windows:
        return None
    begun = windows[0][0] - 0.5
    kept = [record for record in records if begun <= record.begun < begun + SPAN]
    return {
        "answers": [[round(record.begun - begun, 3), round((record.over - record.begun) * 1e3, 2)]
                    for record in kept if not record.is_lost],
        "lost": [round(record.begun - begun, 3) for record in kept if record.is_lost],
        "reloads": [[round(start - begun, 3), round(end - begun, 3)]
                    for start, end in windows if start < begun + SPAN],
    }


def respawn(bench, system):
    """SIGKILL to one worker, until its replacement is forked, and until it answers."""
    system.start()
    born, answered, missing = [], [], 0
    with Load(system.port) as load:
        load.wait_answers(WARM)
        start = time.monotonic()
        for number in range(bench.rounds):
            load.wait_answers(BETWEEN)
            victims = system.workers()
            if not victims:
                missing += bench.rounds - number
                break
            forked, first = respawn_once(bench, load, system, victims[number % len(victims)])
            if forked is None:
                missing += bench.rounds - number
                break
            born.append(forked)
            answered += [first] if first is not None else []
    records = load.since(start)
    return {
        "rounds": bench.rounds, "not_replaced": missing,
        "born_ms": milliseconds(median(born)) if born else None,
        "answered_ms": milliseconds(median(answered)) if answered else None,
        "answers_seen": len(answered),
        "lost_sum": sum(record.is_lost for record in records), "lost": losses(records),
    }


def respawn_once(bench, load, system, victim):
    """Kills it; returns the times to the birth of another one and to that one's first answer."""
    before = set(processes.descendants(os.getpid()))
    bench.connector.forget()
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    forked = await_worker(bench, system, before, killed + 10)
    if forked is None:
        return None, None

    def is_new(record):
        return not record.is_lost and record.begun > killed - 1 and record.pid not in before

    if not load.wait_for(lambda records: any(map(is_new, records[-64:])), 5):
        return forked - killed, None
    first = min(record.over for record in load.since(killed) if is_new(record))
    return forked - killed, first - killed


def await_worker(bench, system, before, deadline):
    """When the first worker was born that was not there before."""
    births = []
    while time.monotonic() < deadline:
        births += bench.connector.births(0.02)
        new = set(system.workers()) - before
        # One that can be seen already may not have been told of yet.
        if times := [birth.time for birth in births if birth.pid in new]:
            return min(times)
    return None


def footprint(bench, system):
    """The memory of the processes that serve nothing, and of all, after some requests."""
    system.start()
    with Load(system.port) as load:
        load.wait_answers(1_000)
    supervisors = system.supervisors()
    every = system.every()
    alone, alone_private = processes.weight(supervisors)
    all_pss, all_private = processes.weight(every)
    return {
        "supervisors": len(supervisors), "supervisors_pss_kib": alone,
        "supervisors_private_kib": alone_private,
        "processes": len(every), "all_pss_kib": all_pss, "all_private_kib": all_private,
    }


def broken(bench, system):
    """A reload to a version that cannot start: what is lost in five seconds, and what serves."""
    system.start()
    with Load(system.port) as load:
        load.wait_answers(WARM)
        old = {record.version for record in load.since(0) if not record.is_lost}
        system.break_release()
        asked = time.monotonic()
        try:
            system.reload()
        except Failed:
            pass  # It says that it failed, which is right.
        load.wait_until(asked + 5)
    records = load.since(asked, asked + 5)
    end = [record for record in records if record.begun > asked + 4]
    good = [record for record in end if record.version in old]
    return {
        "requests": len(records), "lost": losses(records),
        "lost_sum": sum(record.is_lost for record in records),
        "serves_after": "yes" if len(good) == len(end) > 0 else "in part" if good else "no",
    }


def killed(bench, system):
    """SIGKILL to the process at the top: what is lost in two seconds, what is left after ten."""
    system.start()
    with Load(system.port) as load:
        load.wait_answers(WARM)
        moment = time.monotonic()
        os.kill(system.supervisors()[0], signal.SIGKILL)
        load.wait_until(moment + 10)
        orphans, is_open = system.every([load.child.pid]), is_free(system.listening_port())
    records = load.since(moment, moment + 2)
    serves = any(not record.is_lost for record in load.since(moment + 9))
    return {
        "requests": len(records), "lost": losses(records),
        "lost_sum": sum(record.is_lost for record in records),
        "orphans": len(orphans), "serves_after": "yes" if serves else "no",
        "port": "free" if is_open else "taken",
    }


def is_free(port):
    """Whether another server could listen there."""
    with socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            stream.bind(("127.0.0.1", port))
            stream.listen()
        except OSError:
            return False
        return True


def thousand(bench, system):
    """A thousand workers: the time until all are there, and until all are back after SIGKILL."""
    if system.no_thousand:
        return {"cannot": system.no_thousand}
    bench.connector.forget()
    begun = time.monotonic()
    system.start(bench.many, PATIENCE)
    old = set(system.workers())
    up = last_birth(bench.connector.births(0), old)
    weight = processes.weight(system.every())[0]
    bench.connector.forget()
    struck = time.monotonic()
    for pid in old:
        processes.kill(pid, signal.SIGKILL)
    births, new = await_all(bench, system, old, struck + PATIENCE)
    result = {"workers": bench.many, "all_pss_kib": weight, "back": len(new),
              "up_ms": milliseconds(up and up - begun)}
    if len(new) < bench.many:
        return result | {"back_ms": None}
    system.wait_until(lambda: accepts(system.port), 60, "an answer after all were killed")
    return result | {"back_ms": milliseconds(last_birth(births, new) - struck)}


def await_all(bench, system, old, deadline):
    """All births until as many workers are there again, and these."""
    births, new, looked = [], set(), 0.0
    while len(new) < bench.many and time.monotonic() < deadline:
        births += bench.connector.births(0.2)
        if time.monotonic() > looked + 0.2:
            new, looked = set(system.workers()) - old, time.monotonic()
    return births + bench.connector.births(0), new


def last_birth(births, pids):
    """When the last of these processes was born."""
    return max((birth.time for birth in births if birth.pid in pids), default=None)


ALL = {"reload": reload, "respawn": respawn, "footprint": footprint, "broken": broken,
       "killed": killed, "thousand": thousand}
