// 3x3 convolutions with a border of one zero, stride 1 or 2, and their exact gradients, by Winograd's minimal filtering.
//
// Maps are [n][h][w][channels] float32, filters [out][3][3][in], channels a multiple of 8. A map is cut into tiles of
// 4 x 4 outputs; what of a tile lies beyond the map's edge is zero on the way in and dropped on the way out. A thread
// takes whole images, a few rows of tiles at a time, so that what it makes of them stays in its cache:
//
//     forward     V = BT x B           M = V U (a product of matrices for each place)     y = AT M A
//     backward    D = A dy AT          M = D UT          dx = plus + B M BT (tiles overlap)
//                 V = BT x B           S += DT V         dw = GT S G, once, summed over threads in their order
//
// So the bits of y and dx depend on nothing but the numbers, those of dw on the number of threads as well.
// A NaN or infinity reaches all outputs of its tile, where a plain convolution gives it to 3 x 3 of them.
#include "products.h"
#include "threads.h"
#include "tiles.h"

struct Conv {
    const float *x, *w, *bias, *dy, *plus;  // bias and plus may be null
    float *y, *dx, *dw, *scratch;           // dx may be null
    int n, height, width, in, out, stride, threads;
};

// How a convolution is cut, and where in `scratch` its parts lie (in floats).
template <class T> struct Plan {
    static constexpr int PLACES = T::N * T::N;
    int out_height, out_width, rows, columns;  // of the outputs; of tiles, in an image
    int line_in, line_out;                     // pixels of a row of tiles, border included
    int chunk;                                 // rows of tiles at a time
    size_t place_in, place_out;                // from one place's matrix to the next
    size_t lines, per_thread, filter, sums;

    explicit Plan(const Conv &c)
        : out_height((c.height - 1) / T::STRIDE + 1), out_width((c.width - 1) / T::STRIDE + 1),
          rows((out_height + T::M - 1) / T::M), columns((out_width + T::M - 1) / T::M),
          line_in(columns * T::M * T::STRIDE + T::N - T::M * T::STRIDE), line_out(columns * T::M) {
        const int widest = c.in > c.out ? c.in : c.out, tiles = widest <= 16 ? 32 : 16;
        chunk = (tiles + columns - 1) / columns;
        // 16 floats more, or places a power of two apart would share the same few sets of the cache
        place_in = (size_t)chunk * columns * blocks(c.in) * BLOCK + 16;
        place_out = (size_t)chunk * columns * blocks(c.out) * BLOCK + 16;
        lines = (size_t)T::N * (2 * line_in * c.in + line_out * c.out) / 16 * 16 + 16;  // of x, of dx, of dy
        per_thread = lines + PLACES * (2 * place_in + place_out);
        filter = (size_t)PLACES * c.in * c.out;
        sums = filter;
    }
    size_t floats(const Conv &c) const { return filter + (c.dw ? c.threads * sums : 0) + c.threads * per_thread; }
};

// ---- The filter, packed for `multiply`: U [place][in][out], or its transpose.
template <class T> static void pack(const Conv &c, float *U, bool transposed) {
    constexpr int N = T::N;
    const Share share(c.out);
    for (int k = share.first; k < share.last; k++)
        each_vector(c.in, [&](auto lanes, int i) INLINE_LAMBDA {
            using L = decltype(lanes);
            typename L::D half[N][3], w[3], u[N];
            for (int s = 0; s < 3; s++) {
                for (int r = 0; r < 3; r++) load_double<L>(c.w + ((size_t)k * 9 + r * 3 + s) * c.in + i, w[r]);
                T::g(w, u);
                for (int a = 0; a < N; a++) half[a][s] = u[a];
            }
            for (int a = 0; a < N; a++) {
                T::g(half[a], u);
                for (int b = 0; b < N; b++) {
                    float *place = U + (size_t)(a * N + b) * c.in * c.out;
                    for (int l = 0; l < L::SIZE; l++) {
                        const size_t at = transposed ? packed(c.out, c.in, k, i + l) : packed(c.in, c.out, i + l, k);
                        place[at] = (float)u[b][l];
                    }
                }
            }
        });
}

// ---- One row of tiles there and back. `image` is the image it is cut from, `line` N rows of its pixels, whose
// border is zero; `to` and `from` point at its first tile in the first place's matrix, `block` is from a block of
// channels to the next.

