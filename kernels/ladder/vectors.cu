// Rung 4: the same bytes in fewer instructions. On a GPU a thread asks for 16 bytes at once, a pack
// of four floats, so a quarter of the loads keeps as much memory busy. On a CPU `omp simd` promises
// that no element depends on another: one instruction then works on 8 or 16 floats.
//
// Packs must begin at multiples of 16 bytes. Here the caller sees to it; `each`, which the kernels
// of the library use, looks, and takes other arrays one by one.
#include "common.cuh"

ELEMENTS(adam_vectors,
         real* theta,   // (n)
         const real* g, // (n)
         real* m,       // (n)
         real* v,       // (n)
         real keep,     // as in naive.cu
         real beta1,    //
         real alpha1,   //
         real beta2,    //
         real alpha2,   //
         real eta,      //
         real epsilon,  //
         i64 n) {
    auto step = [=](real& theta, real g, real& m, real& v) {
        m = beta1 * m + alpha1 * g;
        v = beta2 * v + alpha2 * (g * g);
        theta = keep * theta - eta * m / (sqrt(v) + epsilon);
    };
#if ON_GPU
    const i64 first = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    const i64 stride = (i64)gridDim.x * blockDim.x;
    const i64 packs = n / PACK;
    for (i64 i = first; i < packs; i += stride) {
        Pack<real> t4 = load(theta, i), g4 = load(g, i), m4 = load(m, i), v4 = load(v, i);
#pragma unroll
        for (int k = 0; k < PACK; ++k) step(t4.at[k], g4.at[k], m4.at[k], v4.at[k]);
        store(theta, i, t4);
        store(m, i, m4);
        store(v, i, v4);
    }
    for (i64 i = PACK * packs + first; i < n; i += stride) step(theta[i], g[i], m[i], v[i]);
#else
#pragma omp simd
    for (i64 i = 0; i < n; ++i) step(theta[i], g[i], m[i], v[i]);
#endif
}
