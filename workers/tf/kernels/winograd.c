/*
 * Convolutions with squares S of 3 or 5 with a quarter, or with 9 of 25, of the multiplications: Winograd's minimal filtering F(4x4, 3x3)
 * and F(2x2, 5x5) as Lavin and Gray 2015 (arXiv 1509.09308, section 4.3) write it, Y = A^T [(G g G^T) . (B^T d B)] A for tiles of R x R
 * outputs, R = 7 - S, and for the filter's gradient its adjoint, dg = G^T [sum over tiles of (B^T d B) . (A dy A^T)] G. Interpolated at 0,
 * +-5/8, +-3/2 and infinity, whose errors are less than half of those at 0, +-1, +-2 (compare Barabasz et al. 2020, arXiv 1803.10986).
 * Six points are six points: B is the same for both.
 *
 * A tile's 36 transformed values lie in 36 matrices, whose products run in the order in which they lie:
 *   V = B^T d B: [36][tiles][I] for outputs, [36][I / 4][tiles][4] for the filter's gradient
 *   D = A dy A^T: [36][O / 8][tiles][8]
 *   U = G g G^T: [O / 8][36][I][8]
 * Tiles are counted over all pictures, row by row, and filled up with zeros to a multiple of four. Each output is summed in one order,
 * whoever computes it. I is a multiple of 4 and O of 8.
 */
#include "kernels.h"

/* The points a and b, and what follows from them. */
#define A 0.625f
#define B 1.5f
#define A2 (A * A)
#define B2 (B * B)
/* 1 / the product of a point's distances from the others, at 0, +-a and +-b. */
#define N0 (1 / (A2 * B2))
#define NA (1 / (2 * A2 * (A2 - B2)))
#define NB (1 / (2 * B2 * (B2 - A2)))

#define all(x) wasm_f32x4_const_splat(x)
/* What is written together lies so many floats further apart than it is long: powers of two would meet in one set of the cache. */
#define SKEW 16

typedef struct {
  /* Of the picture, its rows and columns of tiles, what lies before its first pixel, and how many outputs a side of a tile has. */
  int H, W, rows, columns, pad, R;
} grid;

static inline int outputSide(int side, int S, int pad) { return side + 2 * pad - S + 1; }

static inline int cover(int side, int R) { return (side + R - 1) / R; }

static inline grid tilesOf(int H, int W, int S, int pad) {
  int R = 7 - S;
  grid g = {H, W, cover(outputSide(H, S, pad), R), cover(outputSide(W, S, pad), R), pad, R};
  return g;
}

static inline int fours(int tiles) { return (tiles + 3) / 4; }

/* How far the 36 matrices, the rows of tiles and groups of four (or, of D, eight) channels lie apart, in floats. */
typedef struct {
  int64_t matrix, tile, group;
} layout;

static inline layout byTile(int tiles, int C) {
  layout l = {(int64_t)fours(tiles) * 4 * C + SKEW, C, 4};
  return l;
}

static inline layout byGroup(int tiles, int C, int width) {
  int64_t group = (int64_t)fours(tiles) * 4 * width + SKEW;
  layout l = {C / width * group + SKEW, width, group};
  return l;
}

/* How far the 36 matrices of a panel of U lie apart, and how far its panels do. */
static inline int64_t matrixOf(int I) { return (int64_t)I * 8 + SKEW; }
static inline int64_t panelOf(int I) { return 36 * matrixOf(I); }

/* B^T of six values. */
static inline void inputs(v *d, int step) {
  v d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
  v oddA = fma(all(-B2), d1, d3), evenA = fma(all(-B2), d2, d4);
  v oddB = fma(all(-A2), d1, d3), evenB = fma(all(-A2), d2, d4);
  d[0] = fma(all(A2 * B2), d0, fma(all(-A2 - B2), d2, d4));
  d[step] = fma(all(A), oddA, evenA);
  d[2 * step] = fma(all(-A), oddA, evenA);
  d[3 * step] = fma(all(B), oddB, evenB);
  d[4 * step] = fma(all(-B), oddB, evenB);
  d[5 * step] = fma(all(A2 * B2), d1, fma(all(-A2 - B2), d3, d5));
}

