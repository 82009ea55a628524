"""Particles in a box, in Numba with explicit vectors: the tuned port.

The steps are those of port_numba.py, and the functions have the same names. What differs:

* A position is a row x y z 0 of 32 bytes, which is one load; the rows of as many neighbours as a vector has lanes are
  transposed in registers. Three gathers take three times as long.
* Particles are sorted by their cells whenever neighbours are listed, so that neighbours are near in memory.
* Neighbours are numbered by where their row begins, and each list is filled up to whole vectors with nobody, who is far
  away: no loop has a remainder.
* Each candidate row of cells is tested a vector at a time, and those within reach are packed in registers.
"""

from typing import NamedTuple

import numba
import numpy as np
from numba import prange

from particles.checks import check, check_forces
from particles.observe import observed, stacked
from particles.port_numba import SKIN, about, pair_force, pair_potential
from particles.vectors import LANES, at, compress_store, load_of, select, shuffle_of, splat_of, store

__all__ = ["about", "load", "run", "state"]

FAR = 1e150  # where nobody is; the square is finite
NUMBERS = np.arange(LANES, dtype=np.uint32)

compiled = numba.njit(cache=True, error_model="numpy")
over_particles = numba.njit(cache=True, error_model="numpy", parallel=True)
over_pairs = numba.njit(cache=True, error_model="numpy", fastmath={"contract"})

load_row = load_of(4, aligned=True)
load_lanes = load_of(LANES)
splat = splat_of(LANES)
if LANES == 8:
    join = shuffle_of(0, 1, 2, 3, 4, 5, 6, 7)
    low_pairs, high_pairs = shuffle_of(0, 8, 2, 10, 4, 12, 6, 14), shuffle_of(1, 9, 3, 11, 5, 13, 7, 15)
    low_halves, high_halves = shuffle_of(0, 1, 8, 9, 4, 5, 12, 13), shuffle_of(2, 3, 10, 11, 6, 7, 14, 15)
low_half, high_half = shuffle_of(0, 1, 2, 3), shuffle_of(LANES - 4, LANES - 3, LANES - 2, LANES - 1)
low_pairs_of_4, high_pairs_of_4 = shuffle_of(0, 4, 2, 6), shuffle_of(1, 5, 3, 7)
low_halves_of_4, high_halves_of_4 = shuffle_of(0, 1, 4, 5), shuffle_of(2, 3, 6, 7)
splat_4 = splat_of(4)


def load(parameters, state):
    """One System for each box."""
    check(parameters, state)
    return [advance(make(parameters, x, v), 0) for x, v in zip(state["position"], state["velocity"])]


def run(systems, steps):
    for k, system in enumerate(systems):
        systems[k] = advance(system, steps)
        check_forces(systems[k].force)


def state(systems):
    """Every field of the specification, boxes first."""
    return stacked([observe(system) for system in systems], float)


class System(NamedTuple):
    """One box: n particles, sorted by cell, then their images, then nobody. A row is x y z 0, flat in its array."""

    n: int
    box: np.ndarray  # (3,)
    periodic: bool
    cutoff: float
    skin: float
    dt: float
    x: np.ndarray  # (4 room,): positions
    v: np.ndarray  # (4 n,)
    force: np.ndarray  # (4 n,)
    listed: np.ndarray  # (4 n,): positions when the neighbours were listed
    spare: np.ndarray  # (4 n,): to sort rows in
    id: np.ndarray  # (n,): which particle each was when it was loaded
    source: np.ndarray  # (room,): where the row begins of which this is an image
    shift: np.ndarray  # (4 room,): by what
    cells: np.ndarray  # (3,): how many, with two more on every side for the images
    side: np.ndarray  # (3,): of a cell
    cell: np.ndarray  # (room,): in which each lies
    first: np.ndarray  # (cells + 1,): where each begins in `inside`
    inside: np.ndarray  # (room + LANES,): where rows begin, in the order of cells
    sorted: np.ndarray  # (3, room + LANES): positions in that order
    neighbours: np.ndarray  # (n width,): where rows begin, `width` for each particle
    count: np.ndarray  # (n,): of neighbours, with nobody to whole vectors
    total: np.ndarray  # (1,): particles and images; 0 before there is a list


