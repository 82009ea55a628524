"""A team of threads that share work.

Mojo's standard library starts no threads, so these are the C library's. They
are started once. Between two pieces of work a thread looks out for the next one
for some microseconds, which is all that the phases of a time step leave between
them; then it gives way to whoever wants the processor; and then it sleeps.
"""

from std.atomic import Atomic
from std.ffi import external_call
from std.memory import OwnedPointer
from std.sys import CompilationTarget, llvm_intrinsic

comptime Raw = Pointer[UInt8, MutUntrackedOrigin]
comptime Nothing = Optional[Raw](None)
comptime LOOKS = 1000
"""How often a thread looks before it gives way: some tens of microseconds."""
comptime TURNS = 100
"""How often it gives way before it sleeps."""


struct Team(Movable):
    """Threads that do a piece of work together; the caller is number 0."""

    var size: Int
    """Threads in the team."""
    var board: OwnedPointer[Board]
    """What all of them look at; it stays in place when the team is moved."""
    var others: List[UInt]
    """The threads but the caller, as the C library knows them."""

    def __init__(out self):
        """A team of the caller alone."""
        self.size = 1
        self.board = OwnedPointer(Board())
        self.others = List[UInt]()

    def __init__(out self, size: Int) raises:
        """A team of so many, the caller among them."""
        self = Self()
        for _ in range(1, size):
            var id = UInt(0)
            if external_call["pthread_create", Int32](
                Pointer(to=id), Nothing, attend, self.board.ptr()
            ):
                raise Error(t"the system starts no more than {self.size} threads")
            self.others.append(id)
            self.size += 1

    def __deinit__(deinit self):
        self.board[].call = None
        self.board[].announce()
        for id in self.others:
            _ = external_call["pthread_join", Int32](id, Nothing)
        # Mojo ends a value after its last use: that of the board is here.
        _ = self.board^

    def share[
        Data: AnyType, //, work: def(mut Data, Int) thin -> None
    ](mut self, mut data: Data):
        """Call `work(data, thread)` in every thread, and wait for all of them.

        The calls run at the same time: each may change only a part of the data
        that is its own, and read only what no other changes.
        """
        if self.size > 1:
            ref board = self.board[]
            board.call = call[work]
            board.data = (
                Pointer(to=data)
                .unsafe_bitcast[UInt8]()
                .unsafe_origin_cast[MutUntrackedOrigin]()
            )
            _ = board.unfinished.fetch_add(Int64(self.size - 1))
            board.announce()
            work(data, 0)
            var looks = 0
            while board.unfinished.load() > 0:
                wait_a_little(looks)
        else:
            work(data, 0)


struct Board(Movable):
    """What the threads of a team know in common."""

    var call: Optional[def(Raw, Int) thin -> None]
    """The work, for the data and the number of a thread; None is the end."""
    var data: Raw
    """The data of the work."""
    var seats: Atomic[Int64]
    """Threads that have taken their number."""
    var round: Atomic[Int64]
    """Pieces of work announced."""
    var unfinished: Atomic[Int64]
    """Threads still at work."""
    var asleep: Atomic[Int64]
    """Threads that must be woken."""
    var mutex: Array[UInt64, 8]
    """A pthread_mutex_t, held to fall asleep and to wake others."""
    var bell: Array[UInt64, 8]
    """A pthread_cond_t, that wakes them."""

    def __init__(out self):
        self.call = None
        self.data = Raw.unsafe_dangling()
        self.seats = Atomic[Int64](0)
        self.round = Atomic[Int64](0)
        self.unfinished = Atomic[Int64](0)
        self.asleep = Atomic[Int64](0)
        # Zeros are the initial state of both on Linux.
        self.mutex = Array[UInt64, 8](fill=0)
        self.bell = Array[UInt64, 8](fill=0)

    def announce(mut self):
        """Let the other threads see that there is new work."""
        _ = self.round.fetch_add(1)
        if self.asleep.load() > 0:
            self.lock()
            _ = external_call["pthread_cond_broadcast", Int32](
                Pointer(to=self.bell)
            )
            self.unlock()

    def await_round(mut self, last: Int64):
        """Return when there is other work than in the round `last`."""
        var looks = 0
        while self.round.load() == last:
            if looks < LOOKS + TURNS:
                wait_a_little(looks)
                continue
            self.lock()
            # The number first, then a look: `announce` does the reverse, so
            # that one of the two always sees the other.
            _ = self.asleep.fetch_add(1)
            while self.round.load() == last:
                _ = external_call["pthread_cond_wait", Int32](
                    Pointer(to=self.bell), Pointer(to=self.mutex)
                )
            _ = self.asleep.fetch_sub(1)
            self.unlock()

    def lock(mut self):
        _ = external_call["pthread_mutex_lock", Int32](Pointer(to=self.mutex))

    def unlock(mut self):
        _ = external_call["pthread_mutex_unlock", Int32](Pointer(to=self.mutex))


def attend(raw: Raw) abi("C") -> Optional[Raw]:
    """The life of a thread: take a number, then do one work after another."""
    ref board = raw.unsafe_bitcast[Board]()[]
    var thread = Int(board.seats.fetch_add(1)) + 1
    var round = Int64(0)
    while True:
        board.await_round(round)
        round += 1
        if not board.call:
            return None
        board.call.value()(board.data, thread)
        _ = board.unfinished.fetch_sub(1)


def call[
    Data: AnyType, //, work: def(mut Data, Int) thin -> None
](data: Raw, thread: Int):
    """`work` on any type of data, behind one signature."""
    work(data.unsafe_bitcast[Data]()[], thread)


def wait_a_little(mut looks: Int):
    """Pause after a look in vain; after many, give way to other programs."""
    looks += 1
    if looks > LOOKS:
        _ = external_call["sched_yield", Int32]()
    else:
        comptime if CompilationTarget.is_x86():
            llvm_intrinsic["llvm.x86.sse2.pause", NoneType]()
