# How work is divided among threads.
#
# Between the phases of a time step there are some microseconds, and a task that must wake a thread
# takes tens of them. So the tasks that help stay for a while, and look out for the next work. Who
# shares work does himself whatever nobody has begun, and so waits for no thread that another
# program keeps from its processor before it begins.

const LOOKS = 1000      # before one gives way to other programs: some tens of microseconds
const TURNS = 1000      # in which a helper gives way before it ends: some hundreds, if nobody else wants the processor

"Work that is shared: it is called with the number of each item, by whoever takes that item."
mutable struct Work
    const call::Any
    const taken::Vector{Threads.Atomic{Bool}}
    @atomic unfinished::Int
    @atomic failure::Any
end

Work(call, items::Int) = Work(call, [Threads.Atomic{Bool}(false) for _ in 1:items], items, nothing)

"Where helpers look: the work at hand, and for each helper whether it is there."
mutable struct Board
    @atomic work::Union{Nothing,Work}
    const present::Vector{Threads.Atomic{Bool}}
end

const BOARD = Board(nothing, [])

"Call `work(system, chunk)` for each chunk of its particles, at the same time as far as there are threads."
@inline in_parallel(work::F, system::System) where {F} = in_parallel(chunk -> work(system, chunk), system.chunks)

"Call `work` on each item, at the same time as far as there are threads, and wait for all."
@inline function in_parallel(work, items)
    length(items) == 1 ? work(first(items)) : share(work, items)
    return nothing
end

function share(call, items)
    work = Work(k -> (call(items[k]); nothing), length(items))
    # The board is for one at a time: who finds it taken does without.
    (@atomicreplace BOARD.work nothing => work).success || return foreach(call, items)
    try
        for helper in 2:min(length(items), Threads.nthreads())
            helper > length(BOARD.present) + 1 && push!(BOARD.present, Threads.Atomic{Bool}(false))
            present = BOARD.present[helper-1]
            Threads.atomic_xchg!(present, true) || Threads.@spawn help(helper, present)
        end
        take_items(work, 1)
        looks = 0
        while (@atomic work.unfinished) > 0
            wait_a_little(looks += 1)
        end
    finally
        @atomic BOARD.work = nothing
    end
    failure = @atomic work.failure
    isnothing(failure) || throw(failure)
end

"Take part in the work on the board, until there has been none for long."
function help(own, present)
    looks = 0
    try
        while looks < LOOKS + TURNS
            work = @atomic BOARD.work
            looks = !isnothing(work) && take_items(work, own) ? 0 : looks + 1
            wait_a_little(looks)
        end
    finally
        present[] = false
    end
end

"Do one's own item, and after it those that nobody has taken; whether there were any."
function take_items(work, own)
    (; taken) = work
    some = false
    for m in eachindex(taken)
        k = mod1(own + m - 1, length(taken))
        (taken[k][] || Threads.atomic_xchg!(taken[k], true)) && continue
        some = true
        try
            Base.invokelatest(work.call, k)     # what is defined while a helper looks out is new to it
        catch failure
            @atomic work.failure = failure
        end
        @atomic work.unfinished -= 1
    end
    return some
end

"A moment after a look in vain, in which the garbage collector may come; after many, other programs."
function wait_a_little(looks)
    if looks < LOOKS
        ccall(:jl_cpu_pause, Cvoid, ())
    else
        @static Sys.isunix() && ccall(:sched_yield, Cint, ())
    end
    GC.safepoint()
end
