"""How fast is each port? Interleaved samples in random order, phases apart, ratios with intervals."""
