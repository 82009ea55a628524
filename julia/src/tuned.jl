"""
The same functions, tuned: with explicit vectors, which the extension ParticlesSIMDExt defines.
They are there as soon as the package SIMD is loaded too.
"""
module Tuned

import ..Particles: run!, state, about

function load end

end