// V: a tile's inputs, rows first.
template <class T>
static __attribute__((noinline)) void inputs(const Conv &c, const Plan<T> &p, const float *image, int row, float *line, float *to, size_t block) {
    constexpr int N = T::N, STEP = T::M * T::STRIDE;
    const int C = c.in, floats = c.width * C, pitch = p.line_in * C, columns = p.columns;
    const size_t next = p.place_in;
    const float *source[N];
    for (int i = 0; i < N; i++) {
        const int y = row * STEP + i - 1;
        source[i] = y >= 0 && y < c.height ? image + (size_t)y * floats : nullptr;
    }
    const bool inside = source[0] && source[N - 1];
    each_vector(floats, [&](auto lanes, int q) INLINE_LAMBDA {
        using L = decltype(lanes);
        typename L::V d[N], o[N];
        if (inside) {
#pragma GCC unroll 16
            for (int i = 0; i < N; i++) d[i] = load<L>(source[i] + q);
        } else {
            for (int i = 0; i < N; i++) d[i] = source[i] ? load<L>(source[i] + q) : typename L::V{};
        }
        T::bt(d, o);
#pragma GCC unroll 16
        for (int i = 0; i < N; i++) store(line + (size_t)i * pitch + C + q, o[i]);
    });
    for (int t = 0; t < columns; t++)
        for (int i = 0; i < N; i++) {
            const float *from = line + (size_t)i * pitch + t * STEP * C;
            float *place = to + i * N * next + t * BLOCK;
            each_vector(C, [&](auto lanes, int q) INLINE_LAMBDA {
                using L = decltype(lanes);
                typename L::V d[N], o[N];
#pragma GCC unroll 16
                for (int j = 0; j < N; j++) d[j] = load<L>(from + j * C + q);
                T::bt(d, o);
                float *at = place + q / BLOCK * block + q % BLOCK;
#pragma GCC unroll 16
                for (int j = 0; j < N; j++) store(at + j * next, o[j]);
            });
        }
}

// D: the gradient at a tile's outputs.
template <class T>
static __attribute__((noinline)) void output_gradients(const Conv &c, const Plan<T> &p, const float *image, int row, float *line, float *to, size_t block) {
    constexpr int N = T::N, M = T::M;
    const int C = c.out, floats = p.out_width * C, pitch = p.line_out * C, columns = p.columns;
    const size_t next = p.place_out;
    const int there = p.out_height - row * M < M ? p.out_height - row * M : M;
    const float *source = image + (size_t)row * M * floats;
    each_vector(floats, [&](auto lanes, int q) INLINE_LAMBDA {
        using L = decltype(lanes);
        typename L::V d[M], o[N];
#pragma GCC unroll 16
        for (int i = 0; i < M; i++) d[i] = i < there ? load<L>(source + (size_t)i * floats + q) : typename L::V{};
        T::a(d, o);
#pragma GCC unroll 16
        for (int i = 0; i < N; i++) store(line + (size_t)i * pitch + q, o[i]);
    });
    for (int t = 0; t < columns; t++)
        for (int i = 0; i < N; i++) {
            const float *from = line + (size_t)i * pitch + t * M * C;
            float *place = to + i * N * next + t * BLOCK;
            each_vector(C, [&](auto lanes, int q) INLINE_LAMBDA {
                using L = decltype(lanes);
                typename L::V d[M], o[N];
#pragma GCC unroll 16
                for (int j = 0; j < M; j++) d[j] = load<L>(from + j * C + q);
                T::a(d, o);
                float *at = place + q / BLOCK * block + q % BLOCK;
#pragma GCC unroll 16
                for (int j = 0; j < N; j++) store(at + j * next, o[j]);
            });
        }
}

// y: a tile's outputs, or the `tall` x `broad` of them that the map has.
template <class T, bool WHOLE>
static INLINE void tile_outputs(const float *from, size_t next, const float *bias, float *corner, size_t line, int C, size_t block, int tall, int broad) {
    constexpr int N = T::N, M = T::M;
    each_vector(C, [&](auto lanes, int q) INLINE_LAMBDA {
        using L = decltype(lanes);
        using V = typename L::V;
        const float *at = from + q / BLOCK * block + q % BLOCK;
        float *to = corner + q;
        const V plus = bias ? load<L>(bias + q) : V{};
        V half[N][M], d[N], y[M];
#pragma GCC unroll 16
        for (int i = 0; i < N; i++, at += N * next) {
#pragma GCC unroll 16
            for (int j = 0; j < N; j++) d[j] = load<L>(at + j * next);
            T::at(d, half[i]);
        }
#pragma GCC unroll 16
        for (int j = 0; j < M; j++) {
#pragma GCC unroll 16
            for (int i = 0; i < N; i++) d[i] = half[i][j];
            T::at(d, y);
#pragma GCC unroll 16
            for (int i = 0; i < M; i++)
                if (WHOLE || (i < tall && j < broad)) store(to + i * line + j * C, y[i] + plus);
        }
    });
}
template <class T>
static __attribute__((noinline)) void outputs(const Conv &c, const Plan<T> &p, float *image, int row, const float *from, size_t block) {
    constexpr int M = T::M;
    const int C = c.out, columns = p.columns, tall = p.out_height - row * M < M ? p.out_height - row * M : M;
    const size_t next = p.place_out, line = (size_t)p.out_width * C;
    for (int t = 0; t < columns; t++) {
        const int broad = p.out_width - t * M < M ? p.out_width - t * M : M;
        const float *first = from + t * BLOCK;
        float *corner = image + row * M * line + t * M * C;
        if (tall == M && broad == M) tile_outputs<T, true>(first, next, c.bias, corner, line, C, block, M, M);
        else tile_outputs<T, false>(first, next, c.bias, corner, line, C, block, tall, broad);
    }
}

