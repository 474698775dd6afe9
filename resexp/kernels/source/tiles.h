// Winograd's minimal filtering: how a tile's inputs, outputs and filter become products, along one direction.
//
// y = AT [(G w) * (BT d)]: N inputs d, 3 taps w, M outputs y, N products. A tile in a plane applies it along the
// rows and then along the columns, so a product there stands for a channel's N x N numbers, and summing over
// channels makes of each of the N x N places one product of matrices. The transposes of the three (a, b, gt) give
// the exact gradients by the same products. Derivation: evaluate the polynomials at N - 1 points and infinity
// (Winograd 1980; Lavin and Gray 2016); what the points are decides the error. Filters are few: g and gt are for doubles.
#pragma once
#include "vectors.h"

// F(4, 3): 6 products for 4 outputs instead of 12. Points 0, +-5/8, +-3/2, infinity: of pairs on a grid the one with
// the smallest error, a seventh less than +-1/sqrt(2) and +-sqrt(2).
struct Stride1 {
    static constexpr int STRIDE = 1, M = 4, N = 6;
    static constexpr double P = 0.625, Q = 1.5, P2 = P * P, Q2 = Q * Q;
    static constexpr float p = P, q = Q, p2 = P2, q2 = Q2, p3 = P2 * P, q3 = Q2 * Q, s2 = P2 + Q2, pq2 = P2 * Q2;
    // 1 / (product of a point's differences to the others), times the point's powers 0, 1, 2
    static constexpr double g0 = 1 / (P2 * Q2);
    static constexpr double gp = 1 / (2 * P2 * (P2 - Q2)), gp1 = P / (2 * P2 * (P2 - Q2)), gp2 = 1 / (2 * (P2 - Q2));
    static constexpr double gq = 1 / (2 * Q2 * (Q2 - P2)), gq1 = Q / (2 * Q2 * (Q2 - P2)), gq2 = 1 / (2 * (Q2 - P2));

    template <class V> static INLINE void bt(const V *d, V *o) {
        V t = d[4] - q2 * d[2], u = d[3] - q2 * d[1], v = d[4] - p2 * d[2], w = d[3] - p2 * d[1];
        o[0] = pq2 * d[0] + (d[4] - s2 * d[2]);
        o[1] = t + p * u;
        o[2] = t - p * u;
        o[3] = v + q * w;
        o[4] = v - q * w;
        o[5] = pq2 * d[1] + (d[5] - s2 * d[3]);
    }
    template <class V> static INLINE void b(const V *m, V *o) {
        V s = m[1] + m[2], d = p * (m[1] - m[2]), t = m[3] + m[4], e = q * (m[3] - m[4]);
        o[0] = pq2 * m[0];
        o[1] = pq2 * m[5] - (q2 * d + p2 * e);
        o[2] = -(s2 * m[0] + (q2 * s + p2 * t));
        o[3] = (d + e) - s2 * m[5];
        o[4] = m[0] + (s + t);
        o[5] = m[5];
    }
    template <class V> static INLINE void at(const V *m, V *y) {
        V s = m[1] + m[2], d = m[1] - m[2], t = m[3] + m[4], e = m[3] - m[4];
        y[0] = m[0] + (s + t);
        y[1] = p * d + q * e;
        y[2] = p2 * s + q2 * t;
        y[3] = m[5] + (p3 * d + q3 * e);
    }
    template <class V> static INLINE void a(const V *y, V *o) {
        V t = y[0] + p2 * y[2], u = y[1] + p2 * y[3], v = y[0] + q2 * y[2], w = y[1] + q2 * y[3];
        o[0] = y[0];
        o[1] = t + p * u;
        o[2] = t - p * u;
        o[3] = v + q * w;
        o[4] = v - q * w;
        o[5] = y[3];
    }
    template <class V> static INLINE void g(const V *w, V *o) {
        V e = gp * w[0] + gp2 * w[2], f = gq * w[0] + gq2 * w[2];
        o[0] = g0 * w[0];
        o[1] = e + gp1 * w[1];
        o[2] = e - gp1 * w[1];
        o[3] = f + gq1 * w[1];
        o[4] = f - gq1 * w[1];
        o[5] = w[2];
    }
    template <class V> static INLINE void gt(const V *m, V *w) {
        V s = m[1] + m[2], d = m[1] - m[2], t = m[3] + m[4], e = m[3] - m[4];
        w[0] = g0 * m[0] + (gp * s + gq * t);
        w[1] = gp1 * d + gq1 * e;
        w[2] = m[5] + (gp2 * s + gq2 * t);
    }
};

