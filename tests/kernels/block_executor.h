// The block executor: the GPU's form of a kernel, run on the host one thread at a time.
//
// A GPU runs the threads of a block in an order nobody promises, and lets mistakes pass: a missing
// barrier gives right sums on a lucky day. Here each thread is a fiber, a stack of its own that is
// left and taken up again at barriers, shuffles and votes, in the order that a job asks for.
//
// What stops a kernel, with a sentence and the lines that led there:
//   - a barrier, shuffle or vote that not all its threads reach, in one and the same place
//   - a shuffle that reads past the warp, from a lane that is not there or not named in the mask
//   - shared memory: an index outside the array, reading what nobody wrote, and races: two threads
//     touch an element, one of them writes, and no __syncthreads() (or, in a warp, __syncwarp()
//     of all its lanes) stands between. Shuffles and votes order no memory, as in CUDA.
//   - global memory: each argument is a heap buffer of just its size, under the address sanitizer;
//     the undefined-behaviour sanitizer catches packs that are not aligned, which a GPU refuses too
//
// What it isn't: a GPU. Between two such places a thread runs undisturbed, so atomics are plain
// code, and races on *global* memory pass unseen, except that the order of threads can be changed.
// There is no fused multiply-add, no limit of registers, and no notion of time.
//
// Shared arrays are written SHARED(type, name, count) and used by index. tile[i] stands for an
// element: where a template must deduce its type, or a member is wanted, copy it to a T first.
//
// main() serves jobs from standard input (executor.py writes them) until it ends.
#pragma once

#include <math.h> // not cmath: the overloads for float must be in the global namespace
#include <signal.h>

#include <sanitizer/asan_interface.h>

#include <memory>
#include <type_traits>
#include <utility>

#include "block_threads.h"

namespace executor {

enum Access { READS, WRITES, ADDS };
constexpr const char* DID[] = {"read", "wrote", "added to"};

// Which lanes of a warp have touched an element, and how, since a synchronisation: as other warps
// see it, the block's last; as the warp's own lanes see it, the warp's last.
struct Visits { u64 since; u32 lanes[3]; };
inline u64 since(bool own) { return own ? warp_since[current / LANES] : block_since; }

template <class T, int COUNT> struct Shared {
    const char* name;
    T values[COUNT];
    u64 written[COUNT];             // when
    Visits visits[COUNT][WARPS][2]; // for other warps to mind, and for its own

    explicit Shared(const char* name) : name(name) {}

    T& touch(int i, Access how) {
        const int mine = current / LANES;
        const u32 me = 1u << current % LANES;
        for (int warp = 0; warp * LANES < count; ++warp) {
            const bool own = warp == mine;
            const Visits& v = visits[i][warp][own];
            if (v.since < since(own)) continue;
            for (Access other : {READS, WRITES, ADDS}) {
                const u32 lanes = v.lanes[other] & ~(own ? me : 0);
                if (!lanes || (how == other && how != WRITES)) continue;
                stop("race on shared %s[%d]: thread %d %s it and thread %d %s it, with no barrier "
                     "between", name, i, warp * LANES + __builtin_ctz(lanes), DID[other], current,
                     DID[how]);
            }
        }
        for (bool own : {false, true}) {
            Visits& v = visits[i][mine][own];
            if (v.since < since(own)) v = {now, {}};
            v.lanes[how] |= me;
        }
        if (how != WRITES && written[i] < block_began) {
            stop("thread %d reads shared %s[%d], which nobody has written", current, name, i);
        }
        written[i] = how == READS ? written[i] : now;
        return values[i];
    }

    // An element. It cannot be kept (auto x = tile[i] does not get far): reading happens here.
    struct Element {
        Shared& array;
        int i;
        operator T() const&& { return array.touch(i, READS); }
        void operator=(T x) && { array.touch(i, WRITES) = x; }
        void operator=(Element&& other) && { array.touch(i, WRITES) = T(std::move(other)); }
        void operator+=(T x) && { array.touch(i, WRITES) = array.touch(i, READS) + x; }
        Element operator&() && { return {array, i}; } // for atomicAdd
        friend T atomicAdd(Element at, T x) {
            T& value = at.array.touch(at.i, ADDS);
            return std::exchange(value, T(value + x));
        }
    };
    Element operator[](i64 i) {
        if (i < 0 || i >= COUNT) {
            stop("thread %d uses shared %s[%lld]; it has %d elements", current, name, i, COUNT);
        }
        return {*this, (int)i};
    }
};

// An entry, which registers itself and unpacks its arguments as cuLaunchKernel does.
struct Kernel {
    const char* name;
    std::vector<size_t> sizes;
    void (*function)();
    void (*call)(void (*)(), void**);
    const Kernel* next;

