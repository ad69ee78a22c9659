/** Flower's SuperLink under as many clients and a model of the same tensors: what `bench:load --peer flower` compares with. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../../tools/setup.mjs";
import { cpuSecondsOf } from "../processes.mjs";
import { programsOf } from "./programs.mjs";

const APP = join(root, "benchmarks/flower");
const ROUNDS = 1;
/** The longest that all its rounds may take. */
const PATIENCE_MS = 900_000;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Where Flower's programs are. */
export const flowerPrograms = () => programsOf("flower", "flower-superlink", ["flwr", "numpy"]);

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Rounds of FedAvg by Flower. @param shapes of the model's tensors @returns updates a second of its median round, and CPU time an update */
export async function measureFlower(bin, clients, shapes) {
  const folder = mkdtempSync(join(tmpdir(), "best-actor-flower-"));
  const address = `127.0.0.1:${await freePort()}`;
  mkdirSync(join(folder, "home"));
  writeFileSync(
    join(folder, "home/config.toml"),
    `[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "${address}"\ninsecure = true\n`,
  );
  const env = {
    ...process.env,
    PATH: `${bin}:${process.env.PATH}`,
    FLWR_HOME: join(folder, "home"),
    FLWR_TELEMETRY_ENABLED: "0",
    PYTHONDONTWRITEBYTECODE: "1",
  };
  const start = (name, args) => spawn(join(bin, name), args, { env, cwd: APP, stdio: "ignore", detached: true });
  const [, port] = address.split(":");
  const link = start("flower-superlink", ["--insecure", "--port", port, "--disable-runtime-dependency-installation"]);
  const others = [];
  try {
    const over = Date.now() + PATIENCE_MS;
    while (!(await fetch(`http://${address}/`).catch(() => undefined))) {
      if (Date.now() > over) throw new Error("Flower's SuperLink does not start.");
      await pause(200);
    }
    others.push(start("python", ["clients.py", address, String(clients), JSON.stringify(shapes)]));
    const out = join(folder, "out.json");
    const config = `clients=${clients} rounds=${ROUNDS} shapes='${JSON.stringify(shapes)}' out='${out}'`;
    const told = spawnSync(join(bin, "flwr"), ["run", APP, "here", "--run-config", config], { env, encoding: "utf8" });
    if (told.status !== 0) throw new Error(`flwr run failed: ${told.stdout}${told.stderr}`);
    const before = cpuSecondsOf(link.pid);
    while (!existsSync(out) || readFileSync(out, "utf8") === "") {
      if (Date.now() > over) throw new Error("Flower's rounds do not end.");
      await pause(500);
    }
    const { ends } = JSON.parse(readFileSync(out, "utf8"));
    const seconds = ends.slice(1).map((end, i) => end - ends[i]);
    const median = seconds.toSorted((a, b) => a - b)[Math.floor(seconds.length / 2)];
    return {
      version: spawnSync(join(bin, "flower-superlink"), ["--version"], { encoding: "utf8" }).stdout.trim(),
      updatesPerSecond: Number((clients / median).toFixed(1)),
      serverCpuMs: Number((((cpuSecondsOf(link.pid) - before) * 1e3) / (ROUNDS * clients)).toFixed(1)),
    };
  } finally {
    for (const { pid } of [...others, link]) {
      try {
        process.kill(-pid, "SIGTERM");
      } catch {
        // It has ended by itself.
      }
    }
    rmSync(folder, { recursive: true, force: true });
  }
}
