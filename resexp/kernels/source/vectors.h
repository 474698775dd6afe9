// Vectors of floats: as wide as the CPU has them, by the compiler's vector extensions (GCC and clang).
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

#if defined(__AVX512F__)
constexpr int WIDE = 16;
#elif defined(__AVX__)
constexpr int WIDE = 8;
#else  // SSE2, NEON
constexpr int WIDE = 4;
#endif

template <int L> struct Lanes;
template <> struct Lanes<4> {
    static constexpr int SIZE = 4;
    typedef float V __attribute__((vector_size(16)));
    typedef int32_t I __attribute__((vector_size(16)));
    typedef double D __attribute__((vector_size(32)));
};
template <> struct Lanes<8> {
    static constexpr int SIZE = 8;
    typedef float V __attribute__((vector_size(32)));
    typedef int32_t I __attribute__((vector_size(32)));
    typedef double D __attribute__((vector_size(64)));
};
template <> struct Lanes<16> {
    static constexpr int SIZE = 16;
    typedef float V __attribute__((vector_size(64)));
    typedef int32_t I __attribute__((vector_size(64)));
    typedef double D __attribute__((vector_size(128)));
};
using Wide = Lanes<WIDE>;
using Narrow = Lanes<WIDE < 8 ? WIDE : 8>;  // for the last 8 channels, where WIDE does not divide them

template <class T> static INLINE typename T::V load(const float *p) {
    typename T::V v;
    memcpy(&v, p, sizeof v);
    return v;
}
template <class T> static INLINE void load_double(const float *p, typename T::D &v) {  // by reference: no ABI has them all
    v = __builtin_convertvector(load<T>(p), typename T::D);
}
template <class V> static INLINE void store(float *p, V v) { memcpy(p, &v, sizeof v); }
template <class T> static INLINE void store_double(float *p, const typename T::D &v) {
    store(p, __builtin_convertvector(v, typename T::V));
}
template <class T> static INLINE typename T::V all(float s) { return s - typename T::V{}; }

// v where m > 0 or m is NaN, else 0: the ReLU (m = v) and its gradient as torch has them.
template <class T> static INLINE typename T::V keep(typename T::V v, typename T::V m) {
    using I = typename T::I;
    return (typename T::V)((I)v & ~(I)(m <= typename T::V{}));
}

// Calls f(lanes, at) for consecutive vectors that make up `floats` floats, a multiple of 8.
template <class F> static INLINE void each_vector(int floats, F f) {
    int at = 0;
    for (; at + WIDE <= floats; at += WIDE) f(Wide{}, at);
    if constexpr (WIDE > 8)
        if (at < floats) f(Narrow{}, at);
}

template <int N> struct Number {
    static constexpr int VALUE = N;
};
// Calls f(Number<n>) for a number 1 <= n <= MOST that only the run knows.
template <int MOST, class F> static INLINE void with_number(int n, F f) {
    if constexpr (MOST == 1) f(Number<1>{});
    else if (n == MOST) f(Number<MOST>{});
    else with_number<MOST - 1>(n, f);
}
