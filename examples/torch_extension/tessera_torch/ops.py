# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Tessera's operators in PyTorch.

The library is loaded here, and what PyTorch needs besides the kernels is registered: shapes for tracing, gradients
and autocast. Two levels:

* `torch.ops.tessera.*`: the operators. Everything that crosses is a tensor, a number or a string; ops.cpp has their schemas.
* the functions and the class `KernelMap` of this module: the same with defaults, and with what is derived from a map
  (its transposed, its cut into tiles) kept beside it, so that layers which share a map share that too.

Words: `coordinates` is an int32 tensor [rows, 1 + D], columns (batch entry, then D axes of your order), rows unique;
`features` [rows, channels] in float32, float16, bfloat16, and on the CPU float64; a `weight` [volume, in, out] in
any strides (a permuted view costs no copy), its offsets row-major, the last axis fastest; `out_in` int32
[num_out, volume] is the input row that an output row reads under an offset, or -1. D is 1 to 4.
A tensor of 0 rows is legal everywhere. What cannot be done is a Python exception with a sentence (ValueError or
RuntimeError). Features, coordinates and maps must be contiguous: nothing is copied unasked.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import pathlib
from typing import NamedTuple, Optional, Sequence, Union

import torch
from torch.autograd import forward_ad

OLDEST_TORCH = (2, 10)


def _check_version(version: str) -> None:
    numbers = tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in version.split("+")[0].split(".")[:2])
    if numbers < OLDEST_TORCH:
        raise ImportError(
            f"tessera_torch: PyTorch {version} is too old; it needs {OLDEST_TORCH[0]}.{OLDEST_TORCH[1]} or later"
        )


def _load() -> str:
    _check_version(torch.__version__)
    folder = pathlib.Path(__file__).parent
    libraries = [os.environ["TESSERA_TORCH_LIBRARY"]] if "TESSERA_TORCH_LIBRARY" in os.environ else []
    libraries = libraries or sorted(str(path) for path in folder.glob("libtessera_torch.*"))
    if not libraries:
        raise ImportError(
            f"tessera_torch: no library libtessera_torch in {folder}; install the package, or name the library in the "
            "environment's TESSERA_TORCH_LIBRARY"
        )
    torch.ops.load_library(libraries[0])
    # What a first call makes is made here: a fork() beside a thread in its first call would leave its child waiting for it.
    torch.ops.tessera.check_coordinates(torch.empty((0, 2), dtype=torch.int32, device="cpu"), [], 0)
    return libraries[0]


LIBRARY = _load()

Sizes = Union[int, Sequence[int]]


def _expect_tensors(who: str, **tensors) -> None:
    for name, x in tensors.items():
        if not isinstance(x, torch.Tensor):
            raise TypeError(f"{who}: {name} must be a tensor of PyTorch, not a {type(x).__name__}")
        if x.device.type not in ("cpu", "cuda"):
            raise RuntimeError(f"{who}: {name} on {x.device}; there are operators for the CPU and for CUDA")
        if x.layout != torch.strided or x.is_nested:
            raise RuntimeError(f"{who}: {name} has the layout {'nested' if x.is_nested else x.layout}; it must be dense")


def _axes_of(who: str, coordinates: torch.Tensor) -> int:
    _expect_tensors(who, coordinates=coordinates)
    if coordinates.dim() != 2:
        raise ValueError(f"{who}: coordinates have {coordinates.dim()} axes, not 2: [rows, 1 + D]")
    return coordinates.shape[1] - 1


# --- kernel maps ---------------------------------------------------------------------------------------------------


class Dataflow(NamedTuple):
    """How a convolution is computed: the same numbers up to rounding.

    `name` is "implicit_gemm", "gather_scatter" or "fetch_on_demand"; `sort` and `splits` are those of an implicit
    GEMM (TorchSparse's conv modes 0, 1 and 2 are (sort, splits) = (False, 1), (True, 1), (True, 3)); `math` is
    "exact" or "tf32", of float32.
    """

    name: str = "implicit_gemm"
    sort: bool = True
    splits: int = 1
    math: str = "exact"

    @staticmethod
    def of_conv_mode(mode: int) -> "Dataflow":
        if mode not in (0, 1, 2):
            raise ValueError(f"conv mode {mode} does not exist; choose 0, 1 or 2")
        return Dataflow(sort=mode != 0, splits=3 if mode == 2 else 1)


class _Derived:
    """What a map and its transposed one share: of each its entries, mask keys, coordinates and shape, its tiles and its
    pairs. It holds tensors alone, so that their memory goes with the last of the two maps."""

    def __init__(self):
        self.sides: list = [None, None]
        self.tiles: tuple = ({}, {})
        self.pairs: list = [None, None]


