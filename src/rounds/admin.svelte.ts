import { EdgeRefusalError } from "../client/http";
import { d } from "../ui/i18n/developer";
import { reasonOf } from "../ui/i18n/reason";
import { adminToken } from "./admin-token.svelte";

/** What an administrator has asked the edge for, and what came of it. */
export class AdminAction {
  busy = $state(false);
  answer = $state<{ bad: boolean; text: string }>();

  /** Does it, one at a time. @param action says in words what it has done, or nothing */
  async run(action: () => Promise<string | undefined>): Promise<void> {
    this.busy = true;
    this.answer = undefined;
    const { value: token } = adminToken;
    try {
      const text = await action();
      if (text !== undefined) this.answer = { bad: false, text };
    } catch (error) {
      const text = reasonOf(error);
      const isUnauthorized = error instanceof EdgeRefusalError && error.code === "unauthorized";
      if (isUnauthorized) adminToken.forget(token);
      this.answer = { bad: true, text: isUnauthorized ? d("form.unauthorized", { message: text }) : text };
    } finally {
      this.busy = false;
    }
  }
}