    template <class... A> Kernel(const char* name, void (*f)(A...))
        : Kernel(name, f, std::index_sequence_for<A...>()) {}
    template <class... A, size_t... I>
    Kernel(const char* name, void (*f)(A...), std::index_sequence<I...>)
        : name(name), sizes{sizeof(A)...}, function((void (*)())f),
          call([](void (*f)(), void** a) { ((void (*)(A...))f)(*(A*)a[I]...); }), next(all) {
        all = this;
    }
    inline static const Kernel* all;
};
static const Kernel* entry;
static std::vector<void*> pointers; // to its arguments

inline void take(void* data, size_t bytes) {
    if (fread(data, 1, bytes, stdin) != bytes) _exit(0); // nobody has another job
}

struct Job { char kernel[64]; Index grid, block; i64 order; u64 arguments; };

struct Argument {
    enum : u64 { VALUE, READ_ONLY, WRITTEN, NOTHING, AGAIN } kind;
    u64 bytes;  // AGAIN: which argument's buffer this one is
    u64 offset; // of a buffer: so many bytes past a multiple of 16
    std::unique_ptr<char[]> memory;
    void* data = nullptr;

    void read() {
        take(this, 3 * sizeof(u64));
        if (kind > WRITTEN) return;
        memory.reset(new char[offset + bytes]); // the sanitizer guards its end
        memset(memory.get(), 0xff, offset);
        data = memory.get() + offset;
        take(data, bytes);
        if (kind != VALUE) __asan_poison_memory_region(memory.get(), offset + !bytes);
    }
    void check(int i) { // the sanitizer poisons by eights: the few bytes it could not are looked at
        if (kind != READ_ONLY && kind != WRITTEN) return;
        __asan_unpoison_memory_region(memory.get(), offset + !bytes);
        if (!std::all_of(memory.get(), memory.get() + offset, [](char c) { return c == '\xff'; })) {
            stop("something wrote before the beginning of argument %d", i);
        }
    }
};

inline void run(const Job& job, std::vector<Argument>& arguments) {
    kernel = job.kernel, gridDim = job.grid, blockDim = job.block, blockIdx = {0, 0, 0};
    count = blockDim.x * blockDim.y * blockDim.z;
    for (entry = Kernel::all; entry && strcmp(entry->name, kernel); entry = entry->next) {}
    if (!entry) stop("this file has no such kernel");
    if (count < 1 || count > LANES * WARPS) stop("%d threads; a block has 1 to 1024", count);
    if (arguments.size() != entry->sizes.size()) {
        stop("%zu arguments, and it takes %zu", arguments.size(), entry->sizes.size());
    }
    pointers.clear();
    for (Argument& a : arguments) {
        const size_t size = entry->sizes[pointers.size()];
        if ((a.kind == Argument::VALUE ? a.bytes : sizeof(void*)) != size) {
            stop("argument %zu should have %zu bytes", pointers.size(), size);
        }
        if (a.kind == Argument::AGAIN) a.data = arguments[a.bytes].data;
        pointers.push_back(a.kind == Argument::VALUE ? a.data : &a.data);
    }
    body = [] { entry->call(entry->function, pointers.data()); };
    random_bits = job.order;
    std::vector<int> turns = arranged(count, job.order);
    std::vector<int> blocks = arranged(gridDim.x * gridDim.y * gridDim.z, job.order);
    if (blocks.empty()) stop("the grid is empty");
    rearrange(blocks, job.order);
    for (u32 b : blocks) {
        blockIdx = {b % gridDim.x, b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y};
        run_block(turns, job.order);
    }
}

inline int serve() {
    signal(SIGALRM, [](int) { stop("still running after a minute: does a loop never end?"); });
    for (Job job;;) {
        take(&job, sizeof job);
        std::vector<Argument> arguments(job.arguments);
        for (Argument& a : arguments) a.read();
        alarm(60);
        run(job, arguments);
        alarm(0);
        for (size_t i = 0; i < arguments.size(); ++i) arguments[i].check(i);
        putchar('.');
        for (const Argument& a : arguments) {
            if (a.kind == Argument::WRITTEN) fwrite(a.data, 1, a.bytes, stdout);
        }
        fflush(stdout);
    }
}

} // namespace executor

