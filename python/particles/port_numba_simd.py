"""Particles in a box, in Numba with explicit vectors: the tuned port.

The steps are those of port_numba.py, and the functions have the same names. What differs:

* The rows of as many neighbours as a vector has lanes are transposed in registers. Three gathers take three times as
  long.
* Neighbours are numbered by where their row begins, and each list is filled up to whole vectors with nobody, who is out
  of reach: no loop has a remainder.
* Cells are half as wide as the reach, which leaves fewer candidates.
* Each candidate row of cells is tested a vector at a time, in single precision, which has twice the lanes and reaches a
  little further than asked; and those within reach are packed in registers.

port_numba_clusters.py shares all but the list and the forces; hence, as in port_numba.py, everything is computed in the
type of the arrays.
"""

from typing import NamedTuple

import numba
import numpy as np
from numba import prange

from particles.boxes import Boxes, check_forces
from particles.checks import check
from particles.observe import observed_rows, stacked
from particles.port_numba import about, copy, count_up, pair_force, pair_potential, wrap
from particles.vectors import (
    LANES,
    LANES_32,
    at,
    compress_store,
    load_of,
    prefetch,
    select,
    shuffle_of,
    splat_of,
    store,
)

__all__ = ["about", "load", "run", "state"]

SKIN = 0.4
SPARE = 8  # rows of nobody at the end: as many as share a list at most
NUMBERS = np.arange(LANES_32, dtype=np.uint32)

compiled = numba.njit(cache=True, error_model="numpy", nogil=True)
over_particles = numba.njit(cache=True, error_model="numpy", parallel=True)
over_pairs = numba.njit(cache=True, error_model="numpy", fastmath={"contract"})

load_row = load_of(4, aligned=True)
load_candidates, splat_candidates = load_of(LANES_32), splat_of(LANES_32)
splat = splat_of(LANES)
if LANES == 8:
    join = shuffle_of(0, 1, 2, 3, 4, 5, 6, 7)
    low_pairs, high_pairs = shuffle_of(0, 8, 2, 10, 4, 12, 6, 14), shuffle_of(1, 9, 3, 11, 5, 13, 7, 15)
    even_quarters, odd_quarters = shuffle_of(0, 1, 4, 5, 8, 9, 12, 13), shuffle_of(2, 3, 6, 7, 10, 11, 14, 15)
low_half, high_half = shuffle_of(0, 1, 2, 3), shuffle_of(LANES - 4, LANES - 3, LANES - 2, LANES - 1)
low_pairs_of_4, high_pairs_of_4 = shuffle_of(0, 4, 2, 6), shuffle_of(1, 5, 3, 7)
low_halves_of_4, high_halves_of_4 = shuffle_of(0, 1, 4, 5), shuffle_of(2, 3, 6, 7)
splat_4 = splat_of(4)


def load(parameters, state):
    """One System for each box."""
    check(parameters, state)
    return Boxes([advance(make(parameters, x, v), 0) for x, v in zip(state["position"], state["velocity"])])


def run(boxes, steps):
    boxes.advance(advance_some, steps)


def state(boxes):
    """Every field of the specification, boxes first."""
    return stacked([observed_rows(s, *potential_and_virial(s)) for s in boxes], boxes[0].x.dtype)


class System(NamedTuple):
    """One box: n particles, sorted, then their images, then nobody. A row is x y z 0, flat in its array.

    Numbers that are not whole are in arrays: a bare float32 would come back from compiled code as a float64.
    """

    n: int
    members: int  # particles that share a list
    box: np.ndarray  # (3,)
    periodic: bool
    cutoff: np.ndarray  # (1,)
    skin: np.ndarray  # (1,)
    slack: np.ndarray  # (1,): how far particles may move before neighbours are listed anew
    dt: np.ndarray  # (1,)
    x: np.ndarray  # (4 room,): positions
    v: np.ndarray  # (4 n,), in whole lists
    force: np.ndarray  # (4 n,), in whole lists
    listed: np.ndarray  # (4 n,): positions when the neighbours were listed
    spare: np.ndarray  # (4 n,): to sort rows in
    id: np.ndarray  # (n,): which particle each was when it was loaded
    source: np.ndarray  # (room,): where the row begins of which this is an image
    shift: np.ndarray  # (4 room,): by what; of particles by nothing
    cells: np.ndarray  # (3,): how many, with two more on every side for the images
    side: np.ndarray  # (3,): of a cell
    cell: np.ndarray  # (room,): in which each lies
    first: np.ndarray  # (cells + 1,): where each begins in `inside`
    inside: np.ndarray  # (room + a vector,): where rows begin, in the order of cells
    sorted: np.ndarray  # (3, room + a vector): positions in that order, in single precision
    rough_reach2: np.ndarray  # (1,): what that may find for the square of the reach
    columns: np.ndarray  # (3,): slabs, columns in each, and layers, in the order of which particles are sorted
    wide: np.ndarray  # (3,): how much each is
    ahead: int  # how many rows further on, about, is who comes into sight next
    begin: np.ndarray  # (layers + 1,): where each begins among the particles
    neighbours: np.ndarray  # (threads, room for lists): where rows begin; lists have no gaps between them
    start: np.ndarray  # (lists,): where each begins in `neighbours`, if that were flat
    count: np.ndarray  # (lists,): of neighbours, with nobody to whole vectors
    total: np.ndarray  # (1,): particles and images; 0 before there is a list


