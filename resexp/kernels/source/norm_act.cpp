// Batch norm, an addition and ReLU as one: z = relu(gamma (y - mean) / std + beta + s), and its gradient.
//
// Maps are [pixels][channels] float32, pixels those of the whole batch, channels a multiple of 8. `s` (a shortcut) and
// the ReLU may be missing. A map is read twice: for its sums, and to be transformed. Variances are sums of squares
// about a mean: each block of pixels takes its own, while it lies in the nearest cache, and blocks are joined in
// float64 (Chan, Golub and LeVeque 1983), so a mean a thousand times the spread costs no digits.
// Threads' sums are joined in their order: the bits depend on the number of threads, and on nothing else.
#include "threads.h"
#include "vectors.h"

#include <cmath>

struct Norm {
    const float *y, *s, *z, *dz, *gamma, *beta;
    float *out, *ds, *mean, *inverse_std;    // out: z, or dy
    float *running_mean, *running_var;
    float *dgamma, *dbeta;
    double *sums;                            // [threads][2][channels] and then [2][channels]
    double eps, momentum;
    long pixels;
    int channels, relu, threads;
};

// Pixels that a thread looks at twice in a row: 16 KiB, at least 16.
static int block_of(int channels) { return channels < 256 ? 4096 / channels : 16; }

// f(lanes, Number<vectors>, first channel), up to four vectors at a time: sums stay in registers.
template <class F> static INLINE void each_group(int channels, F f) {
    int at = 0;
    for (; at + 4 * WIDE <= channels; at += 4 * WIDE) f(Wide{}, Number<4>{}, at);
    for (; at + WIDE <= channels; at += WIDE) f(Wide{}, Number<1>{}, at);
    if constexpr (WIDE > 8)
        if (at < channels) f(Narrow{}, Number<1>{}, at);
}

// Joins (count, sums, squares about the mean) of a block into those of all pixels before it.
static INLINE void join(double count, double sum, double squares, double before, double *total, double *total_squares) {
    if (before > 0) {
        const double apart = sum / count - *total / before;
        squares += apart * apart * (before * count / (before + count));
    }
    *total += sum;
    *total_squares += squares;
}

// sums [2][channels] of pixels first .. last: of y, and of its squares about their mean.
static void moments(const Norm &m, Share share, double *sums) {
    const int C = m.channels;
    for (long from = share.first; from < share.last; from += block_of(C)) {
        const long to = from + block_of(C) < share.last ? from + block_of(C) : share.last;
        each_group(C, [&](auto lanes, auto vectors, int c) INLINE_LAMBDA {
            using L = decltype(lanes);
            constexpr int NV = decltype(vectors)::VALUE;
            typename L::V sum[NV] = {}, rest[NV] = {}, squares[NV] = {}, mean[NV];
            for (long p = from; p < to; p++)
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++) sum[v] += load<L>(m.y + p * C + c + v * L::SIZE);
            for (int v = 0; v < NV; v++) mean[v] = sum[v] / all<L>(to - from);
            for (long p = from; p < to; p++)
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++) {
                    const typename L::V d = load<L>(m.y + p * C + c + v * L::SIZE) - mean[v];
                    rest[v] += d;
                    squares[v] += d * d;
                }
            const double count = to - from;
            for (int i = 0; i < NV * L::SIZE; i++) {  // `mean` is rounded; `rest` says by how much
                const int v = i / L::SIZE, l = i % L::SIZE;
                const double left = rest[v][l], about_mean = squares[v][l] - left * left / count;
                join(count, mean[v][l] * count + left, about_mean, from - share.first, sums + c + i, sums + C + c + i);
            }
        });
    }
}

// The threads' moments as one; mean, 1 / std, and the running ones moved. One thread.
static void statistics(const Norm &m) {
    const int C = m.channels, threads = omp_get_num_threads();
    for (int c = 0; c < C; c++) {
        double total = 0, squares = 0;
        for (int t = 0; t < threads; t++) {
            const long first = m.pixels * t / threads, last = m.pixels * (t + 1) / threads;
            const double *of = m.sums + (size_t)t * 2 * C + c;
            if (last > first) join(last - first, of[0], of[C], first, &total, &squares);
        }
        const double mean = total / m.pixels, var = squares / m.pixels;
        m.mean[c] = mean;
        m.inverse_std[c] = 1 / std::sqrt(var + m.eps);
        m.running_mean[c] += m.momentum * (mean - m.running_mean[c]);
        m.running_var[c] += m.momentum * (squares / (m.pixels - 1) - m.running_var[c]);
    }
}

// out = relu(gamma (y - mean) / std + beta + s) of this thread's pixels.
template <bool RELU, bool ADD> static void apply(const Norm &m, Share share) {
    const int C = m.channels;
    for (long p = share.first; p < share.last; p++)
        each_vector(C, [&](auto lanes, int c) INLINE_LAMBDA {
            using L = decltype(lanes);
            const size_t at = (size_t)p * C + c;
            typename L::V v = (load<L>(m.y + at) - load<L>(m.mean + c)) * (load<L>(m.gamma + c) * load<L>(m.inverse_std + c)) + load<L>(m.beta + c);
            if (ADD) v += load<L>(m.s + at);
            store(m.out + at, RELU ? keep<L>(v, v) : v);
        });
}
static void apply(const Norm &m, Share share) {
    if (m.relu) m.s ? apply<true, true>(m, share) : apply<true, false>(m, share);
    else m.s ? apply<false, true>(m, share) : apply<false, false>(m, share);
}

