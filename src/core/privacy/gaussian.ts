/** Numbers of randomness that are drawn at once: getRandomValues gives 65,536 bytes. */
const DRAWN = 8192;

/**
 * Adds Gaussian noise of a standard deviation, in place, from the platform's cryptographic generator (Box and Muller 1958). The
 * last digits of a float64 are not Gaussian, which a patient attacker could use (Mironov 2012): what is published is float32.
 */
export function addGaussian(values: Float64Array, deviation: number): void {
  const bits = new Uint32Array(2 * DRAWN);
  for (let at = 0; at < values.length; at += DRAWN) {
    crypto.getRandomValues(bits);
    const end = Math.min(values.length, at + DRAWN);
    for (let i = at, j = 0; i < end; i += 2, j += 4) {
      // 1 - u lies above 0, so that its logarithm is finite.
      const radius = deviation * Math.sqrt(-2 * Math.log(1 - uniform(bits, j)));
      const angle = 2 * Math.PI * uniform(bits, j + 2);
      values[i] = (values[i] as number) + radius * Math.cos(angle);
      if (i + 1 < end) values[i + 1] = (values[i + 1] as number) + radius * Math.sin(angle);
    }
  }
}

/** A number in [0, 1) of 53 random bits. */
const uniform = (bits: Uint32Array, at: number): number =>
  ((bits[at] as number) * 2 ** 21 + ((bits[at + 1] as number) >>> 11)) / 2 ** 53;
