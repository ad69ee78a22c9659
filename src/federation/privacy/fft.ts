/** Complex numbers: their real and imaginary parts. */
export interface Complex {
  re: Float64Array;
  im: Float64Array;
}

/** The discrete Fourier transform in place (Cooley and Tukey 1965). Length a power of two; the inverse is not divided by it. */
export function fft({ re, im }: Complex, inverse = false): void {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j] as number, re[i] as number];
      [im[i], im[j]] = [im[j] as number, im[i] as number];
    }
  }
  const turn = ((inverse ? 2 : -2) * Math.PI) / n;
  const cos = Float64Array.from({ length: n / 2 }, (_, k) => Math.cos(turn * k));
  const sin = Float64Array.from({ length: n / 2 }, (_, k) => Math.sin(turn * k));
  for (let half = 1; half < n; half *= 2) {
    const stride = n / (2 * half);
    for (let from = 0; from < n; from += 2 * half) {
      for (let k = 0; k < half; k++) {
        const [a, b] = [from + k, from + k + half];
        const [c, s] = [cos[k * stride] as number, sin[k * stride] as number];
        const [x, y] = [re[b] as number, im[b] as number];
        const [p, q] = [x * c - y * s, x * s + y * c];
        re[b] = (re[a] as number) - p;
        im[b] = (im[a] as number) - q;
        re[a] = (re[a] as number) + p;
        im[a] = (im[a] as number) + q;
      }
    }
  }
}