/* A^T of six values: the first R. */
static inline void outputs(v *m, int step, int R) {
  v m0 = m[0], m5 = m[5 * step];
  v sumA = add(m[step], m[2 * step]), differenceA = sub(m[step], m[2 * step]);
  v sumB = add(m[3 * step], m[4 * step]), differenceB = sub(m[3 * step], m[4 * step]);
  m[0] = add(m0, add(sumA, sumB));
  m[step] = fma(all(A), differenceA, mul(all(B), differenceB));
  if (R == 2) {
    m[step] = add(m[step], m5);
    return;
  }
  m[2 * step] = fma(all(A2), sumA, mul(all(B2), sumB));
  m[3 * step] = fma(all(A * A2), differenceA, fma(all(B * B2), differenceB, m5));
}

/* A of the first R of six values. */
static inline void outputsAdjoint(v *y, int step, int R) {
  v y0 = y[0], y1 = y[step];
  if (R == 2) {
    y[2 * step] = fma(all(-A), y1, y0);
    y[3 * step] = fma(all(B), y1, y0);
    y[4 * step] = fma(all(-B), y1, y0);
    y[5 * step] = y1;
    y[step] = fma(all(A), y1, y0);
    return;
  }
  v y2 = y[2 * step], y3 = y[3 * step];
  v evenA = fma(all(A2), y2, y0), oddA = fma(all(A2), y3, y1);
  v evenB = fma(all(B2), y2, y0), oddB = fma(all(B2), y3, y1);
  y[step] = fma(all(A), oddA, evenA);
  y[2 * step] = fma(all(-A), oddA, evenA);
  y[3 * step] = fma(all(B), oddB, evenB);
  y[4 * step] = fma(all(-B), oddB, evenB);
  y[5 * step] = y3;
}

/* G of the first S of six values. */
static inline void filters(v *g, int step, int S) {
  v g0 = g[0], g1 = g[step], g2 = g[2 * step], last = g2;
  v evenA = fma(all(A2 * NA), g2, mul(all(NA), g0)), oddA = mul(all(A * NA), g1);
  v evenB = fma(all(B2 * NB), g2, mul(all(NB), g0)), oddB = mul(all(B * NB), g1);
  if (S == 5) {
    v g3 = g[3 * step];
    last = g[4 * step];
    evenA = fma(all(A2 * A2 * NA), last, evenA), oddA = fma(all(A * A2 * NA), g3, oddA);
    evenB = fma(all(B2 * B2 * NB), last, evenB), oddB = fma(all(B * B2 * NB), g3, oddB);
  }
  g[0] = mul(all(N0), g0);
  g[step] = add(evenA, oddA);
  g[2 * step] = sub(evenA, oddA);
  g[3 * step] = add(evenB, oddB);
  g[4 * step] = sub(evenB, oddB);
  g[5 * step] = last;
}

/* G^T of six values: the first S. */
static inline void filtersAdjoint(v *u, int step, int S) {
  v sumA = add(u[step], u[2 * step]), differenceA = sub(u[step], u[2 * step]);
  v sumB = add(u[3 * step], u[4 * step]), differenceB = sub(u[3 * step], u[4 * step]);
  u[0] = fma(all(N0), u[0], fma(all(NA), sumA, mul(all(NB), sumB)));
  u[step] = fma(all(A * NA), differenceA, mul(all(B * NB), differenceB));
  if (S == 5) {
    u[2 * step] = fma(all(A2 * NA), sumA, mul(all(B2 * NB), sumB));
    u[3 * step] = fma(all(A * A2 * NA), differenceA, mul(all(B * B2 * NB), differenceB));
    u[4 * step] = fma(all(A2 * A2 * NA), sumA, fma(all(B2 * B2 * NB), sumB, u[5 * step]));
    return;
  }
  u[2 * step] = fma(all(A2 * NA), sumA, fma(all(B2 * NB), sumB, u[5 * step]));
}

