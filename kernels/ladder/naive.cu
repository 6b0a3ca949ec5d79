// Rung 3: the whole formula in one kernel. What NumPy wrote to memory between two operations stays
// in a register, so each array is read once and written once: 28 bytes a float parameter.
//
// A GPU starts thousands of threads; this one takes element i, and then the one that lies a whole
// grid further on. Neighbouring threads touch neighbouring elements, so a warp's 32 loads are one
// transfer of 128 bytes. On a CPU one thread takes them all, and its vectoriser is switched off.
#include "common.cuh"

#if ON_GPU
#define FIRST ((i64)blockIdx.x * blockDim.x + threadIdx.x)
#define STRIDE ((i64)gridDim.x * blockDim.x)
#else
#define FIRST 0
#define STRIDE 1
#endif

ELEMENTS(adam_naive,
         real* theta,   // (n)
         const real* g, // (n)
         real* m,       // (n)
         real* v,       // (n)
         real keep,     // 1 − ηλ
         real beta1,    //
         real alpha1,   // 1 − β₁, made in double: in float it would lose digits
         real beta2,    //
         real alpha2,   // 1 − β₂
         real eta,      // η·c/(1−β₁ᵗ) with c = √(1−β₂ᵗ)
         real epsilon,  // c·ε
         i64 n) {
    for (i64 i = FIRST; i < n; i += STRIDE) {
        const real g_i = g[i];
        const real m_i = beta1 * m[i] + alpha1 * g_i;
        const real v_i = beta2 * v[i] + alpha2 * (g_i * g_i);
        theta[i] = keep * theta[i] - eta * m_i / (sqrt(v_i) + epsilon);
        m[i] = m_i;
        v[i] = v_i;
    }
}
