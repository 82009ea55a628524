# How work is divided among threads.

"Call `work` on each item, with a task for each, and wait for all."
@inline function in_parallel(work, items)
    length(items) == 1 ? work(first(items)) : spawn_and_wait(work, items)
    return nothing
end

function spawn_and_wait(work, items)
    tasks = [Threads.@spawn(work(item)) for item in @view items[2:end]]
    work(first(items))
    foreach(wait, tasks)
end