/* Four channels of the 6 x 6 pixels under a tile to 36 places that are `stride` floats apart. `x` is at the first of the channels. */
static __attribute__((noinline)) void transformInput(const float *x, float *out, int64_t stride, grid g, int I, int tile, int tiles) {
  v d[36];
  if (tile >= tiles) {
    for (int i = 0; i < 36; i++) store(out + i * stride, all(0));
    return;
  }
  int n = tile / (g.rows * g.columns), r = tile % (g.rows * g.columns);
  int h = r / g.columns * g.R - g.pad, w = r % g.columns * g.R - g.pad;
  const float *image = x + (int64_t)n * g.H * g.W * I;
  if (h >= 0 && w >= 0 && h + 6 <= g.H && w + 6 <= g.W) {
    for (int j = 0; j < 6; j++)
      for (int i = 0; i < 6; i++) d[i * 6 + j] = load(image + ((int64_t)(h + i) * g.W + w + j) * I);
  } else {
    for (int i = 0; i < 6; i++)
      for (int j = 0; j < 6; j++) {
        int inside = (unsigned)(h + i) < (unsigned)g.H && (unsigned)(w + j) < (unsigned)g.W;
        d[i * 6 + j] = inside ? load(image + ((int64_t)(h + i) * g.W + w + j) * I) : all(0);
      }
  }
  for (int j = 0; j < 6; j++) inputs(d + j, 6);
  for (int i = 0; i < 6; i++) {
    inputs(d + i * 6, 1);
    for (int j = 0; j < 6; j++) store(out + (i * 6 + j) * stride, d[i * 6 + j]);
  }
}


/* G g G^T of the filter w [S * S][I][O] for eight output channels from o on; or of w [S * S][O][I], turned by 180 degrees. */
static __attribute__((noinline)) void transformFilter(const float *w, float *U, int I, int O, int S, int o, int turned) {
  for (int i = 0; i < I; i += 4)
    for (int half = 0; half < 8; half += 4) {
      v g[4][36];
      for (int tap = 0; tap < S * S; tap++) {
        int to = tap / S * 6 + tap % S;
        if (turned) {
          const float *p = w + ((int64_t)(S * S - 1 - tap) * O + o + half) * I + i;
          v a = load(p), b = load(p + I), c = load(p + 2 * I), d = load(p + 3 * I);
          v ab = wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), cd = wasm_i32x4_shuffle(c, d, 0, 4, 1, 5);
          v AB = wasm_i32x4_shuffle(a, b, 2, 6, 3, 7), CD = wasm_i32x4_shuffle(c, d, 2, 6, 3, 7);
          g[0][to] = wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5);
          g[1][to] = wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7);
          g[2][to] = wasm_i32x4_shuffle(AB, CD, 0, 1, 4, 5);
          g[3][to] = wasm_i32x4_shuffle(AB, CD, 2, 3, 6, 7);
        } else
          for (int k = 0; k < 4; k++) g[k][to] = load(w + ((int64_t)tap * I + i + k) * O + o + half);
      }
      for (int k = 0; k < 4; k++) {
        for (int j = 0; j < S; j++) filters(g[k] + j, 6, S);
        for (int r = 0; r < 6; r++) {
          filters(g[k] + r * 6, 1, S);
          for (int j = 0; j < 6; j++) store(U + (r * 6 + j) * matrixOf(I) + (i + k) * 8 + half, g[k][r * 6 + j]);
        }
      }
    }
}

/* Floats of U. */
EXPORT(winogradFilterSize) int winogradFilterSize(int I, int O) { return (int)(O / 8 * panelOf(I)); }

/* U of a whole filter [S * S][I][O], or of [S * S][O][I] turned by 180 degrees for the gradient of the input. */
EXPORT(winogradFilter) void winogradFilter(const float *w, float *U, int I, int O, int S, int turned, int t, int T) {
  for (int panel = first(O / 8, t, T); panel < first(O / 8, t + 1, T); panel++)
    transformFilter(w, U + panel * panelOf(I), I, O, S, panel * 8, turned);
}

/* Where outputs go, and what becomes of them: what is not null of + bias, ReLU, * scale + shift. */
typedef struct {
  float *y;
  const float *bias, *scale, *shift;
  int relu, O, H, W;
} target;