// dx: the gradient at a tile's inputs, added where the tile before it or above it has written already, else to `plus`.
template <class T>
static __attribute__((noinline)) void input_gradients(const Conv &c, const Plan<T> &p, float *image, const float *plus, int row, float *line, const float *from, size_t block) {
    constexpr int N = T::N, STEP = T::M * T::STRIDE, OVERLAP = N - STEP;
    const int C = c.in, floats = c.width * C, pitch = p.line_in * C, columns = p.columns, height = c.height;
    const size_t next = p.place_in;
    for (int t = 0; t < columns; t++)
        for (int i = 0; i < N; i++) {
            const float *place = from + i * N * next + t * BLOCK;
            float *to = line + (size_t)i * pitch + t * STEP * C;
            each_vector(C, [&](auto lanes, int q) INLINE_LAMBDA {
                using L = decltype(lanes);
                typename L::V m[N], d[N];
                const float *at = place + q / BLOCK * block + q % BLOCK;
#pragma GCC unroll 16
                for (int j = 0; j < N; j++) m[j] = load<L>(at + j * next);
                T::b(m, d);
#pragma GCC unroll 16
                for (int j = 0; j < N; j++)
                    store(to + j * C + q, j < OVERLAP && t ? d[j] + load<L>(to + j * C + q) : d[j]);
            });
        }
    each_vector(floats, [&](auto lanes, int q) INLINE_LAMBDA {
        using L = decltype(lanes);
        typename L::V m[N], d[N];
#pragma GCC unroll 16
        for (int i = 0; i < N; i++) m[i] = load<L>(line + (size_t)i * pitch + C + q);
        T::b(m, d);
#pragma GCC unroll 16
        for (int i = 0; i < N; i++) {
            const int y = row * STEP + i - 1;
            if (y < 0 || y >= height) continue;
            const size_t at = (size_t)y * floats + q;
            const float *to = i < OVERLAP && row ? image : plus;
            store(image + at, to ? d[i] + load<L>(to + at) : d[i]);
        }
    });
}

// dw = GT S G, S summed over the threads.
template <class T> static void filter_gradient(const Conv &c, const Plan<T> &p, const float *S) {
    constexpr int N = T::N;
    const Share share(c.out);
    for (int k = share.first; k < share.last; k++)
        each_vector(c.in, [&](auto lanes, int q) INLINE_LAMBDA {
            using L = decltype(lanes);
            typename L::D half[3][N], s[N], w[3], other;
            for (int b = 0; b < N; b++) {
                for (int a = 0; a < N; a++) {
                    const float *at = S + ((size_t)(a * N + b) * c.out + k) * c.in + q;
                    load_double<L>(at, s[a]);
                    for (int thread = 1; thread < omp_get_num_threads(); thread++) {
                        load_double<L>(at + thread * p.sums, other);
                        s[a] += other;
                    }
                }
                T::gt(s, w);
                for (int r = 0; r < 3; r++) half[r][b] = w[r];
            }
            for (int r = 0; r < 3; r++) {
                T::gt(half[r], w);
                for (int t = 0; t < 3; t++) store_double<L>(c.dw + ((size_t)k * 9 + r * 3 + t) * c.in + q, w[t]);
            }
        });
}

// ---- The two passes. f(first row of tiles, how many) for the chunks of this thread's images.
template <class T, class F> static INLINE void each_chunk(const Conv &c, const Plan<T> &p, F f) {
    const Share share(c.n);
    for (long row = share.first * p.rows, last = share.last * p.rows; row < last; row += p.chunk)
        f(row, (int)(last - row < p.chunk ? last - row : p.chunk));
}