@dataclasses.dataclass
class KernelMap:
    """Which input row feeds which output row under which kernel offset.

    | field       | shape               | holds                                                                     |
    |-------------|---------------------|---------------------------------------------------------------------------|
    | coordinates | [num_out, 1 + D]    | of the outputs; the input's own tensor for kind "submanifold"             |
    | out_in      | [num_out, volume]   | int32, the input row, or -1                                               |
    | mask_keys   | [num_out] or [0]    | int32, which offsets a row lacks; [0] where not known                     |
    | num_in      |                     | rows of the input                                                         |
    | kernel_size | [D]                 |                                                                           |
    | centre      |                     | the offset under which every row reads itself, or -1                      |
    | symmetric   |                     | pairs read backwards are pairs of the reversed offsets: centred kernels   |
    | shape       | [D] or ()           | cells of the output grid, where the input's were given                    |
    """

    coordinates: torch.Tensor
    out_in: torch.Tensor
    mask_keys: torch.Tensor
    num_in: int
    kernel_size: tuple
    centre: int = -1
    symmetric: bool = False
    shape: tuple = ()
    _derived: Optional["_Derived"] = dataclasses.field(default=None, repr=False)
    _side: int = dataclasses.field(default=0, repr=False)

    def __post_init__(self):
        if self._derived is None:
            self._derived = _Derived()
            self._derived.sides[0] = (self.out_in, self.mask_keys, self.coordinates, self.shape)

    @property
    def num_out(self) -> int:
        return self.out_in.shape[0]

    @property
    def volume(self) -> int:
        return self.out_in.shape[1]

    def transposed(self, coordinates: Optional[torch.Tensor] = None, shape: Sequence[int] = ()) -> "KernelMap":
        """The map of the convolution that undoes this one's: pairs swapped, offsets keep their numbers (spconv's
        inverse convolution, TorchSparse's transposed one). Its entries and tiles are made once and kept.

        `coordinates` and `shape` are those of this map's input, and so of the result's output; without them the result
        has none, unless it is the map that this one is the transposed of.
        """
        sides, other = self._derived.sides, 1 - self._side
        if sides[other] is None:
            if self.symmetric and self.volume == 1:
                in_out = self.out_in
            else:
                in_out = torch.ops.tessera.transpose_map(self.out_in, self.num_in)
            nowhere = self.coordinates.new_empty((0, self.coordinates.shape[1]))
            sides[other] = (in_out, self.mask_keys.new_empty((0,)), nowhere, ())
        out_in, mask_keys, known, known_shape = sides[other]
        result = KernelMap(
            known, out_in, mask_keys, self.num_out, self.kernel_size, self.centre, self.symmetric, known_shape,
            self._derived, other,
        )  # fmt: skip
        if coordinates is not None:
            result.coordinates, result.shape = coordinates, tuple(shape)
        return result

    def tiles(
        self, features: torch.Tensor, weight: torch.Tensor, dataflow: Dataflow, operation: str = "forward"
    ) -> list:
        """The map as the chosen kernel reads it, [order, map, masks], or [] where it reads `out_in` itself: on the
        CPU, for few channels, in other dataflows. Made once for each number of rows in a tile and kept, not while
        torch.compile traces: then the convolution cuts the map itself, at each call."""
        if features.device.type == "cpu" or torch.compiler.is_compiling() or dataflow.name != "implicit_gemm":
            return []
        kept = self._derived.tiles[self._side]
        question = (operation, features.dtype, weight.shape, dataflow)
        key = kept.get(question)
        if key is None:
            rows = torch.ops.tessera.tile_rows(
                features, weight, self.num_out, self.centre, operation, dataflow.splits, dataflow.math
            )
            key = kept[question] = (rows, dataflow.sort and self.volume > 1, dataflow.splits)
        if key[0] == 0:
            return []
        if key not in kept:
            kept[key] = list(
                torch.ops.tessera.tile_map(self.out_in, self.mask_keys, list(self.kernel_size), self.centre, *key)
            )
        return kept[key]


    def pairs(self, features: torch.Tensor) -> list:
        """The map as the gradient of a weight reads it, [inputs, outputs, begins], or [] where it reads `out_in` itself:
        on the CPU, for features of 32 bits, for kernels of one voxel. Made once and kept."""
        if features.device.type == "cpu" or features.element_size() != 2 or self.volume == 1:
            return []
        kept = self._derived.pairs
        if kept[self._side] is None:
            kept[self._side] = list(torch.ops.tessera.pair_list(self.out_in, self.num_in))
        return kept[self._side]


KINDS = ("submanifold", "strided", "generative", "expanding")
RULES = ("tessera", "torchsparse", "spconv", "spconv1")


def _per_axis(value: Sizes, dim: int) -> list:
    return [value] * dim if isinstance(value, int) else list(value)


