#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""driver_test.py LABEL_SCANS SIMULATE_SCANS SCRATCH: what the Ray driver does that needs neither Ray nor a store.

Its actors are called directly, with the program as their worker. A stand-in for fsspec has stores in folders and
refuses what it is told to.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import types

program, simulate, scratch = (os.path.abspath(argument) for argument in sys.argv[1:])
network = ["--format", "kitti", "--device", "cpu", "--threads", "1", "--width", "0.04", "--voxel-size", "0.8"]


class Local:
    protocol = ("file", "local")

    def __eq__(self, other):
        return type(self) is type(other)

    def isdir(self, path):
        return os.path.isdir(path)

    def exists(self, path):
        return os.path.exists(path)

    def makedirs(self, path, exist_ok):
        os.makedirs(path, exist_ok=exist_ok)

    def find(self, root):
        return sorted(str(path) for path in pathlib.Path(root).rglob("*") if not path.is_dir())

    def open(self, path, mode):
        return open(path, mode)


class Store(Local):
    protocol = ("store",)
    refuses, times, tries = "", 0, 0

    def act(self, path):
        if self.refuses and self.refuses in path:
            Store.tries += 1
            if Store.tries <= self.times:
                raise PermissionError("no " + path)

    def get_file(self, remote, local):
        self.act(remote)
        shutil.copy(remote, local)

    def put_file(self, local, remote):
        pathlib.Path(remote).write_bytes(b"half")
        self.act(local)
        shutil.copy(local, remote)

    def mv(self, one, two):
        os.rename(one, two)


def url_to_fs(url):
    return (Store(), url[len("store://"):]) if url.startswith("store://") else (Local(), url)


sys.modules["fsspec"] = types.SimpleNamespace(core=types.SimpleNamespace(url_to_fs=url_to_fs))
import ray_driver  # noqa: E402  which imports the stand-in

ray_driver.Labeller.waits = (0, 0)


def label(output, scans, expected=None, more=()):
    """The lines of a batch by name, and the line that it begins with."""
    actor = ray_driver.Labeller([program, *network, *more], output, expected)
    lines = [json.loads(line) for line in actor({"scan": [json.dumps(scan) for scan in scans]})["line"]]
    return {line["name"]: line for line in lines[1:]}, lines


def refusing(part, times):
    Store.refuses, Store.times, Store.tries = part, times, 0


def refusal_of(call):
    try:
        call()
    except ray_driver.Refused as error:
        return str(error)
    return ""


def listed():
    """Which scans there are: as the program says, where the folder is one of this machine."""
    folder = pathlib.Path(scratch, "listed")
    for file in ("b/2.bin", "a/1.pcd.bin", "c.ply", "notes.txt", "out/f.npy", "out/a/1.label"):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("")
    for scheme in ("", "store://"):
        scans, total = ray_driver.missing_scans(f"{scheme}{folder}", f"{scheme}{folder}/out")
        assert [scan["name"] for scan in scans] == ["b/2", "c"] and total == 3, (scans, total)
        assert scans[1]["path"] == f"{scheme}{folder}/c.ply", scans
    elsewhere = pathlib.Path(scratch, "elsewhere")
    elsewhere.mkdir()
    (elsewhere / "3.bin").write_text("")
    for link, to in (("linked", elsewhere), ("a/up", ".."), ("beside", "b")):
        (folder / link).symlink_to(to)
    scans, _ = ray_driver.missing_scans(str(folder), f"{folder}/out")
    assert [scan["name"] for scan in scans] == ["b/2", "c", "linked/3"], scans
    (folder / "b/2.ply").write_text("")
    told = refusal_of(lambda: ray_driver.missing_scans(str(folder), f"{folder}/out"))
    assert "b/2.bin and b/2.ply would both be 'b/2'" in told, told
    for missing in (folder / "missing", folder / "c.ply"):
        told = refusal_of(lambda: ray_driver.missing_scans(str(missing), f"{folder}/out"))
        assert "there is no such folder" in told, told


