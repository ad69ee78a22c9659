/*
 * The hot kernels of training and of seeing, for WASM with SIMD. Tensors are float32 and NHWC, filters are HWIO.
 * Every kernel is called by all threads at once with its index `t` of `T`, and writes only its own share.
 * There is no static data and no allocation: callers pass every buffer, so that the module can live in the memory of
 * another one. Built by tools/build-kernels.mjs, with fused multiply-add where RELAXED, for shared memory or a thread's own.
 */
#include "kernels.h"

/* Packs a matrix [K][C] for conv: panels of 8 columns, [C / 8][K][8]. */
EXPORT(pack) void pack(const float *w, float *out, int K, int C, int t, int T) {
  for (int panel = first(C / 8, t, T); panel < first(C / 8, t + 1, T); panel++) {
    float *o = out + (int64_t)panel * K * 8;
    for (int k = 0; k < K; k++, o += 8) {
      const float *p = w + (int64_t)k * C + panel * 8;
      store(o, load(p));
      store(o + 4, load(p + 4));
    }
  }
}

/* Packs a filter [taps][I][O] for the gradient of conv's input: turned by 180 degrees, I and O exchanged. */
EXPORT(packTurned) void packTurned(const float *w, float *out, int taps, int I, int O, int t, int T) {
  for (int panel = first(I / 8, t, T); panel < first(I / 8, t + 1, T); panel++) {
    float *o = out + (int64_t)panel * taps * O * 8;
    for (int tap = taps - 1; tap >= 0; tap--) {
      const float *p = w + ((int64_t)tap * I + panel * 8) * O;
      for (int c = 0; c < O; c++, o += 8)
        for (int i = 0; i < 8; i++) o[i] = p[(int64_t)i * O + c];
    }
  }
}

/* The S x S neighbourhood of every pixel of a one-channel image, in K columns: S * S, and zeros. */
EXPORT(neighbours)
void neighbours(const float *x, float *out, int N, int H, int W, int S, int K, int pad, int t, int T) {
  int OH = H + 2 * pad - S + 1, OW = W + 2 * pad - S + 1;
  for (int row = first(N * OH, t, T); row < first(N * OH, t + 1, T); row++) {
    const float *image = x + (int64_t)(row / OH) * H * W;
    float *o = out + (int64_t)row * OW * K;
    for (int c = 0; c < OW; c++) {
      for (int i = 0; i < S; i++) {
        int h = row % OH + i - pad, w = c - pad;
        const float *line = image + (int64_t)h * W + w;
        if (h < 0 || h >= H) {
          for (int j = 0; j < S; j++) *o++ = 0;
        } else if (w >= 0 && w + S <= W) {
          for (int j = 0; j < S; j++) *o++ = line[j];
        } else
          for (int j = 0; j < S; j++) *o++ = w + j >= 0 && w + j < W ? line[j] : 0;
      }
      for (int i = S * S; i < K; i++) *o++ = 0;
    }
  }
}

/*
 * y = conv2d(x, w) with stride 1 and a square filter of size S, its weights packed by pack or packTurned: implicit matrix
 * product of 4 pixels by 8 channels at a time (more sums than that leave the registers in V8). Then what is not null: + bias, ReLU, * scale + shift.
 * `zeros` holds I zeros, for what lies outside the image. O is a multiple of 8.
 */