/* Channels that are summed one after the other before they are added to the rest: half the error of one long sum. */
#define CHAIN 16

static inline void keep(float *M, v low, v high, int more) {
  store(M, more ? add(load(M), low) : low);
  store(M + 4, more ? add(load(M + 4), high) : high);
}

/* M [tiles][36][8] = V * U for four tiles and eight channels: more sums than that leave the registers in V8. */
static inline void multiply(const float *V, const float *U, float *M, int I) {
  v zero = all(0);
  const float *va = V, *vb = V + I, *vc = vb + I, *vd = vc + I;
  for (int i = 0; i < I;) {
    int from = i, to = i + CHAIN < I ? i + CHAIN : I;
    v a0 = zero, a1 = zero, b0 = zero, b1 = zero, c0 = zero, c1 = zero, d0 = zero, d1 = zero;
    for (; i < to; i++, U += 8) {
      v u0 = load(U), u1 = load(U + 4), s;
      s = splat(va + i), a0 = fma(s, u0, a0), a1 = fma(s, u1, a1);
      s = splat(vb + i), b0 = fma(s, u0, b0), b1 = fma(s, u1, b1);
      s = splat(vc + i), c0 = fma(s, u0, c0), c1 = fma(s, u1, c1);
      s = splat(vd + i), d0 = fma(s, u0, d0), d1 = fma(s, u1, d1);
    }
    keep(M, a0, a1, from), keep(M + 288, b0, b1, from);
    keep(M + 576, c0, c1, from), keep(M + 864, d0, d1, from);
  }
}

/* Eight output channels from o on of one tile: A^T M A. */
static void transformOutput(const float *M, target to, grid g, int tile, int o) {
  int n = tile / (g.rows * g.columns), r = tile % (g.rows * g.columns);
  int h = r / g.columns * g.R, w = r % g.columns * g.R;
  int high = to.H - h < g.R ? to.H - h : g.R, wide = to.W - w < g.R ? to.W - w : g.R;
  for (int half = 0; half < 8; half += 4) {
    v m[36];
    for (int i = 0; i < 36; i++) m[i] = load(M + i * 8 + half);
    for (int j = 0; j < 6; j++) outputs(m + j, 6, g.R);
    for (int i = 0; i < high; i++) {
      outputs(m + i * 6, 1, g.R);
      float *row = to.y + (((int64_t)n * to.H + h + i) * to.W + w) * to.O + o + half;
      for (int j = 0; j < wide; j++) {
        v s = m[i * 6 + j];
        if (to.bias) s = add(s, load(to.bias + o + half));
        if (to.relu) s = wasm_f32x4_pmax(all(0), s);
        if (to.scale) s = add(mul(s, load(to.scale + o + half)), load(to.shift + o + half));
        store(row + (int64_t)j * to.O, s);
      }
    }
  }
}

/* Eight output channels from o on of the tiles of V, whose first is `from`. M has room for count tiles. */
static __attribute__((noinline)) void panelOutputs(const float *V, int64_t matrix, const float *U, float *M, target to, grid g, int I, int from,
                         int count, int tiles, int o) {
  for (int i = 0; i < 36; i++)
    for (int k = 0; k < count; k += 4)
      multiply(V + i * matrix + (int64_t)k * I, U + i * matrixOf(I), M + (int64_t)k * 288 + i * 8, I);
  for (int k = 0; k < count && from + k < tiles; k++) transformOutput(M + (int64_t)k * 288, to, g, from + k, o);
}

/* As many tiles at a time as keep V in the second-level cache. */
static inline int blockOf(int I) {
  int tiles = 131072 / 36 / I / 4 * 4;
  return tiles < 16 ? 16 : tiles > 64 ? 64 : tiles;
}

/* Floats of scratch that a thread of winogradConv needs. */
EXPORT(winogradConvScratch) int winogradConvScratch(int I) {
  return (int)(36 * byTile(blockOf(I), I).matrix) + blockOf(I) * 288;
}

