# Vectors of as many lanes as the processor has for one number of each particle.

const CPUID = Base.BinaryPlatforms.CPUID
# Where Julia compiles for another processor than this, what that one has is not asked.
const AVX512 = Sys.ARCH === :x86_64 && unsafe_string(Base.JLOptions().cpu_target) == "native" && CPUID.test_cpu_feature(CPUID.JL_X86_avx512f) &&
               CPUID.test_cpu_feature(CPUID.JL_X86_avx512vl)
"As many as fill a register with AVX-512; else half as many, of which the compiler makes what there is."
lanes(::Type{T}) where {T} = (AVX512 ? 64 : 32) ÷ sizeof(T)
const CANDIDATES = lanes(Float32)       # for a list, tested together
const Rough = Vec{CANDIDATES,Float32}

"Where row `i` of those of type `V` begins, in bytes after the first."
start_of(V, i) = Int32(sizeof(V) * (i - 1))

"The row that begins where `starts[k]` says."
@inline row(rows::Ptr{T}, starts, k) where {T} = vload(Vec{4,T}, rows + @inbounds(starts[k]))
@inline two_rows(rows, starts, k, l) =
    shufflevector(row(rows, starts, k), row(rows, starts, l), Val((0, 1, 2, 3, 4, 5, 6, 7)))

"The x, y and z of those whose rows begin where `starts` says, from the k-th on."
@inline function columns(rows, starts, k, ::Val{8})
    a, b = two_rows(rows, starts, k, k + 2), two_rows(rows, starts, k + 1, k + 3)
    c, d = two_rows(rows, starts, k + 4, k + 6), two_rows(rows, starts, k + 5, k + 7)
    xz0123, y0123 = shufflevector(a, b, Val((0, 8, 2, 10, 4, 12, 6, 14))), shufflevector(a, b, Val((1, 9, 3, 11, 5, 13, 7, 15)))
    xz4567, y4567 = shufflevector(c, d, Val((0, 8, 2, 10, 4, 12, 6, 14))), shufflevector(c, d, Val((1, 9, 3, 11, 5, 13, 7, 15)))
    even_quarters, odd_quarters = Val((0, 1, 4, 5, 8, 9, 12, 13)), Val((2, 3, 6, 7, 10, 11, 14, 15))
    return shufflevector(xz0123, xz4567, even_quarters), shufflevector(y0123, y4567, even_quarters), shufflevector(xz0123, xz4567, odd_quarters)
end

@inline function columns(rows, starts, k, ::Val{4})
    a, b, c, d = (row(rows, starts, k + m) for m in (0, 1, 2, 3))
    xz01, y01 = shufflevector(a, b, Val((0, 4, 2, 6))), shufflevector(a, b, Val((1, 5, 3, 7)))
    xz23, y23 = shufflevector(c, d, Val((0, 4, 2, 6))), shufflevector(c, d, Val((1, 5, 3, 7)))
    low, high = Val((0, 1, 4, 5)), Val((2, 3, 6, 7))
    return shufflevector(xz01, xz23, low), shufflevector(y01, y23, low), shufflevector(xz01, xz23, high)
end

# LLVM's name for a pointer, and for it in the name of a function.
const POINTER, P0 = Base.libllvm_version < v"17" ? ("i8*", "p0i8") : ("ptr", "p0")

"Have what is there fetched from memory; it may be nowhere."
@inline @generated prefetch(from::Ptr) = :(Base.llvmcall(
    ($"""
     declare void @llvm.prefetch.$P0($POINTER, i32, i32, i32)
     define void @entry(i64 %address) #0 {
         %from = inttoptr i64 %address to $POINTER
         call void @llvm.prefetch.$P0($POINTER %from, i32 0, i32 3, i32 1)
         ret void
     }
     attributes #0 = { alwaysinline }
     """, "entry"),
    Cvoid, Tuple{UInt64}, UInt64(UInt(from))))

"The sums over the lanes of x, of y and of z, and 0: without leaving the registers."
@inline function sums(x, y, z)
    x4, y4, z4 = map(lanes -> halves_added(lanes, Val(4)), (x, y, z))
    none = zero(z4)
    even, odd = Val((0, 4, 2, 6)), Val((1, 5, 3, 7))
    xy = shufflevector(x4, y4, even) + shufflevector(x4, y4, odd)
    z0 = shufflevector(z4, none, even) + shufflevector(z4, none, odd)
    return Row{Float64}(Tuple(shufflevector(xy, z0, Val((0, 1, 4, 5))) + shufflevector(xy, z0, Val((2, 3, 6, 7)))))
end

"A vector of so many lanes, which may be twice as wide and then has its halves added."
@inline halves_added(a::Vec{W}, ::Val{W}) where {W} = a
@inline halves_added(a::Vec, ::Val{W}) where {W} =
    shufflevector(a, Val(ntuple(lane -> lane - 1, Val(W)))) + shufflevector(a, Val(ntuple(lane -> W + lane - 1, Val(W))))

"""
Write the lanes that are wanted one after the other, the first of them as the k-th from `to` on, and return how many they are.
What lies behind them may be written over, as far as a vector reaches.
"""
@inline function pack!(to::Ptr{T}, k, lanes::Vec{W,T}, wanted::Vec{W,Bool}) where {W,T}
    if AVX512 && W >= 8
        vstore(compress(lanes, wanted), to + sizeof(T) * (k - 1))
        return count_ones(bits(wanted))
    end
    found = 0
    for lane in 1:W     # no branch: what is not wanted is overwritten by the next
        unsafe_store!(to, lanes[lane], k + found)
        found += wanted[lane]
    end
    return found
end

# By way of a register: some processors take a hundred cycles to compress into memory.
@inline @generated compress(lanes::Vec{W,Int32}, wanted::Vec{W,Bool}) where {W} = :(Vec(Base.llvmcall(
    ($"""
     declare <$W x i32> @llvm.x86.avx512.mask.compress.v$(W)i32(<$W x i32>, <$W x i32>, <$W x i1>)
     define <$W x i32> @entry(<$W x i32> %lanes, <$W x i8> %bytes) #0 {
         %wanted = trunc <$W x i8> %bytes to <$W x i1>
         %packed = call <$W x i32> @llvm.x86.avx512.mask.compress.v$(W)i32(
             <$W x i32> %lanes, <$W x i32> %lanes, <$W x i1> %wanted)
         ret <$W x i32> %packed
     }
     attributes #0 = { alwaysinline }
     """, "entry"),
    NTuple{W,VecElement{Int32}}, Tuple{NTuple{W,VecElement{Int32}},NTuple{W,VecElement{Bool}}}, lanes.data, wanted.data)))

"A bit for each lane, the first one the lowest."
@inline @generated bits(wanted::Vec{W,Bool}) where {W} = :(Base.llvmcall(
    ($"""
     define i$W @entry(<$W x i8> %bytes) #0 {
         %wanted = trunc <$W x i8> %bytes to <$W x i1>
         %bits = bitcast <$W x i1> %wanted to i$W
         ret i$W %bits
     }
     attributes #0 = { alwaysinline }
     """, "entry"),
    $(Symbol(:UInt, W)), Tuple{NTuple{W,VecElement{Bool}}}, wanted.data))
