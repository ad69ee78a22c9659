import { examplesMean, type Strategy } from "./strategy";

/** FedAvg (McMahan et al. 2017, arXiv 1602.05629, algorithm 1), the shortest of strategies: where a new one can begin. */
export const fedavg: Strategy = {
  name: "fedavg",
  client: {},
  server: {
    aggregate: ({ model }, updates) => ({ delta: examplesMean(updates, model.parameters) }),
  },
  wire: { down: [], up: [] },
};
