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
import json
import os
import posixpath
import shutil
import subprocess
import sys
import tempfile
import time

import fsspec
import ray

EXTENSIONS = (".pcd.bin", ".bin", ".pcd", ".ply", ".npy")


class Labeller:
    """An actor. Ray makes a new one in place of one that dies; this makes a new worker in place of one that dies."""

    def __init__(self, command, output):
        self.command, self.output = command, output
        self.fs, self.root = fsspec.core.url_to_fs(output)
        self.is_local = "file" in self.fs.protocol
        self.scratch = tempfile.mkdtemp(prefix="label_scans.")
        self.worker = None

    def __del__(self):
        shutil.rmtree(self.scratch, ignore_errors=True)

    def start(self):
        folder = self.root if self.is_local else self.scratch
        self.worker = subprocess.Popen([*self.command, "--worker", "--output", folder], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
        if self.answer().get("status") != "ready":
            raise RuntimeError("the worker does not start: " + " ".join(self.command))

    def answer(self):
        line = self.worker.stdout.readline()
        return json.loads(line) if line.endswith("\n") else {}  # at the end of a worker that died

    def ask(self, scans):
        """The answers about scans, by name; fewer where the worker died."""
        if self.worker is None or self.worker.poll() is not None:
            self.start()
        answers = {}
        try:
            self.worker.stdin.write("".join(f"{path}\t{name}\n" for name, path in scans))
            self.worker.stdin.flush()
            while len(answers) < len(scans) and (answer := self.answer()):
                answers[answer["name"]] = answer
        except BrokenPipeError:
            pass
        if len(answers) < len(scans):
            self.worker.kill()
            self.worker.wait()
        return answers

    def __call__(self, batch):
        local = []
        for name, path in zip(batch["name"], batch["path"]):
            fs, remote = fsspec.core.url_to_fs(str(path))
            if "file" not in fs.protocol:
                path = os.path.join(self.scratch, "scans", name + posixpath.basename(remote))
                os.makedirs(os.path.dirname(path), exist_ok=True)
                fs.get_file(remote, path)
            local.append((str(name), str(path)))
        answers = self.ask(local)
        for scan in local:  # those after which, or before which, the worker died: one at a time
            if scan[0] not in answers:
                answers[scan[0]] = self.ask([scan]).get(
                    scan[0], {"status": "failed", "reason": f"the worker ended with {self.worker.returncode}"})
        if not self.is_local:
            for answer in answers.values():
                if answer["status"] == "done":
                    result = posixpath.join(self.root, os.path.relpath(answer["result"], self.scratch))
                    self.fs.makedirs(posixpath.dirname(result), exist_ok=True)
                    self.fs.put_file(answer["result"], result)
                    os.remove(answer["result"])
            shutil.rmtree(os.path.join(self.scratch, "scans"), ignore_errors=True)
        return {"name": [name for name, _ in local],
                "line": [json.dumps({"name": name, **answers[name], "scan": str(path)})
                         for (name, _), path in zip(local, batch["path"])]}


def stem(path):
    return next((path[:-len(end)] for end in EXTENSIONS if path.endswith(end)), path)


def missing_scans(source, output):
    """Name and path of every scan that has no result yet."""
    fs, root = fsspec.core.url_to_fs(source)
    out, folder = fsspec.core.url_to_fs(output)
    results = set()
    if out.exists(folder):
        results = {posixpath.relpath(path, folder) for path in out.find(folder)}
    files = sorted(posixpath.relpath(path, root) for path in fs.find(root) if path.endswith(EXTENSIONS))
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

    scans, total = missing_scans(options.source, options.output)
    print(f"to do     {len(scans)} of {total} scans", flush=True)
    failed, lines = 0, []
    if scans:
        ray.init(ignore_reinit_error=True)
        labelled = ray.data.from_items(scans, override_num_blocks=-(-len(scans) // options.batch)).map_batches(
            Labeller, fn_constructor_args=(options.command, options.output), batch_size=options.batch,
            compute=ray.data.ActorPoolStrategy(size=options.workers), num_gpus=options.gpus)
        manifest = posixpath.join(options.output, "manifest", f"ray-{time.strftime('%Y%m%d-%H%M%S')}.jsonl")
        fs, path = fsspec.core.url_to_fs(manifest)
        fs.makedirs(posixpath.dirname(path), exist_ok=True)
        try:
            for row in labelled.iter_rows():
                lines.append(row["line"])
                failed += json.loads(row["line"])["status"] != "done"
        finally:
            with fs.open(path, "w") as file:
                file.write("".join(line + "\n" for line in lines))
    print(json.dumps({"scans": total, "there": total - len(scans), "done": len(lines) - failed, "failed": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