// Stride 2: the outer taps see every second input and are F(4, 2), 5 products for 4 outputs at the points +-1/2,
// +-3/2, infinity; the middle tap sees the inputs between and needs 4. 9 products instead of 12.
struct Stride2 {
    static constexpr int STRIDE = 2, M = 4, N = 9;
    static constexpr double P = 0.5, Q = 1.5, P2 = P * P, Q2 = Q * Q;
    static constexpr float p = P, q = Q, p2 = P2, q2 = Q2, p3 = P2 * P, q3 = Q2 * Q, s2 = P2 + Q2, pq2 = P2 * Q2;
    static constexpr double gp = 1 / (2 * P * (P2 - Q2)), gp1 = P * gp, gq = 1 / (2 * Q * (Q2 - P2)), gq1 = Q * gq;

    template <class V> static INLINE void bt(const V *d, V *o) {
        V u = d[6] - q2 * d[2], t = p * (d[4] - q2 * d[0]), v = d[6] - p2 * d[2], w = q * (d[4] - p2 * d[0]);
        o[0] = u + t;
        o[1] = u - t;
        o[2] = v + w;
        o[3] = v - w;
        o[4] = pq2 * d[0] + (d[8] - s2 * d[4]);
        o[5] = d[1];
        o[6] = d[3];
        o[7] = d[5];
        o[8] = d[7];
    }
    template <class V> static INLINE void b(const V *m, V *o) {
        V s = m[0] + m[1], d = p * (m[0] - m[1]), t = m[2] + m[3], e = q * (m[2] - m[3]);
        o[0] = pq2 * m[4] - (q2 * d + p2 * e);
        o[2] = -(q2 * s + p2 * t);
        o[4] = (d + e) - s2 * m[4];
        o[6] = s + t;
        o[8] = m[4];
        o[1] = m[5];
        o[3] = m[6];
        o[5] = m[7];
        o[7] = m[8];
    }
    template <class V> static INLINE void at(const V *m, V *y) {
        V s = m[0] + m[1], d = m[0] - m[1], t = m[2] + m[3], e = m[2] - m[3];
        y[0] = m[5] + (s + t);
        y[1] = m[6] + (p * d + q * e);
        y[2] = m[7] + (p2 * s + q2 * t);
        y[3] = m[8] + (m[4] + (p3 * d + q3 * e));
    }
    template <class V> static INLINE void a(const V *y, V *o) {
        V t = y[0] + p2 * y[2], u = p * (y[1] + p2 * y[3]), v = y[0] + q2 * y[2], w = q * (y[1] + q2 * y[3]);
        o[0] = t + u;
        o[1] = t - u;
        o[2] = v + w;
        o[3] = v - w;
        o[4] = y[3];
        o[5] = y[0];
        o[6] = y[1];
        o[7] = y[2];
        o[8] = y[3];
    }
    template <class V> static INLINE void g(const V *w, V *o) {
        V c = gp * w[0], d = gp1 * w[2], e = gq * w[0], f = gq1 * w[2];
        o[0] = c + d;
        o[1] = d - c;
        o[2] = e + f;
        o[3] = f - e;
        o[4] = w[2];
        o[5] = o[6] = o[7] = o[8] = w[1];
    }
    template <class V> static INLINE void gt(const V *m, V *w) {
        w[0] = gp * (m[0] - m[1]) + gq * (m[2] - m[3]);
        w[1] = (m[5] + m[6]) + (m[7] + m[8]);
        w[2] = m[4] + (gp1 * (m[0] + m[1]) + gq1 * (m[2] + m[3]));
    }
};