def output_shape(
    kind: str,
    shape: Sequence[int],
    kernel_size: Sizes,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    output_padding: Sizes = 0,
    rules: str = "tessera",
    downsample: str = "spconv",
) -> tuple:
    """Cells of the output grid of a layer of `kind` on a grid of `shape`. Pure arithmetic; may be below 1, which
    kernel_map() refuses.

    strided: `floor((in + 2 padding - dilation (size - 1) - 1) / stride) + 1`, or `ceil(in / stride)` for downsample
    "minkowski"; expanding (a dense transposed convolution): `(in - 1) stride - 2 padding + dilation (size - 1) + 1 +
    output_padding`, where the spconv rules leave the dilation out; generative: `in stride`.
    """
    dim = len(shape)
    axes = zip(*(_per_axis(value, dim) for value in (kernel_size, stride, padding, dilation, output_padding)))
    spconv = rules in ("spconv", "spconv1")
    result = []
    for extent, (size, step, pad, spread, extra) in zip(shape, axes):
        if kind == "submanifold":
            result.append(extent)
        elif kind == "expanding":
            result.append((extent - 1) * step - 2 * pad + (1 if spconv else spread) * (size - 1) + 1 + extra)
        elif kind == "generative" and rules != "torchsparse":
            result.append(extent * step)
        elif downsample == "minkowski":
            result.append(-(-extent // step))
        else:
            result.append((extent + 2 * pad - spread * (size - 1) - 1) // step + 1)
    return tuple(result)


def kernel_map(
    coordinates: torch.Tensor,
    kind: str,
    kernel_size: Sizes,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    output_padding: Sizes = 0,
    shape: Sequence[int] = (),
    batch_size: int = 0,
    rules: str = "tessera",
    kmap: str = "hashmap_on_the_fly",
    downsample: str = "spconv",
) -> KernelMap:
    """The kernel map of a layer and the coordinates it leads to.

    Rows `in` and `out` are a pair of the offset with digits `d` when both are of one batch entry and on every axis

    | kind        | pairs                                                 | outputs                                     |
    |-------------|-------------------------------------------------------|---------------------------------------------|
    | submanifold | `in = out + d dilation - anchor`, centred             | the inputs, in their order; stride must be 1 |
    | strided     | `in = stride out + d dilation - padding`              | all reached, lexicographic                  |
    | generative  | `out = stride in + (size / 2 - d) dilation`           | all reached, lexicographic                  |
    | expanding   | `out = stride in - padding + d dilation`              | all reached, lexicographic                  |

    An inverse or transposed layer is `KernelMap.transposed()` of the strided layer that it undoes, or of
    `pair_map()`. `shape` is the grid of the input (needs `batch_size`); without it the grid is unbounded. `rules`,
    `kmap`, `downsample` are Tessera's names: rules "spconv" for spconv 2.3's layers, "spconv1", "torchsparse".

    A coordinate outside `shape` or a duplicate is a RuntimeError; on a GPU only a coordinate outside, and that only where
    the host waits anyway (strided, generative, expanding). `check_coordinates()` waits and looks for both.
    """
    dim = _axes_of("kernel_map", coordinates)
    sizes, strides, paddings, dilations, output_paddings = (
        _per_axis(value, dim) for value in (kernel_size, stride, padding, dilation, output_padding)
    )
    out, out_in, mask_keys = torch.ops.tessera.kernel_map(
        coordinates, kind, sizes, strides, paddings, dilations, output_paddings, list(shape), batch_size, rules, kmap,
        downsample,
    )  # fmt: skip
    submanifold = kind == "submanifold"
    centre, symmetric = -1, False
    if submanifold:
        anchor = _submanifold_anchor(sizes, dilations, rules, kmap)
        centre = _centre(sizes, dilations, anchor)
        symmetric = all(2 * a == (size - 1) * d for a, size, d in zip(anchor, sizes, dilations))
    elif kind != "generative" and _reads_itself(sizes, strides, paddings, output_paddings, rules, kmap):
        centre, symmetric = 0, True
    out_shape = ()
    if len(shape) > 0:
        out_shape = output_shape(
            kind, shape, sizes, strides, paddings, dilations, output_paddings, rules, downsample
        )
    return KernelMap(
        coordinates if submanifold else out, out_in, mask_keys, coordinates.shape[0], tuple(sizes), centre, symmetric,
        out_shape,
    )  # fmt: skip


def expect_rows_in_export(coordinates: torch.Tensor) -> None:
    """While torch.export traces: the program may take it that a layer's outputs exist, and looks when it runs. Norms
    and loops over rows ask whether there are any, and how many there will be is not known."""
    if torch.compiler.is_exporting() and isinstance(coordinates.shape[0], torch.SymInt):
        torch._check(coordinates.shape[0] > 0)


def _submanifold_anchor(sizes: list, dilations: list, rules: str, kmap: str) -> list:
    """How far below its voxel a submanifold kernel begins, on each axis: KernelRegion::anchor."""
    if kmap == "hashmap":
        return [(size - 1) // 2 * d for size, d in zip(sizes, dilations)]
    if rules == "spconv1":
        dilations = [1] * len(sizes)
    odd = [size % 2 == 1 for size in sizes]
    if rules == "torchsparse":
        odd = [all(odd)] * len(sizes)
    return [(size - 1) // 2 * d if o else 0 for size, d, o in zip(sizes, dilations, odd)]


def _centre(sizes: list, dilations: list, anchor: list) -> int:
    """The offset that reads the voxel itself, or -1: KernelRegion::centre()."""
    result = 0
    for size, d, a in zip(sizes, dilations, anchor):
        if a % d != 0 or a // d >= size:
            return -1
        result = result * size + a // d
    return result


def _reads_itself(sizes: list, strides: list, paddings: list, output_paddings: list, rules: str, kmap: str) -> bool:
    """Whether a strided or expanding convolution is a product of each row with a matrix."""
    ones = all(n == 1 for n in [*sizes, *strides])
    any_padding = kmap == "hashmap" or rules in ("spconv", "spconv1")
    return ones and (any_padding or not any(paddings)) and not any(output_paddings)


def pair_map(
    coordinates: torch.Tensor,
    out_coordinates: torch.Tensor,
    kernel_size: Sizes,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    shape: Sequence[int] = (),
    out_shape: Sequence[int] = (),
    batch_size: int = 0,
    kmap: str = "hashmap_on_the_fly",
) -> KernelMap:
    """The map of a strided convolution between two sets of coordinates that are both there: TorchSparse's transposed
    convolution of a kernel size that no strided layer had is its `transposed()`."""
    dim = _axes_of("pair_map", coordinates)
    _expect_tensors("pair_map", out_coordinates=out_coordinates)
    sizes, *others = (_per_axis(value, dim) for value in (kernel_size, stride, padding, dilation))
    out_in, mask_keys = torch.ops.tessera.pair_map(
        coordinates, out_coordinates, sizes, *others, list(shape), list(out_shape), batch_size, kmap
    )
    return KernelMap(
        out_coordinates, out_in, mask_keys, coordinates.shape[0], tuple(sizes), shape=tuple(out_shape)
    )


# --- convolution ---------------------------------------------------------------------------------------------------


def convolution(
    features: torch.Tensor,
    weight: torch.Tensor,
    bias: Optional[torch.Tensor],
    map: KernelMap,
    dataflow: Dataflow = Dataflow(),
) -> torch.Tensor:
    """`y[o] = bias + sum over k with i = out_in[o, k] >= 0 of features[i] @ weight[k]`, [num_out, out].

    Sums in float32 (float64 of float64), rounded once. Gradients of features, weight and bias by Tessera's own
    backward functions; gradients of gradients are refused. Under autocast features, weight and bias are cast to the
    autocast type. `weight` [volume, in, out] may be a view of any strides: of spconv's [out, *size, in] it is
    `parameter.flatten(1, -2).permute(1, 2, 0)`, of TorchSparse's the parameter itself.
    """
    _expect_tensors("convolution", features=features, weight=weight, **({} if bias is None else {"bias": bias}))
    _expect_rows("convolution", features, map)
    if weight.dim() != 3:
        raise ValueError(f"convolution: a weight of {weight.dim()} axes, not 3: [volume, in, out]")
    _expect_no_tangents("convolution", features, weight, bias)
    device = features.device.type
    autocast = torch.is_autocast_enabled(device)
    eager = not (torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active())
    if autocast and eager:
        features, weight, bias = _cast(device, features, weight, bias)
    compute = features
    if autocast and not eager and device == "cuda":  # the tiles are those of the type that the operator casts to
        compute = features.new_empty((0, features.shape[1]), dtype=torch.get_autocast_dtype(device))
    tiles = map.tiles(compute, weight, dataflow)
    needs_gradient = torch.is_grad_enabled() and (
        features.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    )
    in_out, gradient_tiles = None, []
    if needs_gradient and features.requires_grad:
        if map.symmetric:
            gradient_tiles = map.tiles(compute, weight, dataflow, "backward_data")
        else:
            transposed = map.transposed()
            in_out = transposed.out_in
            gradient_tiles = transposed.tiles(compute, weight, dataflow, "backward_data")
    call = (
        features, weight, bias, map.out_in, in_out, list(map.kernel_size), map.centre, map.symmetric, tiles,
        gradient_tiles, *dataflow,
    )  # fmt: skip
    if not eager:
        return _CONVOLUTION(*call)
    if not needs_gradient:
        return _below_autograd(_CONVOLUTION, autocast, *call)
    return _EagerConvolution.apply(map.pairs(features) if weight.requires_grad else [], *call)


# What register_autograd() puts around an operator costs a call some hundred microseconds of the host. So eager calls go
# past it: to the kernel where no gradient is needed, else through these functions, which do the same with less. What traces
# (torch.compile, torch.export) sees the operators; torch.func's transforms meet PyTorch's sentence that they know none.

_AUTOCAST_KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU) | torch._C.DispatchKeySet(
    torch._C.DispatchKey.AutocastCUDA
)
_CONVOLUTION = torch.ops.tessera.convolution.default
_CONVOLUTION_BACKWARD = torch.ops.tessera.convolution_backward.default
_POOL = torch.ops.tessera.pool.default
_POOL_BACKWARD = torch.ops.tessera.pool_backward.default


def _below_autograd(operator, autocast: bool, *arguments):
    """Calls an operator without what is registered for autograd, and for autocast, which has been done."""
    with torch._C._AutoDispatchBelowAutograd():
        if autocast:
            with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST_KEYS):
                return operator(*arguments)
        return operator(*arguments)


def _gradient_of(operator, *arguments):
    """Calls a gradient's operator: below autograd, unless a gradient of it might be asked for, which it refuses."""
    if torch.is_grad_enabled():
        return operator(*arguments)
    return _below_autograd(operator, True, *arguments)


class _EagerConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pairs, *call):
        features, weight, _, out_in, in_out, *of_map, _, gradient_tiles, name, sort, splits, mode = call
        ctx.save_for_backward(features, weight, out_in, in_out, *gradient_tiles, *pairs)
        ctx.of_map, ctx.dataflow, ctx.num_tiles = of_map, (name, sort, splits, mode), len(gradient_tiles)
        return _below_autograd(_CONVOLUTION, True, *call)

    @staticmethod
    def backward(ctx, grad):
        features, weight, out_in, in_out, *kept = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[1:4])
        grads = _gradient_of(
            _CONVOLUTION_BACKWARD, grad.contiguous(), features, weight, out_in, in_out, *ctx.of_map,
            kept[: ctx.num_tiles], kept[ctx.num_tiles :], *ctx.dataflow, wanted,
        )  # fmt: skip
        return (None, *[g if wants else None for g, wants in zip(grads, wanted)], *[None] * 11)


class _EagerPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, out_in, in_out, mode, from_zero):
        ctx.save_for_backward(features, out_in, in_out)
        ctx.mode, ctx.from_zero = mode, from_zero
        return _below_autograd(_POOL, True, features, out_in, in_out, mode, from_zero)

    @staticmethod
    def backward(ctx, grad):
        grads = _gradient_of(_POOL_BACKWARD, grad.contiguous(), *ctx.saved_tensors, ctx.mode, ctx.from_zero)
        return grads, None, None, None, None