EXPORT(conv)
void conv(const float *x, const float *w, float *y, const float *bias, int relu, const float *scale, const float *shift,
          const float *zeros, int N, int H, int W, int I, int O, int S, int pad, int t, int T) {
  int OH = H + 2 * pad - S + 1, OW = W + 2 * pad - S + 1;
  int pixels = N * OH * OW;
  /* Threads share the pixels; where those are few the weights are what must be read, so they share the channels. */
  int few = pixels <= 256;
  int begin = few ? 0 : first(pixels, t, T), end = few ? pixels : first(pixels, t + 1, T);
  int panelBegin = few ? first(O / 8, t, T) : 0, panelEnd = few ? first(O / 8, t + 1, T) : O / 8;
  /* As many pixels at a time as keep their input in the second-level cache. */
  int group = 131072 / I / 4 * 4;
  if (group < 64) group = 64;
  for (int from = begin; from < end; from += group) {
    int to = from + group < end ? from + group : end;
    for (int panel = panelBegin; panel < panelEnd; panel++) {
      const float *weights = w + (int64_t)panel * S * S * I * 8;
      for (int p = from; p < to; p += 4) {
        int row[4], column[4];
        const float *image[4];
        for (int i = 0; i < 4; i++) {
          /* The last tile computes its last pixel more than once. */
          int q = p + i < to ? p + i : to - 1;
          int n = q / (OH * OW), r = q - n * OH * OW;
          row[i] = r / OW - pad;
          column[i] = r % OW - pad;
          image[i] = x + (int64_t)n * H * W * I;
        }
        v zero = wasm_f32x4_const_splat(0);
        v a0 = zero, a1 = zero, b0 = zero, b1 = zero, c0 = zero, c1 = zero, d0 = zero, d1 = zero;
        const float *k = weights;
        for (int tap = 0; tap < S * S; tap++) {
          const float *source[4];
          for (int i = 0; i < 4; i++) {
            int h = row[i] + tap / S, q = column[i] + tap % S;
            source[i] = (unsigned)h < (unsigned)H && (unsigned)q < (unsigned)W ? image[i] + ((int64_t)h * W + q) * I : zeros;
          }
          const float *pa = source[0], *pb = source[1], *pc = source[2], *pd = source[3];
          for (int i = 0; i < I; i++, k += 8) {
            v k0 = load(k), k1 = load(k + 4), s;
            s = splat(pa + i), a0 = fma(s, k0, a0), a1 = fma(s, k1, a1);
            s = splat(pb + i), b0 = fma(s, k0, b0), b1 = fma(s, k1, b1);
            s = splat(pc + i), c0 = fma(s, k0, c0), c1 = fma(s, k1, c1);
            s = splat(pd + i), d0 = fma(s, k0, d0), d1 = fma(s, k1, d1);
          }
        }
        v sums[8] = {a0, a1, b0, b1, c0, c1, d0, d1};
        for (int i = 0; i < 4 && p + i < to; i++) {
          float *out = y + (int64_t)(p + i) * O + panel * 8;
          for (int half = 0; half < 2; half++) {
            int c = panel * 8 + half * 4;
            v s = sums[i * 2 + half];
            if (bias) s = add(s, load(bias + c));
            if (relu) s = wasm_f32x4_pmax(zero, s);
            if (scale) s = add(mul(s, load(scale + c)), load(shift + c));
            store(out + half * 4, s);
          }
        }
      }
    }
  }
}

/*
 * dw[tap][i][o] = sum over pixels of x[pixel + tap][i] * dy[pixel][o], for conv as above: a matrix product over pixels, in
 * groups of whole images, 4 by 8 channels at a time. Each thread has its own channels i, and its own scratch of
 * filterGradientScratch floats. I is a multiple of 4 and O of 8.
 */
static inline int imagesOf(int OH, int OW, int N) {
  int images = 512 / (OH * OW);
  return images < 1 ? 1 : images > N ? N : images;
}

EXPORT(filterGradientScratch) int filterGradientScratch(int N, int H, int W, int O, int S, int pad) {
  int OH = H + 2 * pad - S + 1, OW = W + 2 * pad - S + 1;
  return imagesOf(OH, OW, N) * (OH * OW * O + S * (OH + S - 1) * OW * 4);
}

