"""Vectors in Numba: `Vector(float64, 8)` is LLVM's <8 x double>, one register where the processor has such.

Operators become single instructions in the function that uses them, under its fastmath flags; numbers beside a
vector are spread over its lanes. Written for Numba 0.6x: this is made of its typing internals.

Nothing here tests an index: `i` counts elements of a contiguous array of one axis, and must lie in it.
"""

import operator

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.typeconv import Conversion
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model


def has_avx512():
    """Of the processor that Numba compiles for: this one, or one with just the NUMBA_CPU_FEATURES."""
    if config.CPU_FEATURES is not None:
        return "+avx512f" in config.CPU_FEATURES
    return bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))


LANES = 8 if has_avx512() else 4  # of doubles; emulated where there are fewer
LANES_32 = 2 * LANES  # of numbers of 32 bits
_INT = ir.IntType(32)


class Vector(types.Type):
    """The type of `lanes` numbers of one type, computed with at once."""

    def __init__(self, element, lanes):
        self.element, self.lanes = element, lanes
        super().__init__(name=f"Vector({element}, {lanes})")

    def can_convert_from(self, typingctx, other):
        return Conversion.safe if isinstance(other, types.Number) else None


@register_model(Vector)
class _Register(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.element).get_value_type(), kind.lanes))


def _spread(builder, number, lanes):
    kind = ir.VectorType(number.type, lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, _INT(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_INT, lanes), [0] * lanes))


@lower_cast(types.Number, Vector)
def _number_to_vector(context, builder, was, to, value):
    return _spread(builder, context.cast(builder, value, was, to.element), to.lanes)


def _define(operation, on_reals, on_integers, compares=False):
    """Teach Numba this operator between vectors, and between one and a number."""

    @infer_global(operation)
    class Typing(AbstractTemplate):
        def generic(self, args, kws):
            vector = next((a for a in args if isinstance(a, Vector)), None)
            if vector is None or not all(a == vector or isinstance(a, types.Number) for a in args):
                return None
            result = Vector(types.boolean, vector.lanes) if compares else vector
            return signature(result, vector, vector)

    @lower_builtin(operation, Vector, Vector)
    def lower(context, builder, sig, args):
        emit = on_reals if isinstance(sig.args[0].element, types.Float) else on_integers
        return emit(builder, *args)


_define(operator.add, ir.IRBuilder.fadd, ir.IRBuilder.add)
_define(operator.sub, ir.IRBuilder.fsub, ir.IRBuilder.sub)
_define(operator.mul, ir.IRBuilder.fmul, ir.IRBuilder.mul)
_define(operator.truediv, ir.IRBuilder.fdiv, None)
_define(operator.and_, None, ir.IRBuilder.and_)
for _operation, _sign in ((operator.lt, "<"), (operator.ne, "!=")):
    _define(
        _operation,
        # what is not a number differs from all, and is not less than any
        lambda b, x, y, s=_sign: b.fcmp_unordered(s, x, y) if s == "!=" else b.fcmp_ordered(s, x, y),
        lambda b, x, y, s=_sign: b.icmp_unsigned(s, x, y),
        compares=True,
    )


def _address(context, builder, array, value, index_type, index):
    data = context.make_array(array)(context, builder, value).data
    if index.type.width < 64:
        widen = builder.sext if index_type.signed else builder.zext
        index = widen(index, ir.IntType(64))
    return builder.gep(data, [index])


def _as_vectors(builder, pointer, kind):
    return builder.bitcast(pointer, kind.as_pointer())


@intrinsic
def at(typingctx, array, i):
    """array[i]"""

    def emit(context, builder, sig, args):
        return builder.load(_address(context, builder, sig.args[0], args[0], sig.args[1], args[1]))

    return array.dtype(array, i), emit


