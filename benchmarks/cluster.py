#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""How long many workers of label_scans take over one shared file system: a simulation, not a measurement.

  cluster.py [--scans 1000000000] [--workers 1,10,100,1000] [--ms 2.0] [--read-gb 20] [--write-gb 10] ...

Every worker has its share of the scans and does them one after the other, at the rate of the slowest of four: the
network on its GPU, its own link, its share of the file system's reading, its share of the writing. Now and then one
dies (exponentially distributed, --hours-between-failures of one worker). It starts again after --restart seconds and
the time it takes to list all scans and to look up its results, and repeats the scans that it was working on, which are
read once more.

The simulation is exact for this model: between two events (a worker starts, dies or ends) all running workers have the
same rate. It is quick: a thousand million scans on a thousand workers take a second.
"""
import argparse
import heapq
import random

GB = 1e9


def rates(o, working):
    """Scans per second of each of so many workers, by what limits them."""
    scan, result = o.scan_mb * 1e6, o.result_mb * 1e6
    return {
        "network": 1000 / o.ms,
        "its link": o.link_gb * GB / (scan + result),
        "shared reading": o.read_gb * GB / scan / max(1, working),
        "shared writing": o.write_gb * GB / result / max(1, working),
    }


def simulate(o, workers):
    """Hours, scans read in vain, failures, and the seconds of all workers by what limited them."""
    rng = random.Random(o.seed)
    share, more = divmod(o.scans, workers)
    left = [share + (worker < more) for worker in range(workers)]
    look = o.scans / o.listed + share / o.lookups  # seconds, of all scans and of a worker's results, each by itself
    now = progress = 0.0  # progress: scans of a worker that has worked from the beginning
    began = {}  # progress when it began, of those that work
    timed = [(o.restart + look, 0, worker, "start") for worker in range(workers)]
    ends, life = [], [0] * workers  # progress at which a worker ends, if it lives so long
    heapq.heapify(timed)
    again = failures = 0
    limits = dict.fromkeys(rates(o, 1), 0.0)

    while timed or ends:
        while ends and life[ends[0][1]] != ends[0][2]:
            heapq.heappop(ends)
        while timed and timed[0][3] == "die" and life[timed[0][2]] != timed[0][1]:
            heapq.heappop(timed)
        by = rates(o, len(began))
        limit = min(by, key=by.get)
        to_end = now + (ends[0][0] - progress) / by[limit] if ends else float("inf")
        to_event = timed[0][0] if timed else float("inf")
        if to_end == to_event == float("inf"):
            break
        step = min(to_end, to_event) - now
        limits[limit] += step * len(began)
        progress += step * by[limit]
        now += step
        if to_end <= to_event:
            _, worker, _ = heapq.heappop(ends)
            life[worker] += 1
            del began[worker]
            continue
        _, _, worker, what = heapq.heappop(timed)
        life[worker] += 1
        if what == "start":
            began[worker] = progress
            heapq.heappush(ends, (progress + left[worker], worker, life[worker]))
            if o.hours_between_failures > 0:
                alive = rng.expovariate(1 / (3600 * o.hours_between_failures))
                heapq.heappush(timed, (now + alive, life[worker], worker, "die"))
        else:
            done = int(progress - began.pop(worker))
            in_hand = min(o.in_hand, left[worker] - done)
            left[worker] -= done
            again += in_hand
            failures += 1
            heapq.heappush(timed, (now + o.restart + look, life[worker], worker, "start"))
    return now / 3600, again, failures, limits


def saturation(o):
    """The number of workers from which the shared file system is what limits them."""
    one = rates(o, 1)
    own = min(one["network"], one["its link"])
    return min(one["shared reading"], one["shared writing"]) / own


def parse(arguments=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--scans", type=int, default=1000000000)
    p.add_argument("--workers", default="1,8,32,100,320,1000")
    p.add_argument("--ms", type=float, default=2.0, help="of the network for a scan")
    p.add_argument("--scan-mb", type=float, default=1.92, help="120,000 points of 16 bytes")
    p.add_argument("--result-mb", type=float, default=0.48, help="120,000 labels of 4 bytes")
    p.add_argument("--read-gb", type=float, default=20.0, help="GB/s of the shared file system")
    p.add_argument("--write-gb", type=float, default=10.0, help="the same")
    p.add_argument("--link-gb", type=float, default=3.0, help="GB/s between a worker and the file system")
    p.add_argument("--listed", type=float, default=800000.0, help="names of all scans that a worker lists in a second")
    p.add_argument("--lookups", type=float, default=2000.0, help="names that a worker looks for in a second")
    p.add_argument("--restart", type=float, default=60.0, help="seconds until a worker works")
    p.add_argument("--hours-between-failures", type=float, default=100.0, help="of one worker; 0: none")
    p.add_argument("--in-hand", type=int, default=6, help="scans that a worker has read and not written, at most")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--test", action="store_true", help="compare with what can be said without a simulation")
    return p.parse_args(arguments)


def test():
    """Without failures time is scans / rate; with them every scan is done all the same, and no faster."""
    quiet = parse(["--scans", "1000000", "--hours-between-failures", "0", "--restart", "0", "--lookups", "1e12",
                   "--listed", "1e12"])
    for workers in (1, 3, 64, 1000):
        by = rates(quiet, workers)
        expected = -(-quiet.scans // workers) / min(by.values()) / 3600
        hours = simulate(quiet, workers)[0]
        assert abs(hours - expected) < 0.01 * expected + 1e-3 / 3600 * workers, (workers, hours, expected)
    bound = quiet.scans * quiet.scan_mb * 1e6 / (quiet.read_gb * GB) / 3600
    assert abs(simulate(quiet, 1000)[0] - bound) < 0.01 * bound
    assert saturation(quiet) == 20e9 / 1.92e6 / 500
    # Every worker lists all scans, so more of them do not make that shorter.
    lists = parse(["--scans", "1000000", "--hours-between-failures", "0", "--restart", "0", "--lookups", "1e12",
                   "--listed", "1000"])
    for workers in (1, 1000):
        assert abs(simulate(lists, workers)[0] - simulate(quiet, workers)[0] - 1000 / 3600) < 1e-6
    often = parse(["--hours-between-failures", "0.01", "--restart", "1", "--scans", "100000", "--ms", "20"])
    hours, again, failures, _ = simulate(often, 10)
    assert failures > 10 and 0 < again <= failures * often.in_hand, (failures, again)
    never = parse(["--hours-between-failures", "0", "--restart", "1", "--scans", "100000", "--ms", "20"])
    assert hours > simulate(never, 10)[0]
    assert simulate(often, 10) == simulate(often, 10)
    print("1 passed, 0 failed, 0 skipped")


def main():
    o = parse()
    if o.test:
        return test()
    print(f"{o.scans:,} scans of {o.scan_mb} MB, {o.ms} ms each; {o.read_gb} GB/s read, {o.write_gb} GB/s written, "
          f"{o.link_gb} GB/s per worker; each worker fails every {o.hours_between_failures:g} h, "
          f"{o.restart:g} s to restart")
    print(f"one worker reads {min(rates(o, 1).values()) * o.scan_mb / 1000:.2f} GB/s; the shared file system is "
          f"saturated by {saturation(o):.0f} workers\n")
    print("workers |     hours | worker-hours | scans/s | failures | read again |  of all GB | limited by")
    print("------: | --------: | -----------: | ------: | -------: | ---------: | ----------: | :---------")
    for workers in (int(text) for text in o.workers.split(",")):
        hours, again, failures, limits = simulate(o, workers)
        total = sum(limits.values())
        by = ", ".join(f"{name} {100 * seconds / total:.0f} %" for name, seconds in
                       sorted(limits.items(), key=lambda item: -item[1]) if seconds > 0.005 * total)
        print(f"{workers:7,} | {hours:9.2f} | {hours * workers:12.1f} | {o.scans / hours / 3600:7,.0f} | "
              f"{failures:8,} | {again:10,} | {100 * again / o.scans:9.4f} % | {by}")
    return None


if __name__ == "__main__":
    main()