def _expect_rows(who: str, features: torch.Tensor, map: KernelMap) -> None:
    if not isinstance(map, KernelMap):
        raise TypeError(f"{who}: the map is a {type(map).__name__}, not a KernelMap")
    if features.dim() != 2:
        raise ValueError(f"{who}: features have {features.dim()} axes, not 2: [rows, channels]")
    if features.shape[0] != map.num_in:
        raise ValueError(f"{who}: {features.shape[0]} rows of features for a map of {map.num_in} input rows")


def _expect_no_tangents(who: str, *tensors: Optional[torch.Tensor]) -> None:
    """PyTorch lets an operator that has no derivative in forward mode drop it in silence."""
    if forward_ad._current_level < 0 or torch.compiler.is_compiling():
        return
    if any(x is not None and forward_ad.unpack_dual(x).tangent is not None for x in tensors):
        raise RuntimeError(f"{who}: there are no derivatives in forward mode; take those of backward()")


# --- pools ---------------------------------------------------------------------------------------------------------


def pool(features: torch.Tensor, map: KernelMap, mode: str, from_zero: bool = False) -> torch.Tensor:
    """The largest ("max"), mean ("average") or sum ("sum") of each channel over the existing rows of each output's
    window, [num_out, channels]. `from_zero` begins a maximum at 0, as spconv does.

    The gradient of a maximum goes to the first of equal rows, that of a mean is divided by the number of existing
    rows; an output without any row is 0. The map of a pool is a strided one of rules "tessera", also for spconv's pools,
    which do not share its convolutions' rule of kernels of one voxel.
    """
    _expect_tensors("pool", features=features)
    _expect_rows("pool", features, map)
    _expect_no_tangents("pool", features)
    needs_gradient = torch.is_grad_enabled() and features.requires_grad
    call = (features, map.out_in, map.transposed().out_in if needs_gradient else None, mode, from_zero)
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return _POOL(*call)
    return _EagerPool.apply(*call) if needs_gradient else _below_autograd(_POOL, False, *call)


