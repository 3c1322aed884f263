# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""TorchSparse's names: recorded maps, layers, networks and a training."""

import json
import unittest

import numpy as np
import torch
from torch import nn

from support import cloud, cpu_only, distance, random, read_safetensors, recorded, relative, tensor
from tessera_torch import torchsparse
from tessera_torch.torchsparse import SparseTensor
from tessera_torch.torchsparse import nn as spnn
from tessera_torch.torchsparse.nn import conv_config
from tessera_torch.torchsparse.nn import functional as F
from tessera_torch.torchsparse.utils.collate import sparse_collate, sparse_collate_fn
from tessera_torch.torchsparse.utils.quantize import sparse_quantize


class Recorded(unittest.TestCase):
    def test_every_recorded_kernel_map_and_layer_is_reproduced(self):
        tensors, metadata = read_safetensors(recorded("golden/kmaps.safetensors"))
        coords, feats = tensors["input.coords"], tensors["input.feats"]
        self.assertGreater(len(metadata), 0)
        for name, text in sorted(metadata.items()):
            case = json.loads(text)
            with self.subTest(case=name, **case):
                config = conv_config.get_default_conv_config()
                config.kmap_mode, config.downsample_mode = case["kmap"], case["downsample"]
                x = SparseTensor(feats, coords, spatial_range=case["spatial_range"])
                weight, bias = tensors[name + ".weight"], tensors[name + ".bias"]
                y = F.conv3d(x, weight, case["kernel_size"], bias, case["stride"], tuple(case["padding"]), config=config)
                self.assertTrue(torch.equal(y.coords, tensors[name + ".out_coords"]))
                self.assertLess(relative(y.feats, tensors[name + ".out_feats"]), 1e-4)
                self.assertEqual(list(y.stride), case["out_stride"])

    def test_every_recorded_stack_of_layers_and_its_gradients_are_reproduced(self):
        tensors, metadata = read_safetensors(recorded("golden/training.safetensors"))
        for name, text in sorted(metadata.items()):
            layers = json.loads(text)
            with self.subTest(case=name):
                if isinstance(layers, dict):
                    self.generative(name, layers, tensors)
                else:
                    self.stack(name, layers, tensors)

    def stack(self, name, layers, tensors):
        feats = tensors[name + ".in_feats"].clone().requires_grad_()
        x = SparseTensor(feats, tensors[name + ".in_coords"])
        weights = []
        for number, layer in enumerate(layers):
            weight = tensors[f"{name}.weight{number}"]
            conv = spnn.Conv3d(weight.shape[1], weight.shape[2], layer["kernel_size"], layer["stride"],
                               transposed=layer["transposed"])  # fmt: skip
            conv.load_state_dict({"kernel": weight})
            weights.append(conv.kernel)
            x = conv(x)
        self.assertTrue(torch.equal(x.coords, tensors[name + ".out_coords"]))
        self.assertLess(relative(x.feats, tensors[name + ".out_feats"]), 1e-4)
        x.feats.backward(tensors[name + ".grad_out"])
        self.assertLess(relative(feats.grad, tensors[name + ".grad_in"]), 1e-4)
        for number, weight in enumerate(weights):
            self.assertLess(relative(weight.grad, tensors[f"{name}.grad_weight{number}"]), 1e-4)

    def generative(self, name, layer, tensors):
        config = conv_config.get_default_conv_config()
        config.kmap_mode = "hashmap"
        coords = tensors[name + ".in_coords"]
        spatial_range = tuple((coords.amax(0) + 1).tolist())  # TorchSparse asks for one: that of the input, as recorded
        x = SparseTensor(tensors[name + ".in_feats"], coords, layer["in_stride"], spatial_range)
        weight = tensors[name + ".weight0"]
        conv = spnn.Conv3d(weight.shape[1], weight.shape[2], layer["kernel_size"], layer["stride"], transposed=True,
                           generative=True, config=config)  # fmt: skip
        conv.load_state_dict({"kernel": weight})
        y = conv(x)
        self.assertEqual(list(y.stride), layer["out_stride"])
        self.assertTrue(torch.equal(y.coords, tensors[name + ".out_coords"]))
        self.assertLess(relative(y.feats, tensors[name + ".out_feats"]), 1e-4)


