// One kernel text, two processors.
//
// A kernel is written once, with the entries and loops below. NVRTC (or nvcc) compiles it for the
// GPU, and the host's C++ compiler for the CPU; the tests' block executor runs the GPU's form on
// the host, thread by thread.
//
//                         on a GPU                               on a CPU
//   ELEMENTS(name, …)     a grid of threads                      a function
//   each(n, f, a, b, …)   a thread takes four neighbours a time  an OpenMP loop of vector instructions
//   BLOCKS(name, …)       a grid of blocks                       a function
//   FOR_BLOCKS(b, n, s)   what this block does: b                an OpenMP loop, if s elements a
//                                                                block are work enough for cores
//   block_each(a, b, f)   the block's threads share a … b−1      a loop of vector instructions
//   block_sum<T>(a, b, f) each sums its share; shuffles join     a loop of vector instructions
//   block_reduce(x, f)      x of all threads, joined in order      x itself
//   LEADER                thread 0 of the block                  true
//
// Two rules. The last parameter of an entry is the count that its grid covers. And each pointer's
// shape stands beside it in a comment: minigrad/kernels reads it, and checks what a launch is given.
//
// `real` is float or double, chosen when a file is compiled (-DREAL=float).
#pragma once

#ifndef REAL
#define REAL float
#endif

typedef REAL real;
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;

// T without const.
template <class T> struct Bare { typedef T type; };
template <class T> struct Bare<const T> { typedef T type; };

#if defined(BLOCK_EXECUTOR)
#include "block_executor.h"
#include "gpu.cuh"
#elif defined(__CUDACC__)
#include <cuda_fp16.h>
#define ELEMENTS(name, ...) extern "C" __global__ void name(__VA_ARGS__)
#define BLOCKS(name, ...) extern "C" __global__ void name(__VA_ARGS__)
#define SHARED(type, name, count) __shared__ type name[count]
#include "gpu.cuh"
#else
#include "cpu.cuh"
#endif

// max and min that let NaN through, as NumPy's do.
template <class T> DEVICE T larger(T a, T b) { return a > b || a != a ? a : b; }
template <class T> DEVICE T smaller(T a, T b) { return a < b || a != a ? a : b; }
template <class T> DEVICE T sign(T x) { return x > 0 ? T(1) : x < 0 ? T(-1) : x; }

// x held to [−limit, limit]; NaN stays NaN.
template <class T> DEVICE T clamp(T x, T limit) { return x > limit ? limit : x < -limit ? -limit : x; }