def make(parameters, position, velocity, members=1):
    """A System with its forces still to be found."""
    n, number = len(position), position.dtype.type
    box, cutoff = np.array(parameters["box"], dtype=number), number(parameters["cutoff"])
    skin = min(number(SKIN), cutoff)
    reach = cutoff + skin
    # A little sooner than is exact, so that rounding loses no pair: neither that of distances, nor of places.
    slack = number(0.499999) * skin - 4 * np.finfo(number).eps * (box.max() + 2 * reach)
    # No more than a few cells per particle, however thin the gas; none smaller than half the reach.
    inner = np.clip((box / (reach / 2)).astype(np.int64), 1, max(1, int(2 * n ** (1 / 3))))
    cells = inner + 4
    density = n / np.prod(box, dtype=float)
    # Particles are sorted in the order of cells; or in columns as wide as a cluster is long, in layers of less than one
    # each, so that those who follow each other are near.
    long, columns = 0.0, inner
    if members > 1:
        long = np.cbrt(members / density)
        columns = np.clip(np.rint(box / long), 1, max(1, int(n ** (1 / 3)))).astype(np.int64)
        columns[2] = 1 + 2 * n // (columns[0] * columns[1])
    lists = -(-n // members)
    periodic = parameters["boundary"] == "periodic"
    room = n + SPARE + (int(n * (np.prod(1 + 2.2 * reach / box) - 1)) + 64 if periodic else 0)
    # For what a liquid has; there will be more if need be.
    around = 5 * density * (reach + long / 4) ** 3
    # Threads share the boxes, or else the particles of the only one.
    threads = min(numba.get_num_threads(), lists) if parameters["boxes"] == 1 else 1
    width = int(min((27.0 if periodic else 1.0) * n, around) + LANES) * -(-lists // threads) + 16 * LANES_32
    # Coordinates are rounded, and so are their differences.
    rough = np.float32(reach) + 4 * np.finfo(np.float32).eps * np.float32(box.max() + reach)
    x, v = rows(room, number), rows(members * lists, number)
    x[: 4 * n].reshape(n, 4)[:, :3] = position
    v[: 4 * n].reshape(n, 4)[:, :3] = velocity
    return System(
        n=n,
        members=members,
        box=box,
        periodic=periodic,
        cutoff=np.array([cutoff]),
        skin=np.array([skin]),
        slack=np.array([max(slack, number(0))], number),
        dt=np.array([parameters["dt"]], number),
        x=x,
        v=v,
        force=rows(members * lists, number),
        listed=rows(n, number),
        spare=rows(n, number),
        id=np.arange(n, dtype=np.uint32),
        source=np.zeros(room, np.uint32),
        shift=rows(room, number),
        cells=cells,
        side=np.maximum(box / inner.astype(number), reach / 2),
        cell=np.zeros(room, np.int64),
        first=np.zeros(int(np.prod(cells)) + 1, np.int64),
        inside=np.zeros(room + LANES_32, np.uint32),
        sorted=np.zeros((3, room + LANES_32), np.float32),
        rough_reach2=np.array([rough * rough]),
        columns=columns,
        wide=box / columns.astype(number),
        ahead=next_in_sight(n, columns, reach * columns / box),
        begin=np.zeros(int(np.prod(columns)) + 1, np.int64),
        neighbours=np.zeros((threads, width), np.uint32),
        start=np.zeros(lists, np.int64),
        count=np.zeros(lists, np.int64),
        total=np.zeros(1, np.int64),
    )


def next_in_sight(n, columns, seen):
    """How many rows further on, about, is who comes into a particle's sight next.

    As many slabs and columns as it sees, even numbers of them, for who goes there and back again meets himself at every
    second; and a column, for memory takes time.
    """
    even = 2 * np.ceil(0.499 * seen).astype(np.int64)  # not quite a half: two seen are not to be rounded to four
    ahead = n * (even[0] * columns[1] + even[1] + 1) // (columns[0] * columns[1])
    return int(ahead) if ahead < n else 0  # in few slabs all are in sight


@compiled
def rows(count, number):
    """So many rows of zeros, flat, where an aligned load can read them."""
    raw = np.zeros(4 * count + 16, number)
    skip = (-raw.ctypes.data % 64) // raw.itemsize
    return raw[skip : skip + 4 * count]


@compiled
def whole_vectors(count):
    return (count + LANES - 1) // LANES * LANES


@compiled
def grow(s):
    """The same particles with half as much room again for images and neighbours."""
    number = s.x.dtype
    room = s.source.size * 3 // 2 + 64
    threads, width = s.neighbours.shape
    x = rows(room, number)
    copy(s.x[: 4 * s.n], x)
    return System(
        s.n, s.members, s.box, s.periodic, s.cutoff, s.skin, s.slack, s.dt,
        x, s.v, s.force, s.listed, s.spare, s.id, np.zeros(room, np.uint32), rows(room, number),
        s.cells, s.side, np.zeros(room, np.int64), s.first,
        np.zeros(room + LANES_32, np.uint32), np.zeros((3, room + LANES_32), np.float32), s.rough_reach2,
        s.columns, s.wide, s.ahead, s.begin, np.zeros((threads, width * 3 // 2 + 16 * LANES_32), np.uint32),
        s.start, s.count, s.total,
    )  # fmt: skip


@compiled
def place_of(x, side, cells, rim):
    """Of the cells along an axis the one in which x lies, or that as far from the edge as the rim is wide."""
    return min(max(int(np.floor(x / side)) + 2, rim), cells - 1 - rim)


@compiled
def sort_particles(s):
    """Put the particles themselves in the order of cells; for clusters, of layers in columns, there and back again."""
    for i in range(s.n):
        place = 0
        for k in range(3):
            along = min(int(s.x[4 * i + k] / s.wide[k]), s.columns[k] - 1)
            if s.members > 1 and place % 2:
                along = s.columns[k] - 1 - along
            place = place * s.columns[k] + along
        s.cell[i] = place
    count_up(s.begin, s.cell, s.n)
    for i in range(s.n):
        c = s.cell[i]
        s.inside[s.begin[c]] = i
        s.begin[c] += 1
    for some in (s.x, s.v):
        for i in range(s.n):
            store(s.spare, 4 * i, load_row(some, 4 * np.int64(s.inside[i])))
        copy(s.spare, some)
    for i in range(s.n):
        s.inside[i] = s.id[s.inside[i]]
    copy(s.inside, s.id)


@compiled
def make_images(s):
    """Append the images within reach of the box, and nobody after them; whether there was room."""
    reach = s.cutoff[0] + s.skin[0]
    total = s.n
    for i in range(s.n):
        s.source[i] = 4 * i
    if s.periodic:
        for k in range(3):  # images of images too: along edges and at corners
            for i in range(total):  # not those that this direction adds
                x = s.x[4 * i + k]
                for by in (-s.box[k], s.box[k]):
                    if (by > 0 and x < reach) or (by < 0 and x >= s.box[k] - reach):
                        if total + SPARE == s.source.size:
                            return False
                        source = s.source[i]
                        s.source[total] = source
                        for m in range(3):
                            shift = by if m == k else s.shift[4 * i + m]
                            s.shift[4 * total + m] = shift
                            s.x[4 * total + m] = s.x[np.int64(source) + m] + shift
                        total += 1
    s.total[0] = total
    for i in range(total, total + SPARE):
        for k in range(3):  # out of reach, but no farther: a force that underflows would take all lanes 100 cycles
            s.x[4 * i + k] = -(reach + reach)
    return True


@compiled
def sort_into_cells(s):
    """Counting sort of particles and images."""
    total = s.total[0]
    for i in range(total):
        c = 0
        rim = 2 if i < s.n else 0  # the outer cells are for images, also where a particle touches a wall
        for k in range(3):
            c = c * s.cells[k] + place_of(s.x[4 * i + k], s.side[k], s.cells[k], rim)
        s.cell[i] = c
    count_up(s.first, s.cell, total)
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
def list_run(xi, yi, zi, reach2, begin, end, inside, xs, ys, zs, mine, neighbours, to):
    """Of the run [begin, end) in the order of cells, those that may be within reach of a row, `mine`; how many."""
    numbers = load_candidates(NUMBERS, 0)
    found = 0
    for k in range(begin, end, LANES_32):
        dx, dy, dz = xi - load_candidates(xs, k), yi - load_candidates(ys, k), zi - load_candidates(zs, k)
        some = load_candidates(inside, k)
        near = (dx * dx + dy * dy + dz * dz < reach2) & (some != mine)
        near = near & (numbers < splat_candidates(np.uint32(min(LANES_32, end - k))))
        found += compress_store(neighbours, to + found, some, near)
    return found


@over_pairs
def list_one(i, reach2, x, cells, cell, first, inside, xs, ys, zs, neighbours, begin, end, nobody):
    """List at [begin, end) all within reach of the i-th particle; how many, filled up, or -1 without room."""
    xi = splat_candidates(np.float32(at(x, 4 * i)))
    yi = splat_candidates(np.float32(at(x, 4 * i + 1)))
    zi = splat_candidates(np.float32(at(x, 4 * i + 2)))
    mine = splat_candidates(np.uint32(4 * i))
    rows_, columns_, own = cells[1] * cells[2], cells[2], at(cell, i)
    found = 0
    for a in range(-2, 3):
        for b in range(-2, 3):
            c = own + a * rows_ + b * columns_
            run, stop = at(first, c - 2), at(first, c + 3)  # five cells in a row along z
            if begin + found + (stop - run) + 2 * LANES_32 > end:  # as whole vectors, and to fill up
                return -1
            found += list_run(xi, yi, zi, reach2, run, stop, inside, xs, ys, zs, mine, neighbours, begin + found)
    for k in range(LANES):
        neighbours[begin + found + k] = nobody
    return whole_vectors(found)


@over_particles
def list_neighbours(n, reach2, x, cells, cell, first, inside, xs, ys, zs, neighbours, start, count, nobody):
    """List all within reach of each particle; whether there was room."""
    threads, width = neighbours.shape
    flat = neighbours.reshape(-1)
    crowded = 0
    for part in prange(threads):
        listed = part * width
        for i in range(n * part // threads, n * (part + 1) // threads):
            found = list_one(
                i, reach2, x, cells, cell, first, inside, xs, ys, zs, flat, listed, (part + 1) * width, nobody
            )
            if found < 0:
                crowded += 1
                break
            start[i], count[i] = listed, found
            listed += found
        for k in range(min(2 * LANES, (part + 1) * width - listed)):  # forces() looks so far ahead
            flat[listed + k] = nobody
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
        a = join(load_row(x, at(j, k)), load_row(x, at(j, k + 2)))
        b = join(load_row(x, at(j, k + 1)), load_row(x, at(j, k + 3)))
        c = join(load_row(x, at(j, k + 4)), load_row(x, at(j, k + 6)))
        d = join(load_row(x, at(j, k + 5)), load_row(x, at(j, k + 7)))
        xz0123, xz4567 = low_pairs(a, b), low_pairs(c, d)
        y0123, y4567 = high_pairs(a, b), high_pairs(c, d)
        return even_quarters(xz0123, xz4567), even_quarters(y0123, y4567), odd_quarters(xz0123, xz4567)

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
def pair_forces(r2):
    """f(r)/r, rearranged to save two multiplications of the textbook's form, which the plain port has: with s = 1/r2
    and u = k/r2, 24 (2 s^6 - s^3) s = u^4 (u^3 - b), if k^7 = 48 and b = k^3 / 2."""
    u = 1.7385105064447572 / r2
    u2 = u * u
    return (u2 * u - 2.6272534028385754) * (u2 * u2)


@over_pairs
def forces_of_part(begin, end, cutoff2, half_dt, x, ahead, neighbours, start, count, force, v):
    """On the particles [begin, end), whose lists follow each other.

    The coordinates of two vectors of neighbours are on their way, be they the next particle's, while the forces of
    those before them are found: the processor has no room for so many operations that wait that it would come to them
    by itself.
    """
    nothing, k = splat(0.0), start[begin]
    next_, after = columns(x, neighbours, k), columns(x, neighbours, k + LANES)
    for i in range(begin, end):
        prefetch(x, 4 * (i + ahead))
        xi, yi, zi = splat(at(x, 4 * i)), splat(at(x, 4 * i + 1)), splat(at(x, 4 * i + 2))
        fx = fy = fz = nothing
        for k in range(start[i], start[i] + count[i], LANES):
            dx, dy, dz = xi - next_[0], yi - next_[1], zi - next_[2]
            next_, after = after, columns(x, neighbours, k + 2 * LANES)
            prefetch(neighbours, k + 64 * LANES)  # the list is read once, from far away
            r2 = dx * dx + dy * dy + dz * dz
            f_over_r = select(r2 < cutoff2, pair_forces(r2), nothing)
            fx = fx + f_over_r * dx
            fy = fy + f_over_r * dy
            fz = fz + f_over_r * dz
        mine = sums(fx, fy, fz)
        store(force, 4 * i, mine)
        store(v, 4 * i, load_row(v, 4 * i) + half_dt * mine)


@over_particles
def forces(n, cutoff, half_dt, x, ahead, neighbours, start, count, force, v):
    """Force on each particle from its neighbours within the cutoff, and half a time step of acceleration."""
    flat, parts = neighbours.reshape(-1), neighbours.shape[0]
    for part in prange(parts):
        begin, end = n * part // parts, n * (part + 1) // parts
        forces_of_part(begin, end, cutoff * cutoff, half_dt, x, ahead, flat, start, count, force, v)


@compiled
def potential_and_virial(s):
    """Sums over the pairs, in float64: of their energy, and of r . f."""
    cutoff2 = s.cutoff[0] * s.cutoff[0]
    shift = pair_potential(cutoff2)
    neighbours = s.neighbours.reshape(-1)
    potential = virial = 0.0
    for i in range(s.n):
        u = w = 0.0
        begin = s.start[i // s.members]
        for listed in neighbours[begin : begin + s.count[i // s.members]]:
            j = np.int64(listed)
            dx, dy, dz = s.x[4 * i] - s.x[j], s.x[4 * i + 1] - s.x[j + 1], s.x[4 * i + 2] - s.x[j + 2]
            r2 = dx * dx + dy * dy + dz * dz
            if r2 < cutoff2 and j != 4 * i:
                u += pair_potential(r2) - shift
                w += pair_force(r2) * r2
        potential += u
        virial += w
    return 0.5 * potential, 0.5 * virial  # each pair was met from both sides


@over_particles
def kick_and_drift(n, box, periodic, dt, x, v, force, listed):
    """Half a kick, and the move by v dt; between walls, bounce until inside. How many particles were too fast, and the
    square of how far one is at most from where it was listed."""
    number = type(dt)
    escaped, most, half, far, nothing = 0, number(0), number(0.5) * dt, number(100), number(0)
    for i in prange(n):
        speed = load_row(v, 4 * i) + half * load_row(force, 4 * i)
        store(v, 4 * i, speed)
        store(x, 4 * i, load_row(x, 4 * i) + dt * speed)
        moved2 = nothing
        for k in range(3):
            to = x[4 * i + k]
            if not abs(to) < far * box[k]:
                escaped += 1
            elif not periodic:
                while to < nothing or to > box[k]:
                    to = -to if to < nothing else box[k] + box[k] - to
                    v[4 * i + k] = -v[4 * i + k]
                x[4 * i + k] = to
            moved2 += (to - listed[4 * i + k]) ** 2
        most = max(most, moved2)
    return escaped, most


@compiled
def move(s):
    """Half a kick and the move. Whether the list still holds: images have followed then."""
    escaped, moved2 = kick_and_drift(s.n, s.box, s.periodic, s.dt[0], s.x, s.v, s.force, s.listed)
    if escaped:
        raise ValueError("a particle crossed the box many times in one step: the time step is too long")
    holds = moved2 <= s.slack[0] * s.slack[0]
    if holds and s.periodic:
        move_images(s.n, s.total[0], s.x, s.source, s.shift)
    return holds


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
                s.n, s.rough_reach2[0], s.x, s.cells, s.cell, s.first,
                s.inside, s.sorted[0], s.sorted[1], s.sorted[2], s.neighbours, s.start, s.count, 4 * s.total[0],
            ):  # fmt: skip
                break
        s = grow(s)
    copy(s.x, s.listed)
    return s


@compiled
def advance(s, steps):
    """Velocity Verlet. Returns the System, which may have grown."""
    half = s.dt[0] / 2
    if s.total[0] == 0:
        s = rebuild(s)
        forces(s.n, s.cutoff[0], 0.0, s.x, s.ahead, s.neighbours, s.start, s.count, s.force, s.v)
    for _ in range(steps):
        if not move(s):
            s = rebuild(s)
        forces(s.n, s.cutoff[0], half, s.x, s.ahead, s.neighbours, s.start, s.count, s.force, s.v)
    return s


@compiled
def advance_some(systems, first, end, steps):
    """The boxes [first, end) of a list."""
    for box in range(first, end):
        systems[box] = s = advance(systems[box], steps)
        check_forces(s.force[: 4 * s.n])
