import { settings } from "./settings.svelte";

/** Notes in hertz, each with its beginning and its length in seconds. */
type Tune = readonly { hertz: number; at: number; seconds: number }[];

const TUNES = {
  tick: [{ hertz: 660, at: 0, seconds: 0.09 }],
  action: [{ hertz: 990, at: 0, seconds: 0.22 }],
  low: [
    { hertz: 330, at: 0, seconds: 0.18 },
    { hertz: 262, at: 0.18, seconds: 0.3 },
  ],
  good: [
    { hertz: 523, at: 0, seconds: 0.14 },
    { hertz: 659, at: 0.12, seconds: 0.14 },
    { hertz: 784, at: 0.24, seconds: 0.3 },
  ],
  fanfare: [
    { hertz: 523, at: 0, seconds: 0.14 },
    { hertz: 523, at: 0.14, seconds: 0.1 },
    { hertz: 784, at: 0.26, seconds: 0.2 },
    { hertz: 1047, at: 0.46, seconds: 0.5 },
  ],
} as const satisfies Record<string, Tune>;

const PULSES: Partial<Record<keyof typeof TUNES, number[]>> = {
  tick: [20],
  action: [60],
  fanfare: [40, 60, 40, 60, 120],
};

let context: AudioContext | undefined;

/** Plays a tune, and lets the device tremble, unless the player has switched that off. */
export function play(name: keyof typeof TUNES): void {
  const pulses = PULSES[name];
  if (settings.haptics && pulses && "vibrate" in navigator) navigator.vibrate(pulses);
  if (!settings.sound || typeof AudioContext === "undefined") return;
  context ??= new AudioContext();
  const start = context.currentTime;
  for (const { hertz, at, seconds } of TUNES[name]) {
    const tone = context.createOscillator();
    const volume = context.createGain();
    tone.type = "triangle";
    tone.frequency.value = hertz;
    // Fades out, so that its end does not click.
    volume.gain.setValueAtTime(0.12, start + at);
    volume.gain.exponentialRampToValueAtTime(0.001, start + at + seconds);
    tone.connect(volume).connect(context.destination);
    tone.start(start + at);
    tone.stop(start + at + seconds);
  }
}
