"""Points of a box, periodic or not, and how far they may go."""

from std.math import floor

from .arrays import EPSILON, Real, Vec


def wrapped(box: Vec, x: Vec) -> Vec:
    """The point x or that image of it which is in the periodic box."""
    var inside = x - box * floor(x / box)
    # -1e-17 is wrapped to just the side by rounding.
    return (inside.ge(0) & inside.lt(box)).select(inside, Vec(0))


def may_move(skin: Real, reach: Real, box: Vec) -> Real:
    """How far each particle may go before two that are not listed can have come
    within the cutoff: half the skin.

    A little less, so that rounding cannot lose a pair: neither that of
    distances, nor that of places in the grid of cells.
    """
    var places = box.reduce_max() + 2 * reach
    return max(0.499999 * skin - 4 * EPSILON * places, 0)


def same_point(x: Vec, y: Vec, box: Vec, periodic: Bool) -> Bool:
    """Whether rounding cannot tell these points apart beside a side of the box."""
    return rounded(x, box, periodic) == rounded(y, box, periodic)


def rounded(x: Vec, box: Vec, periodic: Bool) -> Vec:
    """The point x, as precise as the box is large."""
    var y = (x + box) - box
    if periodic:
        y = y.ge(box).select(Vec(0), y)
    return y


def refuse_same_point(i: Int, j: Int) raises:
    """Raise the Error that two particles are at one point."""
    raise Error(
        t"particles {i} and {j} are at the same point, where the force is",
        " infinite",
    )
