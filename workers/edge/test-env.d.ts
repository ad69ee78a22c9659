import type { Env as EdgeEnv } from "./env";

declare global {
  namespace Cloudflare {
    interface Env extends EdgeEnv {
      /** Set where the long tests run at full length. */
      SOAK: string;
    }
  }
}
