// The block executor's threads: fibers, their scheduler, and what they wait for. What all this is
// for stands in block_executor.h.
#pragma once

#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include <sanitizer/common_interface_defs.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

struct Index { u32 x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;

namespace executor {

constexpr int LANES = 32, WARPS = 32; // of a warp; of a block, at most
constexpr size_t STACK = 256 << 10;   // a sanitizer's report is written on it, too

// Where in the text a thread waits, and for what.
struct Place { const char *what, *file; int line; };
inline bool operator==(const Place& a, const Place& b) {
    return a.line == b.line && !strcmp(a.what, b.what) && !strcmp(a.file, b.file);
}

// A point of execution that can be left and taken up again.
struct Fiber {
    void* point[5];
    const void* stack = nullptr;
    size_t size = 0;
};

struct Thread : Fiber {
    enum { FINISHED, READY, WAITING } state = FINISHED;
    Place place; // where it waits
    u32 mask;    // for which lanes of its warp; 0: for the whole block
    u64 given;   // what it brings there
    int source;  // the lane whose `given` it wants; −1: it votes
    u64 got;     // what it takes away
};

static Fiber scheduler;
static std::unique_ptr<Thread[]> threads(new Thread[WARPS * LANES]);
static int count, current;      // how many threads the block has; the one that runs
static const char* kernel = ""; // its name
static void (*body)();          // runs it for one thread

// Time passes at barriers. For a thread, what lanes of its own warp did since warp_since[its warp]
// is in no order yet, nor what other warps did since block_since.
static u64 now, block_began, block_since, warp_since[WARPS];

[[noreturn, gnu::format(printf, 1, 2)]] inline void stop(const char* sentence, ...) {
    fprintf(stderr, "kernel %s, block (%u, %u, %u): ", kernel, blockIdx.x, blockIdx.y, blockIdx.z);
    va_list values;
    va_start(values, sentence);
    vfprintf(stderr, sentence, values);
    va_end(values);
    fputs("\n", stderr);
    __sanitizer_print_stack_trace();
    _exit(1);
}

// The compiler's own long jump: the sanitizer makes a system call of the library's.
[[gnu::noinline, gnu::no_sanitize_address]] inline void go_on_in(Fiber& next) {
    __sanitizer_start_switch_fiber(nullptr, next.stack, next.size);
    __builtin_longjmp(next.point, 1);
}
[[gnu::noinline, gnu::no_sanitize_address]] inline void change(Fiber& from, Fiber& to) {
    if (!__builtin_setjmp(from.point)) go_on_in(to);
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
}

inline void fiber_main() { // a fiber serves the thread of its number in one block after the other
    __sanitizer_finish_switch_fiber(nullptr, &scheduler.stack, &scheduler.size);
    for (;;) {
        Thread& thread = threads[current];
        body();
        thread.state = Thread::FINISHED;
        change(thread, scheduler);
    }
}

[[gnu::noinline, gnu::no_sanitize_address]] inline void begin(Fiber& fiber) {
    static ucontext_t fresh;
    getcontext(&fresh);
    fresh.uc_stack.ss_sp = (void*)fiber.stack, fresh.uc_stack.ss_size = fiber.size;
    makecontext(&fresh, fiber_main, 0);
    if (!__builtin_setjmp(scheduler.point)) {
        __sanitizer_start_switch_fiber(nullptr, fiber.stack, fiber.size);
        setcontext(&fresh);
    }
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
}

inline void resume(int number) {
    Thread& thread = threads[number];
    const u32 n = current = number;
    threadIdx = {n % blockDim.x, n / blockDim.x % blockDim.y, n / blockDim.x / blockDim.y};
    if (!thread.stack) {
        thread.stack = malloc(STACK), thread.size = STACK;
        begin(thread);
    } else {
        change(scheduler, thread);
    }
}

// Whether thread `number` is one of those that `waiting` waits for.
inline bool partners(int number, int waiting) {
    const u32 mask = threads[waiting].mask;
    return !mask || (number / LANES == waiting / LANES && mask >> number % LANES & 1);
}
inline bool together(const Thread& a, const Thread& b) {
    return b.state == Thread::WAITING && a.mask == b.mask && a.place == b.place;
}

// If all whom thread `number` waits for have come, lets them go on; whether they have.
inline bool release(int number) {
    const Thread& first = threads[number];
    const int warp = number / LANES * LANES, existing = std::min(LANES, count - warp);
    const int begin = first.mask ? warp : 0, end = first.mask ? warp + existing : count;
    u64 votes = 0; // of a warp: a bit for each lane; of a block: their number
    int members = 0;
    for (int i = begin; i < end; ++i) {
        if (!partners(i, number)) continue;
        if (!together(first, threads[i])) return false;
        votes += u64(threads[i].given != 0) << (first.mask ? i % LANES : 0);
        ++members;
    }
    for (int i = begin; i < end; ++i) {
        if (!partners(i, number)) continue;
        Thread& thread = threads[i];
        thread.got = thread.source < 0 ? votes : threads[warp + thread.source].given;
        thread.state = Thread::READY;
    }
    if (!first.mask) {
        std::fill_n(warp_since, WARPS, block_since = ++now);
    } else if (members == existing && !strcmp(first.place.what, "__syncwarp")) {
        warp_since[warp / LANES] = ++now;
    }
    return true;
}

// Nobody can go on: says who waits for whom.
[[noreturn]] inline void stop_stuck() {
    for (int i = 0; i < count; ++i) {
        const Thread& a = threads[i];
        for (int j = 0; a.state == Thread::WAITING && j < count; ++j) {
            const Thread& b = threads[j];
            if (!partners(j, i) || together(a, b)) continue;
            if (b.state == Thread::FINISHED) {
                stop("thread %d waits at %s (%s:%d), which thread %d never reaches: it has "
                     "finished", i, a.place.what, a.place.file, a.place.line, j);
            }
            stop("thread %d waits at %s (%s:%d), which thread %d never reaches: it waits at %s "
                 "(%s:%d)", i, a.place.what, a.place.file, a.place.line, j, b.place.what,
                 b.place.file, b.place.line);
        }
    }
    stop("no thread can go on");
}

// The order in which threads and blocks run.
enum Order : i64 { REVERSE = -1, FORWARD = 0 }; // others are seeds
inline std::vector<int> arranged(int n, i64 order) {
    std::vector<int> numbers(n);
    for (int i = 0; i < n; ++i) numbers[i] = order == REVERSE ? n - 1 - i : i;
    return numbers;
}
static u64 random_bits; // begins as the seed
inline void rearrange(std::vector<int>& numbers, i64 order) {
    if (order <= FORWARD) return;
    for (u32 left = numbers.size(); left > 1; --left) {
        random_bits = random_bits * 6364136223846793005 + 1442695040888963407; // Knuth's
        std::swap(numbers[left - 1], numbers[(random_bits >> 33) % left]);
    }
}

inline void run_block(std::vector<int>& turns, i64 order) {
    block_began = ++now;
    std::fill_n(warp_since, WARPS, block_since = ++now);
    for (int i = 0; i < count; ++i) threads[i].state = Thread::READY;
    for (bool waiting = true; waiting;) {
        rearrange(turns, order);
        for (int i : turns) if (threads[i].state == Thread::READY) resume(i);
        waiting = false;
        bool released = false;
        for (int i = 0; i < count; ++i) {
            if (threads[i].state != Thread::WAITING) continue;
            waiting = true;
            if (threads[i].mask || i == 0) released |= release(i);
        }
        if (waiting && !released) stop_stuck();
    }
}

// The running thread waits at `place` with the lanes of `mask`, or with the whole block.
inline u64 wait(Place place, u32 mask, u64 given, int source = -1) {
    Thread& thread = threads[current];
    thread.place = place, thread.mask = mask, thread.given = given, thread.source = source;
    thread.state = Thread::WAITING;
    change(thread, scheduler);
    return thread.got;
}

inline u32 lane() { return current % LANES; }

inline u64 vote(Place place, u32 mask, bool given) {
    if (!(mask >> current % LANES & 1)) {
        stop("thread %d calls %s with a mask, %08x, that does not name its own lane", current,
             place.what, mask);
    }
    return wait(place, mask, given);
}

template <class T> T shuffle(Place place, u32 mask, T x, u32 source) {
    static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8, "has no shuffle");
    const int lane = current % LANES, existing = std::min(LANES, count - (current - lane));
    if (source >= LANES) {
        stop("thread %d calls %s for lane %u: past the warp", current, place.what, source);
    } else if ((int)source >= existing || !(mask >> source & mask >> lane & 1)) {
        stop("thread %d, lane %d, calls %s for lane %u, but the mask is %08x and %d lanes exist",
             current, lane, place.what, source, mask, existing);
    }
    u64 bits = 0;
    memcpy(&bits, &x, sizeof x);
    bits = wait(place, mask, bits, source);
    memcpy(&x, &bits, sizeof x);
    return x;
}

} // namespace executor
