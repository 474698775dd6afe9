// Products of matrices small enough for a cache, one for each place of a tile.
//
// A matrix [t][channels] of transformed tiles lies in blocks of 16 channels, [block][t][16]: a row's neighbour is then
// always 16 floats on, whatever the net's width, and the addresses below are constants of the instruction.
#pragma once
#include "vectors.h"

constexpr int BLOCK = 16;
constexpr int ACCUMULATORS = WIDE == 16 ? 24 : 12;  // of 32 and of 16 registers

constexpr int SHORT = 16;  // products in a sum before it is added to the others: the error grows with a sum's length

static INLINE int blocks(int channels) { return (channels + BLOCK - 1) / BLOCK; }

// n rows as some groups of at most MOST, as equal as can be: f(Number<rows>, first row).
template <int MOST, class F> static INLINE void in_groups(int n, F f) {
    const int groups = (n + MOST - 1) / MOST, each = n / groups, longer = n % groups;
    for (int g = 0, at = 0; g < groups; g++) {
        const int rows = each + (g < longer);
        with_number<MOST>(rows, [&](auto r) INLINE_LAMBDA { f(r, at); });
        at += rows;
    }
}

// Columns as panels of two vectors, then one, then 8 floats: f(lanes, Number<vectors>, first column).
template <class F> static INLINE void each_panel(int columns, F f) {
    int at = 0;
    for (; at + 2 * WIDE <= columns; at += 2 * WIDE) f(Wide{}, Number<2>{}, at);
    if (at + WIDE <= columns) {
        f(Wide{}, Number<1>{}, at);
        at += WIDE;
    }
    if constexpr (WIDE > 8)
        if (at < columns) f(Narrow{}, Number<1>{}, at);
}

// Where number (row, column) stands in a packed matrix of `rows` rows: panel by panel, each row by row.
static INLINE size_t packed(int rows, int columns, int row, int column) {
    int first = column / (2 * WIDE) * (2 * WIDE), width = 2 * WIDE;
    if (first + width > columns) {
        width = WIDE;
        if (column >= first + WIDE) first += WIDE;
        if (first + width > columns) width = 8;
    }
    return (size_t)first * rows + (size_t)row * width + (column - first);
}

// out[t][columns] = A[t][depth] B[depth][columns], A and out in blocks, B packed.
static __attribute__((noinline)) void multiply(const float *A, const float *B, float *out, int T, int depth, int columns) {
    const size_t block = (size_t)T * BLOCK;
    each_panel(columns, [&](auto lanes, auto vectors, int first) INLINE_LAMBDA {
        using L = decltype(lanes);
        using V = typename L::V;
        constexpr int NV = decltype(vectors)::VALUE, WIDTH = NV * L::SIZE;
        const float *panel = B + (size_t)first * depth;
        in_groups<ACCUMULATORS / 2>(T, [&](auto number, int t) INLINE_LAMBDA {
            constexpr int R = decltype(number)::VALUE;
            V sum[R][NV] = {};
            const float *b = panel;
            for (int d = 0; d < depth; d += 8) {  // channels are a multiple of 8
                const float *a = A + d / BLOCK * block + (size_t)t * BLOCK + d % BLOCK;
#pragma GCC unroll 8
                for (int e = 0; e < 8; e++, b += WIDTH)
#pragma GCC unroll 16
                    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
                        for (int v = 0; v < NV; v++) sum[r][v] += a[r * BLOCK + e] * load<L>(b + v * L::SIZE);
            }
#pragma GCC unroll 2
            for (int v = 0; v < NV; v++) {
                const int column = first + v * L::SIZE;
                float *o = out + column / BLOCK * block + (size_t)t * BLOCK + column % BLOCK;
#pragma GCC unroll 16
                for (int r = 0; r < R; r++) store(o + r * BLOCK, sum[r][v]);
            }
        });
    });
}

// out[rows][columns] += A[t][rows] (transposed) B[t][columns], A and B in blocks, out row by row; in sums of
// SHORT to 2 SHORT tiles.
static __attribute__((noinline)) void add_outer(const float *A, const float *B, float *out, int T, int rows, int columns) {
    const size_t block = (size_t)T * BLOCK;
    each_panel(columns, [&](auto lanes, auto vectors, int first) INLINE_LAMBDA {
        using L = decltype(lanes);
        using V = typename L::V;
        constexpr int NV = decltype(vectors)::VALUE, MOST = WIDE == 16 ? 8 : 6;
        const float *b[NV];
        for (int v = 0; v < NV; v++) b[v] = B + (first + v * L::SIZE) / BLOCK * block + (first + v * L::SIZE) % BLOCK;
        for (int k = 0; k < rows; k += BLOCK)
            in_groups<MOST>(rows - k < BLOCK ? rows - k : BLOCK, [&](auto number, int row) INLINE_LAMBDA {
                constexpr int R = decltype(number)::VALUE;
                const float *a = A + k / BLOCK * block + row;
                float *o = out + (size_t)(k + row) * columns + first;
                for (int t = 0; t < T;) {
                    V sum[R][NV] = {};
                    for (const int end = T - t < 2 * SHORT ? T : t + SHORT; t < end; t++)
#pragma GCC unroll 8
                        for (int r = 0; r < R; r++)
#pragma GCC unroll 2
                            for (int v = 0; v < NV; v++) sum[r][v] += a[t * BLOCK + r] * load<L>(b[v] + t * BLOCK);
#pragma GCC unroll 8
                    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
                        for (int v = 0; v < NV; v++) {
                            float *at = o + (size_t)r * columns + v * L::SIZE;
                            store(at, load<L>(at) + sum[r][v]);
                        }
                }
            });
    });
}