def with_parameters(model: nn.Module, tensors: dict) -> nn.Module:
    state = {key.removeprefix("param."): value.float() if value.is_floating_point() else value
             for key, value in tensors.items() if key.startswith("param.")}  # fmt: skip
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    unexpected = [key for key in unexpected if not key.startswith("point_transforms")]
    if missing or unexpected:
        raise AssertionError(f"missing {missing}, unexpected {unexpected}")
    return model.eval()


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, size, stride=1, transposed=False):
        super().__init__()
        self.net = nn.Sequential(spnn.Conv3d(cin, cout, size, stride, transposed=transposed), spnn.BatchNorm(cout), spnn.ReLU())

    def forward(self, x):
        return self.net(x)


class ResidualBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.net = nn.Sequential(spnn.Conv3d(cin, cout, 3), spnn.BatchNorm(cout), spnn.ReLU(), spnn.Conv3d(cout, cout, 3),
                                 spnn.BatchNorm(cout))  # fmt: skip
        self.downsample = nn.Sequential()
        if cin != cout:
            self.downsample = nn.Sequential(spnn.Conv3d(cin, cout, 1), spnn.BatchNorm(cout))
        self.relu = spnn.ReLU()

    def forward(self, x):
        return self.relu(self.net(x) + self.downsample(x))


class MinkUNet(nn.Module):
    """With the parameter names of SPVNAS's network, to load what was recorded from it."""

    def __init__(self, cin: int, width: float, classes: int):
        super().__init__()
        c = [int(width * v) for v in (32, 32, 64, 128, 256, 256, 128, 96, 96)]
        self.stem = nn.Sequential(spnn.Conv3d(cin, c[0], 3), spnn.BatchNorm(c[0]), spnn.ReLU(), spnn.Conv3d(c[0], c[0], 3),
                                  spnn.BatchNorm(c[0]), spnn.ReLU())  # fmt: skip
        for i in range(1, 5):
            self.add_module(f"stage{i}", nn.Sequential(BasicBlock(c[i - 1], c[i - 1], 2, 2), ResidualBlock(c[i - 1], c[i]),
                                                       ResidualBlock(c[i], c[i])))  # fmt: skip
            up = nn.Sequential(ResidualBlock(c[i + 4] + c[4 - i], c[i + 4]), ResidualBlock(c[i + 4], c[i + 4]))
            self.add_module(f"up{i}", nn.ModuleList([BasicBlock(c[i + 3], c[i + 4], 2, 2, transposed=True), up]))
        self.classifier = nn.Sequential(nn.Linear(c[8], classes))

    def forward(self, x):
        skips = [self.stem(x)]
        for i in range(1, 5):
            skips.append(getattr(self, f"stage{i}")(skips[-1]))
        x = skips[4]
        for i in range(1, 5):
            up, fuse = getattr(self, f"up{i}")
            x = fuse(torchsparse.cat([up(x), skips[4 - i]]))
        return self.classifier(x.F)


