"""Does a port compute what the specification says? Levels A0, A2, A3 and A4, with tolerances from rounding twins."""