template <class T> static void forward(const Conv &c) {
    const Plan<T> p(c);
    const Mode callers = mode();
    float *U = c.scratch;
    const size_t in = (size_t)c.height * c.width * c.in, out = (size_t)p.out_height * p.out_width * c.out;
#pragma omp parallel num_threads(c.threads)
    {
        CallersMode same(callers);
        float *line = U + p.filter + omp_get_thread_num() * p.per_thread, *V = line + p.lines, *M = V + Plan<T>::PLACES * p.place_in;
        memset(line, 0, sizeof(float) * p.lines);
        pack<T>(c, U, false);
#pragma omp barrier
        each_chunk(c, p, [&](long first, int rows) {
            const int tiles = rows * p.columns;
            const size_t block = (size_t)tiles * BLOCK, row_of_tiles = (size_t)p.columns * BLOCK;
            for (int r = 0; r < rows; r++)
                inputs<T>(c, p, c.x + (first + r) / p.rows * in, (first + r) % p.rows, line, V + r * row_of_tiles, block);
            for (int place = 0; place < Plan<T>::PLACES; place++)
                multiply(V + place * p.place_in, U + (size_t)place * c.in * c.out, M + place * p.place_out, tiles, c.in, c.out);
            for (int r = 0; r < rows; r++)
                outputs<T>(c, p, c.y + (first + r) / p.rows * out, (first + r) % p.rows, M + r * row_of_tiles, block);
        });
    }
}

template <class T> static void backward(const Conv &c) {
    const Plan<T> p(c);
    const Mode callers = mode();
    float *U = c.scratch, *S = U + p.filter, *rest = S + c.threads * p.sums;
    const size_t in = (size_t)c.height * c.width * c.in, out = (size_t)p.out_height * p.out_width * c.out;
#pragma omp parallel num_threads(c.threads)
    {
        CallersMode same(callers);
        const int me = omp_get_thread_num();
        float *line = rest + me * p.per_thread, *line_dx = line + (size_t)T::N * p.line_in * c.in;
        float *line_dy = line_dx + (size_t)T::N * p.line_in * c.in, *V = line + p.lines;
        float *M = V + Plan<T>::PLACES * p.place_in, *D = M + Plan<T>::PLACES * p.place_in, *mine = S + me * p.sums;
        memset(line, 0, sizeof(float) * p.lines);
        memset(mine, 0, sizeof(float) * p.sums);
        if (c.dx) pack<T>(c, U, true);
#pragma omp barrier
        each_chunk(c, p, [&](long first, int rows) {
            const int tiles = rows * p.columns;
            const size_t block = (size_t)tiles * BLOCK, row_of_tiles = (size_t)p.columns * BLOCK;
            for (int r = 0; r < rows; r++) {
                const long image = (first + r) / p.rows, row = (first + r) % p.rows;
                output_gradients<T>(c, p, c.dy + image * out, row, line_dy, D + r * row_of_tiles, block);
                inputs<T>(c, p, c.x + image * in, row, line, V + r * row_of_tiles, block);
            }
            for (int place = 0; place < Plan<T>::PLACES; place++) {
                float *d = D + place * p.place_out;
                if (c.dx) multiply(d, U + (size_t)place * c.in * c.out, M + place * p.place_in, tiles, c.out, c.in);
                add_outer(d, V + place * p.place_in, mine + (size_t)place * c.in * c.out, tiles, c.out, c.in);
            }
            if (c.dx)
                for (int r = 0; r < rows; r++) {
                    const size_t image = (first + r) / p.rows * in;
                    const float *plus = c.plus ? c.plus + image : nullptr;
                    input_gradients<T>(c, p, c.dx + image, plus, (first + r) % p.rows, line_dx, M + r * row_of_tiles, block);
                }
        });
#pragma omp barrier
        filter_gradient<T>(c, p, S);
    }
}

// Whether a pass by tiles is worth it, and errs by no more than four times what a plain convolution does. A single image
// is one thread's; transforming the filter takes as long as some 30 tiles; and the shorter a sum, the less a plain
// convolution rounds, least with 8 channels of 4 x 4 pixels.
template <class T> static bool pays(const Conv &c) {
    const Plan<T> p(c);
    const bool shortest = (c.in == 8 || c.out == 8) && p.rows == 1 && p.columns == 1;
    return c.n > 1 && (long)c.n * p.rows * p.columns >= 128 && !shortest;
}

extern "C" {
int conv3x3_pays(const Conv *c) { return c->stride == 1 ? pays<Stride1>(*c) : pays<Stride2>(*c); }
// Floats of scratch that a pass over `c` needs: forward, or backward where c.dw is set.
size_t conv3x3_scratch(const Conv *c) { return c->stride == 1 ? Plan<Stride1>(*c).floats(*c) : Plan<Stride2>(*c).floats(*c); }
void conv3x3_forward(const Conv *c) { c->stride == 1 ? forward<Stride1>(*c) : forward<Stride2>(*c); }
void conv3x3_backward(const Conv *c) { c->stride == 1 ? backward<Stride1>(*c) : backward<Stride2>(*c); }
}
