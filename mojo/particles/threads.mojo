"""A team of threads that share work.

Mojo's standard library starts no threads, so these are the C library's. They
are started once. Between two pieces of work a thread looks out for the next one
for some microseconds, which is all that the phases of a time step leave between
them; then it gives way to whoever wants the processor; and then it sleeps.

Work comes in parts, one for each thread, which has the data of its part at hand
from the last time. But if another program keeps a thread from its processor, the
others take its part and do not wait for it.
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
    """Threads that work together; the caller is one of them."""

    var size: Int
    """How many they are."""
    var board: OwnedPointer[Board]
    """What all of them look at; it stays in place when the team is moved."""
    var others: List[UInt]
    """The threads but the caller, as the C library knows them."""

    def __init__(out self, size: Int = 1):
        """A team of so many, or of as many as the system will start."""
        self.size = 1
        self.board = OwnedPointer(Board(size))
        self.others = List[UInt]()
        while self.size < size:
            var thread = UInt(0)
            var failed = external_call["pthread_create", Int32](
                Pointer(to=thread), Nothing, attend, self.board.ptr()
            )
            if failed:
                break
            self.others.append(thread)
            self.size += 1

    def __deinit__(deinit self):
        self.board[].over = True
        self.board[].announce()
        for thread in self.others:
            _ = external_call["pthread_join", Int32](thread, Nothing)
        # Mojo ends a value after its last use: that of the board is here.
        _ = self.board^

    def share[
        Data: AnyType, //, work: def(mut Data, Int) thin -> None
    ](mut self, mut data: Data):
        """Call `work(data, part)` for each part, and wait for all of them.

        The calls run at the same time: each may change only a part of the data
        that is its own, and read only what no other changes.
        """
        if self.size == 1:
            work(data, 0)
            return
        var board = self.board.ptr().unsafe_origin_cast[MutUntrackedOrigin]()
        board[].call = call[work]
        board[].data = (
            Pointer(to=data)
            .unsafe_bitcast[UInt8]()
            .unsafe_origin_cast[MutUntrackedOrigin]()
        )
        board[].parts = self.size
        board[].unfinished.store(Int64(self.size))
        for part in range(self.size):
            board[].offered[part].store(1)
        board[].announce()
        take_parts(board, 0)
        var looks = 0
        while board[].unfinished.load() > 0:
            wait_a_little(looks)


struct Board(Movable):
    """What the threads of a team know in common."""

    var call: def(Raw, Int) thin -> None
    """The work: called with the data and the number of a part."""
    var data: Raw
    """The data of the work."""
    var parts: Int
    """Parts that the work has."""
    var offered: List[Atomic[Int64]]
    """For each part 1 if nobody has taken it yet, else 0 or less."""
    var seats: Atomic[Int64]
    """How many threads have their number."""
    var unfinished: Atomic[Int64]
    """Parts not yet done."""
    var round: Atomic[Int64]
    """How often there was news, work or the end."""
    var over: Bool
    """Whether the threads shall end."""
    var asleep: Atomic[Int64]
    """Threads that must be woken."""
    var mutex: Array[UInt64, 8]
    """A pthread_mutex_t, held to fall asleep and to wake others."""
    var bell: Array[UInt64, 8]
    """A pthread_cond_t, that wakes them."""

    def __init__(out self, parts: Int):
        self.call = no_work
        self.data = Raw.unsafe_dangling()
        self.parts = 0
        self.offered = List[Atomic[Int64]](capacity=parts)
        for _ in range(parts):
            self.offered.append(Atomic[Int64](0))
        self.seats = Atomic[Int64](1)
        self.unfinished = Atomic[Int64](0)
        self.round = Atomic[Int64](0)
        self.over = False
        self.asleep = Atomic[Int64](0)
        # Zeros are what the C library initializes both with.
        self.mutex = Array[UInt64, 8](fill=0)
        self.bell = Array[UInt64, 8](fill=0)

    def announce(mut self):
        """Let all threads know that there is news."""
        _ = self.round.fetch_add(1)
        if self.asleep.load() > 0:
            self.lock()
            _ = external_call["pthread_cond_broadcast", Int32](
                Pointer(to=self.bell)
            )
            self.unlock()

    def await_news(mut self, seen: Int64):
        """Return when there is news since the round `seen`."""
        var looks = 0
        while self.round.load() == seen:
            if looks < LOOKS + TURNS:
                wait_a_little(looks)
                continue
            self.lock()
            # First say so, then look again: `announce` goes the other way, and
            # one of the two will notice the other.
            _ = self.asleep.fetch_add(1)
            while self.round.load() == seen:
                _ = external_call["pthread_cond_wait", Int32](
                    Pointer(to=self.bell), Pointer(to=self.mutex)
                )
            _ = self.asleep.fetch_sub(1)
            self.unlock()

    def lock(mut self):
        """Take the mutex."""
        _ = external_call["pthread_mutex_lock", Int32](Pointer(to=self.mutex))

    def unlock(mut self):
        """Release the mutex."""
        _ = external_call["pthread_mutex_unlock", Int32](Pointer(to=self.mutex))


def take_parts(board: Pointer[Board, MutUntrackedOrigin], own: Int):
    """Do one's own part, and after it those that nobody else has taken.

    Not a method: the compiler may take for granted that nobody else changes
    `self` meanwhile.
    """
    for k in range(board[].parts):
        var part = (own + k) % board[].parts
        # Only who has a part reads on: until it is done, there is no other
        # work, even for a thread that is late and came for an earlier one.
        if board[].offered[part].fetch_sub(1) == 1:
            board[].call(board[].data, part)
            _ = board[].unfinished.fetch_sub(1)


def attend(raw: Raw) abi("C") -> Optional[Raw]:
    """The life of a thread: take a number, wait for work and do it."""
    var board = raw.unsafe_bitcast[Board]()
    var own = Int(board[].seats.fetch_add(1))
    var seen = Int64(0)
    while True:
        board[].await_news(seen)
        seen = board[].round.load()
        if board[].over:
            return None
        take_parts(board, own)


def call[
    Data: AnyType, //, work: def(mut Data, Int) thin -> None
](data: Raw, part: Int):
    """The `work` on any type of data, behind one signature."""
    work(data.unsafe_bitcast[Data]()[], part)


def no_work(data: Raw, part: Int):
    """Do nothing."""
    pass


def wait_a_little(mut looks: Int):
    """Pause after a look in vain; after many, give way to other programs."""
    looks += 1
    if looks > LOOKS:
        _ = external_call["sched_yield", Int32]()
    else:
        comptime if CompilationTarget.is_x86():
            llvm_intrinsic["llvm.x86.sse2.pause", NoneType]()
