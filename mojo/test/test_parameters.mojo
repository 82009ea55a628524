"""Parameters come back bit for bit, and senseless ones are refused."""

from std.random import random_ui64, seed
from std.memory import bitcast
from std.testing import TestSuite, assert_equal, assert_raises, assert_true

from particles.arrays import PRECISION
from particles.parameters import Parameters, show, value_of

comptime GOOD = """boxes = 1
particles = 4
box = 8.0 8.5 9
boundary = periodic
cutoff = 2.5
dt = 0.005
cells = 2 2 4
seed = 123456789012345678901234567890
note = two words
temperature = 1.44
"""


def test_text_comes_back() raises:
    var parameters = Parameters(GOOD)
    assert_equal(parameters.text(), GOOD)
    assert_equal(parameters.box[2], 9)
    assert_true(parameters.periodic)


def test_numbers_come_back() raises:
    seed(1)
    var numbers: List[Float64] = [0.1, 5e-324, 1e22, 7.13998967135547e16, -0.0]
    for _ in range(20_000):
        numbers.append(bitcast[DType.float64](random_ui64(0, UInt64.MAX)))
        # And some near 1e17, where String(x) loses digits.
        numbers.append(Float64(random_ui64(10**16, 10**18)))
    for x in numbers:
        if abs(x) <= Float64.MAX_FINITE:
            var again = value_of(show(x))
            assert_true(again.isa[Float64]())
            assert_equal(
                bitcast[DType.uint64](again[Float64]), bitcast[DType.uint64](x)
            )


def test_senseless_parameters_are_refused() raises:
    for change in [
        ("boxes = 1\n", ""),
        ("boxes = 1", "boxes = 0"),
        ("boxes = 1", "boxes = 1.5"),
        ("particles = 4", "particles = -4"),
        ("box = 8.0 8.5 9", "box = 8.0 8.5"),
        ("box = 8.0", "box = 0.0"),
        ("periodic", "open"),
        ("cutoff = 2.5", "cutoff = nan"),
        ("cutoff = 2.5", "cutoff = 4.1"),
        ("cutoff = 2.5", "cutoff = far"),
        ("cutoff = 2.5", "cutoff ="),
        ("dt = 0.005", "dt = 0.0"),
        ("dt = 0.005", "dt"),
        ("temperature = 1.44", "temperature = inf"),
        ("note", "dt"),
    ]:
        var text = String(GOOD).replace(change[0], change[1])
        assert_true(text != GOOD)
        with assert_raises():
            _ = Parameters(text)


def test_numbers_beyond_the_precision_are_refused() raises:
    for change in [
        ("box = 8.0 8.5 9", "box = 8.0 8.5 1e+60"),
        ("dt = 0.005", "dt = 1e-60"),
    ]:
        var text = String(GOOD).replace(change[0], change[1])
        comptime if PRECISION == .float64:
            assert_equal(Parameters(text).text(), text)
        else:
            with assert_raises(contains="in float32"):
                _ = Parameters(text)


def main() raises:
    TestSuite.discover_tests[__functions_in_module()]().run()
