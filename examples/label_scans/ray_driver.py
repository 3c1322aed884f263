#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Labels scans on a Ray cluster: actors, each of which keeps a worker of label_scans.

  ray_driver.py SOURCE --output FOLDER --workers 8 -- build/bin/label_scans --format kitti --checkpoint minkunet.pt

SOURCE and FOLDER are folders or URLs that fsspec knows (s3://, gs://, ...). What follows -- is the program, which must
have that path on every machine, and its options but --output. Running it again does what is missing. Exit status: 0
every scan has its result, 1 some failed.
"""
import argparse
import heapq
import json
import os
import posixpath
import shutil
import subprocess
import sys
import tempfile
import time

import fsspec

EXTENSIONS = (".pcd.bin", ".bin", ".pcd", ".ply", ".npy")
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss"}  # an object is there when it is complete


class Refused(Exception):
    """What no other try makes good."""


def reason_of(error):
    return f"{type(error).__name__}: {error}"


class Labeller:
    """An actor. Ray makes a new one in place of one that dies; this makes a new worker in place of one that dies."""

    # A pipe holds 64 KiB. More requests than that, before answers are read, and both sides wait for good.
    most_open, most_open_bytes = 32, 1 << 15
    waits = (0.5, 2, 8)  # seconds before another try

    def __init__(self, command, output, expected=None, arrays=True):
        """expected: the settings of results that are there, None: any. arrays: whether results may be .npy."""
        self.command, self.output, self.expected, self.arrays = command, output, expected, arrays
        self.fs, self.root = fsspec.core.url_to_fs(output)
        self.protocols = [self.fs.protocol] if isinstance(self.fs.protocol, str) else self.fs.protocol
        self.is_local = "file" in self.protocols
        self.scratch = tempfile.mkdtemp(prefix="label_scans.")
        self.worker, self.settings, self.fetched = None, None, 0

    def __del__(self):
        if getattr(self, "worker", None) is not None:
            self.worker.stdin.close()  # which ends it
        shutil.rmtree(getattr(self, "scratch", ""), ignore_errors=True)

    def start(self):
        folder = self.root if self.is_local else self.scratch
        # Names of files are any bytes: surrogateescape brings those that are no UTF-8 there and back.
        self.worker = subprocess.Popen([*self.command, "--worker", "--output", folder], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, encoding="utf-8", errors="surrogateescape")
        ready = self.answer()
        if ready.get("status") != "ready":
            raise RuntimeError("the worker does not start: " + " ".join(self.command))
        if not self.arrays and ready["extension"] == ".npy":
            self.worker.kill()
            raise Refused(f"{self.output} is the folder of the scans, where .npy results would be taken for scans; "
                          "choose another --output")
        self.settings = ready.get("settings", "")
        if self.expected is not None and self.settings != self.expected:
            self.worker.kill()
            raise Refused(f"{self.output} has results of other settings ({self.expected}; now {self.settings}); "
                          "choose another folder, or --mixed among the program's options")

    def answer(self):
        line = self.worker.stdout.readline()
        return json.loads(line) if line.endswith("\n") else {}  # at the end of a worker that died

    def ask(self, scans):
        """The answers about scans, by name; fewer where the worker died."""
        if self.worker is None or self.worker.poll() is not None:
            self.start()
        requests = {f"{path}\t{name}": name for name, path in scans}
        todo, sizes, answers = list(requests), {}, {}
        todo.reverse()
        try:
            while todo or sizes:
                while todo:
                    size = len(os.fsencode(todo[-1])) + 1
                    if sizes and (len(sizes) >= self.most_open or sum(sizes.values()) + size > self.most_open_bytes):
                        break
                    line = todo.pop()
                    sizes[requests[line]] = size
                    self.worker.stdin.write(line + "\n")
                self.worker.stdin.flush()
                answer = self.answer()
                if not answer:
                    break
                # The answer to a request that is none has no name.
                name = answer["name"] if "name" in answer else requests[answer["scan"]]
                sizes.pop(name, None)
                answers[name] = answer
        except BrokenPipeError:
            pass
        if len(answers) < len(scans):
            self.worker.kill()
            self.worker.wait()
        return answers

    def tried(self, what, call):
        """None, or why `call` does not succeed, however often it is tried."""
        for wait in (*self.waits, None):
            try:
                call()
                return None
            except Exception as error:  # of any store
                reason = f"{what}: {reason_of(error)}"
            if wait is not None:
                time.sleep(wait)
        return reason

    def fetch(self, path):
        """Where a scan is on this machine, and None, or why it is not. Its name there is short, whatever it was."""
        place = [path]
        self.fetched += 1

        def call():
            fs, remote = fsspec.core.url_to_fs(path)
            if "file" not in fs.protocol:
                end = next((end for end in EXTENSIONS if remote.endswith(end)), "")
                place[0] = os.path.join(self.scratch, "scans", f"{self.fetched}{end}")
                os.makedirs(os.path.dirname(place[0]), exist_ok=True)
                fs.get_file(remote, place[0])

        reason = self.tried("the scan cannot be fetched", call)
        return place[0], reason

    def store(self, answer):
        """None, or why a result is not in the store. It does not stay on this machine."""
        result = posixpath.join(self.root, os.path.relpath(answer["result"], self.scratch))

        def call():
            self.fs.makedirs(posixpath.dirname(result), exist_ok=True)
            if OBJECT_STORES.intersection(self.protocols):
                return self.fs.put_file(answer["result"], result)
            # Elsewhere half a file would have the name of one, if this actor died meanwhile.
            part = posixpath.join(posixpath.dirname(result), os.path.basename(self.scratch) + ".tmp")
            self.fs.put_file(answer["result"], part)
            return self.fs.mv(part, result)

        reason = self.tried("the result cannot be stored", call)
        os.remove(answer["result"])
        return reason

    def __call__(self, batch):
        scans = [json.loads(scan) for scan in batch["scan"]]
        local, answers = [], {}
        for name, path in scans:
            if any(c in name + path for c in "\t\r\n"):
                answers[name] = {"status": "failed", "reason": "its name has a tab or an end of line"}
                continue
            place, reason = self.fetch(path)
            if reason is None:
                local.append((name, place))
            else:
                answers[name] = {"status": "failed", "reason": reason}
        try:
            answers.update(self.ask(local))
            for scan in local:  # those after which, or before which, the worker died: one at a time
                if scan[0] not in answers:
                    answers[scan[0]] = self.ask([scan]).get(
                        scan[0], {"status": "failed", "reason": f"the worker ended with {self.worker.returncode}"})
        except Refused as error:
            return {"line": [json.dumps({"status": "refused", "reason": str(error)})]}
        if not self.is_local:
            for name, answer in answers.items():
                if answer["status"] == "done" and (reason := self.store(answer)) is not None:
                    answers[name] = {"status": "failed", "reason": reason}
            shutil.rmtree(os.path.join(self.scratch, "scans"), ignore_errors=True)
        # Lines are ASCII, whatever names are made of.
        return {"line": [json.dumps({"status": "begun", "settings": self.settings}),
                         *(json.dumps({"name": name, **answers[name], "scan": path}) for name, path in scans)]}


class Manifest:
    """Lines about scans, on the disk or in the store soon after they are known."""

    seconds = 30  # between two objects of a store

    def __init__(self, folder, name):
        self.fs, self.folder = fsspec.core.url_to_fs(folder)
        self.name, self.lines, self.parts, self.last = name, [], 0, time.monotonic()
        self.fs.makedirs(self.folder, exist_ok=True)

    def settings(self):
        """Those of the results that are there; None: nobody says."""
        for path in sorted(self.fs.find(self.folder)):
            found = None
            with self.fs.open(path, "rb") as file:
                for line in file:
                    if line.endswith(b"\n") and b'"begun"' in line:
                        found = json.loads(line).get("settings", found)
            if found:
                return found
        return None

    def append(self, line):
        self.lines.append(line + "\n")
        if "file" in self.fs.protocol:
            with open(posixpath.join(self.folder, self.name + ".jsonl"), "a", encoding="ascii") as file:
                file.write(self.lines.pop())
        elif time.monotonic() - self.last > self.seconds:
            self.flush()

    def flush(self):
        """Stores cannot append: what is new becomes another object."""
        if not self.lines:
            return
        with self.fs.open(posixpath.join(self.folder, f"{self.name}-{self.parts:05}.jsonl"), "wb") as file:
            file.write("".join(self.lines).encode("ascii"))
        self.lines, self.parts, self.last = [], self.parts + 1, time.monotonic()


def record(rows, manifest):
    """Appends what became of scans as it comes. How many are done, and how many failed."""
    done, failed, begun = 0, 0, None
    try:
        for row in rows:
            entry = json.loads(row["line"])
            if entry["status"] == "refused":
                raise Refused(entry["reason"])
            if entry["status"] == "begun":
                if entry["settings"] in (begun, None):
                    continue
                begun = entry["settings"]
            else:
                done += entry["status"] == "done"
                failed += entry["status"] != "done"
            manifest.append(row["line"])
    finally:
        manifest.flush()
    return done, failed


def stem(path):
    return next((path[:-len(end)] for end in EXTENSIONS if path.endswith(end)), path)


def files_below(fs, root):
    """Paths of all files; on this machine as the program finds them: through links to folders, each folder once."""
    if "file" not in fs.protocol:
        return fs.find(root)
    seen, links, folders, found = set(), [], [root], []
    while folders or links:
        folder = folders.pop() if folders else heapq.heappop(links)
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in os.scandir(folder):
            if not entry.is_dir():
                found.append(entry.path)
            elif entry.is_symlink():
                heapq.heappush(links, entry.path)
            else:
                folders.append(entry.path)
    return found


def missing_scans(source, output):
    """Name and path of every scan that has no result yet, and how many scans there are."""
    fs, root = fsspec.core.url_to_fs(source)
    out, folder = fsspec.core.url_to_fs(output)
    if not fs.isdir(root):
        raise Refused(f"{source}: there is no such folder")
    results = set()
    if out.exists(folder):
        results = {posixpath.relpath(path, folder) for path in out.find(folder)}
    below = folder.rstrip("/") + "/" if fs == out and folder.rstrip("/") != root.rstrip("/") else None
    files = sorted(posixpath.relpath(path, root) for path in files_below(fs, root)
                   if path.endswith(EXTENSIONS) and not (below and path.startswith(below)))
    names = {}
    for file in files:
        if names.setdefault(stem(file), file) != file:
            raise Refused(f"the results of {names[stem(file)]} and {file} would both be '{stem(file)}'")
    return [{"name": stem(file), "path": source.rstrip("/") + "/" + file} for file in files
            if stem(file) + ".label" not in results and stem(file) + ".npy" not in results], len(files)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--output", required=True)
    parser.add_argument("--workers", type=int, default=1, help="actors, each with a GPU (default: 1)")
    parser.add_argument("--gpus", type=float, default=1, help="GPUs of each (default: 1; 0: the CPU)")
    parser.add_argument("--batch", type=int, default=16, help="scans that an actor is given at once (default: 16)")
    parser.add_argument("command", nargs="+", help="the program and its options, after --")
    options = parser.parse_args()
    if "://" not in options.output:
        options.output = os.path.abspath(options.output)
    options.source = options.source if "://" in options.source else os.path.abspath(options.source)
    options.command[0] = os.path.abspath(options.command[0])

    try:
        scans, total = missing_scans(options.source, options.output)
    except (Refused, OSError) as error:
        print(f"ray_driver: {error}", file=sys.stderr)
        return 1
    print(f"to do     {len(scans)} of {total} scans", flush=True)
    done, failed = 0, 0
    if scans:
        import ray  # here, so that the rest can be tested without it

        manifest = Manifest(posixpath.join(options.output, "manifest"), f"ray-{time.strftime('%Y%m%d-%H%M%S')}")
        expected = None if "--mixed" in options.command else manifest.settings()
        arrays = options.output.rstrip("/") != options.source.rstrip("/")
        ray.init(ignore_reinit_error=True)
        items = [{"scan": json.dumps([scan["name"], scan["path"]])} for scan in scans]
        labelled = ray.data.from_items(items, override_num_blocks=-(-len(items) // options.batch)).map_batches(
            Labeller, fn_constructor_args=(options.command, options.output, expected, arrays), batch_size=options.batch,
            compute=ray.data.ActorPoolStrategy(size=options.workers), num_gpus=options.gpus)
        try:
            done, failed = record(labelled.iter_rows(), manifest)
        except Refused as error:
            print(f"ray_driver: {error}", file=sys.stderr)
            return 1
    print(json.dumps({"scans": total, "there": total - len(scans), "done": done, "failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
