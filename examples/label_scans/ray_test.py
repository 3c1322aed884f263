#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""ray_test.py LABEL_SCANS SIMULATE_SCANS SCRATCH: the Ray driver on this machine, with two actors on the CPU.

When a third of the scans is done, one actor is killed, and the worker of the other. Every scan must have its result,
once, with the bytes of a run without Ray; then the same from and to an FTP server, which is an object store as far as
the driver knows, with a bad file among the scans. Needs ray[data] and pyftpdlib. Prints the sum of tests.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import pyftpdlib.authorizers
import pyftpdlib.handlers
import pyftpdlib.servers

program, simulate, scratch = (os.path.abspath(argument) for argument in sys.argv[1:])
driver = pathlib.Path(__file__).with_name("ray_driver.py")
# Wide enough for a scan to take some 20 ms, so that there is a half-way.
network = ["--device", "cpu", "--threads", "1", "--width", "0.25", "--voxel-size", "0.2"]
number = 160


def workers():
    """Processes of the program that work for this test, each with its parent."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            if command[0] == program.encode() and b"--worker" in command:
                found[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            pass
    return found


def results(folder):
    return {path.relative_to(folder): path.read_bytes() for path in pathlib.Path(folder).rglob("*.label")}


def run(*arguments):
    return [sys.executable, str(driver), *arguments, "--workers", "2", "--gpus", "0", "--batch", "8", "--", program,
            "--format", "kitti", *network]


def main():
    os.environ["RAY_AUTH_MODE"] = "disabled"  # a cluster of this test alone
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    os.chdir(scratch)
    subprocess.run([simulate, "data", str(number), "8", "128"], check=True)
    subprocess.run([program, "data", "--layout", "folder", "--format", "kitti", "--output", "whole", *network],
                   check=True)

    ray = subprocess.Popen(run("data", "--output", "labels"))
    while ray.poll() is None and (len(results("labels")) < number / 3 or len(workers()) < 2):
        time.sleep(0.02)
    assert ray.poll() is None, f"the driver ended with {ray.returncode} before anything was killed"
    (worker, _), (_, actor) = sorted(workers().items())[:2]
    os.kill(worker, signal.SIGKILL)
    os.kill(actor, signal.SIGKILL)
    print(f"killed worker {worker} and actor {actor} after {len(results('labels'))} scans", flush=True)
    assert ray.wait() == 0, f"the driver ended with {ray.returncode}"
    assert results("labels") == results("whole"), "other results than without Ray"
    lines = [json.loads(line) for path in pathlib.Path("labels/manifest").glob("*.jsonl") for line in open(path)]
    names = [line["name"] for line in lines if line["status"] == "done"]
    assert sorted(names) == sorted({str(path)[:-6] for path in results("whole")}), "the manifest has not each scan once"

    # Again there is nothing to do.
    assert subprocess.run(run("data", "--output", "labels"), check=True, capture_output=True,
                          text=True).stdout.startswith(f"to do     0 of {number} scans")
    shutil.rmtree("data/sequences/00/velodyne")
    subprocess.run([simulate, "data", "20", "8", "128"], check=True)
    pathlib.Path("data/sequences/00/velodyne/bad.bin").write_bytes(b"cut")
    handler = type("Handler", (pyftpdlib.handlers.FTPHandler,), {})
    handler.authorizer = pyftpdlib.authorizers.DummyAuthorizer()
    handler.authorizer.add_user("user", "password", scratch, perm="elradfmwMT")
    server = pyftpdlib.servers.ThreadedFTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    store = f"ftp://user:password@127.0.0.1:{server.address[1]}"
    status = subprocess.run(run(store + "/data", "--output", store + "/stored")).returncode
    assert status == 1, f"a scan failed, but the driver ended with {status}"
    expected = {path: data for path, data in results("whole").items() if path.name < "000020"}
    assert results("stored") == expected, "other results through an object store"
    print("1 passed, 0 failed, 0 skipped")


main()