// sums [2][channels] of this thread's pixels: of g, the gradient behind the ReLU, and of g (y - mean).
template <bool RELU> static void gradient_sums(const Norm &m, Share share, double *sums) {
    const int C = m.channels;
    for (long from = share.first; from < share.last; from += block_of(C)) {
        const long to = from + block_of(C) < share.last ? from + block_of(C) : share.last;
        each_group(C, [&](auto lanes, auto vectors, int c) INLINE_LAMBDA {
            using L = decltype(lanes);
            constexpr int NV = decltype(vectors)::VALUE;
            typename L::V sum[NV] = {}, product[NV] = {}, mean[NV];
            for (int v = 0; v < NV; v++) mean[v] = load<L>(m.mean + c + v * L::SIZE);
            for (long p = from; p < to; p++)
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++) {
                    const size_t at = (size_t)p * C + c + v * L::SIZE;
                    typename L::V g = load<L>(m.dz + at);
                    if (RELU) g = keep<L>(g, load<L>(m.z + at));
                    sum[v] += g;
                    product[v] += g * (load<L>(m.y + at) - mean[v]);
                }
            for (int i = 0; i < NV * L::SIZE; i++) {
                sums[c + i] += sum[i / L::SIZE][i % L::SIZE];
                sums[C + c + i] += product[i / L::SIZE][i % L::SIZE];
            }
        });
    }
}

// dgamma and dbeta. One thread.
static void parameter_gradients(const Norm &m) {
    const int C = m.channels;
    for (int c = 0; c < C; c++) {
        double sum = 0, product = 0;
        for (int t = 0; t < omp_get_num_threads(); t++) {
            sum += m.sums[(size_t)t * 2 * C + c];
            product += m.sums[(size_t)t * 2 * C + C + c];
        }
        m.dbeta[c] = sum;
        m.dgamma[c] = product * m.inverse_std[c];
    }
}

// dy = gamma / std (g - mean of g - (y - mean) / std mean of g (y - mean) / std), ds = g.
template <bool RELU, bool ADD> static void gradients(const Norm &m, Share share) {
    const int C = m.channels;
    const float per_pixel = 1.0 / m.pixels;
    for (long p = share.first; p < share.last; p++)
        each_vector(C, [&](auto lanes, int c) INLINE_LAMBDA {
            using L = decltype(lanes);
            const size_t at = (size_t)p * C + c;
            typename L::V g = load<L>(m.dz + at), inverse = load<L>(m.inverse_std + c);
            if (RELU) g = keep<L>(g, load<L>(m.z + at));
            if (ADD) store(m.ds + at, g);
            const typename L::V of_mean = load<L>(m.dbeta + c) * per_pixel, of_std = load<L>(m.dgamma + c) * per_pixel * inverse;
            store(m.out + at, load<L>(m.gamma + c) * inverse * ((g - of_mean) - (load<L>(m.y + at) - load<L>(m.mean + c)) * of_std));
        });
}
static void gradients(const Norm &m, Share share) {
    if (m.relu) m.ds ? gradients<true, true>(m, share) : gradients<true, false>(m, share);
    else m.ds ? gradients<false, true>(m, share) : gradients<false, false>(m, share);
}

extern "C" {
// z by the batch's own statistics, which are left in `mean` and `inverse_std`.
void norm_act_forward(const Norm *m) {
    const Mode callers = mode();
#pragma omp parallel num_threads(m->threads)
    {
        CallersMode same(callers);
        const Share share(m->pixels);
        double *mine = m->sums + (size_t)omp_get_thread_num() * 2 * m->channels;
        memset(mine, 0, sizeof(double) * 2 * m->channels);
        moments(*m, share, mine);
#pragma omp barrier
#pragma omp single
        statistics(*m);
        apply(*m, share);
    }
}
// z by the statistics in `mean` and `inverse_std`.
void norm_act_apply(const Norm *m) {
    const Mode callers = mode();
#pragma omp parallel num_threads(m->threads)
    {
        CallersMode same(callers);
        apply(*m, Share(m->pixels));
    }
}
void norm_act_backward(const Norm *m) {
    const Mode callers = mode();
#pragma omp parallel num_threads(m->threads)
    {
        CallersMode same(callers);
        const Share share(m->pixels);
        double *mine = m->sums + (size_t)omp_get_thread_num() * 2 * m->channels;
        memset(mine, 0, sizeof(double) * 2 * m->channels);
        m->relu ? gradient_sums<true>(*m, share, mine) : gradient_sums<false>(*m, share, mine);
#pragma omp barrier
#pragma omp single
        parameter_gradients(*m);
        gradients(*m, share);
    }
}
}
