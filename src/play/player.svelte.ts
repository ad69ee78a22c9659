import type { Player } from "../faces/kept";
import { deleteSetting, getSetting, setSetting } from "../faces/settings";
import { avatarOf, knownAvatar, type KnownAvatar } from "./avatar";

/** Characters of a nickname. */
export const MOST_CHARACTERS = 20;

const NOBODY: Player = { nickname: "", avatar: null };

/** A name as a line of text has it: without what controls a terminal or turns the text around, and short. */
export const nameIn = (text: string): string =>
  Array.from(
    text
      .replace(/\p{C}+/gu, "")
      .replace(/\s+/gu, " ")
      .trim(),
  )
    .slice(0, MOST_CHARACTERS)
    .join("");

/** Whose device this is, as the game calls and draws them. It stays on the device. */
class CurrentPlayer {
  #kept = $state.raw<Player>(NOBODY);
  readonly loaded: Promise<void>;

  constructor() {
    // A browser that keeps nothing knows nobody.
    this.loaded = getSetting("player").then(
      (player) => {
        this.#kept = player ?? NOBODY;
      },
      () => undefined,
    );
  }

  get nickname(): string {
    return this.#kept.nickname;
  }

  /** The mask that was chosen, else the one that follows from the nickname; undefined of who has neither. */
  get avatar(): KnownAvatar | undefined {
    const { avatar, nickname } = this.#kept;
    return (avatar && knownAvatar(avatar)) ?? (nickname === "" ? undefined : avatarOf(nickname));
  }

  /** The mask of a player of this name at this device: the own one, where it is one's own name. */
  avatarFor(name: string): KnownAvatar {
    return (name === this.nickname ? this.avatar : undefined) ?? avatarOf(name);
  }

  /** @throws StorageError; it then holds for this visit only */
  async set(player: Player): Promise<void> {
    this.#kept = { ...player, nickname: nameIn(player.nickname) };
    await setSetting("player", this.#kept);
  }

  /** Takes name and mask off. @throws StorageError */
  async forget(): Promise<void> {
    this.#kept = NOBODY;
    await deleteSetting("player");
  }
}

export const player = new CurrentPlayer();
