/** Signs for labels, of one letter each, where there is no room for their names. */

const SIGNS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-";

/**
 * One sign for each label, and what the signs mean; where there are more labels than signs, the last sign is that of all others.
 * @param {readonly string[]} labels
 */
export function signsOf(labels) {
  const own = labels.length > SIGNS.length ? SIGNS.length - 1 : labels.length;
  const meanings = labels.slice(0, own).map((name, i) => `${SIGNS[i]} = ${name}`);
  if (own < labels.length) meanings.push(`${SIGNS[own]} = one of the ${labels.length - own} others`);
  return { signs: labels.map((_, i) => SIGNS[Math.min(i, own)]), meaning: meanings.join(", ") };
}
