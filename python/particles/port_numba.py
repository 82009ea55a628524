"""Particles in a box, in loops compiled by Numba.

1. wrap the particles into the box and add their periodic images within reach, the cutoff plus a skin
2. sort particles and images into cells of half the reach
3. list for each particle all neighbours within reach
4. per step: half kick, drift, images follow (or all anew if a particle has moved half the skin),
   forces, half kick

The list is full: each pair stands in it from both sides, so that each thread writes only to its own
particles and the bits do not depend on the number of threads. Nothing is allocated while stepping,
unless an array turns out to be too small for the images or the neighbours, and grows.

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

SKIN = 0.4

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
    fields = [observe(system) for system in boxes]
    return {name: np.array([f[name] for f in fields], dtype=boxes[0].x.dtype) for name in fields[0]}


class System(NamedTuple):
    """One box: n particles, followed in x by their images.

    Numbers that are not whole are in arrays: a bare float32 would come back from compiled code as a float64.
    """

    n: int
    box: np.ndarray  # (3,)
    periodic: bool
    cutoff: np.ndarray  # (1,)
    skin: np.ndarray  # (1,)
    dt: np.ndarray  # (1,)
    x: np.ndarray  # (3, room): positions, of images too
    v: np.ndarray  # (3, n)
    force: np.ndarray  # (3, n)
    listed: np.ndarray  # (3, n): positions when the neighbours were listed
    source: np.ndarray  # (room,): the particle of which this is an image
    shift: np.ndarray  # (3, room): by what
    cells: np.ndarray  # (3,): how many, with two more on every side for the images
    side: np.ndarray  # (3,): of a cell
    cell: np.ndarray  # (room,): in which each lies
    first: np.ndarray  # (cells + 1,): where each begins in `inside`
    inside: np.ndarray  # (room,): particles and images in the order of their cells
    sorted: np.ndarray  # (3, room): their positions in that order
    neighbours: np.ndarray  # (n, width), unsigned: then an index needs no test for being negative
    count: np.ndarray  # (n,): of neighbours
    total: np.ndarray  # (1,): particles and images; 0 before there is a list


def make(parameters, position, velocity):
    """A System with its forces still to be found."""
    n, number = len(position), position.dtype.type
    box, cutoff = np.array(parameters["box"], dtype=number), number(parameters["cutoff"])
    skin = min(number(SKIN), cutoff)
    half_reach = 0.5 * (cutoff + skin)
    # No more than a few cells per particle, however thin the gas; none smaller than half the reach.
    inner = np.clip((box / half_reach).astype(np.int64), 1, max(1, int(2 * n ** (1 / 3))))
    cells = inner + 4
    periodic = parameters["boundary"] == "periodic"
    room = n + (int(n * (np.prod(1 + 2.2 * (cutoff + skin) / box) - 1)) + 64 if periodic else 0)
    x = np.zeros((3, room), number)
    x[:, :n] = position.T
    return System(
        n=n,
        box=box,
        periodic=periodic,
        cutoff=np.array([cutoff]),
        skin=np.array([skin]),
        dt=np.array([parameters["dt"]], dtype=number),
        x=x,
        v=np.array(velocity.T, order="C"),
        force=np.zeros((3, n), number),
        listed=np.zeros((3, n), number),
        source=np.zeros(room, np.uint32),
        shift=np.zeros((3, room), number),
        cells=cells,
        side=np.maximum(box / inner.astype(number), half_reach),
        cell=np.zeros(room, np.int64),
        first=np.zeros(int(np.prod(cells)) + 1, np.int64),
        inside=np.zeros(room, np.uint32),
        sorted=np.zeros((3, room), number),
        neighbours=np.zeros((n, int(min(27.0 * n, 6 * n / np.prod(box) * (cutoff + skin) ** 3)) + 16), np.uint32),
        count=np.zeros(n, np.int64),
        total=np.zeros(1, np.int64),
    )


@compiled
def grow(s):
    """The same particles with half as much room again for images and neighbours."""
    room, width = s.x.shape[1] * 3 // 2 + 64, s.neighbours.shape[1] * 3 // 2 + 16
    x = np.zeros((3, room), s.x.dtype)
    x[:, : s.n] = s.x[:, : s.n]
    return System(
        s.n, s.box, s.periodic, s.cutoff, s.skin, s.dt,
        x, s.v, s.force, s.listed, np.zeros(room, np.uint32), np.zeros_like(x),
        s.cells, s.side, np.zeros(room, np.int64), s.first, np.zeros(room, np.uint32), np.zeros_like(x),
        np.zeros((s.n, width), np.uint32), s.count, s.total,
    )  # fmt: skip


@compiled
def wrap(s):
    """Bring the particles of a periodic box back into [0, L)."""
    for k in range(3):
        for i in range(s.n):
            x = s.x[k, i] - s.box[k] * np.floor(s.x[k, i] / s.box[k])
            s.x[k, i] = x if 0 <= x < s.box[k] else 0.0  # rounding takes -1e-17 to L, and 3 L to just below 0


@compiled
def make_images(s):
    """Append the images within reach of the box, and count them; whether there was room."""
    reach = s.cutoff[0] + s.skin[0]
    total = s.n
    for k in range(3):  # images of images too: along edges and at corners
        for i in range(total):  # not those that this direction adds
            x = s.x[k, i]
            for shift in (-s.box[k], s.box[k]):
                if (shift > 0 and x < reach) or (shift < 0 and x >= s.box[k] - reach):
                    if total == s.x.shape[1]:
                        return False
                    for m in range(3):
                        s.shift[m, total] = s.shift[m, i] if i >= s.n else 0.0
                        s.x[m, total] = s.x[m, i]
                    s.shift[k, total] += shift
                    s.x[k, total] += shift
                    s.source[total] = s.source[i] if i >= s.n else i
                    total += 1
    s.total[0] = total
    return True


@compiled
def sort_into_cells(s):
    """Counting sort of particles and images."""
    total = s.total[0]
    s.first[:] = 0
    for i in range(total):
        c = 0
        rim = 2 if i < s.n else 0  # the outer cells are for images, also where a particle touches a wall
        for k in range(3):
            place = int(np.floor(s.x[k, i] / s.side[k])) + 2
            c = c * s.cells[k] + min(max(place, rim), s.cells[k] - 1 - rim)
        s.cell[i] = c
        s.first[c + 1] += 1
    for c in range(s.first.size - 1):
        s.first[c + 1] += s.first[c]
    for i in range(total):
        c = s.cell[i]
        at = s.first[c]  # ends as the beginning of the next cell
        s.first[c] += 1
        s.inside[at] = i
        for k in range(3):
            s.sorted[k, at] = s.x[k, i]
    for c in range(s.first.size - 1, 0, -1):
        s.first[c] = s.first[c - 1]
    s.first[0] = 0


@over_particles
def list_neighbours(n, reach, x, cells, cell, first, inside, sorted, neighbours, count):
    """List all within reach of each particle; whether there was room."""
    reach2 = reach * reach
    rows, columns = cells[1] * cells[2], cells[2]
    crowded = 0
    for i in prange(n):
        xi, yi, zi = x[0, i], x[1, i], x[2, i]
        mine = neighbours[i]
        found = 0
        for a in range(-2, 3):
            for b in range(-2, 3):
                c = cell[i] + a * rows + b * columns
                begin, end = first[c - 2], first[c + 3]  # five cells in a row along z
                some = inside[begin:end]
                xs, ys, zs = sorted[0, begin:end], sorted[1, begin:end], sorted[2, begin:end]
                if found + some.size > mine.size:
                    crowded += 1
                    break
                at = np.uint64(found)
                for k in range(np.uint64(some.size)):  # no branch: what is not near is overwritten by the next
                    dx, dy, dz = xi - xs[k], yi - ys[k], zi - zs[k]
                    near = (dx * dx + dy * dy + dz * dz < reach2) & (some[k] != i)
                    mine[at] = some[k]
                    at += np.uint64(near)
                found = np.int64(at)
        count[i] = found
    return crowded == 0


@over_particles
def moved_too_far(n, skin, x, listed):
    """Whether two particles can have come within the cutoff that are not in the list."""
    number = type(skin)
    most = number(0)
    for i in prange(n):
        dx, dy, dz = x[0, i] - listed[0, i], x[1, i] - listed[1, i], x[2, i] - listed[2, i]
        most = max(most, dx * dx + dy * dy + dz * dz)
    return not most <= (number(0.5) * skin) ** 2


@over_particles
def move_images(n, total, x, source, shift):
    """Images follow their particles."""
    for i in prange(n, total):
        for k in range(3):
            x[k, i] = x[k, source[i]] + shift[k, i]


@over_pairs
def forces(n, cutoff, x, neighbours, count, force):
    """Force on each particle from its neighbours within the cutoff."""
    cutoff2, nothing = cutoff * cutoff, type(cutoff)(0)
    xs, ys, zs = x[0], x[1], x[2]
    for i in prange(n):
        xi, yi, zi = xs[i], ys[i], zs[i]
        fx = fy = fz = nothing
        mine = neighbours[i, : count[i]]
        for k in range(mine.size):
            j = np.uint64(mine[k])  # twice as fast as `for j in mine`
            dx, dy, dz = xi - xs[j], yi - ys[j], zi - zs[j]
            r2 = dx * dx + dy * dy + dz * dz
            f_over_r = pair_force(r2)
            f_over_r = f_over_r if r2 < cutoff2 else nothing
            fx += f_over_r * dx
            fy += f_over_r * dy
            fz += f_over_r * dz
        force[0, i], force[1, i], force[2, i] = fx, fy, fz


@compiled
def potential_and_virial(s):
    """Sums over the pairs, in float64: of their energy, and of r . f."""
    cutoff2 = s.cutoff[0] * s.cutoff[0]
    shift = pair_potential(cutoff2)
    potential = virial = 0.0
    for i in range(s.n):
        u = w = 0.0
        for j in s.neighbours[i, : s.count[i]]:
            dx, dy, dz = s.x[0, i] - s.x[0, j], s.x[1, i] - s.x[1, j], s.x[2, i] - s.x[2, j]
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
            to, speed = x[k, i] + dt * v[k, i], v[k, i]
            if not abs(to) < far * box[k]:
                escaped += 1
            elif not periodic:
                while to < 0 or to > box[k]:
                    to = -to if to < 0 else box[k] + box[k] - to
                    speed = -speed
                v[k, i] = speed
            x[k, i] = to
    return escaped == 0


@over_particles
def kick(v, force, dt):
    """Half a time step of acceleration."""
    half = type(dt)(0.5) * dt
    for i in prange(v.shape[1]):
        for k in range(3):
            v[k, i] += half * force[k, i]


@compiled
def rebuild(s):
    """Images, cells and neighbours anew, in a larger System if need be."""
    if s.periodic:
        wrap(s)
    s.total[0] = s.n
    while True:
        if not s.periodic or make_images(s):
            sort_into_cells(s)
            reach = s.cutoff[0] + s.skin[0]
            if list_neighbours(
                s.n, reach, s.x, s.cells, s.cell, s.first, s.inside, s.sorted, s.neighbours, s.count
            ):  # fmt: skip
                break
        s = grow(s)
    s.listed[:] = s.x[:, : s.n]
    return s


@compiled
def advance(s, steps):
    """Velocity Verlet. Returns the System, which may have grown."""
    if s.total[0] == 0:
        s = rebuild(s)
        forces(s.n, s.cutoff[0], s.x, s.neighbours, s.count, s.force)
    for _ in range(steps):
        kick(s.v, s.force, s.dt[0])
        if not drift(s.n, s.box, s.periodic, s.dt[0], s.x, s.v):
            raise ValueError("a particle crossed the box many times in one step: the time step is too long")
        if moved_too_far(s.n, s.skin[0], s.x, s.listed):
            s = rebuild(s)
        else:
            move_images(s.n, s.total[0], s.x, s.source, s.shift)
        forces(s.n, s.cutoff[0], s.x, s.neighbours, s.count, s.force)
        kick(s.v, s.force, s.dt[0])
    return s


@compiled
def advance_some(systems, first, end, steps):
    """The boxes [first, end) of a list."""
    for box in range(first, end):
        systems[box] = s = advance(systems[box], steps)
        check_forces(s.force)


def observe(system):
    """The fields of one box, as the specification shapes them; sums in float64, which state() rounds."""
    n, v = system.n, system.v
    x = system.x[:, :n].copy()
    if system.periodic:
        wrap(system._replace(x=x))
    kinetic = 0.5 * np.sum(v * v, dtype=float)
    potential, virial = potential_and_virial(system)
    free = max(n - 1, 1) if system.periodic else n
    return {
        "position": x.T,
        "velocity": v.T,
        "force": system.force.T,
        "kinetic_energy": kinetic,
        "potential_energy": potential,
        "virial": virial,
        "pressure": (2 * kinetic + virial) / (3 * np.prod(system.box, dtype=float)),
        "temperature": 2 * kinetic / (3 * free),
        "momentum": np.sum(v, axis=1, dtype=float),
    }