def global_pool(features: torch.Tensor, coordinates: torch.Tensor, batch_size: int, mode: str) -> torch.Tensor:
    """The largest ("max") or mean ("average") of every channel over the rows of each batch entry,
    [batch_size, channels]; 0 for an entry without rows."""
    _expect_tensors("global_pool", features=features, coordinates=coordinates)
    _expect_no_tangents("global_pool", features)
    return torch.ops.tessera.global_pool(features, coordinates, batch_size, mode)


# --- dense tensors -------------------------------------------------------------------------------------------------


def dense(
    features: torch.Tensor,
    coordinates: torch.Tensor,
    shape: Sequence[int],
    batch_size: int,
    channels_first: bool = True,
) -> torch.Tensor:
    """[batch_size, channels, *shape], or [batch_size, *shape, channels], zero where there is no voxel; gradients for
    the features. A voxel outside is a RuntimeError on the CPU, left out on a GPU."""
    _expect_tensors("dense", features=features, coordinates=coordinates)
    _expect_no_tangents("dense", features)
    return torch.ops.tessera.dense(features, coordinates, list(shape), batch_size, channels_first)


def sparse(dense: torch.Tensor, channels_first: bool = False) -> tuple:
    """(features [rows, channels], coordinates [rows, 1 + D]) of the cells of which a channel is not zero, in
    lexicographic order; gradients for the dense tensor."""
    _expect_tensors("sparse", dense=dense)
    _expect_no_tangents("sparse", dense)
    return torch.ops.tessera.sparse(dense, channels_first)


# --- voxels of points ----------------------------------------------------------------------------------------------


