"""Particles in a box, in loops compiled by Numba.

1. wrap the particles into the box, sort them, and add their periodic images within reach, the cutoff plus a skin
2. sort particles and images into cells as wide as the reach
3. list for each particle all neighbours within reach, of the candidates of its cell
4. per step: half kick, drift, images follow (or all anew if a particle has moved half the skin),
   forces, half kick

The list is full: each pair stands in it from both sides, so that each thread writes only to its own
particles and the bits do not depend on the number of threads. Nothing is allocated while stepping,
unless an array turns out to be too small for images, candidates or neighbours, and grows.

The parallel loops take arrays and not the System that holds them: inside such a loop Numba loses what
is written to an array in a named tuple, without a word.

The arrays of the state say in which precision: everything is computed in their type, float64 or float32,
and Numba compiles each function for either. A bare 2 or 0.5 would take float32 to float64, hence
`number(2)`. Only the sums over particles that are observed are in float64 for both. Pairs that rounding
leaves out of the list lie within rounding of the reach, and stay so near to the cutoff at the worst.

Neighbour lists with a skin: L. Verlet, Phys. Rev. 159, 98 (1967). Cells: M. P. Allen, D. J.
Tildesley, Computer Simulation of Liquids, 2nd ed. (2017), sect. 5.3.
"""

import ctypes
from contextlib import suppress
from importlib import metadata
from typing import NamedTuple

import numba
import numpy as np
from numba import prange

from particles.boxes import Boxes, check_forces
from particles.checks import check
from particles.observe import observed_rows, stacked

SKIN = 0.3
MOST_LANES = 16  # of the vectors that any processor has

# Of what Numba can start threads with, it prefers TBB, which does not wait for a thread that another program keeps from
# its processor before it begins; but the package on PyPI has it where no loader looks.
with suppress(metadata.PackageNotFoundError, OSError):
    for _file in metadata.files("tbb") or []:
        if _file.name == "libtbb.so.12":
            ctypes.CDLL(str(_file.locate()))

compiled = numba.njit(cache=True, error_model="numpy", nogil=True)
# Parallel also for one thread: Numba's cache on disk does not tell the two apart.
over_particles = numba.njit(cache=True, error_model="numpy", parallel=True)
# Not plain fastmath=True, which would also promise that there are no NaNs: they must be seen.
over_pairs = numba.njit(cache=True, error_model="numpy", parallel=True, fastmath={"contract", "reassoc", "nsz", "arcp"})


def about():
    return {"version": numba.__version__, "threads": numba.get_num_threads()}


def load(parameters, state):
    """One System for each box."""
    check(parameters, state)
    return Boxes([advance(make(parameters, x, v), 0) for x, v in zip(state["position"], state["velocity"])])


def run(boxes, steps):
    boxes.advance(advance_some, steps)


def state(boxes):
    """Every field of the specification, boxes first."""
    return stacked([observed_rows(s, *potential_and_virial(s), width=3) for s in boxes], boxes[0].x.dtype)


class System(NamedTuple):
    """One box: n particles, sorted, followed in x by their images. A row is x y z, flat in its array.

    Numbers that are not whole are in arrays: a bare float32 would come back from compiled code as a float64.
    """

    n: int
    box: np.ndarray  # (3,)
    periodic: bool
    cutoff: np.ndarray  # (1,)
    skin: np.ndarray  # (1,)
    dt: np.ndarray  # (1,)
    x: np.ndarray  # (3 room + 6,): positions, of images too, and of nobody
    v: np.ndarray  # (3 n,)
    force: np.ndarray  # (3 n,)
    listed: np.ndarray  # (3 n,): positions when the neighbours were listed
    id: np.ndarray  # (n,): which particle each was when it was loaded
    source: np.ndarray  # (room,): the particle of which this is an image
    shift: np.ndarray  # (3 room,): by what
    cells: np.ndarray  # (3,): how many, with one more on every side for the images
    side: np.ndarray  # (3,): of a cell
    cell: np.ndarray  # (room,): in which each lies
    first: np.ndarray  # (cells + 1,): where each begins in `inside`
    inside: np.ndarray  # (room,): particles and images in the order of their cells
    sorted: np.ndarray  # (3, room): their positions in that order
    candidates: np.ndarray  # (threads, some): who may be a neighbour of those in one cell
    near: np.ndarray  # (threads, some): which of these are
    copied: np.ndarray  # (threads, 3 some and more): positions of candidates, or of neighbours
    neighbours: np.ndarray  # (threads, room for lists)
    start: np.ndarray  # (n,): where the list of each begins
    count: np.ndarray  # (n,): of neighbours, with nobody to whole vectors
    total: np.ndarray  # (1,): particles and images; 0 before there is a list


