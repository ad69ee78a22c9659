import type { Env as EdgeEnv } from "./env";

declare global {
  namespace Cloudflare {
    interface Env extends EdgeEnv {}
    /** What tests see as `exports`. */
    interface GlobalProps {
      mainModule: typeof import("./index");
    }
  }
}