def make(parameters, position, velocity):
    """A System with its forces still to be found."""
    n, box, cutoff = len(position), np.array(parameters["box"]), float(parameters["cutoff"])
    skin = min(SKIN, cutoff)
    half_reach = 0.5 * (cutoff + skin)
    # No more than a few cells per particle, however thin the gas; none smaller than half the reach.
    inner = np.clip((box / half_reach).astype(np.int64), 1, max(1, int(2 * n ** (1 / 3))))
    cells = inner + 4
    periodic = parameters["boundary"] == "periodic"
    room = n + 1 + (int(n * (np.prod(1 + 2.2 * (cutoff + skin) / box) - 1)) + 64 if periodic else 0)
    width = whole_vectors(int(min(27.0 * n, 6 * n / np.prod(box) * (cutoff + skin) ** 3)) + 16)
    x, v = rows(room), rows(n)
    x[: 4 * n].reshape(n, 4)[:, :3] = position
    v.reshape(n, 4)[:, :3] = velocity
    return System(
        n=n,
        box=box,
        periodic=periodic,
        cutoff=cutoff,
        skin=skin,
        dt=float(parameters["dt"]),
        x=x,
        v=v,
        force=rows(n),
        listed=rows(n),
        spare=rows(n),
        id=np.arange(n, dtype=np.uint32),
        source=np.zeros(room, np.uint32),
        shift=rows(room),
        cells=cells,
        side=np.maximum(box / inner, half_reach),
        cell=np.zeros(room, np.int64),
        first=np.zeros(int(np.prod(cells)) + 1, np.int64),
        inside=np.zeros(room + LANES, np.uint32),
        sorted=np.zeros((3, room + LANES)),
        neighbours=np.zeros(n * width, np.uint32),
        count=np.zeros(n, np.int64),
        total=np.zeros(1, np.int64),
    )