def make(parameters, position, velocity):
    """A System with its forces still to be found."""
    n, number = len(position), position.dtype.type
    box, cutoff = np.array(parameters["box"], dtype=number), number(parameters["cutoff"])
    skin = min(number(SKIN), cutoff)
    reach = cutoff + skin
    # No more cells than particles, however thin the gas; none smaller than the reach.
    inner = np.clip((box / reach).astype(np.int64), 1, max(1, int(n ** (1 / 3))))
    cells, side = inner + 2, np.maximum(box / inner.astype(number), reach)
    periodic = parameters["boundary"] == "periodic"
    room = n + (int(n * (np.prod(1 + 2.2 * reach / box) - 1)) + 64 if periodic else 0)
    # For what a liquid has; there will be more if need be.
    density = n / np.prod(box, dtype=float)
    some = int(min(room, 40 * density * np.prod(side, dtype=float))) + 64
    # Threads share the boxes, or else the particles of the only one.
    threads = min(numba.get_num_threads(), n) if parameters["boxes"] == 1 else 1
    width = int(min(room, 5 * density * reach**3) + 1) * -(-n // threads) + some
    x, v = np.zeros(3 * (room + 2), number), np.zeros(3 * n, number)
    x[: 3 * n].reshape(n, 3)[:] = position
    v.reshape(n, 3)[:] = velocity
    return System(
        n=n,
        box=box,
        periodic=periodic,
        cutoff=np.array([cutoff]),
        skin=np.array([skin]),
        dt=np.array([parameters["dt"]], dtype=number),
        x=x,
        v=v,
        force=np.zeros(3 * n, number),
        listed=np.zeros(3 * n, number),
        id=np.arange(n, dtype=np.uint32),
        source=np.zeros(room, np.uint32),
        shift=np.zeros(3 * room, number),
        cells=cells,
        side=side,
        cell=np.zeros(room, np.int64),
        first=np.zeros(int(np.prod(cells)) + 1, np.int64),
        inside=np.zeros(room, np.uint32),
        sorted=np.zeros((3, room), number),
        candidates=np.zeros((threads, some), np.uint32),
        near=np.zeros((threads, some), np.bool_),
        copied=np.zeros((threads, 3 * (some + MOST_LANES) + 1), number),
        neighbours=np.zeros((threads, width), np.uint32),
        start=np.zeros(n, np.int64),
        count=np.zeros(n, np.int64),
        total=np.zeros(1, np.int64),
    )


@compiled
def grow(s):
    """The same particles with half as much room again for images, candidates and neighbours."""
    number, room = s.x.dtype, s.source.size * 3 // 2 + 64
    threads, some, width = s.neighbours.shape[0], s.near.shape[1] * 3 // 2, s.neighbours.shape[1] * 3 // 2
    x = np.zeros(3 * (room + 2), number)
    copy(s.x[: 3 * s.n], x)
    return System(
        s.n, s.box, s.periodic, s.cutoff, s.skin, s.dt,
        x, s.v, s.force, s.listed, s.id, np.zeros(room, np.uint32), np.zeros(3 * room, number),
        s.cells, s.side, np.zeros(room, np.int64), s.first, np.zeros(room, np.uint32), np.zeros((3, room), number),
        np.zeros((threads, some), np.uint32), np.zeros((threads, some), np.bool_),
        np.zeros((threads, 3 * (some + MOST_LANES) + 1), number), np.zeros((threads, width), np.uint32),
        s.start, s.count, s.total,
    )  # fmt: skip


@compiled
def copy(some, to):
    """As many as fit. Slices assigned to each other take Numba seconds to compile, for what they may complain of."""
    for i in range(min(some.size, to.size)):
        to[i] = some[i]


@compiled
def wrap(s):
    """Bring the particles of a periodic box back into it."""
    for i in range(s.n):
        for k in range(3):
            s.x[3 * i + k] = wrapped(s.x[3 * i + k], s.box[k])


@compiled
def wrapped(x, side):
    """The coordinate, or that image of it which is in [0, side)."""
    inside = x - side * np.floor(x / side)
    return inside if 0 <= inside < side else type(x)(0)  # rounding takes -1e-17 to L, and 3 L to just below 0


@compiled
def find_cells(s, total):
    """In which cell each of the first so many lies."""
    for i in range(total):
        c = 0
        rim = 1 if i < s.n else 0  # the outer cells are for images, also where a particle touches a wall
        for k in range(3):
            place = int(np.floor(s.x[3 * i + k] / s.side[k])) + 1
            c = c * s.cells[k] + min(max(place, rim), s.cells[k] - 1 - rim)
        s.cell[i] = c


@compiled
def count_up(first, place, count):
    """Where each place begins, if so many are put in order."""
    first[:] = 0
    for i in range(count):
        first[place[i] + 1] += 1
    for c in range(first.size - 1):
        first[c + 1] += first[c]


@compiled
def sort_particles(s):
    """Put the particles themselves in the order of their cells: who is near in space is then near in memory."""
    find_cells(s, s.n)
    count_up(s.first, s.cell, s.n)
    for i in range(s.n):
        s.inside[s.first[s.cell[i]]] = i
        s.first[s.cell[i]] += 1
    for some in (s.x, s.v):
        copy(some, s.listed)
        for i in range(s.n):
            for k in range(3):
                some[3 * i + k] = s.listed[3 * np.int64(s.inside[i]) + k]
    for i in range(s.n):
        s.inside[i] = s.id[s.inside[i]]
    copy(s.inside, s.id)


@compiled
def make_images(s):
    """Append the images within reach of the box, and count them; whether there was room."""
    reach = s.cutoff[0] + s.skin[0]
    total = s.n
    for k in range(3):  # images of images too: along edges and at corners
        for i in range(total):  # not those that this direction adds
            x = s.x[3 * i + k]
            for by in (-s.box[k], s.box[k]):
                if (by > 0 and x < reach) or (by < 0 and x >= s.box[k] - reach):
                    if total == s.source.size:
                        return False
                    for m in range(3):
                        s.shift[3 * total + m] = s.shift[3 * i + m] if i >= s.n else 0.0
                        s.x[3 * total + m] = s.x[3 * i + m]
                    s.shift[3 * total + k] += by
                    s.x[3 * total + k] += by
                    s.source[total] = s.source[i] if i >= s.n else i
                    total += 1
    s.total[0] = total
    return True


@compiled
def add_nobody(s):
    """Nobody comes after the images. He fills lists up, so that no neighbour is left over for a slower loop.

    He is out of reach of all, but no farther: a force so small that it underflows takes a processor a hundred cycles.
    And another behind him: who copies a row may copy a number of the next.
    """
    for k in range(3 * s.total[0], 3 * s.total[0] + 6):
        s.x[k] = -type(s.skin[0])(2) * (s.cutoff[0] + s.skin[0])


@compiled
def sort_into_cells(s):
    """Counting sort of particles and images."""
    total = s.total[0]
    find_cells(s, total)
    count_up(s.first, s.cell, total)
    for i in range(total):
        at = s.first[s.cell[i]]  # ends as the beginning of the next cell
        s.first[s.cell[i]] += 1
        s.inside[at] = i
        for k in range(3):
            s.sorted[k, at] = s.x[3 * i + k]
    for c in range(s.first.size - 1, 0, -1):
        s.first[c] = s.first[c - 1]
    s.first[0] = 0


@compiled
def find_candidates(cell, reach2, cells, first, inside, sorted, candidates, xs, ys, zs):
    """Copy to one place all that is within reach of the box around the particles of a cell; how many, or -1 without
    room."""
    left, right = bounds(sorted[0, first[cell] : first[cell + 1]])
    front, back = bounds(sorted[1, first[cell] : first[cell + 1]])
    low, high = bounds(sorted[2, first[cell] : first[cell + 1]])
    found = np.uint64(0)
    for a in range(-1, 2):
        for b in range(-1, 2):
            c = cell + (a * cells[1] + b) * cells[2]
            begin, end = first[c - 1], first[c + 2]  # three cells in a row along z
            if np.int64(found) + end - begin > candidates.size:
                return -1
            for k in range(np.uint64(begin), np.uint64(end)):
                x, y, z = sorted[0, k], sorted[1, k], sorted[2, k]
                candidates[found], xs[found], ys[found], zs[found] = inside[k], x, y, z
                dx, dy, dz = x - min(max(x, left), right), y - min(max(y, front), back), z - min(max(z, low), high)
                found += np.uint64(dx * dx + dy * dy + dz * dz < reach2)  # what is not near is overwritten by the next
    return np.int64(found)


@compiled
def bounds(some):
    """The least and the greatest of some numbers."""
    least = greatest = some[0]
    for x in some:
        least, greatest = min(least, x), max(greatest, x)
    return least, greatest


@compiled
def whole_vectors(count):
    """As many as fill vectors."""
    return count // np.uint64(MOST_LANES) * np.uint64(MOST_LANES)


@over_pairs
def list_neighbours(
    n, total, reach, x, cells, cell, first, inside, sorted, candidates, near, copied, neighbours, start, count
):
    """List all within reach of each particle, in whole vectors; whether there was room."""
    reach2, nobody = reach * reach, np.uint32(total)
    threads, some = near.shape
    crowded = 0
    for part in prange(threads):
        who, is_near, mine = candidates[part], near[part], neighbours[part]
        xs, ys, zs = copied[part, :some], copied[part, some : 2 * some], copied[part, 2 * some : 3 * some]
        listed, found, here = np.uint64(0), 0, -1
        for i in range(n * part // threads, n * (part + 1) // threads):
            if cell[i] != here:  # the candidates of the last particle may do
                here = cell[i]
                found = find_candidates(here, reach2, cells, first, inside, sorted, who, xs, ys, zs)
            if found < 0 or np.int64(listed) + found + MOST_LANES > mine.size:
                crowded += 1
                break
            start[i] = listed
            xi, yi, zi, own = x[3 * i], x[3 * i + 1], x[3 * i + 2], np.uint32(i)
            # Two loops without a branch: one that runs in vectors, and one that keeps who is near. Where an index is
            # unsigned it needs no test for being negative, which takes as long as the rest.
            for k in range(np.uint64(found)):
                dx, dy, dz = xi - xs[k], yi - ys[k], zi - zs[k]
                is_near[k] = (dx * dx + dy * dy + dz * dz < reach2) & (who[k] != own)
            for k in range(np.uint64(found)):
                mine[listed] = who[k]
                listed += np.uint64(is_near[k])
            for k in range(np.uint64(MOST_LANES)):
                mine[listed + k] = nobody
            listed = whole_vectors(listed + np.uint64(MOST_LANES - 1))
            count[i] = np.int64(listed) - start[i]
    return crowded == 0


@over_particles
def moved_too_far(n, skin, x, listed):
    """Whether two particles can have come within the cutoff that are not in the list."""
    number = type(skin)
    most = number(0)
    for i in prange(n):
        dx, dy, dz = x[3 * i] - listed[3 * i], x[3 * i + 1] - listed[3 * i + 1], x[3 * i + 2] - listed[3 * i + 2]
        most = max(most, dx * dx + dy * dy + dz * dz)
    return not most <= (number(0.5) * skin) ** 2


@over_particles
def move_images(n, total, x, source, shift):
    """Images follow their particles."""
    for i in prange(n, total):
        for k in range(3):
            x[3 * i + k] = x[3 * np.int64(source[i]) + k] + shift[3 * i + k]


@over_pairs
def forces(n, cutoff, x, copied, neighbours, start, count, force):
    """Force on each particle from its neighbours within the cutoff."""
    cutoff2, nothing, threads = cutoff * cutoff, type(cutoff)(0), neighbours.shape[0]
    for part in prange(threads):
        there, mine = copied[part], neighbours[part]
        for i in range(n * part // threads, n * (part + 1) // threads):
            begin, whole = np.uint64(start[i]), whole_vectors(np.uint64(count[i]))  # so that the compiler knows it too
            # Copied to one place they are read in vectors, and faster than gathered from their own.
            for k in range(whole):
                j = 3 * np.int64(mine[begin + k])
                # Four numbers are one load and one store, three are two. The fourth is overwritten by the next.
                xj, yj, zj, behind = x[j], x[j + 1], x[j + 2], x[j + 3]
                there[3 * k], there[3 * k + 1], there[3 * k + 2], there[3 * k + 3] = xj, yj, zj, behind
            xi, yi, zi = x[3 * i], x[3 * i + 1], x[3 * i + 2]
            fx = fy = fz = nothing
            for k in range(whole):
                dx, dy, dz = xi - there[3 * k], yi - there[3 * k + 1], zi - there[3 * k + 2]
                r2 = dx * dx + dy * dy + dz * dz
                f_over_r = pair_force(r2)
                f_over_r = f_over_r if r2 < cutoff2 else nothing
                fx += f_over_r * dx
                fy += f_over_r * dy
                fz += f_over_r * dz
            force[3 * i], force[3 * i + 1], force[3 * i + 2] = fx, fy, fz


@compiled
def potential_and_virial(s):
    """Sums over the pairs, in float64: of their energy, and of r . f."""
    cutoff2 = s.cutoff[0] * s.cutoff[0]
    shift = pair_potential(cutoff2)
    threads = s.neighbours.shape[0]
    potential = virial = 0.0
    for part in range(threads):
        for i in range(s.n * part // threads, s.n * (part + 1) // threads):
            u = w = 0.0
            for neighbour in s.neighbours[part, s.start[i] : s.start[i] + s.count[i]]:
                j = 3 * np.int64(neighbour)
                dx, dy, dz = s.x[3 * i] - s.x[j], s.x[3 * i + 1] - s.x[j + 1], s.x[3 * i + 2] - s.x[j + 2]
                r2 = dx * dx + dy * dy + dz * dz
                if r2 < cutoff2:
                    u += pair_potential(r2) - shift
                    w += pair_force(r2) * r2
            potential += u
            virial += w
    return 0.5 * potential, 0.5 * virial  # each pair was met from both sides


@numba.njit(cache=True, error_model="numpy", inline="always")
def pair_potential(r2):
    """Lennard-Jones energy at the squared distance r2, not shifted."""
    number = type(r2)
    s6 = number(1) / (r2 * r2 * r2)
    return number(4) * (s6 * s6 - s6)


@numba.njit(cache=True, error_model="numpy", inline="always")
def pair_force(r2):
    """f(r)/r at the squared distance r2."""
    number = type(r2)
    s2 = number(1) / r2
    s6 = s2 * s2 * s2
    return number(24) * (number(2) * s6 * s6 - s6) * s2


@over_particles
def drift(n, box, periodic, dt, x, v):
    """Move by v dt; between walls, bounce until inside. Whether no particle was too fast."""
    escaped, far = 0, type(dt)(100)
    for i in prange(n):
        for k in range(3):
            to, speed = x[3 * i + k] + dt * v[3 * i + k], v[3 * i + k]
            if not abs(to) < far * box[k]:
                escaped += 1
            elif not periodic:
                while to < 0 or to > box[k]:
                    to = -to if to < 0 else box[k] + box[k] - to
                    speed = -speed
                v[3 * i + k] = speed
            x[3 * i + k] = to
    return escaped == 0


@over_particles
def kick(v, force, dt):
    """Half a time step of acceleration."""
    half = type(dt)(0.5) * dt
    for i in prange(v.size):
        v[i] += half * force[i]


@compiled
def rebuild(s):
    """Particles sorted, and images, cells and neighbours anew, in a larger System if need be."""
    if s.periodic:
        wrap(s)
    sort_particles(s)
    s.total[0] = s.n
    while True:
        if not s.periodic or make_images(s):
            add_nobody(s)
            sort_into_cells(s)
            if list_neighbours(
                s.n, s.total[0], s.cutoff[0] + s.skin[0], s.x, s.cells, s.cell, s.first, s.inside, s.sorted,
                s.candidates, s.near, s.copied, s.neighbours, s.start, s.count,
            ):  # fmt: skip
                break
        s = grow(s)
    copy(s.x, s.listed)
    return s


@compiled
def advance(s, steps):
    """Velocity Verlet. Returns the System, which may have grown."""
    if s.total[0] == 0:
        s = rebuild(s)
        forces(s.n, s.cutoff[0], s.x, s.copied, s.neighbours, s.start, s.count, s.force)
    for _ in range(steps):
        kick(s.v, s.force, s.dt[0])
        if not drift(s.n, s.box, s.periodic, s.dt[0], s.x, s.v):
            raise ValueError("a particle crossed the box many times in one step: the time step is too long")
        if moved_too_far(s.n, s.skin[0], s.x, s.listed):
            s = rebuild(s)
        else:
            move_images(s.n, s.total[0], s.x, s.source, s.shift)
        forces(s.n, s.cutoff[0], s.x, s.copied, s.neighbours, s.start, s.count, s.force)
        kick(s.v, s.force, s.dt[0])
    return s


@compiled
def advance_some(systems, first, end, steps):
    """The boxes [first, end) of a list."""
    for box in range(first, end):
        systems[box] = s = advance(systems[box], steps)
        check_forces(s.force)