class RecordedNetworks(unittest.TestCase):
    def test_minkunet_gives_the_recorded_logits(self):
        tensors, metadata = read_safetensors(recorded("golden/minkunet_semkitti.safetensors"))
        config = json.loads(metadata["config"])
        net = with_parameters(MinkUNet(config["in_channels"], config["width"], config["num_classes"]), tensors)
        with torch.no_grad():
            logits = net(SparseTensor(tensors["input.feats"], tensors["input.coords"]))
        self.assertLess(distance(logits, tensors["output.logits"]), 1e-4)

    @cpu_only
    def test_a_training_of_minkunet_has_the_recorded_losses_and_gradients(self):
        # In float64: PyTorch's norms round so much that float32 is 1e-3 away from itself after one backward pass.
        tensors, metadata = read_safetensors(recorded("golden/train_minkunet.safetensors"))
        config = json.loads(metadata["config"])
        net = with_parameters(MinkUNet(config["in_channels"], config["width"], config["num_classes"]), tensors).train().double()
        labels = next(tensors[key] for key in ("labels", "input.labels") if key in tensors).long()
        losses = tensors["losses"]
        optimizer = torch.optim.SGD(net.parameters(), lr=config["lr"], momentum=config["momentum"],
                                    weight_decay=config["weight_decay"], nesterov=config["nesterov"])  # fmt: skip
        for step in range(config["steps"]):
            optimizer.zero_grad()
            logits = net(SparseTensor(tensors["input.feats"].double(), tensors["input.coords"]))
            loss = nn.functional.cross_entropy(logits, labels, ignore_index=config["ignore_index"])
            loss.backward()
            bound = 1e-4 if step < 4 else 3e-3  # rounding grows from step to step
            self.assertLess(abs(loss.item() - losses[step].item()), bound * losses[step].item(), f"step {step}")
            if step == 0:
                grads = [(p.grad, tensors["grad0." + n]) for n, p in net.named_parameters() if "grad0." + n in tensors]
                self.assertLess(distance(*(torch.cat([g[i].double().view(-1) for g in grads]) for i in range(2))), 1e-3)
            optimizer.step()
        final = [(p.detach(), tensors["final." + n]) for n, p in net.named_parameters() if "final." + n in tensors]
        self.assertLess(distance(*(torch.cat([g[i].float().view(-1) for g in final]) for i in range(2))), 5e-3)

    def test_resnet21d_gives_the_recorded_stages(self):
        self.backbone("golden/resnet21d_nuscenes.safetensors", torchsparse.backbones.SparseResNet21D)

    def test_resunet42_gives_the_recorded_levels(self):
        self.backbone("golden/resunet42_nuscenes.safetensors", torchsparse.backbones.SparseResUNet42)

    def backbone(self, file, kind):
        tensors, metadata = read_safetensors(recorded(file))
        config = json.loads(metadata["config"])
        net = with_parameters(kind(config["in_channels"], config["width"]), tensors)
        with torch.no_grad():
            outputs = net(SparseTensor(tensors["input.feats"], tensors["input.coords"]))
        compared = 0
        for number, y in enumerate(outputs):
            coords, feats = (tensors.get(f"output.{what}{number}") for what in ("coords", "feats"))
            if coords is not None:
                self.assertTrue(torch.equal(y.coords, coords), f"coords{number}")
            if feats is not None:
                self.assertLess(distance(y.feats, feats), 1e-4, f"feats{number}")
            compared += coords is not None or feats is not None
        self.assertGreater(compared, 0)