def main():
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(scratch)
    listed()
    subprocess.run([simulate, scratch + "/data", "4", "8", "64"], check=True)
    folder = scratch + "/data/sequences/00/velodyne"
    scans = [(f"s/{i}", f"store://{folder}/00000{i}.bin") for i in range(4)]

    # An object that the store refuses fails alone, whichever way it goes; one that it refuses once does not.
    for part, way in (("000002.bin", "fetched"), ("s/2.label", "stored")):
        refusing(part, 100)
        answers, _ = label("store://" + scratch + "/" + way, scans)
        assert {name for name, answer in answers.items() if answer["status"] == "failed"} == {"s/2"}, answers
        assert f"cannot be {way}: PermissionError" in answers["s/2"]["reason"], answers["s/2"]
        assert Store.tries == 3, f"{Store.tries} tries"
        results = list(pathlib.Path(scratch, way).rglob("*.label"))  # none of which is half of one
        assert len(results) == 3 and all(path.stat().st_size > 4 for path in results), results
        refusing(part, 1)
        answers, lines = label("store://" + scratch + "/" + way, scans)
        assert all(answer["status"] == "done" for answer in answers.values()), answers

    # Names of bytes that are no UTF-8, and of what a line cannot hold.
    refusing("", 0)
    odd = os.fsdecode(b"caf\xe9")
    shutil.copy(folder + "/000000.bin", f"{folder}/{odd}.bin")
    answers, _ = label(scratch + "/odd", [(odd, f"{folder}/{odd}.bin"), ("two\nlines", folder + "/000000.bin"),
                                          ("../out", folder + "/000000.bin")])
    assert [answers[name]["status"] for name in (odd, "two\nlines", "../out")] == ["done", "failed", "failed"], answers
    assert os.path.exists(f"{scratch}/odd/{odd}.label")

    # The longest name that a result may have, and one that leads elsewhere.
    long = "n" * 249
    shutil.copy(folder + "/000000.bin", f"{folder}/{long}.bin")
    os.makedirs(folder + "/up")
    answers, _ = label("store://" + scratch + "/long", [(long, f"store://{folder}/{long}.bin"),
                                                        ("../../up", f"store://{folder}/up/../000000.bin")])
    assert [answers[name]["status"] for name in (long, "../../up")] == ["done", "failed"], answers
    assert os.path.exists(f"{scratch}/long/{long}.label")
    os.remove(f"{folder}/{long}.bin")

    # Requests that are more than a pipe holds.
    many = [(f"{i:06}" + "n" * 100, folder + "/missing.bin") for i in range(1500)]
    answers, _ = label(scratch + "/many", many)
    assert len(answers) == 1500 and all(answer["status"] == "failed" for answer in answers.values())

    # Lines are in the manifest as they come, of a store in several objects; and say which results belong there.
    for output in (scratch + "/manifest", "store://" + scratch + "/objects"):
        manifest = ray_driver.Manifest(output, "ray-1")
        manifest.seconds = 0
        seen = []

        def rows():
            for line in lines:
                yield {"line": json.dumps(line)}
                files = sorted(pathlib.Path(output.replace("store://", "")).glob("*.jsonl"))
                seen.append(sum(len(file.read_text().splitlines()) for file in files))

        assert ray_driver.record(rows(), manifest) == (4, 0)
        assert seen == [1, 2, 3, 4, 5], seen
        assert manifest.settings() == lines[0]["settings"]
    _, same = label(scratch + "/settings", [("one", folder + "/000000.bin")], lines[0]["settings"])
    assert same[1]["status"] == "done", same
    _, other = label(scratch + "/settings", [("two", folder + "/000000.bin")], lines[0]["settings"], ["--seed", "2"])
    assert other[0]["status"] == "refused" and "has results of other settings" in other[0]["reason"], other
    beside = ray_driver.Labeller([program, *network, "--write", "npy"], folder, arrays=False)
    line = json.loads(beside({"scan": [json.dumps(["one", folder + "/000000.bin"])]})["line"][0])
    assert line["status"] == "refused" and "is the folder of the scans" in line["reason"], line
    try:
        ray_driver.record(({"line": json.dumps(line)} for line in other), manifest)
        raise AssertionError("results of other settings are recorded")
    except ray_driver.Refused:
        pass


main()