/* conv of kernels.c for S = 3 or 5, with U by winogradFilter. Threads share the tiles. */
EXPORT(winogradConv)
void winogradConv(const float *x, const float *U, float *y, const float *bias, int relu, const float *scale,
                  const float *shift, float *scratch, int N, int H, int W, int I, int O, int S, int pad, int t, int T) {
  grid g = tilesOf(H, W, S, pad);
  target to = {y, bias, scale, shift, relu, O, outputSide(H, S, pad), outputSide(W, S, pad)};
  int tiles = N * g.rows * g.columns, block = blockOf(I), end = first(fours(tiles), t + 1, T) * 4;
  layout l = byTile(block, I);
  float *V = scratch + (int64_t)t * winogradConvScratch(I), *M = V + 36 * l.matrix;
  for (int from = first(fours(tiles), t, T) * 4; from < end; from += block) {
    int count = from + block < end ? block : end - from;
    for (int k = 0; k < count; k++)
      for (int i = 0; i < I; i += 4) transformInput(x + i, V + k * l.tile + i, l.matrix, g, I, from + k, tiles);
    for (int panel = 0; panel < O / 8; panel++)
      panelOutputs(V, l.matrix, U + panel * panelOf(I), M, to, g, I, from, count, tiles, panel * 8);
  }
}

/*
 * V of `count` tiles from tile `from` on, for channels c..c + C of I: as winogradPanels takes it, or `grouped` as winogradProducts does.
 * Threads share the tiles.
 */
EXPORT(winogradInput)
void winogradInput(const float *x, float *V, int grouped, int N, int H, int W, int I, int S, int pad, int c, int C, int from,
                   int count, int t, int T) {
  grid g = tilesOf(H, W, S, pad);
  layout l = grouped ? byGroup(count, C, 4) : byTile(count, C);
  int tiles = N * g.rows * g.columns;
  for (int four = first(fours(count), t, T); four < first(fours(count), t + 1, T); four++)
    for (int i = 0; i < C; i += 4)
      for (int k = four * 4; k < four * 4 + 4; k++)
        transformInput(x + c + i, V + k * l.tile + i / 4 * l.group, l.matrix, g, I, from + k, tiles);
}

/* Floats that V, grouped or not, or D of so many tiles and channels takes at most. */
EXPORT(winogradSize) int winogradSize(int tiles, int C) { return (int)(36 * byGroup(tiles, C, 4).matrix); }

/* Floats of scratch that a thread of winogradPanels needs. */
EXPORT(winogradPanelsScratch) int winogradPanelsScratch(int I) { return (int)panelOf(I) + 64 * 288; }

/*
 * conv of kernels.c for S = 3 or 5 where all tiles are few (at most 64), V holds all of them, and the filter is what must be read: threads
 * share the output channels, and each transforms its own of the filter w ([S * S][I][O], or turned [S * S][O][I]), unless U holds them.
 */
EXPORT(winogradPanels)
void winogradPanels(const float *V, const float *w, const float *U, int turned, float *y, const float *bias, int relu,
                    const float *scale, const float *shift, float *scratch, int N, int H, int W, int I, int O, int S, int pad,
                    int t, int T) {
  grid g = tilesOf(H, W, S, pad);
  target to = {y, bias, scale, shift, relu, O, outputSide(H, S, pad), outputSide(W, S, pad)};
  int tiles = N * g.rows * g.columns;
  float *own = scratch + (int64_t)t * winogradPanelsScratch(I), *M = own + panelOf(I);
  for (int panel = first(O / 8, t, T); panel < first(O / 8, t + 1, T); panel++) {
    if (!U) transformFilter(w, own, I, O, S, panel * 8, turned);
    panelOutputs(V, byTile(tiles, I).matrix, U ? U + panel * panelOf(I) : own, M, to, g, I, 0,
                 fours(tiles) * 4, tiles, panel * 8);
  }
}

