const KEY = "admin-token";

/** The administrator's token as it was typed: kept for this tab only, and gone when it is closed. */
class AdminToken {
  #value = $state(sessionStorage.getItem(KEY) ?? "");

  get value(): string {
    return this.#value;
  }

  set value(token: string) {
    this.#value = token;
    sessionStorage.setItem(KEY, token);
  }

  /** Forgets one that the edge has refused, so that no other form has it; not what was typed since. */
  forget(refused: string): void {
    if (this.#value !== refused) return;
    this.#value = "";
    sessionStorage.removeItem(KEY);
  }
}

export const adminToken = new AdminToken();
