# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""TorchSparse's names: recorded maps, layers, networks and a training."""

import json
import unittest

import numpy as np
import torch
from torch import nn

from support import cloud, distance, read_safetensors, recorded, relative
from tessera_torch import ops, torchsparse
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
                               padding=0 if layer["kernel_size"] == 2 else (layer["kernel_size"] - 1) // 2,
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
        names = [key for key in tensors if key.startswith(name + ".")]
        config = conv_config.get_default_conv_config()
        config.kmap_mode = "hashmap"
        spatial_range = layer.get("spatial_range")
        x = SparseTensor(tensors[name + ".in_feats"], tensors[name + ".in_coords"], layer["in_stride"], spatial_range)
        weight = tensors[name + (".weight" if name + ".weight" in names else ".weight0")]
        conv = spnn.Conv3d(weight.shape[1], weight.shape[2], layer["kernel_size"], layer["stride"], transposed=True,
                           generative=True, config=config)  # fmt: skip
        conv.load_state_dict({"kernel": weight})
        y = conv(x)
        self.assertEqual(list(y.stride), layer["out_stride"])
        rows = ops.find_rows(y.coords, tensors[name + ".out_coords"].contiguous())
        self.assertTrue(bool((rows >= 0).all()))
        self.assertLess(relative(y.feats[rows.long()], tensors[name + ".out_feats"]), 1e-4)


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

    def test_a_training_of_minkunet_has_the_recorded_losses_and_gradients(self):
        tensors, metadata = read_safetensors(recorded("golden/train_minkunet.safetensors"))
        config = json.loads(metadata["config"])
        net = with_parameters(MinkUNet(config["in_channels"], config["width"], config["num_classes"]), tensors).train()
        labels = next(tensors[key] for key in ("labels", "input.labels") if key in tensors).long()
        losses = tensors["losses"]
        optimizer = torch.optim.SGD(net.parameters(), lr=config["lr"], momentum=config["momentum"],
                                    weight_decay=config["weight_decay"], nesterov=config["nesterov"])  # fmt: skip
        for step in range(config["steps"]):
            optimizer.zero_grad()
            logits = net(SparseTensor(tensors["input.feats"], tensors["input.coords"]))
            loss = nn.functional.cross_entropy(logits, labels, ignore_index=config["ignore_index"])
            loss.backward()
            self.assertLess(abs(loss.item() - losses[step].item()), 1e-3 * losses[0].item(), f"step {step}")
            if step == 0:
                for name, parameter in net.named_parameters():
                    want = tensors.get("grad0." + name)
                    if want is not None and want.norm() > 1e-6:
                        self.assertLess(distance(parameter.grad, want.float()), 1e-3, name)
            optimizer.step()

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


if __name__ == "__main__":
    unittest.main()