// What a kernel finds on a GPU. HERE is where the call is written.
#define HERE(what) executor::Place{what, file, line}
#define CALLER const char *file = __builtin_FILE(), int line = __builtin_LINE()

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define ELEMENTS(name, ...)                                                                        \
    static void name(__VA_ARGS__);                                                                 \
    static executor::Kernel name##_entry(#name, name);                                             \
    static void name(__VA_ARGS__)
#define BLOCKS(name, ...) ELEMENTS(name, __VA_ARGS__)
#define SHARED(type, name, count) static executor::Shared<type, count> name(#name)

typedef _Float16 half;
inline float __half2float(half x) { return x; }
inline half __float2half(float x) { return x; }
template <class T> using Same = std::common_type_t<T>; // T, without deducing it here
using std::max;
using std::min;
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline u32 __umulhi(u32 a, u32 b) { return (u64)a * b >> 32; }
inline u64 __umul64hi(u64 a, u64 b) { return (unsigned __int128)a * b >> 64; }
inline int __popc(u32 x) { return __builtin_popcount(x); }
inline int __clz(u32 x) { return x ? __builtin_clz(x) : 32; }
inline int __ffs(u32 x) { return __builtin_ffs(x); }
template <class T> T atomicExch(T* at, Same<T> x) { return std::exchange(*at, x); }
template <class T> T atomicAdd(T* at, Same<T> x) { return std::exchange(*at, T(*at + x)); }
template <class T> T atomicMax(T* at, Same<T> x) { return std::exchange(*at, max(*at, x)); }
template <class T> T atomicMin(T* at, Same<T> x) { return std::exchange(*at, min(*at, x)); }
template <class T> T atomicOr(T* at, Same<T> x) { return std::exchange(*at, T(*at | x)); }
template <class T> T atomicCAS(T* at, Same<T> from, Same<T> to) {
    return std::exchange(*at, *at == from ? to : *at);
}

inline void __syncthreads(CALLER) { executor::wait(HERE("__syncthreads"), 0, 0); }
inline int __syncthreads_count(int x, CALLER) {
    return executor::wait(HERE("__syncthreads_count"), 0, x != 0);
}
inline int __syncthreads_or(int x, CALLER) {
    return executor::wait(HERE("__syncthreads_or"), 0, x != 0) > 0;
}
inline int __syncthreads_and(int x, CALLER) {
    return executor::wait(HERE("__syncthreads_and"), 0, x == 0) == 0;
}
inline void __syncwarp(u32 mask = ~0u, CALLER) { executor::vote(HERE("__syncwarp"), mask, false); }
inline u32 __ballot_sync(u32 mask, int x, CALLER) {
    return executor::vote(HERE("__ballot_sync"), mask, x);
}
inline int __any_sync(u32 mask, int x, CALLER) {
    return executor::vote(HERE("__any_sync"), mask, x) != 0;
}
inline int __all_sync(u32 mask, int x, CALLER) {
    return executor::vote(HERE("__all_sync"), mask, !x) == 0;
}
template <class T> T __shfl_sync(u32 mask, T x, int lane, CALLER) {
    return executor::shuffle(HERE("__shfl_sync"), mask, x, lane);
}
template <class T> T __shfl_xor_sync(u32 mask, T x, int distance, CALLER) {
    return executor::shuffle(HERE("__shfl_xor_sync"), mask, x, executor::lane() ^ distance);
}
// At the warp's edge, these two give a lane its own x back, as on a GPU.
template <class T> T __shfl_up_sync(u32 mask, T x, u32 distance, CALLER) {
    const u32 lane = executor::lane(), from = lane - distance;
    return executor::shuffle(HERE("__shfl_up_sync"), mask, x, lane < distance ? lane : from);
}
template <class T> T __shfl_down_sync(u32 mask, T x, u32 distance, CALLER) {
    const u32 lane = executor::lane(), from = lane + distance;
    return executor::shuffle(HERE("__shfl_down_sync"), mask, x, from >= 32 ? lane : from);
}

// Fibers have stacks of their own, and a server has nothing to leak.
extern "C" const char* __asan_default_options() {
    return "detect_stack_use_after_return=0:detect_leaks=0:quarantine_size_mb=16";
}

int main() { return executor::serve(); }