EXPORT(filterGradient)
void filterGradient(const float *x, const float *dy, float *dw, float *scratch, int stride, int N, int H, int W, int I,
                    int O, int S, int pad, int t, int T) {
  int OH = H + 2 * pad - S + 1, OW = W + 2 * pad - S + 1, RH = OH + S - 1;
  int images = imagesOf(OH, OW, N);
  float *packedDy = scratch + (int64_t)t * stride;
  float *packedX = packedDy + (int64_t)images * OH * OW * O;
  int begin = first(I / 4, t, T), end = first(I / 4, t + 1, T);
  for (int n = 0; n < N; n += images) {
    int count = n + images < N ? images : N - n;
    int pixels = count * OH * OW;
    /* dy in panels of 8 channels: [O / 8][pixels][8]. */
    const float *source = dy + (int64_t)n * OH * OW * O;
    for (int panel = 0; panel < O / 8; panel++) {
      float *o = packedDy + (int64_t)panel * pixels * 8;
      for (int p = 0; p < pixels; p++, o += 8) {
        const float *s = source + (int64_t)p * O + panel * 8;
        store(o, load(s));
        store(o + 4, load(s + 4));
      }
    }
    for (int group = begin; group < end; group++) {
      /* Four channels of x, once for each horizontal tap, so that dy's pixels lie beside x's: [S][count][RH][OW][4]. */
      float *o = packedX;
      for (int tap = 0; tap < S; tap++)
        for (int m = 0; m < count; m++)
          for (int r = 0; r < RH; r++)
            for (int c = 0; c < OW; c++, o += 4) {
              int h = r - pad, q = c + tap - pad;
              int inside = (unsigned)h < (unsigned)H && (unsigned)q < (unsigned)W;
              store(o, inside ? load(x + (((int64_t)(n + m) * H + h) * W + q) * I + group * 4) : wasm_f32x4_const_splat(0));
            }
      for (int tap = 0; tap < S * S; tap++) {
        for (int panel = 0; panel < O / 8; panel++) {
          v zero = wasm_f32x4_const_splat(0);
          v a0 = zero, a1 = zero, b0 = zero, b1 = zero, c0 = zero, c1 = zero, d0 = zero, d1 = zero;
          const float *g = packedDy + (int64_t)panel * pixels * 8;
          for (int m = 0; m < count; m++) {
            const float *s = packedX + (((int64_t)(tap % S) * count + m) * RH + tap / S) * OW * 4;
            for (int p = 0; p < OH * OW; p++, g += 8, s += 4) {
              v g0 = load(g), g1 = load(g + 4), q;
              q = splat(s), a0 = fma(q, g0, a0), a1 = fma(q, g1, a1);
              q = splat(s + 1), b0 = fma(q, g0, b0), b1 = fma(q, g1, b1);
              q = splat(s + 2), c0 = fma(q, g0, c0), c1 = fma(q, g1, c1);
              q = splat(s + 3), d0 = fma(q, g0, d0), d1 = fma(q, g1, d1);
            }
          }
          v sums[8] = {a0, a1, b0, b1, c0, c1, d0, d1};
          for (int i = 0; i < 4; i++) {
            float *out = dw + ((int64_t)tap * I + group * 4 + i) * O + panel * 8;
            for (int half = 0; half < 2; half++) {
              v s = sums[i * 2 + half];
              store(out + half * 4, n == 0 ? s : add(load(out + half * 4), s));
            }
          }
        }
      }
    }
  }
}

/* Sums over pixels are taken in float32 over so many pixels, and from there on in float64. */
#define RUN 64

typedef struct {
  v low, high;
} wide;

static inline void accumulate(wide *sum, v x) {
  sum->low = wasm_f64x2_add(sum->low, wasm_f64x2_promote_low_f32x4(x));
  sum->high = wasm_f64x2_add(sum->high, wasm_f64x2_promote_low_f32x4(wasm_i32x4_shuffle(x, x, 2, 3, 0, 1)));
}

static inline v narrow(wide sum, double factor) {
  v f = wasm_f64x2_splat(factor);
  v low = wasm_f32x4_demote_f64x2_zero(wasm_f64x2_mul(sum.low, f));
  v high = wasm_f32x4_demote_f64x2_zero(wasm_f64x2_mul(sum.high, f));
  return wasm_i32x4_shuffle(low, high, 0, 1, 4, 5);
}

/* Channels that are summed side by side, RUN pixels at a time, so that what lies in one line of the cache is read from memory once. */
#define STRIP 64

static inline int least(int a, int b) { return a < b ? a : b; }

/* Mean and (biased) variance of each of C channels over P pixels. C is a multiple of 4. */
EXPORT(moments) void moments(const float *x, float *mean, float *variance, int P, int C, int t, int T) {
  wide none = {wasm_f64x2_const_splat(0), wasm_f64x2_const_splat(0)};
  int share = first(C / 4, t + 1, T) * 4;
  for (int begin = first(C / 4, t, T) * 4; begin < share; begin += STRIP) {
    int end = least(begin + STRIP, share);
    wide sum[STRIP / 4], squares[STRIP / 4];
    v m[STRIP / 4];
    for (int k = 0; k < STRIP / 4; k++) sum[k] = squares[k] = none;
    for (int from = 0; from < P; from += RUN)
      for (int c = begin, k = 0; c < end; c += 4, k++) {
        v s = wasm_f32x4_const_splat(0);
        for (int p = from; p < least(from + RUN, P); p++) s = add(s, load(x + (int64_t)p * C + c));
        accumulate(&sum[k], s);
      }
    for (int k = 0; k < STRIP / 4; k++) m[k] = narrow(sum[k], 1.0 / P);
    for (int from = 0; from < P; from += RUN)
      for (int c = begin, k = 0; c < end; c += 4, k++) {
        v s = wasm_f32x4_const_splat(0);
        for (int p = from; p < least(from + RUN, P); p++) {
          v d = sub(load(x + (int64_t)p * C + c), m[k]);
          s = fma(d, d, s);
        }
        accumulate(&squares[k], s);
      }
    for (int c = begin, k = 0; c < end; c += 4, k++) {
      store(mean + c, m[k]);
      store(variance + c, narrow(squares[k], 1.0 / P));
    }
  }
}