class Names(unittest.TestCase):
    def tensor(self, channels=4, seed=1, spatial_range=(2, 9, 8, 7), **options):
        coords = cloud(seed, 150, list(spatial_range[1:]), 2)
        return SparseTensor(random(len(coords), channels, seed=seed), coords, spatial_range=spatial_range, **options)

    def test_conv3d_equals_a_dense_convolution_where_there_are_voxels(self):
        for size in ((3, 3, 3), (5, 5, 5), (1, 3, 3), (3, 1, 1), (2, 2, 2)):
            with self.subTest(size=size):
                stride = 2 if size[0] == 2 else 1
                conv = spnn.Conv3d(4, 6, size, stride=stride, bias=True)
                x = self.tensor()
                y = conv(x)
                offsets = spnn.utils.get_kernel_offsets(size)
                first = offsets.amin(0)
                weight = torch.zeros(6, 4, *size)
                for k, offset in enumerate(offsets):
                    weight[(slice(None), slice(None), *(offset - first).tolist())] = conv.kernel[k].t().detach()
                dense = x.dense().permute(0, 4, 1, 2, 3)
                pad = 0 if stride == 2 else [s // 2 for s in size]
                want = nn.functional.conv3d(dense, weight, conv.bias.detach(), stride=stride, padding=pad)
                b, *xyz = y.C.long().t()
                self.assertLess(relative(y.F, want[(b, slice(None), *xyz)]), 1e-5)

    def test_modes_change_nothing_but_rounding(self):
        conv = spnn.Conv3d(4, 8, 3)
        want = conv(self.tensor()).F
        for mode in (0, 1, 2, F.ConvMode.mode1, "mode2"):
            F.set_conv_mode(mode)
            self.assertLess(relative(conv(self.tensor()).F, want), 1e-5)
        for dataflow in (F.Dataflow.GatherScatter, F.Dataflow.FetchOnDemand):
            conv.config = {"dataflow": dataflow}
            self.assertLess(relative(conv(self.tensor()).F, want), 1e-5)
        F.set_conv_mode(0)

    def test_kmap_and_downsample_modes_act(self):
        x = self.tensor()
        try:
            F.set_kmap_mode("hashmap")
            F.set_downsample_mode("minkowski")
            y = spnn.Conv3d(4, 4, 3, stride=2)(x)
        finally:
            F.set_kmap_mode("hashmap_on_the_fly")
            F.set_downsample_mode("spconv")
        want = x.C.clone()
        want[:, 1:] //= 2
        self.assertTrue(torch.equal(y.C, torch.unique(want, dim=0)))

    def test_a_transposed_convolution_goes_back_to_the_rows_it_came_from(self):
        x = self.tensor()
        down = spnn.Conv3d(4, 8, 2, stride=2)
        y = down(x)
        z = spnn.Conv3d(8, 4, 2, stride=2, transposed=True)(y)
        self.assertIs(z.coords, x.coords)
        self.assertEqual(z.stride, (1, 1, 1))
        self.assertEqual(z.spatial_range, x.spatial_range)
        w = spnn.Conv3d(8, 4, 3, stride=2, transposed=True)(y)  # no layer had this size
        self.assertIs(w.coords, x.coords)

    def test_norms_activations_and_pools(self):
        x = self.tensor()
        self.assertLess(relative(spnn.BatchNorm(4)(x).F, nn.BatchNorm1d(4)(x.F)), 1e-6)
        for layer, fn in ((spnn.ReLU(False), torch.relu), (spnn.SiLU(), nn.functional.silu)):
            self.assertTrue(torch.equal(layer(x).F, fn(x.F)))
        rows = x.C[:, 0] == 1
        self.assertLess(relative(spnn.GlobalAvgPool()(x)[1], x.F[rows].mean(0)), 1e-5)
        self.assertTrue(torch.equal(spnn.GlobalMaxPool()(x)[1], x.F[rows].amax(0)))
        normed = spnn.InstanceNorm(4)(x).F[rows]
        self.assertLess(float(normed.mean(0).abs().max()), 1e-5)
        self.assertLess(float(spnn.GroupNorm(2, 4)(x).F[rows].mean().abs()), 1e-5)
        cropped = spnn.SparseCrop((1, 1, 1), (4, 5, 6))(x)
        self.assertTrue(bool(((cropped.C[:, 1:] >= 1) & (cropped.C[:, 1:] < torch.tensor([4, 5, 6]))).all()))

    def test_quantize_and_collate(self):
        points = np.array([[0.9, 0, 0], [-0.1, 0, 0], [0.2, 0, 0]])
        coords, index, inverse = sparse_quantize(points, 1, return_index=True, return_inverse=True)
        self.assertEqual(coords.tolist(), [[-1, 0, 0], [0, 0, 0]])
        self.assertEqual(index.tolist(), [1, 0])
        self.assertEqual(inverse.tolist(), [1, 0, 1])
        for size in (0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5), (0.5, 0.5, 0.5), torch.full((3,), 0.5)):
            self.assertEqual(sparse_quantize(points, size).tolist(), [[-1, 0, 0], [0, 0, 0], [1, 0, 0]])
        for grad in (False, True):  # tensors of any device
            self.assertEqual(sparse_quantize(torch.tensor(points, requires_grad=grad)).tolist(), [[-1, 0, 0], [0, 0, 0]])
        self.assertEqual(sparse_quantize(np.zeros((0, 3)), 1).shape, (0, 3))
        one = SparseTensor(torch.ones(2, 3), torch.tensor(coords))
        batch = sparse_collate([one, one])
        self.assertEqual(batch.C.tolist(), [[0, -1, 0, 0], [0, 0, 0, 0], [1, -1, 0, 0], [1, 0, 0, 0]])
        self.assertEqual(batch.C.dtype, torch.int32)
        collated = sparse_collate_fn([{"input": one, "label": np.arange(2), "name": "a"}] * 2)
        self.assertEqual((len(collated["input"].C), collated["label"].shape, collated["name"]), (4, (2, 2), ["a", "a"]))

    def test_points_and_voxels(self):
        coords = torch.tensor([[0, 0, 0, 0], [0, 1, 2, 3], [0, -1, 0, 0]], dtype=torch.int32)
        want = [0x4D25767F9DCE13F5, 0x4475327F98E05411, 0xE922C0B35D49ED60 - 2**64]
        self.assertEqual(F.sphash(coords).tolist(), want)
        self.assertEqual(list(F.sphash(coords, torch.zeros(2, 3, dtype=torch.int32)).shape), [2, 3])
        self.assertEqual(F.sphashquery(torch.tensor([5, 7, 9]), torch.tensor([9, 5, 5])).tolist(), [1, -1, 0])
        idx = torch.tensor([1, 0, 1, -1], dtype=torch.int32)
        counts = F.spcount(idx, 3)
        self.assertEqual(counts.tolist(), [1, 2, 0])
        feats = torch.tensor([[1.0], [2.0], [5.0], [9.0]], requires_grad=True)
        voxels = F.spvoxelize(feats, idx, counts)
        self.assertEqual(voxels.detach().view(-1).tolist(), [2, 3, 0])
        voxels.sum().backward()
        self.assertEqual(feats.grad.view(-1).tolist(), [0.5, 1, 0.5, 0])
        weights = F.calc_ti_weights(torch.tensor([[0.25, 0.5, 0.0]]), torch.arange(8)[None])
        self.assertLess(relative(weights[0], torch.tensor([0.375, 0, 0.375, 0, 0.125, 0, 0.125, 0])), 1e-6)
        out = F.spdevoxelize(torch.arange(8.0)[:, None], torch.arange(8)[None], weights)
        self.assertAlmostEqual(float(out), 0.375 * 2 + 0.125 * 4 + 0.125 * 6, places=5)

    def test_what_does_not_fit_is_refused_with_a_sentence(self):
        x = self.tensor()
        for call, words in (
            (lambda: spnn.Conv3d(5, 4, 3)(x), "channels"),
            (lambda: spnn.Conv3d(4, 4, 3)(x.F), "not a SparseTensor"),
            *((lambda size=size, y=y: spnn.Conv3d(4, 4, size)(y), words) for size in (1, 3) for y, words in (
                (x.like(x.F[:5]), "conv3d: feats of shape [5, 4] on"), (x.like(x.F[:, 0]), "conv3d: feats of shape"),
                (x.like(x.F.cpu().numpy()), "feats are a ndarray"), (SparseTensor(x.F, x.C[:, :3].contiguous()), "[n, 4]"),
                (SparseTensor(x.F, x.C, spatial_range=(9, 8, 7)), "a spatial range of 3 numbers"))),
            (lambda: spnn.Conv3d(4, 4, 2.5), "2.5 is neither a whole number"),
            (lambda: spnn.Conv3d(4, 4, [3, 3]), "2 numbers for 3 axes"),
            (lambda: spnn.Conv3d(4, 4, 1)(tensor().replace_feature(x.F[:5])), "features of shape [5, 4] on"),
            (lambda: spnn.Conv3d(5, 4, 1)(tensor()), "4 channels for a layer of 5"),
            (lambda: spnn.Conv3d(4, 4, 2, stride=2, transposed=True)(x), "no layer"),
            (lambda: spnn.Conv3d(4, 4, 3, generative=True), "transposed=True"),
            (lambda: F.set_conv_mode(7), "none of"),
            *((lambda value=value: sparse_quantize(np.array([[0, 0, 0], [1, value, 1]]), 0.5), "point 1 at [1.0, ")
              for value in (np.nan, -np.inf, 2.0**30, -(2.0**30))),
            *((lambda size=size: sparse_quantize(np.ones((2, 3)), size), words) for size, words in (
                (0, "must be positive"), (-1.0, "must be positive"), (np.nan, "must be positive"), ((1, 1), "2 sizes of a voxel"))),
            (lambda: sparse_quantize(np.ones((2, 4)), 1), "coords of shape [2, 4]"),
            (lambda: F.set_kmap_mode("grid"), "none of"),
            (lambda: SparseTensor(torch.zeros(3, 1), torch.zeros(2, 4)), "rows"),
            (lambda: SparseTensor(x.F, x.C).dense(), "spatial_range"),
            (lambda: torchsparse.cat([x, SparseTensor(x.F[:3], x.C[:3])]), "same voxels"),
        ):
            with self.assertRaises((ValueError, TypeError)) as raised:
                call()
            self.assertIn(words, str(raised.exception))


if __name__ == "__main__":
    unittest.main()
