/**
 * Averaging without a centre. Push-sum (Kempe, Dobra and Gehrke 2003, "Gossip-Based Computation of Aggregate Information",
 * protocol 1): every hub holds a sum and a weight, keeps half of both in each step and sends half to a random other hub;
 * sum / weight comes to the global mean everywhere, exponentially fast, since no mass is made or lost.
 *
 * Networks lose, repeat and reorder messages, and a lost half would be lost mass. So a hub never sends a half: it sends, with
 * a sequence number, everything that it has ever sent on that link, and the receiver takes what is new since the last message
 * it has seen (running sums: Hadjicostis, Vaidya and Dominguez-Garcia 2016, "Robust distributed average consensus via exchange
 * of running sums"). Any later message makes up for lost ones, a repeated one brings nothing, an older one is ignored.
 */

/** A sum over a hub's updates and the total weight in it. */
export interface Mass {
  sum: Float64Array<ArrayBuffer>;
  weight: number;
}

export interface GossipMessage {
  from: string;
  to: string;
  /** Counts the messages of this link. */
  sequence: number;
  /** All that was ever sent on this link. */
  total: Mass;
}

const zero = (length: number): Mass => ({ sum: new Float64Array(length), weight: 0 });
const copy = ({ sum, weight }: Mass): Mass => ({ sum: sum.slice(), weight });

function add(to: Mass, { sum, weight }: Mass, factor = 1): void {
  for (let i = 0; i < sum.length; i++) to.sum[i] = (to.sum[i] as number) + factor * (sum[i] as number);
  to.weight += factor * weight;
}

/** One hub of push-sum with running sums. */
export class GossipHub {
  readonly #mass: Mass;
  readonly #sent = new Map<string, { sequence: number; total: Mass }>();
  readonly #received = new Map<string, { sequence: number; total: Mass }>();

  /** @param initial this hub's own share of the global sum */
  constructor(
    readonly name: string,
    initial: Mass,
  ) {
    this.#mass = copy(initial);
  }

  /** What this hub holds now. */
  get mass(): Mass {
    return copy(this.#mass);
  }

  /** Adds an update that arrives while the gossip goes on. */
  contribute(mass: Mass): void {
    add(this.#mass, mass);
  }

  /** This hub's view of the global mean: sum / weight. */
  estimate(): Float64Array<ArrayBuffer> {
    const { sum, weight } = this.#mass;
    return weight === 0 ? sum.slice() : sum.map((value) => value / weight);
  }

  /** Keeps half of its mass and puts the other half on the link to `to`. Deliver the message, or lose it. */
  send(to: string): GossipMessage {
    const link = this.#sent.get(to) ?? { sequence: 0, total: zero(this.#mass.sum.length) };
    const half = copy(this.#mass);
    half.sum.forEach((value, i) => {
      half.sum[i] = value / 2;
    });
    half.weight /= 2;
    add(this.#mass, half, -1);
    add(link.total, half);
    link.sequence += 1;
    this.#sent.set(to, link);
    return this.#message(to, link);
  }

  /** The last message of a link once more, for a neighbour that may have missed it. Sends no new mass. */
  resend(to: string): GossipMessage | null {
    const link = this.#sent.get(to);
    return link ? this.#message(to, link) : null;
  }

  /** Takes in a message, whenever it comes and however often. */
  receive({ from, sequence, total }: GossipMessage): void {
    const known = this.#received.get(from) ?? { sequence: 0, total: zero(total.sum.length) };
    if (sequence <= known.sequence) return;
    add(this.#mass, total);
    add(this.#mass, known.total, -1);
    this.#received.set(from, { sequence, total: copy(total) });
  }

  /** Whom this hub has sent mass to. */
  neighbours(): string[] {
    return [...this.#sent.keys()];
  }

  /**
   * Undoes all traffic with a hub that has died for good: takes back what was sent to it, and gives up what came from it.
   * When every living hub has done so, they hold together exactly their own contributions, as if the dead one had never been
   * there; its updates are in R2 and are given to another hub.
   */
  forget(dead: string): void {
    const sent = this.#sent.get(dead);
    if (sent) add(this.#mass, sent.total);
    const received = this.#received.get(dead);
    if (received) add(this.#mass, received.total, -1);
    this.#sent.delete(dead);
    this.#received.delete(dead);
  }

  #message(to: string, { sequence, total }: { sequence: number; total: Mass }): GossipMessage {
    return { from: this.name, to, sequence, total: copy(total) };
  }
}