/* y = x * scale + shift, channel by channel. */
EXPORT(affine)
void affine(const float *x, float *y, const float *scale, const float *shift, int P, int C, int t, int T) {
  for (int p = first(P, t, T); p < first(P, t + 1, T); p++)
    for (int c = 0; c < C; c += 4) {
      int64_t at = (int64_t)p * C + c;
      store(y + at, fma(load(x + at), load(scale + c), load(shift + c)));
    }
}

/*
 * The gradient of batch normalization after ReLU (Ioffe and Szegedy 2015, section 3), with xhat = (x - mean) * rstd, x the
 * ReLU's output, and P pixels:
 *   dbeta = sum dy,  dgamma = sum dy * xhat,
 *   dx = gamma * rstd * (dy - dbeta / P - xhat * dgamma / P) where x > 0, else 0,  dbias = sum dx.
 */
EXPORT(normGradient)
void normGradient(const float *x, const float *dy, const float *mean, const float *rstd, const float *gamma, float *dx,
                  float *dgamma, float *dbeta, float *dbias, int P, int C, int t, int T) {
  v zero = wasm_f32x4_const_splat(0);
  wide none = {wasm_f64x2_const_splat(0), wasm_f64x2_const_splat(0)};
  int share = first(C / 4, t + 1, T) * 4;
  for (int begin = first(C / 4, t, T) * 4; begin < share; begin += STRIP) {
    int end = least(begin + STRIP, share);
    wide sum[STRIP / 4], product[STRIP / 4], bias[STRIP / 4];
    for (int k = 0; k < STRIP / 4; k++) sum[k] = product[k] = bias[k] = none;
    for (int from = 0; from < P; from += RUN)
      for (int c = begin, k = 0; c < end; c += 4, k++) {
        v m = load(mean + c), s = zero, q = zero;
        for (int p = from; p < least(from + RUN, P); p++) {
          int64_t at = (int64_t)p * C + c;
          v g = load(dy + at);
          s = add(s, g);
          q = fma(g, sub(load(x + at), m), q);
        }
        accumulate(&sum[k], s);
        accumulate(&product[k], q);
      }
    v a[STRIP / 4], b[STRIP / 4];
    for (int c = begin, k = 0; c < end; c += 4, k++) {
      v r = load(rstd + c);
      store(dbeta + c, narrow(sum[k], 1));
      store(dgamma + c, mul(narrow(product[k], 1), r));
      a[k] = narrow(sum[k], 1.0 / P);
      b[k] = mul(mul(narrow(product[k], 1.0 / P), r), r);
    }
    for (int from = 0; from < P; from += RUN)
      for (int c = begin, k = 0; c < end; c += 4, k++) {
        v m = load(mean + c), factor = mul(load(gamma + c), load(rstd + c)), ak = a[k], bk = b[k], s = zero;
        for (int p = from; p < least(from + RUN, P); p++) {
          int64_t at = (int64_t)p * C + c;
          v in = load(x + at);
          v d = mul(factor, sub(sub(load(dy + at), ak), mul(sub(in, m), bk)));
          d = wasm_v128_and(d, wasm_f32x4_gt(in, zero));
          store(dx + at, d);
          s = add(s, d);
        }
        accumulate(&bias[k], s);
      }
    for (int c = begin, k = 0; c < end; c += 4, k++) store(dbias + c, narrow(bias[k], 1));
  }
}