@compiled
def rows(count):
    """So many rows of zeros, flat, where an aligned load can read them."""
    raw = np.zeros(4 * count + 8)
    skip = (-raw.ctypes.data // 8) % 8
    return raw[skip : skip + 4 * count]


@compiled
def whole_vectors(count):
    return (count + LANES - 1) // LANES * LANES


@compiled
def grow(s):
    """The same particles with half as much room again for images and neighbours."""
    room = s.source.size * 3 // 2 + 64
    width = whole_vectors(s.neighbours.size // s.n * 3 // 2 + 16)
    x = rows(room)
    x[: 4 * s.n] = s.x[: 4 * s.n]
    return System(
        s.n, s.box, s.periodic, s.cutoff, s.skin, s.dt,
        x, s.v, s.force, s.listed, s.spare, s.id, np.zeros(room, np.uint32), rows(room),
        s.cells, s.side, np.zeros(room, np.int64), s.first,
        np.zeros(room + LANES, np.uint32), np.zeros((3, room + LANES)),
        np.zeros(s.n * width, np.uint32), s.count, s.total,
    )  # fmt: skip


@compiled
def wrap(s):
    """Bring the particles of a periodic box back into [0, L)."""
    for i in range(s.n):
        for k in range(3):
            here = 4 * i + k
            x = s.x[here] - s.box[k] * np.floor(s.x[here] / s.box[k])
            s.x[here] = x if 0 <= x < s.box[k] else 0.0  # rounding takes -1e-17 to L, and 3 L to just below 0


@compiled
def cell_of(s, i):
    """The cell of the i-th row."""
    c = 0
    rim = 2 if i < s.n else 0  # the outer cells are for images, also where a particle touches a wall
    for k in range(3):
        place = int(np.floor(s.x[4 * i + k] / s.side[k])) + 2
        c = c * s.cells[k] + min(max(place, rim), s.cells[k] - 1 - rim)
    return c


@compiled
def count_cells(s, total):
    """`cell` of each row, and where each cell begins in the order of cells."""
    s.first[:] = 0
    for i in range(total):
        s.cell[i] = cell_of(s, i)
        s.first[s.cell[i] + 1] += 1
    for c in range(s.first.size - 1):
        s.first[c + 1] += s.first[c]


@compiled
def sort_particles(s):
    """Put the particles themselves in the order of their cells."""
    count_cells(s, s.n)
    for i in range(s.n):
        c = s.cell[i]
        s.inside[s.first[c]] = i
        s.first[c] += 1
    for some in (s.x, s.v):
        for i in range(s.n):
            store(s.spare, 4 * i, load_row(some, 4 * np.int64(s.inside[i])))
        some[: 4 * s.n] = s.spare
    for i in range(s.n):
        s.inside[i] = s.id[s.inside[i]]
    s.id[:] = s.inside[: s.n]


@compiled
def make_images(s):
    """Append the images within reach of the box, and nobody after them; whether there was room."""
    reach = s.cutoff + s.skin
    total = s.n
    if s.periodic:
        for k in range(3):  # images of images too: along edges and at corners
            for i in range(total):  # not those that this direction adds
                x = s.x[4 * i + k]
                for by in (-s.box[k], s.box[k]):
                    if (by > 0 and x < reach) or (by < 0 and x >= s.box[k] - reach):
                        if total + 1 == s.source.size:
                            return False
                        source = s.source[i] if i >= s.n else np.uint32(4 * i)
                        s.source[total] = source
                        for m in range(3):
                            shift = by if m == k else s.shift[4 * i + m] if i >= s.n else 0.0
                            s.shift[4 * total + m] = shift
                            s.x[4 * total + m] = s.x[np.int64(source) + m] + shift
                        total += 1
    s.total[0] = total
    s.x[4 * total : 4 * total + 3] = FAR
    return True


@compiled
def sort_into_cells(s):
    """Counting sort of particles and images."""
    total = s.total[0]
    count_cells(s, total)
    for i in range(total):
        here = s.first[s.cell[i]]  # ends as the beginning of the next cell
        s.first[s.cell[i]] += 1
        s.inside[here] = 4 * i
        for k in range(3):
            s.sorted[k, here] = s.x[4 * i + k]
    for c in range(s.first.size - 1, 0, -1):
        s.first[c] = s.first[c - 1]
    s.first[0] = 0


@over_pairs
def list_run(i, reach2, x, begin, end, inside, xs, ys, zs, neighbours, to):
    """Those within reach of the i-th row that lie at [begin, end) in the order of cells; how many they are."""
    xi, yi, zi = splat(at(x, 4 * i)), splat(at(x, 4 * i + 1)), splat(at(x, 4 * i + 2))
    mine, numbers = splat(np.uint32(4 * i)), load_lanes(NUMBERS, 0)
    found = 0
    for k in range(begin, end, LANES):
        dx, dy, dz = xi - load_lanes(xs, k), yi - load_lanes(ys, k), zi - load_lanes(zs, k)
        some = load_lanes(inside, k)
        near = (dx * dx + dy * dy + dz * dz < reach2) & (some != mine)
        near = near & (numbers < splat(np.uint32(min(LANES, end - k))))
        found += compress_store(neighbours, to + found, some, near)
    return found


@over_particles
def list_neighbours(n, reach, x, cells, cell, first, inside, xs, ys, zs, neighbours, count, nobody):
    """List all within reach of each particle; whether there was room."""
    rows_, columns_ = cells[1] * cells[2], cells[2]
    width = neighbours.size // n
    crowded = 0
    for i in prange(n):
        found = 0
        for a in range(-2, 3):
            for b in range(-2, 3):
                c = cell[i] + a * rows_ + b * columns_
                begin, end = first[c - 2], first[c + 3]  # five cells in a row along z
                if found + (end - begin) + 2 * LANES > width:  # as whole vectors, and to fill up
                    crowded += 1
                    break
                found += list_run(i, reach * reach, x, begin, end, inside, xs, ys, zs, neighbours, i * width + found)
        for k in range(LANES):
            if found + k < width:
                neighbours[i * width + found + k] = nobody
        count[i] = whole_vectors(found)
    return crowded == 0


@over_particles
def move_images(n, total_, x, source, shift):
    """Images follow their particles."""
    for i in prange(n, total_):
        store(x, 4 * i, load_row(x, np.int64(source[i])) + load_row(shift, 4 * i))


if LANES == 8:

    @over_pairs
    def columns(x, j, k):
        """The coordinates of the rows j[k : k + 8], a vector for each axis."""
        a = join(load_row(x, at(j, k)), load_row(x, at(j, k + 4)))
        b = join(load_row(x, at(j, k + 1)), load_row(x, at(j, k + 5)))
        c = join(load_row(x, at(j, k + 2)), load_row(x, at(j, k + 6)))
        d = join(load_row(x, at(j, k + 3)), load_row(x, at(j, k + 7)))
        xz01, xz23 = low_pairs(a, b), low_pairs(c, d)
        return low_halves(xz01, xz23), low_halves(high_pairs(a, b), high_pairs(c, d)), high_halves(xz01, xz23)

else:

    @over_pairs
    def columns(x, j, k):
        """The coordinates of the rows j[k : k + 4], a vector for each axis."""
        a, b = load_row(x, at(j, k)), load_row(x, at(j, k + 1))
        c, d = load_row(x, at(j, k + 2)), load_row(x, at(j, k + 3))
        xz01, xz23 = low_pairs_of_4(a, b), low_pairs_of_4(c, d)
        y01, y23 = high_pairs_of_4(a, b), high_pairs_of_4(c, d)
        return low_halves_of_4(xz01, xz23), low_halves_of_4(y01, y23), high_halves_of_4(xz01, xz23)


@over_pairs
def halves_added(a):
    return low_half(a, a) + high_half(a, a) if LANES == 8 else low_half(a, a)


@over_pairs
def sums(x, y, z):
    """The sums over the lanes of x, of y and of z, and 0: a row, without leaving the registers."""
    x4, y4, z4, none = halves_added(x), halves_added(y), halves_added(z), splat_4(0.0)
    xy = low_pairs_of_4(x4, y4) + high_pairs_of_4(x4, y4)
    z0 = low_pairs_of_4(z4, none) + high_pairs_of_4(z4, none)
    return low_halves_of_4(xy, z0) + high_halves_of_4(xy, z0)


@over_pairs
def force_on(i, cutoff2, x, neighbours, begin, end):
    """From the neighbours at [begin, end) on the i-th row."""
    xi, yi, zi = splat(at(x, 4 * i)), splat(at(x, 4 * i + 1)), splat(at(x, 4 * i + 2))
    nothing = splat(0.0)
    fx = fy = fz = nothing
    for k in range(begin, end, LANES):
        xj, yj, zj = columns(x, neighbours, k)
        dx, dy, dz = xi - xj, yi - yj, zi - zj
        r2 = dx * dx + dy * dy + dz * dz
        s2 = 1.0 / r2
        s6 = s2 * s2 * s2
        f_over_r = select(r2 < cutoff2, 24.0 * (2.0 * s6 * s6 - s6) * s2, nothing)
        fx = fx + f_over_r * dx
        fy = fy + f_over_r * dy
        fz = fz + f_over_r * dz
    return sums(fx, fy, fz)


@over_particles
def forces(n, cutoff, half_dt, x, neighbours, count, force, v):
    """Force on each particle from its neighbours within the cutoff, and half a time step of acceleration."""
    width = neighbours.size // n
    for i in prange(n):
        mine = force_on(i, cutoff * cutoff, x, neighbours, i * width, i * width + count[i])
        store(force, 4 * i, mine)
        store(v, 4 * i, load_row(v, 4 * i) + half_dt * mine)


@compiled
def potential_and_virial(s):
    """Sums over the pairs: of their energy, and of r . f."""
    cutoff2 = s.cutoff * s.cutoff
    shift = pair_potential(cutoff2)
    width = s.neighbours.size // s.n
    potential = virial = 0.0
    for i in range(s.n):
        u = w = 0.0
        for j in s.neighbours[i * width : i * width + s.count[i]]:
            r2 = 0.0
            for k in range(3):
                r2 += (s.x[4 * i + k] - s.x[np.int64(j) + k]) ** 2
            if r2 < cutoff2:
                u += pair_potential(r2) - shift
                w += pair_force(r2) * r2
        potential += u
        virial += w
    return 0.5 * potential, 0.5 * virial  # each pair was met from both sides


@over_particles
def kick_and_drift(n, box, periodic, dt, x, v, force, listed):
    """Half a kick, and the move by v dt; between walls, bounce until inside. How many particles were too fast, and the
    square of how far one is at most from where it was listed."""
    escaped, most, half = 0, 0.0, 0.5 * dt
    for i in prange(n):
        speed = load_row(v, 4 * i) + half * load_row(force, 4 * i)
        store(v, 4 * i, speed)
        store(x, 4 * i, load_row(x, 4 * i) + dt * speed)
        moved2 = 0.0
        for k in range(3):
            to = x[4 * i + k]
            if not abs(to) < 100.0 * box[k]:
                escaped += 1
            elif not periodic:
                while to < 0 or to > box[k]:
                    to = -to if to < 0 else box[k] + box[k] - to
                    v[4 * i + k] = -v[4 * i + k]
                x[4 * i + k] = to
            moved2 += (to - listed[4 * i + k]) ** 2
        most = max(most, moved2)
    return escaped, most


@compiled
def rebuild(s):
    """Particles sorted, and images, cells and neighbours anew, in a larger System if need be."""
    if s.periodic:
        wrap(s)
    sort_particles(s)
    while True:
        if make_images(s):
            sort_into_cells(s)
            if list_neighbours(
                s.n, s.cutoff + s.skin, s.x, s.cells, s.cell, s.first, s.inside, s.sorted[0], s.sorted[1], s.sorted[2],
                s.neighbours, s.count, 4 * s.total[0],
            ):  # fmt: skip
                break
        s = grow(s)
    s.listed[:] = s.x[: 4 * s.n]
    return s


@compiled
def advance(s, steps):
    """Velocity Verlet. Returns the System, which may have grown."""
    half = 0.5 * s.dt
    if s.total[0] == 0:
        s = rebuild(s)
        forces(s.n, s.cutoff, 0.0, s.x, s.neighbours, s.count, s.force, s.v)
    for _ in range(steps):
        escaped, moved2 = kick_and_drift(s.n, s.box, s.periodic, s.dt, s.x, s.v, s.force, s.listed)
        if escaped:
            raise ValueError("a particle crossed the box many times in one step: the time step is too long")
        if not moved2 <= (0.5 * s.skin) ** 2:
            s = rebuild(s)
        else:
            move_images(s.n, s.total[0], s.x, s.source, s.shift)
        forces(s.n, s.cutoff, half, s.x, s.neighbours, s.count, s.force, s.v)
    return s


def observe(system):
    """The fields of one box, as the specification shapes them and in the order in which it was loaded."""
    n, back = system.n, np.argsort(system.id)
    x, v, force = (a[: 4 * n].reshape(n, 4)[back, :3] for a in (system.x, system.v, system.force))
    return observed(system.box, system.periodic, x, v, force, *potential_and_virial(system))