/* A dy A^T of `count` tiles from tile `from` on, as winogradProducts takes it. H and W are dy's. Threads share the tiles. */
EXPORT(winogradOutputGradient)
void winogradOutputGradient(const float *dy, float *D, int N, int H, int W, int O, int S, int from, int count, int t, int T) {
  int R = 7 - S, rows = cover(H, R), columns = cover(W, R), tiles = N * rows * columns;
  layout l = byGroup(count, O, 8);
  for (int k = first(fours(count), t, T) * 4; k < first(fours(count), t + 1, T) * 4; k++) {
    int tile = from + k, n = tile / (rows * columns), r = tile % (rows * columns);
    int h = r / columns * R, w = r % columns * R;
    const float *corner = dy + (((int64_t)n * H + h) * W + w) * O;
    for (int o = 0; o < O; o += 4) {
      v d[36];
      for (int i = 0; i < R; i++)
        for (int j = 0; j < R; j++) {
          int inside = tile < tiles && h + i < H && w + j < W;
          d[i * 6 + j] = inside ? load(corner + ((int64_t)i * W + j) * O + o) : all(0);
        }
      float *out = D + k * l.tile + o / 8 * l.group + o % 8;
      for (int j = 0; j < R; j++) outputsAdjoint(d + j, 6, R);
      for (int i = 0; i < 6; i++) {
        outputsAdjoint(d + i * 6, 1, R);
        for (int j = 0; j < 6; j++) store(out + (i * 6 + j) * l.matrix, d[i * 6 + j]);
      }
    }
  }
}

/*
 * dU [36][C][O] = sum over `count` tiles of V * D, added to what is there if `more`: 4 by 8 channels at a time. Threads share the rows of dU.
 */
EXPORT(winogradProducts)
void winogradProducts(const float *V, const float *D, float *dU, int count, int C, int O, int more, int t, int T) {
  layout lV = byGroup(count, C, 4), lD = byGroup(count, O, 8);
  for (int item = first(36 * (C / 4), t, T); item < first(36 * (C / 4), t + 1, T); item++) {
    int i = item / (C / 4), c = item % (C / 4) * 4;
    for (int o = 0; o < O; o += 8) {
      const float *s = V + i * lV.matrix + c / 4 * lV.group, *g = D + i * lD.matrix + o / 8 * lD.group;
      v zero = all(0);
      v a0 = zero, a1 = zero, b0 = zero, b1 = zero, c0 = zero, c1 = zero, d0 = zero, d1 = zero;
      for (int k = 0; k < fours(count) * 4; k++, s += 4, g += 8) {
        v g0 = load(g), g1 = load(g + 4), q;
        q = splat(s), a0 = fma(q, g0, a0), a1 = fma(q, g1, a1);
        q = splat(s + 1), b0 = fma(q, g0, b0), b1 = fma(q, g1, b1);
        q = splat(s + 2), c0 = fma(q, g0, c0), c1 = fma(q, g1, c1);
        q = splat(s + 3), d0 = fma(q, g0, d0), d1 = fma(q, g1, d1);
      }
      v sums[8] = {a0, a1, b0, b1, c0, c1, d0, d1};
      for (int k = 0; k < 8; k++) {
        float *out = dU + ((int64_t)i * C + c + k / 2) * O + o + k % 2 * 4;
        store(out, more ? add(load(out), sums[k]) : sums[k]);
      }
    }
  }
}

/* dw [S * S][I][O], of whose input channels c..c + C, from dU [36][C][O]: G^T dU G. Threads share the channels. */
EXPORT(winogradFilterGradient)
void winogradFilterGradient(const float *dU, float *dw, int I, int O, int S, int c, int C, int t, int T) {
  for (int i = first(C, t, T); i < first(C, t + 1, T); i++)
    for (int o = 0; o < O; o += 4) {
      v u[36];
      for (int k = 0; k < 36; k++) u[k] = load(dU + ((int64_t)k * C + i) * O + o);
      for (int j = 0; j < 6; j++) filtersAdjoint(u + j, 6, S);
      for (int r = 0; r < S; r++) {
        filtersAdjoint(u + r * 6, 1, S);
        for (int j = 0; j < S; j++) store(dw + ((int64_t)(r * S + j) * I + c + i) * O + o, u[r * 6 + j]);
      }
    }
}
