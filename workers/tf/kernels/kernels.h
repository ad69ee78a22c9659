/* Vectors of four floats, and how threads share work: what the kernels have in common. */
#include <stdint.h>
#include <wasm_simd128.h>

#define EXPORT(name) __attribute__((export_name(#name)))

typedef v128_t v;

static inline v load(const float *p) { return wasm_v128_load(p); }
static inline v splat(const float *p) { return wasm_v128_load32_splat(p); }
static inline void store(float *p, v x) { wasm_v128_store(p, x); }
static inline v add(v a, v b) { return wasm_f32x4_add(a, b); }
static inline v mul(v a, v b) { return wasm_f32x4_mul(a, b); }
static inline v sub(v a, v b) { return wasm_f32x4_sub(a, b); }

/* a * b + c */
#ifdef RELAXED
static inline v fma(v a, v b, v c) { return (v)__builtin_wasm_relaxed_madd_f32x4((__f32x4)a, (__f32x4)b, (__f32x4)c); }
#else
static inline v fma(v a, v b, v c) { return add(mul(a, b), c); }
#endif

/* The share of `n` items that thread t of T works on. */
static inline int first(int n, int t, int T) { return (int)((int64_t)n * t / T); }
