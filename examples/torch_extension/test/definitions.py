# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""The definitions that operators are tested against: dense tensors and loops."""

import itertools

import torch
import torch.nn.functional as F

import support  # noqa: F401  (the device)


def scene(dim: int, extent: int, batch_size: int, share: float, seed: int) -> torch.Tensor:
    """Coordinates of a share of the cells, in random order."""
    generator = torch.Generator().manual_seed(seed)
    cells = list(itertools.product(range(batch_size), *[range(extent)] * dim))
    kept = torch.randperm(len(cells), generator=generator, device="cpu")[: max(1, int(share * len(cells)))]
    return torch.tensor([cells[i] for i in kept.tolist()], dtype=torch.int32).reshape(-1, 1 + dim)


def offsets(size) -> list:
    return list(itertools.product(*map(range, size)))


def entries(coordinates, out_coordinates, size, position) -> torch.Tensor:
    """out_in, where `position(out, digits)` is the input's place that an output reads, or None."""
    rows = {tuple(c): i for i, c in enumerate(coordinates.tolist())}
    result = torch.full((len(out_coordinates), len(offsets(size))), -1, dtype=torch.int32)
    for o, (batch, *out) in enumerate(out_coordinates.tolist()):
        for k, digits in enumerate(offsets(size)):
            place = position(out, digits)
            if place is not None:
                result[o, k] = rows.get((batch, *place), -1)
    return result


def strided(stride, padding, dilation):
    """in = stride out + digits dilation - padding"""
    return lambda out, digits: [
        s * o + d * spread - p for o, d, s, p, spread in zip(out, digits, stride, padding, dilation)
    ]


def expanding(stride, padding, dilation):
    """out = stride in - padding + digits dilation"""

    def position(out, digits):
        scaled = [o + p - d * spread for o, d, p, spread in zip(out, digits, padding, dilation)]
        return [v // s for v, s in zip(scaled, stride)] if all(v % s == 0 for v, s in zip(scaled, stride)) else None

    return position


def convolution(features, weight, bias, out_in):
    """Offset after offset, so that autograd knows its gradients."""
    y = features.new_zeros((out_in.shape[0], weight.shape[2]))
    for k in range(out_in.shape[1]):
        (out,) = torch.nonzero(out_in[:, k] >= 0, as_tuple=True)
        y = y.index_add(0, out, features[out_in[out, k].long()] @ weight[k])
    return y if bias is None else y + bias


def to_dense(features, coordinates, shape, batch_size):
    """[batch, channels, *shape]"""
    result = features.new_zeros((batch_size, *shape, features.shape[1]))
    result = result.index_put(tuple(coordinates.long().unbind(1)), features)
    return result.movedim(-1, 1)


def at(dense, coordinates):
    """What a dense tensor [batch, channels, *shape] holds at coordinates."""
    return dense.movedim(1, -1)[tuple(coordinates.long().unbind(1))]


def dense_convolution(features, coordinates, weight, bias, out_coordinates, geometry, shape, batch_size, transposed):
    """The values of PyTorch's dense convolution at the outputs; `weight` [volume, in, out] of `geometry`'s size."""
    size, stride, padding, dilation = geometry
    dim = len(size)
    full = weight.reshape(*size, weight.shape[1], weight.shape[2])
    x = to_dense(features, coordinates, shape, batch_size)
    if transposed:
        function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[dim - 1]
        y = function(x, full.movedim((-2, -1), (0, 1)), bias, stride, padding, dilation=dilation)
    else:
        function = (F.conv1d, F.conv2d, F.conv3d)[dim - 1]
        y = function(x, full.movedim((-1, -2), (0, 1)), bias, stride, padding, dilation)
    return at(y, out_coordinates)
