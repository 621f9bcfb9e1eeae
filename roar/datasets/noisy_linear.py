"""Noisy linear imputation (Rong et al. 2022, "A consistent and efficient evaluation strategy for attribution
methods", arXiv:2202.00449, section 4.2).

Every replaced pixel is the weighted mean of its eight neighbours, 1/6 for those beside it and 1/12 for those
across a corner; the equations of all replaced pixels of an image are solved together, and Gaussian noise is
added. At the border, as in the paper's code, neighbours outside of the image are left out and the weights of the
others are scaled to sum to 1. Where no pixel of a plane is kept there is nothing to go by: the training split's
channel mean fills it.

Times 12 the weights are [1 2 1]^T [1 2 1] without its centre, so no matrix is ever built. With

    S x = [1 2 1]^T [1 2 1] * x    (zero outside of the image),        c = S 1,

the equations are m (c x - S x) = 0 for the replaced pixels m: a Laplacian, symmetric and positive definite, with
the diagonal c - 4. Many planes are solved at once, in one of two ways.

Small holes: with T = m S / c, whose eigenvalues are in [0, 1 - 1/k], the equations are x = T x + kept pixels. Steps
x += tau (T x + kept - x), with 1/tau the roots of a Chebyshev polynomial over [1/k, 1], reduce the error best of all
without a single dot product, and with little bookkeeping. k is foretold from the mask: by the
Rayleigh quotient of T^8 1. Planes of about the same k go together.

Large holes, and planes whose residual is too large after these steps: conjugate gradients, each plane stopping by
itself. The preconditioner adds corrections on grids of 2, 4, 8, ... pixels (Bramble, Pasciak & Xu 1990): so the
number of iterations, five to twenty, hardly grows with the holes, and r z is nearly the squared error in the
energy norm, which in the plane all but bounds the error of every single pixel: that grows with the logarithm of
the hole's width.

Every operation acts on single values and sums are trees of additions. So a plane's result does not depend on
its batch, on the number of threads or on how the work is divided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import ceil, cos, log, pi, prod, sqrt

import torch
from torch import Tensor

from roar.datasets.counter_noise import random_normal
from roar.datasets.fills import FillContext

NOISE = 0.01 * 255  # standard deviation in 8-bit units: the paper's code has 0.01 for images in [0, 1]
TOLERANCE = 0.6  # 8-bit units, in the energy norm and over the depth of holes: keeps every pixel's error below 0.2
SINGLE = 256 * 256  # pixels up to which float32 is exact enough
HAT_ENERGY = 32 / 3  # of a hat function on any grid: 4 times its squared gradient's integral, 8/3
CHUNK_VALUES = {"cpu": 2**20}  # images read and written at a time: enough to find many planes that are alike
CACHED_VALUES = {"cpu": 2**16}  # of planes in Chebyshev's steps, for each thread: five arrays in a core's cache
GRADIENT_VALUES = {"cpu": 2**18}  # of planes in conjugate gradients, which make more calls
LARGE_CHUNK = 2**24  # on other devices
CONDITIONS = tuple(2.0**(half / 2) for half in range(2, 11))  # k of the groups; beyond, conjugate gradients cost less
REDUCTION = 4000  # of the first guess's error by the steps: from 255 to a quarter of what is allowed
RESIDUAL = 0.25  # 8-bit units: k times a solved plane's largest residual, about the most that its error can be


def noisy_linear(images: Tensor, mask: Tensor, context: FillContext) -> Tensor:
    """The fill: images uint8 ``[n, C, H, W]``, mask bool ``[n, 1 or C, H, W]``, to uint8 ``[n, C, H, W]``."""
    n, C, H, W = images.shape
    filled, scratch = torch.empty_like(images), Scratch()
    step = max(1, CHUNK_VALUES.get(images.device.type, LARGE_CHUNK) // (C * H * W))
    for start in range(0, n, step):
        part = slice(start, start + step)
        smooth = interpolate(images[part], mask[part], context.mean, scratch)
        noise = random_normal(context.root_seed, "noisy-linear", context.split,
                              context.part(part).image_indices(images.device), C * H * W)
        filled[part] = smooth.add_(noise.view_as(smooth).mul_(NOISE)).round_().clamp_(0, 255)
    return filled


class Scratch:
    """Memory by name, to be written over: fresh memory costs more than the arithmetic does.

    Whatever is needed for one step only shares the names "a" and "b".
    """

    def __init__(self) -> None:
        self.memory: dict[tuple[str, torch.dtype], Tensor] = {}
        self.bordered: dict[tuple[tuple[int, ...], torch.dtype], Tensor] = {}

    def __call__(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """An array with whatever was left in it."""
        key, count = (name, like.dtype), prod(shape)
        if key not in self.memory or len(self.memory[key]) < count:
            self.memory[key] = like.new_empty(count)
        return self.memory[key][:count].view(*shape)

    def within_zeros(self, x: Tensor) -> Tensor:
        """A copy of ``[H, W, L]`` within a border of one zero, ``[H + 2, W + 2, L]``."""
        H, W, L = x.shape
        key = ((H, W, L), x.dtype)
        if key not in self.bordered:
            self.bordered[key] = x.new_zeros(H + 2, W + 2, L)
        self.bordered[key][1:-1, 1:-1] = x
        return self.bordered[key]


def interpolate(images: Tensor, mask: Tensor, mean: Tensor, scratch: Scratch | None = None) -> Tensor:
    """The solution of the equations, without noise.

    Args:
        images: uint8 ``[n, C, H, W]``; what lies under the mask does not matter.
        mask: bool ``[n, 1 or C, H, W]``, the replaced pixels.
        mean: ``[C]``, for planes of which nothing is kept.
        scratch: what an earlier call with the same shapes left.

    Returns:
        float ``[n, C, H, W]``, in 8-bit units; the kept pixels as they are.
    """
    n, C, H, W = images.shape
    dtype = torch.float32 if H * W <= SINGLE else torch.float64
    scratch = scratch or Scratch()
    means = mean.to(images.device, dtype).repeat(n)
    planes, masks = images.reshape(n * C, H * W), mask.reshape(-1, H * W)
    shared = C // mask.shape[1]
    group = _foretold(masks, (H, W), scratch).repeat_interleave(shared)
    result = torch.empty(n * C, H * W, dtype=dtype, device=images.device)

    def solve(chosen: Tensor, condition: float | None) -> Tensor:
        """Solves some planes and tells which of them are not solved yet."""
        rows = {"planes": planes.index_select(0, chosen), "replaced": masks.index_select(0, chosen // shared)}
        pixels, replaced = (scratch(name, (H * W, len(chosen)), means).copy_(array.to(dtype).T).view(H, W, -1)
                            for name, array in rows.items())
        if condition is None:
            solved, failed = _solve(pixels, replaced, means[chosen], scratch), chosen[:0]
        else:
            solved, good = _steps(pixels, replaced, means[chosen], condition, scratch)
            failed = chosen[~good]
        result.index_copy_(0, chosen, solved.flatten(0, 1).T.contiguous())
        return failed

    cached, gradients = (max(1, values // (H * W)) for values in
                         (_cached_values(images.device), GRADIENT_VALUES.get(images.device.type, LARGE_CHUNK)))
    hard = [torch.nonzero(group >= len(CONDITIONS)).flatten()]
    for index, condition in enumerate(CONDITIONS):
        hard += [solve(part, condition) for part in _parts(torch.nonzero(group == index).flatten(), cached)]
    for part in _parts(torch.cat(hard), gradients):
        solve(part, None)
    return result.view(n, C, H, W)


def _parts(rows: Tensor, size: int) -> list[Tensor]:
    return [rows[start:start + size] for start in range(0, len(rows), size)]


def _cached_values(device: torch.device) -> int:
    return CACHED_VALUES[device.type] * torch.get_num_threads() if device.type in CACHED_VALUES else LARGE_CHUNK


class Cells:
    """Planes ``[H, W, L]`` with zeros between rows and around them: neighbours are a fixed distance apart.

    A row has one zero behind it, which is also before the next; so sums over neighbours are sums of shifted arrays.
    """

    def __init__(self, name: str, shape: Sequence[int], like: Tensor, scratch: Scratch) -> None:
        self.H, self.W, self.L = shape
        self.around = (self.W + 2) * self.L
        self.inner = self.H * (self.W + 1) * self.L
        self.flat = scratch(name, (self.inner + 2 * self.around,), like)
        self.middle = self.flat[self.around:self.around + self.inner]
        self.pixels = self.middle.view(self.H, self.W + 1, self.L)[:, :self.W]

    def zeroed(self) -> Cells:
        self.flat.zero_()
        return self

    def weighted_sum(self, scratch: Scratch) -> Callable[[], Tensor]:
        """What computes ``S x`` as often as it is called, flat as ``middle``, into the same memory.

        What is between the rows has no meaning. The views are made once: each costs a tenth of the addition.
        """
        x, others, additions = self.flat, [scratch(name, self.flat.shape, self.flat) for name in ("a", "b")], []
        for turn, apart in enumerate((self.L, self.L, (self.W + 1) * self.L, (self.W + 1) * self.L)):
            out = others[turn % 2][:len(x) - apart]
            additions.append((x[:-apart], x[apart:], out))
            x = out

        def weighted_sum() -> Tensor:
            for left, right, out in additions:
                torch.add(left, right, out=out)
            return x

        return weighted_sum


def _operator(mask: Tensor, scratch: Scratch) -> Tensor:
    """``m / c``, flat as ``Cells.middle``, of masks ``[H, W, L]``."""
    H, W, _ = mask.shape
    ones = Cells("ones", (H, W, 1), mask, scratch).zeroed()
    ones.pixels.fill_(1)
    c = ones.weighted_sum(scratch)().view(H, W + 1, 1)[:, :W]
    factor = Cells("operator", mask.shape, mask, scratch).zeroed()
    torch.mul(mask, 1 / c, out=factor.pixels)
    return factor.middle


def _foretold(masks: Tensor, size: tuple[int, int], scratch: Scratch) -> Tensor:
    """Which of ``CONDITIONS`` bounds a mask's condition number k, ``[n]``; their number if none does.

    The Rayleigh quotient of T^8 1 is a lower bound of k; 1.3 times its power 1.14 is mostly above, never far below.
    """
    bounds = torch.tensor([(k / 1.3)**(1 / 1.14) for k in CONDITIONS], device=masks.device)
    found = []
    for part in _parts(masks, max(1, _cached_values(masks.device) // prod(size))):
        m = part.float().T.contiguous().view(*size, -1)
        v, operator = Cells("x", m.shape, m, scratch).zeroed(), _operator(m, scratch)
        v.pixels.copy_(m)
        weighted_sum = v.weighted_sum(scratch)
        for _ in range(8):
            torch.mul(weighted_sum(), operator, out=v.middle)
        w = weighted_sum().mul_(operator)
        products = scratch("a", (len(w) // v.L, 2, v.L), w)
        for i, other in enumerate((v.middle, w)):
            torch.mul(v.middle.view(-1, v.L), other.view(-1, v.L), out=products[:, i])
        squares, mixed = _sum_of_rows(products.flatten(1)).view(2, v.L)
        found.append(torch.bucketize(squares / (squares - mixed).clamp(min=1e-30), bounds))
    return torch.cat(found)


@cache
def _step_sizes(condition: float) -> tuple[float, ...]:
    """The tau: as many as the reduction needs, in an order (Leja's) in which rounding errors do not grow."""
    count = ceil(sqrt(condition) / 2 * log(2 * REDUCTION))
    low = 1 / condition
    roots = [(1 + low) / 2 + (1 - low) / 2 * cos(pi * (i + 0.5) / count) for i in range(count)]
    ordered = [roots.pop(0)]
    while roots:
        farthest = max(roots, key=lambda root: sum(log(abs(root - other)) for other in ordered))
        roots.remove(farthest)
        ordered.append(farthest)
    return tuple(1 / root for root in ordered)


def _steps(planes: Tensor, m: Tensor, means: Tensor, condition: float, scratch: Scratch) -> tuple[Tensor, Tensor]:
    """Chebyshev's steps for ``[H, W, L]``; also which planes are solved, ``[L]``."""
    operator = _operator(m, scratch)
    x, kept = (Cells(name, m.shape, m, scratch).zeroed() for name in ("x", "known"))
    torch.mul(planes, torch.sub(1, m, out=scratch("a", m.shape, m)), out=kept.pixels)
    torch.addcmul(kept.pixels, m, means, out=x.pixels)
    weighted_sum, middle, known = x.weighted_sum(scratch), x.middle, kept.middle

    def stepped() -> Tensor:
        sums = weighted_sum()
        return torch.addcmul(known, operator, sums, out=sums)

    for size in _step_sizes(condition):
        middle.lerp_(stepped(), size)
    residual = stepped().sub_(x.middle).abs_().view(-1, x.L).amax(dim=0)
    return x.pixels, residual * condition <= RESIDUAL


def _solve(planes: Tensor, m: Tensor, means: Tensor, scratch: Scratch) -> Tensor:
    """Preconditioned conjugate gradients; planes and m are ``[H, W, L]``, means ``[L]``."""
    x, depth = _pull_push(planes, torch.sub(1, m, out=scratch("kept", m.shape, m)), means, scratch)
    c = _weighted_sum(scratch.within_zeros(torch.ones_like(x[..., :1])), scratch).clone()
    inverses = _inverse_diagonals(m, c, depth, scratch)
    r = torch.mul(x, -c, out=scratch("r", x.shape, x)).add_(_weighted_sum(scratch.within_zeros(x), scratch))
    bordered = scratch.within_zeros(_precondition(r.mul_(m), inverses, scratch).mul_(m))
    p = bordered[1:-1, 1:-1]
    rz = _dot(r, p, scratch)
    limit = (TOLERANCE / depth.clamp(min=1)).to(x.dtype) ** 2
    result, lanes = x, torch.arange(x.shape[-1], device=x.device)
    for _ in range(20 * sum(x.shape[:2]) + 100):
        going = rz > limit
        still = int(going.sum())
        if still == 0:
            break
        if still <= len(lanes) // 2:  # go on with half of the planes
            if x is not result:
                result.index_copy_(2, lanes, x)
            kept = going.to(torch.int8).argsort(descending=True, stable=True)[:len(lanes) // 2]
            x, r, p, m, *inverses = (_select(array, kept) for array in (x, r, p, m, *inverses))
            bordered = scratch.within_zeros(p)
            p = bordered[1:-1, 1:-1]
            lanes, rz, limit, going = lanes[kept], rz[kept], limit[kept], going[kept]
        q = torch.mul(c, p, out=scratch("q", p.shape, p)).sub_(_weighted_sum(bordered, scratch)).mul_(m)
        alpha = torch.where(going, rz / _dot(p, q, scratch), 0)
        x += torch.mul(p, alpha, out=scratch("a", x.shape, x))
        r -= torch.mul(q, alpha, out=scratch("a", x.shape, x))
        z = _precondition(r, inverses, scratch).mul_(m)
        before, rz = rz, _dot(r, z, scratch)
        p.mul_(torch.where(going, rz / before, 0)).add_(z)
    return result if x is result else result.index_copy_(2, lanes, x)


def _inverse_diagonals(m: Tensor, c: Tensor, depth: Tensor, scratch: Scratch) -> list[Tensor]:
    """For each grid the inverse energies of its basis functions, cut off outside of the replaced pixels.

    That of the finest grid is the matrix's diagonal. A hat function of a coarser one has the energy of a whole
    hat and, where it is cut off, the weights of the kept neighbours, ``m (S (1 - m))``. Grids with wider meshes
    than a plane's holes are left out. The powers of 4 make up for those in ``_restrict`` and ``_prolong``.
    """
    inverses = [torch.mul(m, 1 / (c - 4), out=scratch("inverse diagonal", m.shape, m))]
    kept = torch.sub(c, _weighted_sum(scratch.within_zeros(m), scratch), out=scratch("kept", m.shape, m)).mul_(m)
    grids = (max(m.shape[:2]) - 1).bit_length()
    for level in range(1, min(int(depth.max()), grids) + 1):
        kept = _restrict(kept, scratch)
        inverses.append((depth >= level) / (4**level * (4**level * HAT_ENERGY + kept)))
    return inverses


def _precondition(r: Tensor, inverses: list[Tensor], scratch: Scratch) -> Tensor:
    """The sum of the corrections on all grids."""
    z = torch.mul(r, inverses[0], out=scratch(f"correction {len(inverses)}", r.shape, r))
    if len(inverses) > 1:
        coarse = _precondition(_restrict(r, scratch), inverses[1:], scratch)
        for axis in (0, 1):
            coarse = _prolong(coarse, axis, r.shape[axis], scratch)
        z += coarse
    return z


def _prolong(coarse: Tensor, axis: int, size: int, scratch: Scratch) -> Tensor:
    """Twice linear interpolation to twice the points along an axis; at the end the last one counts double."""
    fine = scratch("ba"[axis], [*coarse.shape[:axis], size, *coarse.shape[axis + 1:]], coarse)
    even, odd = _alternate(fine, axis)
    torch.add(coarse, coarse, out=even)
    last = coarse.shape[axis] - 1
    torch.add(coarse.narrow(axis, 0, last), coarse.narrow(axis, 1, last), out=odd.narrow(axis, 0, last))
    if odd.shape[axis] > last:
        odd.narrow(axis, last, 1).copy_(even.narrow(axis, last, 1))
    return fine


def _restrict(fine: Tensor, scratch: Scratch) -> Tensor:
    """Four times the transpose of linear interpolation along both axes."""
    for axis in (0, 1):
        even, odd = _alternate(fine, axis)
        last = even.shape[axis] - 1
        fine = torch.add(even, even, out=scratch("ba"[axis], even.shape, even))
        fine.narrow(axis, 0, odd.shape[axis]).add_(odd)
        fine.narrow(axis, 1, last).add_(odd.narrow(axis, 0, last))
        if odd.shape[axis] > last:
            fine.narrow(axis, last, 1).add_(odd.narrow(axis, last, 1))
    return fine


def _select(x: Tensor, lanes: Tensor) -> Tensor:
    return x.flatten(0, 1).index_select(1, lanes).view(*x.shape[:2], len(lanes))


def _alternate(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    return (x[0::2], x[1::2]) if axis == 0 else (x[:, 0::2], x[:, 1::2])


def _weighted_sum(bordered: Tensor, scratch: Scratch) -> Tensor:
    """``S x = [1 2 1]^T [1 2 1] * x`` along the first two axes, of x within its border."""
    H, W, L = bordered.shape[0] - 2, bordered.shape[1] - 2, bordered.shape[2]
    x = torch.add(bordered[:-1], bordered[1:], out=scratch("a", (H + 1, W + 2, L), bordered))
    x = torch.add(x[:-1], x[1:], out=scratch("b", (H, W + 2, L), x))
    x = torch.add(x[:, :-1], x[:, 1:], out=scratch("a", (H, W + 1, L), x))
    return torch.add(x[:, :-1], x[:, 1:], out=scratch("b", (H, W, L), x))


def _dot(a: Tensor, b: Tensor, scratch: Scratch) -> Tensor:
    """Sums of products over the first two axes, in an order that does not depend on the size of the last."""
    return _sum_of_rows(torch.mul(a, b, out=scratch("a", a.shape, a)).flatten(0, 1))


def _sum_of_rows(x: Tensor) -> Tensor:
    """A tree of additions, written over x."""
    count = len(x)
    while count > 1:
        half = count // 2
        x[:half] += x[half:2 * half]
        if count % 2:
            x[0] += x[count - 1]
        count = half
    return x[0].clone()


def _pull_push(x: Tensor, kept: Tensor, means: Tensor, scratch: Scratch) -> tuple[Tensor, Tensor]:
    """A first guess: what is missing comes from means over 2x2, 4x4, ... pixels (Gortler et al. 1996).

    Written over x. Also how many times that was needed, ``[L]``: a plane's holes are about 2^depth pixels wide.
    """
    H, W, L = x.shape
    x.mul_(kept)
    missing = kept.flatten(0, 1).amin(dim=0) == 0
    if H * W == 1 or not missing.any():
        return x.add_((1 - kept) * means), missing.long()
    total, count = _sum_2x2(x, scratch), _sum_2x2(kept, scratch)
    coarse, depth = _pull_push(total / count.clamp(min=1), (count > 0).to(x.dtype), means, scratch)
    fine = scratch("b", (H, W, L), x)
    for row in (0, 1):
        for column in (0, 1):
            part = fine[row::2, column::2]
            part.copy_(coarse[:part.shape[0], :part.shape[1]])
    x.add_(fine.mul_(torch.sub(1, kept, out=scratch("a", kept.shape, kept))))
    return x, torch.where(missing, depth + 1, 0)


def _sum_2x2(x: Tensor, scratch: Scratch) -> Tensor:
    """Sums over 2x2 pixels, ``[ceil(H/2), ceil(W/2), L]``."""
    H, W, L = x.shape
    rows = scratch("a", ((H + 1) // 2, W, L), x).copy_(x[0::2])
    rows[:H // 2] += x[1::2]
    sums = rows[:, 0::2].clone(memory_format=torch.contiguous_format)
    sums[:, :W // 2] += rows[:, 1::2]
    return sums
