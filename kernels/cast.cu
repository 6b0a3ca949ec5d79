// Storage in half the space (Micikevicius et al. 2018, "Mixed precision training"): float to half
// and back, scaled on the way, 6 bytes an element. Rounded to nearest, ties to even; what is beyond
// half's range becomes infinity, as in NumPy and in PyTorch's .half().
#include "common.cuh"

ELEMENTS(to_half,
         const float* x, // (n)
         half* y,        // (n)
         double scale,   //
         i64 n) {
    const float factor = scale;
    each(n, [=](float x, half& y) { y = (half)(factor * x); }, x, y);
}

ELEMENTS(to_float,
         const half* x, // (n)
         float* y,      // (n)
         double scale,  //
         i64 n) {
    const float factor = scale;
    each(n, [=](half x, float& y) { y = factor * (float)x; }, x, y);
}

// In place, by arithmetic in float: 4 bytes an element.
ELEMENTS(scale_half,
         half* x,       // (n)
         double factor, //
         i64 n) {
    const float by = factor;
    each(n, [=](half& x) { x = (half)(by * (float)x); }, x);
}
