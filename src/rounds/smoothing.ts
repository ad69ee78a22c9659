/**
 * An exponential moving average without the pull of its beginning to zero, as TensorBoard smooths (Kingma and Ba 2015, section 3). What
 * is not known stays so, and is passed over.
 * @param weight of what came before, 0 (none) to below 1
 */
export function smoothed(values: readonly (number | null)[], weight: number): (number | null)[] {
  let [sum, share] = [0, 0];
  return values.map((value) => {
    if (value === null) return null;
    sum = weight * sum + (1 - weight) * value;
    share = weight * share + (1 - weight);
    return sum / share;
  });
}
