/** One line of JSON for each event that an operator may want to find again: Workers Logs reads it into fields. */
export function log(event: string, fields: Record<string, unknown>): void {
  console.log(JSON.stringify({ event, ...fields }));
}
