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

  /** The estimate of the last `count` numbers. */
  estimateOfLast(count: number): Float64Array<ArrayBuffer> {
    const { sum, weight } = this.#mass;
    return sum.slice(sum.length - count).map((value) => value / weight);
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

/**
 * How far a hub's estimate may be from the mean before it counts as the mean: it is `sum_j c_j x_j` for the hubs' own vectors
 * x_j, and every `N c_j` is within this of 1.
 */
const ACCURACY = 1e-9;

/** Numbers that are gossiped at once: two megabytes. */
export const GOSSIP_BLOCK = 1 << 18;

/** How often a hub lets its turn pass before it asks the one that should have asked it. */
const PATIENCE = 5;

export interface BlockMessage {
  from: string;
  epoch: number;
  block: number;
  /** Null for a question that only tells and asks who is how far: this hub is at the mean and needs nobody's half. */
  mass: GossipMessage | null;
  /** How many blocks each member is known to hold the mean of, in the order of the members. */
  done: number[];
}

/**
 * Gossip about a vector that is too long to hold once for every link: block after block, in bounded memory, and in place.
 *
 * Each hub starts with weight 1 and, behind its numbers, a unit vector of its own. Push-sum is linear, so what has become of
 * those unit vectors are the very coefficients with which every hub's numbers have entered an estimate: a hub knows how far it
 * is from the mean without knowing the mean. It keeps a block's mean when every coefficient is 1 / N, goes on helping, and
 * turns to the next block when it has heard that all have this one.
 *
 * An epoch is one attempt. A hub that lost its memory begins a higher one, and whoever hears of a higher one begins it too.
 */
export class BlockGossip {
  readonly #done: number[];
  readonly #index: number;
  #block = -1;
  #hub: GossipHub | undefined;
  #step = 0;
  #passed = 0;
  #means: number[] = [];

  /**
   * @param values this hub's own numbers; the mean over the hubs takes their place, block by block
   * @param extras a few numbers more, whose means are {@link means}
   */
  constructor(
    readonly name: string,
    readonly members: readonly string[],
    readonly epoch: number,
    readonly values: Float64Array<ArrayBuffer>,
    private readonly extras: readonly number[] = [],
    private readonly blockLength = GOSSIP_BLOCK,
  ) {
    this.#index = members.indexOf(name);
    if (this.#index < 0) throw new RangeError(`${name} is none of the hubs ${members.join(", ")}.`);
    this.#done = members.map(() => 0);
    this.#goOn();
    this.#keep();
  }

  get blocks(): number {
    return Math.max(1, Math.ceil(this.values.length / this.blockLength));
  }

  /** Blocks of the mean that this hub holds. */
  get progress(): number {
    return this.#done[this.#index] as number;
  }

  /** Whether every hub is known to hold the whole mean. */
  get finished(): boolean {
    return Math.min(...this.#done) >= this.blocks;
  }

  /** The means of the extras, once the hub holds a block. */
  get means(): readonly number[] {
    return this.#means;
  }

  /**
   * Whom to ask now; undefined when it is another's turn to ask, or there is nobody else. It goes along one dimension of a
   * hypercube of the members after the other, the lower of two asks, and so all end in the exact mean after log2(N) questions
   * when they keep in step. Where the cube has no corner, it is the member as far on around the circle. Each hub so has few
   * links and uses all of them often: what was lost on one is soon made up for.
   */
  partner(): string | undefined {
    const n = this.members.length;
    if (n < 2) return undefined;
    const bit = this.#bit();
    const across = this.#index ^ bit;
    if (across < this.#index && this.#passed < PATIENCE) {
      this.#passed += 1;
      return undefined;
    }
    return this.members[across < n ? across : (this.#index + bit) % n];
  }

  /** Half of this hub's mass for another while it needs one back, to be delivered or lost. */
  ask(to: string): BlockMessage {
    this.#step += 1;
    this.#passed = 0;
    return this.#message(this.#isMean() ? null : (this.#hub as GossipHub).send(to));
  }

  /** The dimension of the hypercube whose turn it is, as a bit of the members' indices. */
  #bit(): number {
    return 1 << (this.#step % Math.ceil(Math.log2(this.members.length)));
  }

  #message(mass: GossipMessage | null): BlockMessage {
    return { from: this.name, epoch: this.epoch, block: this.#block, mass, done: [...this.#done] };
  }

  /** Takes in a message and gives the half that this hub had before for it, so that both come to the mean of the two. */
  answer(message: BlockMessage): BlockMessage {
    this.#hear(message);
    if (!message.mass || message.block !== this.#block) {
      // The other one has the mean: if it was its turn to ask, it is no more.
      this.#passed = PATIENCE;
      return this.#message(null);
    }
    if (message.from === this.members[this.#index ^ this.#bit()]) [this.#step, this.#passed] = [this.#step + 1, 0];
    const half = (this.#hub as GossipHub).send(message.from);
    this.#take(message);
    return this.#message(half);
  }

  /** Takes in an answer. @throws RangeError when it is of another epoch or no member's */
  receive(message: BlockMessage): void {
    this.#hear(message);
    this.#take(message);
  }

  #hear({ from, epoch, done }: BlockMessage): void {
    if (epoch !== this.epoch || !this.members.includes(from) || done.length !== this.members.length) {
      throw new RangeError(`${this.name} gossips in epoch ${this.epoch}; ${from} sent epoch ${epoch}.`);
    }
    done.forEach((blocks, i) => {
      this.#done[i] = Math.max(this.#done[i] as number, blocks);
    });
    this.#goOn();
  }

  #take({ block, mass }: BlockMessage): void {
    // Of a block that all have: nobody needs it any more.
    if (block !== this.#block || !mass) return;
    (this.#hub as GossipHub).receive(mass);
    this.#keep();
  }

  /** Turns to the first block that not every hub has yet; stays at the last. */
  #goOn(): void {
    const block = Math.min(...this.#done, this.blocks - 1);
    if (block === this.#block) return;
    this.#block = block;
    // All begin a block with the same dimension.
    [this.#step, this.#passed] = [0, 0];
    const start = block * this.blockLength;
    const own = this.values.subarray(start, start + this.blockLength);
    const sum = new Float64Array(own.length + this.extras.length + this.members.length);
    sum.set(own);
    sum.set(this.extras, own.length);
    sum[own.length + this.extras.length + this.#index] = 1;
    this.#hub = new GossipHub(this.name, { sum, weight: 1 });
  }

  /** Whether the mass is the mean now. One that was may be drawn away from it by a hub that is not there yet. */
  #isMean(): boolean {
    const n = this.members.length;
    const coefficients = (this.#hub as GossipHub).estimateOfLast(n);
    return coefficients.every((coefficient) => Math.abs(n * coefficient - 1) <= ACCURACY);
  }

  /** Keeps the mean of the block if the estimate is it. */
  #keep(): void {
    if (this.progress > this.#block) return;
    const hub = this.#hub as GossipHub;
    const n = this.members.length;
    if (!this.#isMean()) return;
    const estimate = hub.estimate();
    const tracers = estimate.length - n;
    const length = tracers - this.extras.length;
    this.values.set(estimate.subarray(0, length), this.#block * this.blockLength);
    this.#means = [...estimate.subarray(length, tracers)];
    this.#done[this.#index] = this.#block + 1;
    this.#goOn();
    // A hub alone holds the mean at once.
    if (n === 1) this.#keep();
  }
}
