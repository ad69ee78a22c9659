import type { Env as EdgeEnv } from "./env";

declare global {
  namespace Cloudflare {
    // The bindings that tests see as `env`.
    interface Env extends EdgeEnv {}
  }
}
