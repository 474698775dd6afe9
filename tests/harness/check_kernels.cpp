// The kernels against plain loops in double precision, without torch: for CPUs that an emulator has and the tests' machine
// has not. Prints a line a result, "name error", and ends with 1 where an error is above 1.5e-6 of the result's size (L2).
#include "conv3x3.cpp"
#include "norm_act.cpp"

#include <cstdio>
#include <random>
#include <vector>

using Floats = std::vector<float>;
using Doubles = std::vector<double>;
static bool wrong = false;

static Floats normal(size_t n, int seed) {
    std::mt19937 bits(seed);
    std::normal_distribution<float> draw;
    Floats v(n);
    for (float &x : v) x = draw(bits);
    return v;
}

static void say(const char *name, int stride, const Floats &found, const Doubles &exact) {
    double apart = 0, size = 0;
    for (size_t i = 0; i < exact.size(); i++) {
        apart += (found[i] - exact[i]) * (found[i] - exact[i]);
        size += exact[i] * exact[i];
    }
    const double error = sqrt(apart / size);
    if (!(error <= 1.5e-6)) wrong = true;
    printf("%s %d %.2g\n", name, stride, error);
}

static void convolution(int n, int h, int w, int in, int out, int stride, int threads) {
    const int high = (h - 1) / stride + 1, wide = (w - 1) / stride + 1;
    Floats x = normal((size_t)n * h * w * in, 1), f = normal((size_t)out * 9 * in, 2), bias = normal(out, 3);
    Floats dy = normal((size_t)n * high * wide * out, 4), plus = normal(x.size(), 10);
    Floats y(dy.size()), dx(x.size()), df(f.size());
    Doubles ey(y.size()), ex(x.size()), ef(f.size());
    for (size_t i = 0; i < ey.size(); i++) ey[i] = bias[i % out];
    for (size_t i = 0; i < ex.size(); i++) ex[i] = plus[i];
    for (int i = 0; i < n; i++)
        for (int r = 0; r < high; r++)
            for (int c = 0; c < wide; c++)
                for (int tap = 0; tap < 9; tap++) {
                    const int row = r * stride + tap / 3 - 1, column = c * stride + tap % 3 - 1;
                    if (row < 0 || row >= h || column < 0 || column >= w) continue;
                    const size_t from = (((size_t)i * h + row) * w + column) * in, to = (((size_t)i * high + r) * wide + c) * out;
                    for (int k = 0; k < out; k++)
                        for (int q = 0; q < in; q++) {
                            const size_t weight = ((size_t)k * 9 + tap) * in + q;
                            ey[to + k] += (double)x[from + q] * f[weight];
                            ex[from + q] += (double)dy[to + k] * f[weight];
                            ef[weight] += (double)dy[to + k] * x[from + q];
                        }
                }
    Conv conv{x.data(), f.data(), bias.data(), nullptr, nullptr, y.data(), nullptr, nullptr, nullptr, n, h, w, in, out, stride, threads};
    Floats scratch(conv3x3_scratch(&conv));
    conv.scratch = scratch.data();
    conv3x3_forward(&conv);
    conv.dy = dy.data();
    conv.plus = plus.data();
    conv.dx = dx.data();
    conv.dw = df.data();
    scratch.resize(conv3x3_scratch(&conv));
    conv.scratch = scratch.data();
    conv3x3_backward(&conv);
    say("y", stride, y, ey);
    say("dx", stride, dx, ex);
    say("dw", stride, df, ef);
}

static void norm(int pixels, int channels, int threads) {
    Floats y = normal((size_t)pixels * channels, 5), s = normal(y.size(), 6), dz = normal(y.size(), 7);
    Floats gamma = normal(channels, 8), beta = normal(channels, 9);
    for (float &v : y) v += 10;
    Doubles ez(y.size()), ey(y.size()), es(y.size()), eg(channels), eb(channels);
    for (int c = 0; c < channels; c++) {
        double mean = 0, var = 0;
        for (int p = 0; p < pixels; p++) mean += y[(size_t)p * channels + c] / (double)pixels;
        for (int p = 0; p < pixels; p++) var += pow(y[(size_t)p * channels + c] - mean, 2) / pixels;
        const double inverse = 1 / sqrt(var + 1e-5);
        for (int p = 0; p < pixels; p++) {
            const size_t i = (size_t)p * channels + c;
            const double normed = (y[i] - mean) * inverse, z = gamma[c] * normed + beta[c] + s[i];
            ez[i] = z > 0 ? z : 0;
            es[i] = z > 0 ? dz[i] : 0;
            eg[c] += es[i] * normed;
            eb[c] += es[i];
        }
        for (int p = 0; p < pixels; p++) {
            const size_t i = (size_t)p * channels + c;
            const double normed = (y[i] - mean) * inverse;
            ey[i] = gamma[c] * inverse * (es[i] - eb[c] / pixels - normed * eg[c] / pixels);
        }
    }
    Floats z(y.size()), dy(y.size()), ds(y.size()), mean(channels), inverse(channels), moved(channels), var(channels, 1);
    Floats dgamma(channels), dbeta(channels);
    Doubles sums((size_t)(threads + 1) * 2 * channels);
    Norm m{};
    m.y = y.data(), m.s = s.data(), m.gamma = gamma.data(), m.beta = beta.data(), m.out = z.data();
    m.mean = mean.data(), m.inverse_std = inverse.data(), m.running_mean = moved.data(), m.running_var = var.data();
    m.sums = sums.data(), m.eps = 1e-5, m.momentum = 0.1;
    m.pixels = pixels, m.channels = channels, m.relu = 1, m.threads = threads;
    norm_act_forward(&m);
    m.dz = dz.data(), m.z = z.data(), m.out = dy.data(), m.ds = ds.data();
    m.dgamma = dgamma.data(), m.dbeta = dbeta.data();
    norm_act_backward(&m);
    say("z", 1, z, ez);
    say("dy", 1, dy, ey);
    say("ds", 1, ds, es);
    say("dgamma", 1, dgamma, eg);
    say("dbeta", 1, dbeta, eb);
}

// A product of subnormal numbers: nothing where the caller counts them as zero, and only there.
static void subnormal(bool flush) {
    Floats x(64 * 8, 1e-40f), f(8 * 9 * 8, 1), y(64 * 8);
    Conv conv{x.data(), f.data(), nullptr, nullptr, nullptr, y.data(), nullptr, nullptr, nullptr, 1, 8, 8, 8, 8, 1, 2};
    Floats scratch(conv3x3_scratch(&conv));
    conv.scratch = scratch.data();
    const Mode before = mode();
#if defined(__SSE2__)
    if (flush) set_mode(before | 0x8040);
#elif defined(__aarch64__)
    if (flush) set_mode(before | 1 << 24);
#endif
    conv3x3_forward(&conv);
    set_mode(before);
    bool zero = true;
    for (float v : y) zero = zero && v == 0;
    if (zero != flush) wrong = true;
    printf("subnormal %d %s\n", flush, zero ? "zero" : "kept");
}

int main() {
    for (int stride : {1, 2}) {
        convolution(3, 9, 13, 24, 40, stride, 2);
        convolution(5, 8, 8, 16, 8, stride, 3);
    }
    norm(777, 24, 2);
    subnormal(false);
    subnormal(true);
    printf("%d floats at a time\n", WIDE);
    return wrong;
}
