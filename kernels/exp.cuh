// eˣ, fast on either processor.
#pragma once

#include "common.cuh"

#if ON_GPU

template <class T> DEVICE T exp_(T x) { return exp(x); }

#else

// eˣ within one unit in the last place, without a branch or a call, so that loops of it become
// vector instructions: x = n·ln 2 + r with |r| ≤ ½ ln 2, then 2ⁿ·Σ rʲ/j! up to j = 7 (13 in double),
// 2ⁿ being added to the exponent's bits. Results below the smallest normal number are 0.
template <int K> constexpr double factorial = K * factorial<K - 1>;
template <> constexpr double factorial<0> = 1;

template <class T, int J = 0> DEVICE T exp_series(T r) {
    if constexpr (J == (sizeof(T) == 4 ? 7 : 13)) return T(1 / factorial<J>);
    else return multiply_add(r, exp_series<T, J + 1>(r), T(1 / factorial<J>));
}
template <class Bits, int MANTISSA, class T> DEVICE T exp_of(T x, T low, T high, T ln2, T rest) {
    const T magic = T(3ull << (MANTISSA - 1)); // adding it rounds to an integer, in the lowest bits
    const T shifted = multiply_add(x, T(1.4426950408889634), magic);
    const T n = shifted - magic;
    T y = exp_series(multiply_add(-n, rest, multiply_add(-n, ln2, x)));
    Bits bits, power;
    memcpy(&bits, &y, sizeof y);
    memcpy(&power, &shifted, sizeof y);
    bits += power << MANTISSA;
    memcpy(&y, &bits, sizeof y);
    y = x < low ? T(0) : y;
    return x <= high ? y : x + T(HUGE_VAL); // NaN stays
}
DEVICE float exp_(float x) {
    return exp_of<u32, 23>(x, -87.33654f, 88.72283f, 0.693359375f, -2.12194440e-4f);
}
DEVICE double exp_(double x) {
    return exp_of<u64, 52>(x, -708.3964185322641, 709.782712893384, 0.6931471803691238,
                           1.9082149292705877e-10);
}

#endif
