/** What went wrong in this visit's machinery, for a report that a player may copy. Nothing of it is sent anywhere. */

interface Noted {
  at: string;
  name: string;
  message: string;
  stack: string | undefined;
}

/** The last ones say most. */
const KEPT = 20;
const noted: Noted[] = [];

export function noteError(error: Error): void {
  console.error(error);
  const { name, message, stack } = error;
  noted.push({ at: new Date().toISOString(), name, message, stack });
  noted.splice(0, noted.length - KEPT);
}

export const notedErrors = (): readonly Noted[] => noted;
