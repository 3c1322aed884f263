# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Threads, forks, workers of a DataLoader."""

import os
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from support import ON_CPU, tensor, uniform
from tessera_torch import spconv
from tessera_torch.voxels import PointToVoxel


def network() -> nn.Module:
    return spconv.SparseSequential(
        spconv.SubMConv3d(4, 8, 3), nn.ReLU(), spconv.SparseConv3d(8, 8, 3, 2, 1, indice_key="d"),
        spconv.SparseInverseConv3d(8, 4, 3, "d"))  # fmt: skip


class Voxels(Dataset):
    """A scan's voxels and what a network makes of a tensor, computed where it is asked for."""

    def __init__(self, net):
        self.net, self.generator = net, PointToVoxel([0.5] * 3, [0] * 3 + [20] * 3, 4, 5000, 5)

    def __len__(self):
        return 6

    def __getitem__(self, number):
        points = uniform(20000, 4, seed=number) * 20
        with torch.no_grad():
            return (*self.generator(points), self.net(tensor(seed=number)).features)


class Workers(unittest.TestCase):
    @unittest.skipUnless(hasattr(os, "fork") and ON_CPU, "no fork(), or a GPU, which no fork can use")
    def test_workers_that_are_forks_compute_what_their_parent_does(self):
        data = Voxels(network())
        want = [data[i] for i in range(len(data))]  # the parent has threads now, its forks have not
        got = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60)
        for ours, theirs in zip(want, got):
            for a, b in zip(ours, theirs):
                self.assertTrue(torch.equal(a, b) if not a.is_floating_point() else torch.allclose(a, b, atol=1e-6))

    @unittest.skipUnless(hasattr(os, "fork") and ON_CPU, "no fork(), or a GPU, which no fork can use")
    def test_a_fork_beside_a_thread_that_computes_finds_no_lock_held(self):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", """
import os, signal, threading, torch
from tessera_torch import ops
torch.set_num_threads(1)
coordinates = torch.tensor([[0, 1], [0, 2]], dtype=torch.int32)
stop = False
def work():
    while not stop:
        ops.find_rows(coordinates, coordinates)
threading.Thread(target=work).start()
failed = 0
for _ in range(300):
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        ops.find_rows(coordinates, coordinates)
        os._exit(0)
    failed += os.waitpid(child, 0)[1] != 0
    if failed:
        break
stop = True
print(failed)
"""], capture_output=True, text=True)  # fmt: skip
        self.assertEqual((done.returncode, done.stdout.strip()), (0, "0"), done.stderr)


class Threads(unittest.TestCase):
    def test_threads_share_a_network_and_its_tensors(self):
        net, scans = network(), [tensor(seed=seed) for seed in (1, 2)]

        def gradients(scan) -> list:
            y = net(scan).features
            return [y, *torch.autograd.grad(y.square().sum(), list(net.parameters()))]

        want = [gradients(tensor(seed=seed)) for seed in (1, 2)]
        threads = torch.get_num_threads()

        def work(number) -> bool:
            torch.set_num_threads(1 + number % 3)
            return all(torch.allclose(a, b, atol=1e-4) for a, b in zip(gradients(scans[number % 2]), want[number % 2]))

        try:
            with ThreadPoolExecutor(4) as pool:
                self.assertTrue(all(pool.map(work, range(40))))
        finally:
            torch.set_num_threads(threads)


if __name__ == "__main__":
    unittest.main()