/* The gradient of a bias and a ReLU whose output is y: dz = dy where y > 0, else 0; dbias = sum dz over P pixels. */
EXPORT(reluGradient)
void reluGradient(const float *y, const float *dy, float *dz, float *dbias, int P, int C, int t, int T) {
  v zero = wasm_f32x4_const_splat(0);
  wide none = {wasm_f64x2_const_splat(0), wasm_f64x2_const_splat(0)};
  int share = first(C / 4, t + 1, T) * 4;
  for (int begin = first(C / 4, t, T) * 4; begin < share; begin += STRIP) {
    int end = least(begin + STRIP, share);
    wide sum[STRIP / 4];
    for (int k = 0; k < STRIP / 4; k++) sum[k] = none;
    for (int from = 0; from < P; from += RUN)
      for (int c = begin, k = 0; c < end; c += 4, k++) {
        v s = zero;
        for (int p = from; p < least(from + RUN, P); p++) {
          int64_t at = (int64_t)p * C + c;
          v d = wasm_v128_and(load(dy + at), wasm_f32x4_gt(load(y + at), zero));
          store(dz + at, d);
          s = add(s, d);
        }
        accumulate(&sum[k], s);
      }
    for (int c = begin, k = 0; c < end; c += 4, k++) store(dbias + c, narrow(sum[k], 1));
  }
}

/*
 * Inverted dropout of n values: those whose place's hash (hash32 of src/base/random.ts, SplitMix32's mixing of seed + place) is less than
 * `threshold` become 0, the others are multiplied by the float32 whose bits are `scale`.
 */
EXPORT(dropout)
void dropout(const float *x, float *y, int n, uint32_t seed, uint32_t threshold, uint32_t scale, int t, int T) {
  union {
    uint32_t bits;
    float value;
  } factor = {scale};
  for (int i = first(n, t, T); i < first(n, t + 1, T); i++) {
    uint32_t z = seed + (uint32_t)(i + 1) * 0x9e3779b9u;
    z = (z ^ (z >> 16)) * 0x85ebca6bu;
    z = (z ^ (z >> 13)) * 0xc2b2ae35u;
    y[i] = x[i] * ((z ^ (z >> 16)) < threshold ? 0 : factor.value);
  }
}