def hard_voxelize(
    points: torch.Tensor,
    voxel_size: Sequence[float],
    point_range: Sequence[float],
    max_points: int,
    max_voxels: int,
    batch: Optional[torch.Tensor] = None,
    batch_size: int = 1,
    order: str = "zyx",
) -> tuple:
    """Voxels as mmcv's deterministic `Voxelization` makes them: numbered by their first point, `max_voxels` of a cloud
    at most, the first `max_points` points of each.

    `points` float32 [n, 3 + c], rows begin with x, y, z; `point_range` (x, y, z lower, then upper); `batch` int32 [n]
    the cloud of each point, in [0, batch_size). `order` of the axes in a coordinate, "zyx" or "xyz".
    Returns (voxels [v, max_points, 3 + c], zero after a voxel's last point; coordinates int32 [v, 4], batch first;
    num_points int32 [v]; means [v, 3 + c]). No gradients: points that require one are refused.
    """
    _expect_no_gradient("hard_voxelize", points)
    lower, upper = list(point_range[:3]), list(point_range[3:])
    return torch.ops.tessera.hard_voxelize(
        points, batch, batch_size, list(voxel_size), lower, upper, max_points, max_voxels, order
    )


def _expect_no_gradient(who: str, points: torch.Tensor) -> None:
    _expect_tensors(who, points=points)
    if torch.is_grad_enabled() and points.requires_grad:
        raise ValueError(f"{who}: the points require a gradient, and there is none through voxels; call detach()")


def dynamic_voxelize(
    points: torch.Tensor,
    voxel_size: Sequence[float],
    point_range: Sequence[float],
    reduce: str = "mean",
    batch: Optional[torch.Tensor] = None,
    batch_size: int = 1,
    order: str = "zyx",
) -> tuple:
    """The same grid without caps (mmcv's dynamic voxelization and scatter).

    Returns (features [v, 3 + c], `reduce` "mean", "sum", "max" or "first" of the points; coordinates int32 [v, 4] in
    lexicographic order; inverse int32 [n], each point's voxel, -1 outside the grid). No gradients.
    """
    _expect_no_gradient("dynamic_voxelize", points)
    lower, upper = list(point_range[:3]), list(point_range[3:])
    return torch.ops.tessera.dynamic_voxelize(
        points, batch, batch_size, list(voxel_size), lower, upper, reduce, order
    )


# --- coordinates ---------------------------------------------------------------------------------------------------


def unite(a: torch.Tensor, b: torch.Tensor) -> tuple:
    """(coordinates [u, 1 + D] of the voxels of either in lexicographic order; rows int32 [u, 2]). Column 0 is the row
    of `a` or -1, column 1 `a.shape[0] +` the row of `b`, or -1: a kernel map over the concatenated features, whose
    sum is `torch.ops.tessera.pool(torch.cat([fa, fb]), rows, None, "sum", False)`; see add_by_coordinate()."""
    _expect_tensors("unite", a=a, b=b)
    return torch.ops.tessera.unite(a, b)


def add_by_coordinate(
    a_features: torch.Tensor, a: torch.Tensor, b_features: torch.Tensor, b: torch.Tensor
) -> tuple:
    """(features, coordinates) of the sum of two tensors by coordinate, absent voxels being 0 (spconv's sparse_add);
    gradients for both."""
    coordinates, rows = unite(a, b)
    joined = KernelMap(coordinates, rows, rows.new_empty((0,)), a.shape[0] + b.shape[0], (2,))
    return pool(torch.cat([a_features, b_features]), joined, "sum"), coordinates


