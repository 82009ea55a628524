"""Particles in a box, in Numba with explicit vectors in single precision: the tuned port for float32.

A list for each cluster of eight particles, all of which look at each neighbour together: what one of them sees most
others see too, so that a vector of single precision, too wide for the neighbours of one, is filled. All else is shared
with port_numba_simd.py, and the functions have the same names.

After S. Páll and B. Hess, Comput. Phys. Commun. 184, 2641 (2013), with particles in place of clusters as neighbours.
"""

import numpy as np
from numba import prange

from particles import port_numba_simd as lists
from particles.boxes import Boxes, check_forces
from particles.checks import check
from particles.port_numba_simd import (
    NUMBERS,
    about,
    compiled,
    copy,
    grow,
    load_row,
    make_images,
    move,
    over_pairs,
    over_particles,
    pair_forces,
    place_of,
    sort_into_cells,
    sort_particles,
    state,
)
from particles.port_numba_simd import load_candidates as load_lanes
from particles.port_numba_simd import splat_candidates as splat
from particles.vectors import LANES_32 as LANES
from particles.vectors import at, bits, compress_store, load_of, prefetch, select, shuffle_of, splat_of, store

__all__ = ["about", "load", "run", "state"]

MEMBERS = 8
AT_ONCE = LANES // MEMBERS  # neighbours in a vector: each with all members
ROWS = 4 * MEMBERS  # numbers in the rows of a cluster
ANY = np.uint64(2**MEMBERS - 1)  # a bit for each member
# The member that each lane sees where the members themselves are the neighbours, less the number of the first.
SELF = (np.arange(LANES) % MEMBERS - np.arange(LANES) // MEMBERS).astype(np.uint32)

load_rows = load_of(ROWS // 2)
splat_members = splat_of(MEMBERS)
members_x, members_y, members_z = (shuffle_of(*(lane % MEMBERS * 4 + k for lane in range(LANES))) for k in range(3))
spread_x, spread_y, spread_z = (shuffle_of(*(lane // MEMBERS * 4 + k for lane in range(LANES))) for k in range(3))
first_half, last_half = shuffle_of(*range(MEMBERS)), shuffle_of(*range(LANES - MEMBERS, LANES))
join = shuffle_of(*range(2 * MEMBERS))
first_rows, last_rows = (
    shuffle_of(*(MEMBERS * k + row for row in rows for k in range(4))) for rows in (range(4), range(4, 8))
)


def load(parameters, state):
    """One System for each box."""
    check(parameters, state)
    return Boxes([advance(make(parameters, x, v), 0) for x, v in zip(state["position"], state["velocity"])])


def run(boxes, steps):
    boxes.advance(advance_some, steps)


def make(parameters, position, velocity):
    """A System with its forces still to be found."""
    return lists.make(parameters, position, velocity, MEMBERS)


@over_pairs
def larger(a, b):
    return select(a < b, b, a)


@over_pairs
def members(x, c):
    """The coordinates of the members of the c-th cluster, once for each neighbour in a vector."""
    a, b = load_rows(x, ROWS * c), load_rows(x, ROWS * c + ROWS // 2)
    return members_x(a, b), members_y(a, b), members_z(a, b)


@over_pairs
def others(x, j, k):
    """The coordinates of the neighbours j[k : k + AT_ONCE], each as often as there are members."""
    a, b = load_row(x, at(j, k)), load_row(x, at(j, k + AT_ONCE - 1))
    return spread_x(a, b), spread_y(a, b), spread_z(a, b)


@over_pairs
def fetch(x, here):
    """Have the rows of a cluster fetched from memory, which are two lines of it."""
    prefetch(x, here)
    prefetch(x, here + ROWS // 2)


@over_pairs
def beyond(low, high, x):
    """How far x is outside of the range."""
    return larger(larger(low - x, x - high), splat(np.float32(0)))


@over_pairs
def list_run(low, high, reach2, begin, end, inside, xs, ys, zs, own, neighbours, to):
    """Those within reach of the box [low, high] that lie at [begin, end) in the order of cells, but for the members,
    whose rows begin at `own` and behind it; how many they are."""
    numbers = load_lanes(NUMBERS, 0)
    found = 0
    for k in range(begin, end, LANES):
        dx = beyond(splat(low[0]), splat(high[0]), load_lanes(xs, k))
        dy = beyond(splat(low[1]), splat(high[1]), load_lanes(ys, k))
        dz = beyond(splat(low[2]), splat(high[2]), load_lanes(zs, k))
        near = (dx * dx + dy * dy + dz * dz < reach2) & (numbers < splat(np.uint32(min(LANES, end - k))))
        some = load_lanes(inside, k)
        near = near & (splat(np.uint32(ROWS - 1)) < some - splat(own))
        found += compress_store(neighbours, to + found, some, near)
    return found


@over_pairs
def keep_near(c, reach2, x, neighbours, begin, end):
    """Of those listed at [begin, end), keep those within reach of a member; how many they are."""
    xi, yi, zi = members(x, c)
    kept = begin
    for k in range(begin, end, AT_ONCE):
        xj, yj, zj = others(x, neighbours, k)
        dx, dy, dz = xi - xj, yi - yj, zi - zj
        near = bits(dx * dx + dy * dy + dz * dz < reach2)
        for m in range(AT_ONCE):  # no branch: what is not kept is overwritten by the next
            j = at(neighbours, k + m)
            store(neighbours, kept, j)
            kept += np.int64(near & (ANY << np.uint64(MEMBERS * m)) != np.uint64(0))
    return kept - begin


@over_pairs
def list_one(c, n, reach, x, ahead, cells, per_length, first, inside, xs, ys, zs, neighbours, begin, room, nobody):
    """List at [begin, room) the members of the c-th cluster and, after them, all others within reach of any; how many
    they are with nobody to whole vectors, or -1 without room."""
    here = ROWS * c
    fetch(x, here + 4 * ahead)
    low = high = (x[here], x[here + 1], x[here + 2])
    for i in range(here + 4, min(here + ROWS, 4 * n), 4):
        low = (min(low[0], x[i]), min(low[1], x[i + 1]), min(low[2], x[i + 2]))
        high = (max(high[0], x[i]), max(high[1], x[i + 1]), max(high[2], x[i + 2]))
    for m in range(MEMBERS):  # in the last cluster perhaps images or nobody, for whom all is computed and dropped
        store(neighbours, begin + m, np.uint32(here + 4 * m))
    own = end = begin + MEMBERS
    from_z = place_of(low[2] - reach, per_length[2], cells[2], 0)
    to_z = place_of(high[2] + reach, per_length[2], cells[2], 0)
    for a in range(
        place_of(low[0] - reach, per_length[0], cells[0], 0),
        place_of(high[0] + reach, per_length[0], cells[0], 0) + 1,
    ):
        for b in range(
            place_of(low[1] - reach, per_length[1], cells[1], 0),
            place_of(high[1] + reach, per_length[1], cells[1], 0) + 1,
        ):
            row = (a * cells[1] + b) * cells[2]
            run, stop = first[row + from_z], first[row + to_z + 1]
            if end + (stop - run) + 2 * LANES > room:  # as whole vectors, and to fill up
                return -1
            end += list_run(low, high, reach * reach, run, stop, inside, xs, ys, zs, np.uint32(here), neighbours, end)
    store(neighbours, end, np.uint32(nobody))
    end = own + keep_near(c, reach * reach, x, neighbours, own, end)
    store(neighbours, end, np.uint32(nobody))
    return (end - begin + AT_ONCE - 1) // AT_ONCE * AT_ONCE


@over_particles
def list_neighbours(n, reach, x, ahead, cells, per_length, first, inside, xs, ys, zs, neighbours, start, count, nobody):
    """List the neighbours of each cluster; whether there was room.

    In a parallel loop for one part too: called directly, it takes 4 % longer.
    """
    threads, width = neighbours.shape
    flat = neighbours.reshape(-1)
    crowded = 0
    for part in prange(threads):
        listed, room = part * width, (part + 1) * width
        for c in range(count.size * part // threads, count.size * (part + 1) // threads):
            found = -1
            if listed + MEMBERS + 2 * LANES <= room:
                found = list_one(
                    c, n, reach, x, ahead, cells, per_length, first, inside, xs, ys, zs, flat, listed, room, nobody
                )
            if found < 0:
                crowded += 1
                break
            start[c], count[c] = listed, found
            listed += found
        for k in range(min(AT_ONCE, room - listed)):  # forces() looks so far ahead
            flat[listed + k] = nobody
    return crowded == 0


@over_pairs
def pull(fx, fy, fz, dx, dy, dz, r2, near):
    """The forces, and those of the neighbours that are near."""
    f_over_r = select(near, pair_forces(r2), splat(np.float32(0)))
    return fx + f_over_r * dx, fy + f_over_r * dy, fz + f_over_r * dz


@over_pairs
def both_halves(f):
    return first_half(f, f) + last_half(f, f) if AT_ONCE == 2 else f


@over_pairs
def forces_of_part(begin, end, cutoff2, half_dt, x, ahead, neighbours, start, count, force, v):
    """On the members of the clusters [begin, end), whose lists follow each other.

    The coordinates of the next neighbours are on their way meanwhile, be they the next cluster's: see
    port_numba_simd.py.
    """
    next_ = others(x, neighbours, start[begin])
    for c in range(begin, end):
        here = ROWS * c
        fetch(x, here + 4 * ahead)
        xi, yi, zi = members(x, c)
        fx = fy = fz = splat(np.float32(0))
        for k in range(0, MEMBERS, AT_ONCE):  # the members: only here does one meet itself
            dx, dy, dz = xi - next_[0], yi - next_[1], zi - next_[2]
            next_ = others(x, neighbours, start[c] + k + AT_ONCE)
            r2 = dx * dx + dy * dy + dz * dz
            near = (r2 < cutoff2) & (load_lanes(SELF, 0) != splat(np.uint32(k)))
            fx, fy, fz = pull(fx, fy, fz, dx, dy, dz, r2, near)
        for k in range(start[c] + MEMBERS, start[c] + count[c], AT_ONCE):
            dx, dy, dz = xi - next_[0], yi - next_[1], zi - next_[2]
            next_ = others(x, neighbours, k + AT_ONCE)
            r2 = dx * dx + dy * dy + dz * dz
            fx, fy, fz = pull(fx, fy, fz, dx, dy, dz, r2, r2 < cutoff2)
        xy = join(both_halves(fx), both_halves(fy))
        z0 = join(both_halves(fz), splat_members(np.float32(0)))
        first, last = first_rows(xy, z0), last_rows(xy, z0)
        store(force, here, first)
        store(force, here + ROWS // 2, last)
        store(v, here, load_rows(v, here) + half_dt * first)
        store(v, here + ROWS // 2, load_rows(v, here + ROWS // 2) + half_dt * last)


@over_particles
def forces(cutoff, half_dt, x, ahead, neighbours, start, count, force, v):
    """Force on each particle from its neighbours within the cutoff, and half a time step of acceleration."""
    flat, parts, cutoff2 = neighbours.reshape(-1), neighbours.shape[0], cutoff * cutoff
    if parts == 1:
        forces_of_part(0, count.size, cutoff2, half_dt, x, ahead, flat, start, count, force, v)
    else:
        for part in prange(parts):
            begin, end = count.size * part // parts, count.size * (part + 1) // parts
            forces_of_part(begin, end, cutoff2, half_dt, x, ahead, flat, start, count, force, v)


@compiled
def rebuild(s):
    """Particles sorted, and images, cells and neighbours anew, in a larger System if need be."""
    sort_particles(s)
    while True:
        if make_images(s):
            sort_into_cells(s)
            if list_neighbours(
                s.n, s.cutoff[0] + s.skin[0], s.x, s.ahead, s.cells, s.per_length, s.first,
                s.inside, s.sorted[0], s.sorted[1], s.sorted[2], s.neighbours, s.start, s.count,
                4 * s.total[0],
            ):  # fmt: skip
                break
        s = grow(s)
    copy(s.x, s.listed)
    return s


@compiled
def advance(s, steps):
    """Velocity Verlet. Returns the System, which may have grown."""
    half = s.dt[0] * np.float32(0.5)
    if s.total[0] == 0:
        s = rebuild(s)
        forces(s.cutoff[0], np.float32(0), s.x, s.ahead, s.neighbours, s.start, s.count, s.force, s.v)
    for _ in range(steps):
        if not move(s):
            s = rebuild(s)
        forces(s.cutoff[0], half, s.x, s.ahead, s.neighbours, s.start, s.count, s.force, s.v)
    return s


@compiled
def advance_some(systems, first, end, steps):
    """The boxes [first, end) of a list."""
    for box in range(first, end):
        systems[box] = s = advance(systems[box], steps)
        check_forces(s.force[: 4 * s.n])
