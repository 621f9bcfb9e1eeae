"""Noisy linear imputation by preconditioned conjugate gradients: for large holes.

Planes are ``[H, W, L]``, each stopping by itself. The preconditioner adds corrections on grids of 2, 4, 8, ... pixels
(Bramble, Pasciak & Xu 1990): so the number of iterations, five to twenty, hardly grows with the holes, and r z is
nearly the squared error in the energy norm, which in the plane all but bounds the error of every single pixel: that
grows with the logarithm of the hole's width.

Every operation acts on single values and sums are trees of additions, so a plane's result does not depend on its batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from roar.datasets.fills.noisy_linear.scratch import Scratch, tree_sum

TOLERANCE = 0.6  # 8-bit units, in the energy norm and over the depth of holes: keeps every pixel's error below 0.2
HAT_ENERGY = 32 / 3  # of a hat function on any grid: 4 times its squared gradient's integral, 8/3


def conjugate_gradients(images: Tensor, mask: Tensor, means: Tensor, scratch: Scratch) -> Tensor:
    """The solution for images whose holes may be of any size.

    Args:
        images: uint8 ``[n, C, H, W]``.
        mask: bool ``[n, H, W]``, what is replaced in all planes of an image.
        means: float ``[n, C]``, for planes of which nothing is kept; of the type to compute in.

    Returns:
        float ``[n, C, H, W]``.
    """
    n, C, H, W = images.shape
    planes, m = (scratch(name, (H, W, n * C), means).copy_(array.reshape(-1, H, W).to(means.dtype).permute(1, 2, 0))
                 for name, array in (("planes", images), ("replaced", mask[:, None].expand_as(images))))
    return _solve(planes, m, means.flatten(), scratch).flatten(0, 1).T.reshape(n, C, H, W)


def _solve(planes: Tensor, m: Tensor, means: Tensor, scratch: Scratch) -> Tensor:
    """For planes and masks ``[H, W, L]``, means ``[L]``; written over the planes."""
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
    hat and, where it is cut off, the weights of the kept neighbors, ``m (S (1 - m))``. Grids with wider meshes
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
    return tree_sum(torch.mul(a, b, out=scratch("a", a.shape, a)).flatten(0, 1))


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