def find_rows(coordinates: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """int32 [q], the row of `coordinates` that holds each of `queries` [q, 1 + D], or -1."""
    _expect_tensors("find_rows", coordinates=coordinates, queries=queries)
    return torch.ops.tessera.find_rows(coordinates, queries)


def check_coordinates(coordinates: torch.Tensor, shape: Sequence[int] = (), batch_size: int = 0) -> None:
    """Throws a RuntimeError where rows are outside the grid or occur twice. Waits for the device."""
    _expect_tensors("check_coordinates", coordinates=coordinates)
    torch.ops.tessera.check_coordinates(coordinates, list(shape), batch_size)


# --- what torch.compile and torch.export are told ------------------------------------------------------------------


def _register_fake(name: str):
    """Of an operator; refuses tensors on several devices, since a meta tensor among others leads here too."""

    def register(shapes):
        @functools.wraps(shapes)
        def checked(*arguments):
            parts = [part for a in arguments for part in (a if isinstance(a, (list, tuple)) else (a,))]
            devices = sorted({str(part.device) for part in parts if isinstance(part, torch.Tensor)})
            if len(devices) > 1:
                raise RuntimeError(f"{name}: tensors on {' and '.join(devices)}; all must be on one device")
            return shapes(*arguments)

        torch.library.register_fake("tessera::" + name)(checked)
        return shapes

    return register


def _unknown(like: torch.Tensor, shape, dtype=torch.int32) -> torch.Tensor:
    return like.new_empty(tuple(shape), dtype=dtype)


def _gradient_like(weight: torch.Tensor) -> torch.Tensor:
    """In the weight's strides, where they leave no gaps, so that its parameter takes the gradient as it is."""
    if torch.ops.aten.is_non_overlapping_and_dense(weight):
        return torch.empty_strided(weight.shape, weight.stride(), dtype=weight.dtype, device=weight.device)
    return weight.new_empty(weight.shape)


@_register_fake("kernel_map")
def _(coordinates, kind, kernel_size, stride, padding, dilation, output_padding, shape, batch_size, rules, kmap,
      downsample):  # fmt: skip
    volume = math.prod(kernel_size)
    if kind == "submanifold":
        out, rows = 0, coordinates.shape[0]
    else:
        out = rows = torch.library.get_ctx().new_dynamic_size()
    return (
        coordinates.new_empty((out, coordinates.shape[1])),
        _unknown(coordinates, (rows, volume)),
        _unknown(coordinates, (torch.library.get_ctx().new_dynamic_size(),)),
    )


@_register_fake("pair_map")
def _(coordinates, out_coordinates, kernel_size, stride, padding, dilation, shape, out_shape, batch_size, kmap):
    volume, rows = math.prod(kernel_size), out_coordinates.shape[0]
    keys = torch.library.get_ctx().new_dynamic_size()
    return _unknown(coordinates, (rows, volume)), _unknown(coordinates, (keys,))


@_register_fake("transpose_map")
def _(out_in, num_in):
    return out_in.new_empty((num_in, out_in.shape[1]))


@_register_fake("tile_map")
def _(out_in, mask_keys, kernel_size, centre, tile_rows, sort, splits):
    tiles = (out_in.shape[0] + tile_rows - 1) // tile_rows
    length = -(-out_in.shape[1] // splits)
    splits = -(-out_in.shape[1] // length)
    return (
        out_in.new_empty((splits, tiles, tile_rows)),
        out_in.new_empty((splits, tiles, length, tile_rows)),
        out_in.new_empty((splits, tiles, -(-length // 32))),
    )


@_register_fake("pair_list")
def _(out_in, num_in):
    rows, volume = out_in.shape
    room = rows * volume if out_in.is_cuda else torch.library.get_ctx().new_dynamic_size()
    return out_in.new_empty((room,)), out_in.new_empty((room,)), _unknown(out_in, (volume + 1,), torch.int64)


@_register_fake("convolution")
def _(features, weight, bias, out_in, in_out, kernel_size, centre, symmetric, tiles, gradient_tiles, dataflow, sort,
      splits, math):  # fmt: skip
    return features.new_empty((out_in.shape[0], weight.shape[2]))


@_register_fake("convolution_backward")
def _(grad, features, weight, out_in, in_out, kernel_size, centre, symmetric, gradient_tiles, pairs, dataflow, sort,
      splits, math, wanted):  # fmt: skip
    return (
        features.new_empty(features.shape if wanted[0] else (0,)),
        _gradient_like(weight) if wanted[1] else features.new_empty((0,)),
        features.new_empty((weight.shape[2],) if wanted[2] else (0,)),
    )


@_register_fake("pool")
def _(features, out_in, in_out, mode, from_zero):
    return features.new_empty((out_in.shape[0], features.shape[1]))


@_register_fake("pool_backward")
def _(grad, features, out_in, in_out, mode, from_zero):
    return features.new_empty(features.shape)


@_register_fake("global_pool")
def _(features, coordinates, batch_size, mode):
    return features.new_empty((batch_size, features.shape[1]))


@_register_fake("global_pool_backward")
def _(grad, features, coordinates, mode):
    return features.new_empty(features.shape)


@_register_fake("dense")
def _(features, coordinates, shape, batch_size, channels_first):
    channels = features.shape[1]
    full = (batch_size, channels, *shape) if channels_first else (batch_size, *shape, channels)
    return features.new_empty(full)


@_register_fake("dense_backward")
def _(grad, coordinates, channels_first):
    return grad.new_empty((coordinates.shape[0], grad.shape[1 if channels_first else -1]))


@_register_fake("sparse")
def _(dense, channels_first):
    rows = torch.library.get_ctx().new_dynamic_size()
    return dense.new_empty((rows, dense.shape[1 if channels_first else -1])), _unknown(dense, (rows, dense.dim() - 1))


@_register_fake("hard_voxelize")
def _(points, batch, batch_size, voxel_size, lower, upper, max_points, max_voxels, order):
    rows = torch.library.get_ctx().new_dynamic_size()
    columns = points.shape[1]
    return (
        points.new_empty((rows, max_points, columns)),
        _unknown(points, (rows, 4)),
        _unknown(points, (rows,)),
        points.new_empty((rows, columns)),
    )


@_register_fake("dynamic_voxelize")
def _(points, batch, batch_size, voxel_size, lower, upper, reduce, order):
    rows = torch.library.get_ctx().new_dynamic_size()
    return points.new_empty((rows, points.shape[1])), _unknown(points, (rows, 4)), _unknown(points, (points.shape[0],))


@_register_fake("unite")
def _(a, b):
    rows = torch.library.get_ctx().new_dynamic_size()
    return a.new_empty((rows, a.shape[1])), a.new_empty((rows, 2))


@_register_fake("find_rows")
def _(coordinates, queries):
    return queries.new_empty((queries.shape[0],))


@_register_fake("check_coordinates")
def _(coordinates, shape, batch_size):
    return None


# --- gradients -----------------------------------------------------------------------------------------------------


def _register_gradient(name: str, setup, backward) -> None:
    torch.library.register_autograd("tessera::" + name, backward, setup_context=setup)


def _refuse(name: str, sentence: str) -> None:
    def setup(ctx, inputs, output):
        pass

    def backward(ctx, *grads):
        raise RuntimeError(f"tessera::{name}: {sentence}")

    _register_gradient(name, setup, backward)


def _convolution_setup(ctx, inputs, output):
    features, weight, _, out_in, in_out, *of_map, tiles, gradient_tiles, name, sort, splits, mode = inputs
    ctx.save_for_backward(features, weight, out_in, in_out, *gradient_tiles)
    ctx.of_map, ctx.dataflow = of_map, (name, sort, splits, mode)
    ctx.num_tiles = len(tiles), len(gradient_tiles)


def _convolution_backward(ctx, grad):
    features, weight, out_in, in_out, *gradient_tiles = ctx.saved_tensors
    wanted = list(ctx.needs_input_grad[:3])
    grads = torch.ops.tessera.convolution_backward(
        grad.contiguous(), features, weight, out_in, in_out, *ctx.of_map, gradient_tiles, [], *ctx.dataflow, wanted
    )
    of_inputs = [g if wants else None for g, wants in zip(grads, wanted)]
    of_tiles = [[None] * count for count in ctx.num_tiles]
    return (*of_inputs, None, None, None, None, None, *of_tiles, None, None, None, None)


def _pool_setup(ctx, inputs, output):
    features, out_in, in_out, ctx.mode, ctx.from_zero = inputs
    ctx.save_for_backward(features, out_in, in_out)


def _pool_backward(ctx, grad):
    features, out_in, in_out = ctx.saved_tensors
    if in_out is None:
        in_out = torch.ops.tessera.transpose_map(out_in, features.shape[0])
    result = torch.ops.tessera.pool_backward(grad.contiguous(), features, out_in, in_out, ctx.mode, ctx.from_zero)
    return result, None, None, None, None


def _global_pool_setup(ctx, inputs, output):
    features, coordinates, _, ctx.mode = inputs
    ctx.save_for_backward(features, coordinates)


def _global_pool_backward(ctx, grad):
    features, coordinates = ctx.saved_tensors
    result = torch.ops.tessera.global_pool_backward(grad.contiguous(), features, coordinates, ctx.mode)
    return result, None, None, None


def _dense_setup(ctx, inputs, output):
    _, coordinates, _, _, ctx.channels_first = inputs
    ctx.save_for_backward(coordinates)


def _dense_backward(ctx, grad):
    (coordinates,) = ctx.saved_tensors
    result = torch.ops.tessera.dense_backward(grad.contiguous(), coordinates, ctx.channels_first)
    return result, None, None, None, None


def _dense_backward_setup(ctx, inputs, output):
    grad, coordinates, ctx.channels_first = inputs
    sizes = list(grad.shape)
    ctx.batch_size, ctx.shape = sizes[0], sizes[2:] if ctx.channels_first else sizes[1:-1]
    ctx.save_for_backward(coordinates)


def _dense_backward_backward(ctx, grad):
    (coordinates,) = ctx.saved_tensors
    result = torch.ops.tessera.dense(grad.contiguous(), coordinates, ctx.shape, ctx.batch_size, ctx.channels_first)
    return result, None, None


def _sparse_setup(ctx, inputs, output):
    dense, ctx.channels_first = inputs
    sizes = list(dense.shape)
    ctx.batch_size = sizes[0]
    ctx.shape = sizes[2:] if ctx.channels_first else sizes[1:-1]
    ctx.save_for_backward(output[1])


def _sparse_backward(ctx, grad, _):
    (coordinates,) = ctx.saved_tensors
    result = torch.ops.tessera.dense(grad.contiguous(), coordinates, ctx.shape, ctx.batch_size, ctx.channels_first)
    return result, None


_register_gradient("convolution", _convolution_setup, _convolution_backward)
_register_gradient("pool", _pool_setup, _pool_backward)
_register_gradient("global_pool", _global_pool_setup, _global_pool_backward)
_register_gradient("dense", _dense_setup, _dense_backward)
_register_gradient("dense_backward", _dense_backward_setup, _dense_backward_backward)
_register_gradient("sparse", _sparse_setup, _sparse_backward)
for _name in ("convolution_backward", "pool_backward", "global_pool_backward"):
    _refuse(_name, "there are no gradients of gradients; call backward() without create_graph")
for _name in ("hard_voxelize", "dynamic_voxelize"):
    _refuse(_name, "there are no gradients through voxels; call detach() on the points")


# --- autocast ------------------------------------------------------------------------------------------------------

_autocast_library = torch.library.Library("tessera", "FRAGMENT")


def _cast(device: str, *tensors) -> list:
    """The tensors in autocast's type; float64 stays, as in PyTorch's own convolutions."""
    dtype = torch.get_autocast_dtype(device)
    return [x.to(dtype) if x is not None and x.dtype != torch.float64 else x for x in tensors]


def _register_autocast(device: str, key: str) -> None:
    def convolution(keys, features, weight, bias, *rest):
        cast = _cast(device, features, weight, bias)
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST_KEYS):
            return _CONVOLUTION(*cast, *rest)

    _autocast_library.impl("convolution", convolution, key, with_keyset=True)


_register_autocast("cpu", "AutocastCPU")
_register_autocast("cuda", "AutocastCUDA")
