/** What each preset shows, in a sentence. */
export const ABOUT = {
  "first-look": "Twenty clients teach the shipped model drawn faces in half a minute. Needs no data.",
  "non-iid": "The same, but every client has faces of two or three expressions only.",
  "against-the-edge":
    "Five clients in two rounds. In the terminal they send their updates to a real edge, and both results are compared.",
  "seed-notebook": "The notebook as it ran: three copies of one client, then of the next, then of the third.",
  "seed-intended": "The notebook as it was meant: three different clients in every round.",
  "mcmahan-2nn": "Rounds to 97 % on MNIST with the two-layer network: row B = 10 of the paper's table 1.",
  "mcmahan-2nn-non-iid": "The same with two shards of one digit each a client.",
  "mcmahan-cnn": "Rounds to 99 % on MNIST with the convolutional network: table 2.",
  fedbuff:
    "Like the first, without waiting: clients with very unlike devices, a version after every five updates, by simulated time.",
  gossip: "Sixteen clients without a server: each has a model of its own and averages it with two neighbours.",
  "own-data": "Pictures of your own, whatever their labels, sizes and colours, learned from scratch.",
  "warm-start": "Fifty players in the dark, heads tilted, improve the shipped checkpoint.",
};

export type PresetName = keyof typeof ABOUT;