/* Max pooling of S x S windows (S at most 15) with stride 2; `taps` remembers which of each was the (first) largest. */
EXPORT(maxPool)
void maxPool(const float *x, float *y, uint8_t *taps, int N, int H, int W, int C, int S, int t, int T) {
  int OH = (H - S) / 2 + 1, OW = (W - S) / 2 + 1;
  for (int row = first(N * OH, t, T); row < first(N * OH, t + 1, T); row++) {
    for (int q = 0; q < OW; q++) {
      const float *in = x + (((int64_t)(row / OH) * H + row % OH * 2) * W + q * 2) * C;
      int64_t out = ((int64_t)row * OW + q) * C;
      for (int c = 0; c < C; c += 4) {
        v best = load(in + c), which = wasm_i32x4_const_splat(0), tap = which, one = wasm_i32x4_const_splat(1);
        for (int i = 0; i < S; i++)
          for (int j = 0; j < S; j++, tap = wasm_i32x4_add(tap, one)) {
            v candidate = load(in + ((int64_t)i * W + j) * C + c);
            v larger = wasm_f32x4_gt(candidate, best);
            best = wasm_v128_bitselect(candidate, best, larger);
            which = wasm_v128_bitselect(tap, which, larger);
          }
        store(y + out + c, best);
        v bytes = wasm_i8x16_shuffle(which, which, 0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        wasm_v128_store32_lane(taps + out + c, bytes, 0);
      }
    }
  }
}

EXPORT(maxPoolGradient)
void maxPoolGradient(const float *dy, const uint8_t *taps, float *dx, int N, int H, int W, int C, int S, int t, int T) {
  int OH = (H - S) / 2 + 1, OW = (W - S) / 2 + 1;
  int offset[225];
  for (int tap = 0; tap < S * S; tap++) offset[tap] = (tap / S * W + tap % S) * C;
  for (int n = first(N, t, T); n < first(N, t + 1, T); n++) {
    float *image = dx + (int64_t)n * H * W * C;
    for (int64_t i = 0; i < (int64_t)H * W * C; i += 4) store(image + i, wasm_f32x4_const_splat(0));
    for (int p = 0; p < OH * OW; p++) {
      int64_t at = ((int64_t)n * OH * OW + p) * C;
      float *out = image + ((int64_t)(p / OW) * 2 * W + p % OW * 2) * C;
      for (int c = 0; c < C; c++) out[offset[taps[at + c]] + c] += dy[at + c];
    }
  }
}

/*
 * Dense layers on few examples, as small clients have them: x is N x I, w is I x O. What is zero is skipped: most of a picture's
 * background, and what a ReLU has cut off.
 */

/* out[0..O) += sum over k of factors[k] * rows[k][0..O), where row k begins at base + at[k] * O. */
static inline void gather(float *out, const float *base, const int32_t *at, const float *factors, int count, int O) {
  int o = 0;
  for (; o + 32 <= O; o += 32) {
    v sums[8];
    for (int j = 0; j < 8; j++) sums[j] = load(out + o + 4 * j);
    for (int k = 0; k < count; k++) {
      const float *p = base + at[k] * O + o;
      v f = splat(factors + k);
      for (int j = 0; j < 8; j++) sums[j] = fma(f, load(p + 4 * j), sums[j]);
    }
    for (int j = 0; j < 8; j++) store(out + o + 4 * j, sums[j]);
  }
  for (; o + 16 <= O; o += 16) {
    v a = load(out + o), b = load(out + o + 4), c = load(out + o + 8), d = load(out + o + 12);
    for (int k = 0; k < count; k++) {
      const float *p = base + at[k] * O + o;
      v f = splat(factors + k);
      a = fma(f, load(p), a);
      b = fma(f, load(p + 4), b);
      c = fma(f, load(p + 8), c);
      d = fma(f, load(p + 12), d);
    }
    store(out + o, a);
    store(out + o + 4, b);
    store(out + o + 8, c);
    store(out + o + 12, d);
  }
  for (; o + 4 <= O; o += 4) {
    v a = load(out + o);
    for (int k = 0; k < count; k++) a = fma(splat(factors + k), load(base + at[k] * O + o), a);
    store(out + o, a);
  }
  for (; o < O; o++) {
    float sum = out[o];
    for (int k = 0; k < count; k++) sum += factors[k] * base[at[k] * O + o];
    out[o] = sum;
  }
}

/* y = x w + b, and its ReLU where `relu`. Scratch of a thread: I integers and I floats. */
EXPORT(denseForward)
void denseForward(const float *x, const float *w, const float *b, float *y, int relu, char *scratch, int N, int I, int O,
                  int t, int T) {
  int32_t *at = (int32_t *)(scratch + (int64_t)t * I * 8);
  float *factors = (float *)(at + I);
  for (int n = first(N, t, T); n < first(N, t + 1, T); n++) {
    const float *row = x + (int64_t)n * I;
    float *out = y + (int64_t)n * O;
    int count = 0;
    for (int i = 0; i < I; i++) {
      at[count] = i;
      factors[count] = row[i];
      count += row[i] != 0;
    }
    for (int o = 0; o < O; o++) out[o] = b[o];
    gather(out, w, at, factors, count, O);
    if (relu)
      for (int o = 0; o < O; o++) out[o] = out[o] > 0 ? out[o] : 0;
  }
}

static inline float total(v x) {
  return (wasm_f32x4_extract_lane(x, 0) + wasm_f32x4_extract_lane(x, 1)) +
         (wasm_f32x4_extract_lane(x, 2) + wasm_f32x4_extract_lane(x, 3));
}

/* Columns of w whose products are summed one after the other in each of four lanes. */
#define LINKS 32

/* dx = dy w': four examples by two rows of w at a time. Threads share the rows. */
static void inputGradient(const float *dy, const float *w, float *dx, int N, int I, int O, int t, int T) {
  for (int i = first(I / 2, t, T) * 2; i < first(I / 2, t + 1, T) * 2; i += 2) {
    const float *p = w + (int64_t)i * O, *q = p + O;
    for (int n = 0; n < N; n += 4) {
      int rows[4];
      for (int k = 0; k < 4; k++) rows[k] = least(n + k, N - 1);
      const float *pa = dy + (int64_t)rows[0] * O, *pb = dy + (int64_t)rows[1] * O;
      const float *pc = dy + (int64_t)rows[2] * O, *pd = dy + (int64_t)rows[3] * O;
      v zero = wasm_f32x4_const_splat(0);
      v sums[8] = {zero, zero, zero, zero, zero, zero, zero, zero};
      for (int o = 0; o < O;) {
        /* Some products are summed before they are added to the rest: half the error of one long sum. */
        int to = least(o + LINKS, O);
        v a0 = zero, a1 = zero, b0 = zero, b1 = zero, c0 = zero, c1 = zero, d0 = zero, d1 = zero;
        for (; o < to; o += 4) {
          v k0 = load(p + o), k1 = load(q + o), s;
          s = load(pa + o), a0 = fma(s, k0, a0), a1 = fma(s, k1, a1);
          s = load(pb + o), b0 = fma(s, k0, b0), b1 = fma(s, k1, b1);
          s = load(pc + o), c0 = fma(s, k0, c0), c1 = fma(s, k1, c1);
          s = load(pd + o), d0 = fma(s, k0, d0), d1 = fma(s, k1, d1);
        }
        v these[8] = {a0, a1, b0, b1, c0, c1, d0, d1};
        for (int k = 0; k < 8; k++) sums[k] = add(sums[k], these[k]);
      }
      for (int k = 0; k < 8; k++) dx[(int64_t)rows[k / 2] * I + i + k % 2] = total(sums[k]);
    }
  }
}

/* dx = dy w', and 0 where x, the output of a ReLU, is 0. */
EXPORT(denseBackward)
void denseBackward(const float *x, const float *w, const float *dy, float *dx, int N, int I, int O, int t, int T) {
  if (O % 4 == 0 && I % 2 == 0) {
    inputGradient(dy, w, dx, N, I, O, t, T);
    for (int n = 0; n < N; n++)
      for (int64_t k = (int64_t)n * I + first(I / 2, t, T) * 2; k < (int64_t)n * I + first(I / 2, t + 1, T) * 2; k++)
        dx[k] = x[k] > 0 ? dx[k] : 0;
    return;
  }
  for (int n = first(N, t, T); n < first(N, t + 1, T); n++) {
    const float *d = dy + (int64_t)n * O;
    for (int i = 0; i < I; i++) {
      int64_t place = (int64_t)n * I + i;
      const float *p = w + (int64_t)i * O;
      float sum = 0;
      if (x[place] > 0)
        for (int o = 0; o < O; o++) sum += p[o] * d[o];
      dx[place] = sum;
    }
  }
}

/* A step of SGD in place: w -= lr x' dy, b -= lr sum dy. `rate` points to -lr. Scratch of a thread: N integers and N floats. */
EXPORT(denseDescend)
void denseDescend(const float *x, const float *dy, float *w, float *b, const float *rate, char *scratch, int N, int I, int O,
                  int t, int T) {
  int32_t *at = (int32_t *)(scratch + (int64_t)t * N * 8);
  float *factors = (float *)(at + N);
  for (int i = first(I, t, T); i < first(I, t + 1, T); i++) {
    int count = 0;
    for (int n = 0; n < N; n++) {
      float value = x[(int64_t)n * I + i];
      at[count] = n;
      factors[count] = *rate * value;
      count += value != 0;
    }
    if (count > 0) gather(w + (int64_t)i * O, dy, at, factors, count, O);
  }
  if (t > 0) return;
  for (int o = 0; o < O; o++) {
    float sum = 0;
    for (int n = 0; n < N; n++) sum += dy[(int64_t)n * O + o];
    b[o] += *rate * sum;
  }
}

/*
 * Dense layers of many inputs: x is N x I, w is I x O and is read once, in the order in which it lies. I and O are multiples of 8.
 */

/* Rows of w whose products are summed before the next ones: eight columns of them stay in the first-level cache. */
#define ROWS 64

/* y = x w + b, and its ReLU where `relu`. Threads share the columns, eight by eight; scratch of a thread: 8 ROWS floats. */
EXPORT(denseProductScratch) int denseProductScratch(void) { return ROWS * 8; }

EXPORT(denseProduct)
void denseProduct(const float *x, const float *w, const float *b, float *y, int relu, float *scratch, int N, int I, int O,
                  int t, int T) {
  float *panel = scratch + (int64_t)t * ROWS * 8;
  for (int from = 0; from < I; from += ROWS) {
    int rows = least(ROWS, I - from);
    for (int o = first(O / 8, t, T) * 8; o < first(O / 8, t + 1, T) * 8; o += 8) {
      const float *column = w + (int64_t)from * O + o;
      for (int i = 0; i < rows; i++, column += O) {
        store(panel + i * 8, load(column));
        store(panel + i * 8 + 4, load(column + 4));
      }
      v first0 = load(b + o), first1 = load(b + o + 4);
      for (int n = 0; n < N; n += 4) {
        /* The last tile computes its last example more than once. */
        const float *source[4];
        float *out[4];
        v sums[8];
        for (int k = 0; k < 4; k++) {
          int row = least(n + k, N - 1);
          source[k] = x + (int64_t)row * I + from;
          out[k] = y + (int64_t)row * O + o;
          sums[2 * k] = from ? load(out[k]) : first0;
          sums[2 * k + 1] = from ? load(out[k] + 4) : first1;
        }
        const float *pa = source[0], *pb = source[1], *pc = source[2], *pd = source[3];
        v a0 = sums[0], a1 = sums[1], b0 = sums[2], b1 = sums[3], c0 = sums[4], c1 = sums[5], d0 = sums[6], d1 = sums[7];
        const float *k = panel;
        for (int i = 0; i < rows; i++, k += 8) {
          v k0 = load(k), k1 = load(k + 4), s;
          s = splat(pa + i), a0 = fma(s, k0, a0), a1 = fma(s, k1, a1);
          s = splat(pb + i), b0 = fma(s, k0, b0), b1 = fma(s, k1, b1);
          s = splat(pc + i), c0 = fma(s, k0, c0), c1 = fma(s, k1, c1);
          s = splat(pd + i), d0 = fma(s, k0, d0), d1 = fma(s, k1, d1);
        }
        if (relu && from + rows == I) {
          v zero = wasm_f32x4_const_splat(0);
          a0 = wasm_f32x4_pmax(zero, a0), a1 = wasm_f32x4_pmax(zero, a1);
          b0 = wasm_f32x4_pmax(zero, b0), b1 = wasm_f32x4_pmax(zero, b1);
          c0 = wasm_f32x4_pmax(zero, c0), c1 = wasm_f32x4_pmax(zero, c1);
          d0 = wasm_f32x4_pmax(zero, d0), d1 = wasm_f32x4_pmax(zero, d1);
        }
        store(out[0], a0), store(out[0] + 4, a1);
        store(out[1], b0), store(out[1] + 4, b1);
        store(out[2], c0), store(out[2] + 4, c1);
        store(out[3], d0), store(out[3] + 4, d1);
      }
    }
  }
}

/*
 * A step of SGD in place: w -= rate * g for n weights, rounded after the product and after the sum, as tfjs does it. `rate` is the bits of a
 * float32. Threads share the weights.
 */
EXPORT(descend) void descend(float *w, const float *g, uint32_t rate, int n, int t, int T) {
  union {
    uint32_t bits;
    float value;
  } by = {rate};
  v step = wasm_f32x4_splat(-by.value);
  for (int i = first(n / 4, t, T) * 4; i < first(n / 4, t + 1, T) * 4; i += 4)
    store(w + i, add(load(w + i), mul(step, load(g + i))));
  if (t > 0) return;
  for (int i = n / 4 * 4; i < n; i++) w[i] -= by.value * g[i];
}

/* Numbers whose squares are summed by one thread: how they are summed does not depend on how many there are. */
#define SUMMED 4096

/* Float32 that the sums of squares of n numbers take. */
EXPORT(squaresSize) int squaresSize(int n) { return (n + SUMMED - 1) / SUMMED * 2; }

/* The sum of squares of each SUMMED of n numbers. Threads share the sums. */
EXPORT(squares) void squares(const float *g, double *sums, int n, int t, int T) {
  int count = (n + SUMMED - 1) / SUMMED;
  for (int k = first(count, t, T); k < first(count, t + 1, T); k++) {
    wide sum = {wasm_f64x2_const_splat(0), wasm_f64x2_const_splat(0)};
    int i = k * SUMMED, end = least(i + SUMMED, n);
    for (; i + 4 <= end; i += 4) accumulate(&sum, mul(load(g + i), load(g + i)));
    v128_t all = wasm_f64x2_add(sum.low, sum.high);
    double rest = wasm_f64x2_extract_lane(all, 0) + wasm_f64x2_extract_lane(all, 1);
    for (; i < end; i++) rest += (double)g[i] * g[i];
    sums[k] = rest;
  }
}
