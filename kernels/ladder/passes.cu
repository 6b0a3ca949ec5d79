// What rung 6 does without: passes of their own for the scale of a clipped gradient and for weight
// decay (8 bytes a float parameter each) and for the zeroing of the gradient (4).
#include "common.cuh"

ELEMENTS(scale_by,
         real* x,     // (n)
         real factor, //
         i64 n) {
    each(n, [=](real& x) { x *= factor; }, x);
}

ELEMENTS(zero,
         real* x, // (n)
         i64 n) {
    each(n, [](real& x) { x = 0; }, x);
}
