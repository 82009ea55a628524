"""Particles in a box, in Numba with explicit vectors: the tuned port.

The steps are those of port_numba.py, and the functions have the same names. What differs:

* The rows of as many neighbours as a vector has lanes are transposed in registers. Three gathers take three times as
  long.
* Neighbours are numbered by where their row begins, and each list is filled up to whole vectors with nobody, who is out
  of reach: no loop has a remainder.
* Cells are half as wide as the reach, which leaves fewer candidates.
* Each candidate row of cells is tested a vector at a time, in single precision, which has twice the lanes and reaches a
  little further than asked; and those within reach are packed in registers.
* All that is done to particles is done to a part of them, and where there is only one, directly: Numba takes a
  microsecond to begin a parallel loop, in which forty particles have found their forces.

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
from particles.port_numba import about, copy, pair_force, pair_potential, wrapped
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
    return stacked([observed_rows(s, *potential_and_virial(s), width=4) for s in boxes], boxes[0].x.dtype)


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
    id: np.ndarray  # (n,): which particle each was when it was loaded
    old_id: np.ndarray  # (n,): room to sort them in
    source: np.ndarray  # (room,): where the row begins of which this is an image
    shift: np.ndarray  # (4 room,): by what
    images: np.ndarray  # (threads,): how many each part of the particles has
    cells: np.ndarray  # (3,): how many, with two more on every side for the images
    per_length: np.ndarray  # (3,): as many cells
    cell: np.ndarray  # (room,): in which each lies
    first: np.ndarray  # (cells + 2,): where each begins in `inside`
    inside: np.ndarray  # (room + a vector,): where rows begin, in the order of cells
    sorted: np.ndarray  # (3, room + a vector): positions in that order, in single precision
    rough_reach2: np.ndarray  # (1,): what that may find for the square of the reach
    columns: np.ndarray  # (3,): slabs, columns in each, and layers, in the order of which particles are sorted
    columns_per_length: np.ndarray  # (3,)
    ahead: int  # how many rows further on, about, is who comes into sight next
    begin: np.ndarray  # (layers + 2,): where each begins among the particles
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
        id=np.arange(n, dtype=np.uint32),
        old_id=np.zeros(n, np.uint32),
        source=np.zeros(room, np.uint32),
        shift=rows(room, number),
        images=np.zeros(threads, np.int64),
        cells=cells,
        per_length=1 / np.maximum(box / inner.astype(number), reach / 2),
        cell=np.zeros(room, np.int64),
        first=np.zeros(int(np.prod(cells)) + 2, np.int64),
        inside=np.zeros(room + LANES_32, np.uint32),
        sorted=np.zeros((3, room + LANES_32), np.float32),
        rough_reach2=np.array([rough * rough]),
        columns=columns,
        columns_per_length=columns.astype(number) / box,
        ahead=next_in_sight(n, columns, reach * columns / box),
        begin=np.zeros(int(np.prod(columns)) + 2, np.int64),
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
        x, s.v, s.force, s.listed, s.id, s.old_id, np.zeros(room, np.uint32), rows(room, number), s.images,
        s.cells, s.per_length, np.zeros(room, np.int64), s.first,
        np.zeros(room + LANES_32, np.uint32), np.zeros((3, room + LANES_32), np.float32), s.rough_reach2,
        s.columns, s.columns_per_length, s.ahead, s.begin,
        np.zeros((threads, width * 3 // 2 + 16 * LANES_32), np.uint32), s.start, s.count, s.total,
    )  # fmt: skip


@compiled
def place_of(x, per_length, cells, rim):
    """Of the cells along an axis the one in which x lies, or that as far from the edge as the rim is wide."""
    # Nothing is asked that is so far below 0 that this rounds up.
    return min(max(int(x * per_length + type(per_length)(2)), rim), cells - 1 - rim)


@compiled
def find_places_of_part(begin, end, members, periodic, box, columns, columns_per_length, x, place):
    for i in range(begin, end):
        where = 0
        for k in range(3):
            if periodic:
                x[4 * i + k] = wrapped(x[4 * i + k], box[k])
            along = min(int(x[4 * i + k] * columns_per_length[k]), columns[k] - 1)
            if members > 1 and where % 2:
                along = columns[k] - 1 - along
            where = where * columns[k] + along
        place[i] = where


@compiled
def set_aside_part(begin, end, x, v, id, old_x, old_v, old_id):
    for i in range(begin, end):
        store(old_x, 4 * i, load_row(x, 4 * i))
        store(old_v, 4 * i, load_row(v, 4 * i))
        old_id[i] = id[i]


@over_particles
def find_places(parts, n, members, periodic, box, columns, columns_per_length, x, v, id, place, old_x, old_v, old_id):
    """Bring the particles of a periodic box back into it; say where each is in the order of cells, or for clusters, of
    layers in columns, there and back again; and set aside what is known of them."""
    if parts == 1:
        find_places_of_part(0, n, members, periodic, box, columns, columns_per_length, x, place)
        set_aside_part(0, n, x, v, id, old_x, old_v, old_id)
    else:
        for part in prange(parts):
            begin, end = n * part // parts, n * (part + 1) // parts
            find_places_of_part(begin, end, members, periodic, box, columns, columns_per_length, x, place)
            set_aside_part(begin, end, x, v, id, old_x, old_v, old_id)


@compiled
def move_part_to_places(begin, end, inside, old_x, old_v, old_id, x, v, id):
    for i in range(begin, end):
        old = np.int64(inside[i])
        store(x, 4 * i, load_row(old_x, 4 * old))
        store(v, 4 * i, load_row(old_v, 4 * old))
        id[i] = old_id[old]


@compiled
def sides_moved(x, side, reach):
    """By how many sides of the box, along an axis, the first and the last within reach of it are moved of the particle
    at x and its images."""
    return -1 if x >= side - reach else 0, 1 if x < reach else 0


@compiled
def count_images_of_part(begin, end, periodic, box, reach, x):
    images = 0
    for i in range(begin, end if periodic else begin):
        copies = 1  # with itself
        for k in range(3):
            first, last = sides_moved(x[4 * i + k], box[k], reach)
            copies *= last - first + 1
        images += copies - 1
    return images


@over_particles
def move_to_places(parts, n, periodic, box, reach, inside, old_x, old_v, old_id, x, v, id, images):
    """Move all to their places, and count the images that each part of the particles will have within reach."""
    if parts == 1:
        move_part_to_places(0, n, inside, old_x, old_v, old_id, x, v, id)
        images[0] = count_images_of_part(0, n, periodic, box, reach, x)
    else:
        for part in prange(parts):
            begin, end = n * part // parts, n * (part + 1) // parts
            move_part_to_places(begin, end, inside, old_x, old_v, old_id, x, v, id)
            images[part] = count_images_of_part(begin, end, periodic, box, reach, x)


@compiled
def counting_sort(place, count, first, inside):
    """The numbers of so many in the order of their place, and where each place begins; with room for two more."""
    first[:] = 0
    for i in range(count):
        first[place[i] + 2] += 1
    for c in range(first.size - 1):
        first[c + 1] += first[c]
    for i in range(count):
        c = place[i] + 1  # so the end of one place becomes the beginning of the next
        inside[first[c]] = i
        first[c] += 1


@compiled
def sort_particles(s):
    """Put the particles themselves in an order in which neighbours are near in memory."""
    parts, old_x, old_v = s.neighbours.shape[0], s.listed, s.force  # both are found anew after this
    find_places(
        parts, s.n, s.members, s.periodic, s.box, s.columns, s.columns_per_length, s.x, s.v, s.id, s.cell,
        old_x, old_v, s.old_id,
    )  # fmt: skip
    counting_sort(s.cell, s.n, s.begin, s.inside)
    reach = s.cutoff[0] + s.skin[0]
    move_to_places(parts, s.n, s.periodic, s.box, reach, s.inside, old_x, old_v, s.old_id, s.x, s.v, s.id, s.images)


@compiled
def place_images_of_part(begin, end, image, periodic, box, reach, x, source, shift):
    for i in range(begin, end if periodic else begin):
        along_x = sides_moved(x[4 * i], box[0], reach)
        along_y = sides_moved(x[4 * i + 1], box[1], reach)
        along_z = sides_moved(x[4 * i + 2], box[2], reach)
        for a in range(along_x[0], along_x[1] + 1):
            for b in range(along_y[0], along_y[1] + 1):
                for c in range(along_z[0], along_z[1] + 1):
                    if a == 0 and b == 0 and c == 0:
                        continue
                    source[image] = 4 * i
                    for k, sides in enumerate((a, b, c)):
                        shift[4 * image + k] = type(reach)(sides) * box[k]
                        x[4 * image + k] = x[4 * i + k] + shift[4 * image + k]
                    image += 1


@compiled
def find_cells_between(begin, end, rim, cells, per_length, x, cell):
    for i in range(begin, end):
        c = 0
        for k in range(3):
            c = c * cells[k] + place_of(x[4 * i + k], per_length[k], cells[k], rim)
        cell[i] = c


@over_particles
def place_images(n, periodic, box, reach, x, source, shift, images, cells, per_length, cell):
    """Those of each part of the particles, one part after the other, behind the particles. And in which cells all are;
    for particles the rim is none, even if one touches a wall."""
    parts = images.size
    if parts == 1:
        place_images_of_part(0, n, n, periodic, box, reach, x, source, shift)
        find_cells_between(0, n, 2, cells, per_length, x, cell)
        find_cells_between(n, n + images[0], 0, cells, per_length, x, cell)
    else:
        for part in prange(parts):
            begin, end = n * part // parts, n * (part + 1) // parts
            first = n + images[:part].sum()
            place_images_of_part(begin, end, first, periodic, box, reach, x, source, shift)
            find_cells_between(begin, end, 2, cells, per_length, x, cell)
            find_cells_between(first, first + images[part], 0, cells, per_length, x, cell)


@compiled
def make_images(s):
    """Append the images within reach of the box, and nobody after them; whether there was room."""
    reach, total = s.cutoff[0] + s.skin[0], s.n + s.images.sum()
    if total + SPARE > s.source.size:
        return False
    place_images(s.n, s.periodic, s.box, reach, s.x, s.source, s.shift, s.images, s.cells, s.per_length, s.cell)
    s.total[0] = total
    for i in range(total, total + SPARE):
        for k in range(3):  # out of reach, but no farther: a force that underflows would take all lanes 100 cycles
            s.x[4 * i + k] = -(reach + reach)
    return True


@compiled
def copy_to_cells_between(begin, end, x, inside, xs, ys, zs):
    for here in range(begin, end):
        row = 4 * inside[here]
        inside[here] = row
        i = np.int64(row)
        xs[here], ys[here], zs[here] = x[i], x[i + 1], x[i + 2]


@over_particles
def copy_to_cells(parts, total, x, inside, xs, ys, zs):
    """In the order of cells, where particles and images are, and where their rows begin."""
    if parts == 1:
        copy_to_cells_between(0, total, x, inside, xs, ys, zs)
    else:
        for part in prange(parts):
            copy_to_cells_between(total * part // parts, total * (part + 1) // parts, x, inside, xs, ys, zs)


@compiled
def sort_into_cells(s):
    """Counting sort of particles and images."""
    total = s.total[0]
    counting_sort(s.cell, total, s.first, s.inside)
    copy_to_cells(s.neighbours.shape[0], total, s.x, s.inside, s.sorted[0], s.sorted[1], s.sorted[2])


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


@over_pairs
def list_part(
    begin, end, reach2, x, cells, cell, first, inside, xs, ys, zs, neighbours, listed, room, start, count, nobody
):
    """List all within reach of each of the particles [begin, end), at [listed, room); whether there was room."""
    for i in range(begin, end):
        found = list_one(i, reach2, x, cells, cell, first, inside, xs, ys, zs, neighbours, listed, room, nobody)
        if found < 0:
            return False
        start[i], count[i] = listed, found
        listed += found
    for k in range(min(2 * LANES, room - listed)):  # forces() looks so far ahead
        neighbours[listed + k] = nobody
    return True


@over_particles
def list_neighbours(n, reach2, x, cells, cell, first, inside, xs, ys, zs, neighbours, start, count, nobody):
    """List all within reach of each particle; whether there was room."""
    parts, width = neighbours.shape
    flat = neighbours.reshape(-1)
    if parts == 1:
        return list_part(0, n, reach2, x, cells, cell, first, inside, xs, ys, zs, flat, 0, width, start, count, nobody)
    crowded = 0
    for part in prange(parts):
        begin, end = n * part // parts, n * (part + 1) // parts
        listed, room = part * width, (part + 1) * width
        crowded += not list_part(
            begin, end, reach2, x, cells, cell, first, inside, xs, ys, zs, flat, listed, room, start, count, nobody
        )
    return crowded == 0


@compiled
def move_images(begin, end, x, source, shift):
    """Images follow their particles."""
    for i in range(begin, end):
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
    flat, parts, cutoff2 = neighbours.reshape(-1), neighbours.shape[0], cutoff * cutoff
    if parts == 1:
        forces_of_part(0, n, cutoff2, half_dt, x, ahead, flat, start, count, force, v)
    else:
        for part in prange(parts):
            begin, end = n * part // parts, n * (part + 1) // parts
            forces_of_part(begin, end, cutoff2, half_dt, x, ahead, flat, start, count, force, v)


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


@compiled
def kick_and_drift_part(begin, end, box, periodic, dt, x, v, force, listed):
    number = type(dt)
    escaped, most, half, far, nothing = 0, number(0), number(0.5) * dt, number(100), number(0)
    for i in range(begin, end):
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


@over_particles
def kick_and_drift(n, box, periodic, dt, x, v, force, listed, source, shift, images):
    """Half a kick, and the move by v dt; between walls, bounce until inside. Images follow. How many particles were too
    fast, and the square of how far one is at most from where it was listed."""
    parts = images.size
    if parts == 1:
        escaped, most = kick_and_drift_part(0, n, box, periodic, dt, x, v, force, listed)
        move_images(n, n + images[0], x, source, shift)
        return escaped, most
    escaped, most = 0, type(dt)(0)
    for part in prange(parts):
        begin, end = n * part // parts, n * (part + 1) // parts
        too_fast, moved2 = kick_and_drift_part(begin, end, box, periodic, dt, x, v, force, listed)
        first = n + images[:part].sum()
        move_images(first, first + images[part], x, source, shift)  # of this part, so that nobody need wait
        escaped += too_fast
        most = max(most, moved2)
    return escaped, most


@compiled
def move(s):
    """Half a kick and the move. Whether the list still holds."""
    escaped, moved2 = kick_and_drift(
        s.n, s.box, s.periodic, s.dt[0], s.x, s.v, s.force, s.listed, s.source, s.shift, s.images
    )
    if escaped:
        raise ValueError("a particle crossed the box many times in one step: the time step is too long")
    return moved2 <= s.slack[0] * s.slack[0]


@compiled
def rebuild(s):
    """Particles sorted, and images, cells and neighbours anew, in a larger System if need be."""
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