def load_of(lanes, aligned=False):
    """load(array, i): the vector array[i : i + lanes]; `aligned`: its address is known to be a multiple of its size."""

    @intrinsic
    def load(typingctx, array, i):
        kind = Vector(array.dtype, lanes)
        size = array.dtype.bitwidth // 8

        def emit(context, builder, sig, args):
            pointer = _address(context, builder, sig.args[0], args[0], sig.args[1], args[1])
            pointer = _as_vectors(builder, pointer, context.get_value_type(kind))
            return builder.load(pointer, align=size * lanes if aligned else size)

        return kind(array, i), emit

    return load


@intrinsic
def prefetch(typingctx, array, i):
    """Have array[i] fetched from memory; it may lie beyond the end."""

    def emit(context, builder, sig, args):
        pointer = _address(context, builder, sig.args[0], args[0], sig.args[1], args[1])
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), _INT, _INT, _INT])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(fetch, [_as_vectors(builder, pointer, ir.IntType(8)), _INT(0), _INT(3), _INT(1)])
        return context.get_dummy_value()

    return types.void(array, i), emit


@intrinsic
def store(typingctx, array, i, vector):
    """array[i : i + lanes] = vector"""

    def emit(context, builder, sig, args):
        pointer = _address(context, builder, sig.args[0], args[0], sig.args[1], args[1])
        builder.store(args[2], _as_vectors(builder, pointer, args[2].type), align=sig.args[0].dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, i, vector), emit


def splat_of(lanes):
    """splat(x): x in all lanes."""

    @intrinsic
    def splat(typingctx, x):
        def emit(context, builder, sig, args):
            return _spread(builder, args[0], lanes)

        return Vector(x, lanes)(x), emit

    return splat


def shuffle_of(*lanes):
    """shuffle(a, b): these lanes of a, and, from the number of its lanes on, of b."""

    @intrinsic
    def shuffle(typingctx, a, b):
        def emit(context, builder, sig, args):
            return builder.shuffle_vector(*args, ir.Constant(ir.VectorType(_INT, len(lanes)), list(lanes)))

        return Vector(a.element, len(lanes))(a, b), emit

    return shuffle


@intrinsic
def select(typingctx, mask, a, b):
    """Of a where the mask is set, of b elsewhere."""

    def emit(context, builder, sig, args):
        return builder.select(*args)

    return a(mask, a, a), emit


@intrinsic
def bits(typingctx, mask):
    """A whole number with the n-th bit set where the mask is, in the n-th lane."""

    def emit(context, builder, sig, args):
        number = builder.bitcast(args[0], ir.IntType(mask.lanes))
        return builder.zext(number, ir.IntType(64))

    return types.uint64(mask), emit


@intrinsic
def compress_store(typingctx, array, i, vector, mask):
    """Write the lanes where the mask is set, one after the other, from array[i] on; how many they are.

    What lies behind them may be written over, up to as many as there are lanes.
    """

    def emit(context, builder, sig, args):
        pointer = _address(context, builder, sig.args[0], args[0], sig.args[1], args[1])
        kind, lanes = args[2].type, vector.lanes
        if LANES == 8:
            # By way of a register: some processors take a hundred cycles to compress into memory.
            name = f"llvm.x86.avx512.mask.compress.v{lanes}i{vector.element.bitwidth}"
            signature_ = ir.FunctionType(kind, [kind, kind, args[3].type])
            compress = cgutils.get_or_insert_function(builder.module, signature_, name)
            packed = builder.call(compress, [args[2], args[2], args[3]])
            builder.store(packed, _as_vectors(builder, pointer, kind), align=vector.element.bitwidth // 8)
            kept = builder.bitcast(args[3], ir.IntType(lanes))
            return builder.zext(builder.ctpop(kept), ir.IntType(64))
        found = ir.Constant(ir.IntType(64), 0)
        for lane in range(lanes):  # no branch: what is not wanted is overwritten by the next
            builder.store(builder.extract_element(args[2], _INT(lane)), builder.gep(pointer, [found]))
            found = builder.add(found, builder.zext(builder.extract_element(args[3], _INT(lane)), ir.IntType(64)))
        return found

    return types.intp(array, i, vector, mask), emit
