/**
 * The name that a Durable Object was made by. An object that an alarm starts is not told its name, so the first start, which is
 * always by name, notes it.
 */
export function nameOf({ id, storage }: DurableObjectState): string {
  storage.sql.exec("CREATE TABLE IF NOT EXISTS identity (name TEXT NOT NULL)");
  const noted = storage.sql.exec<{ name: string }>("SELECT name FROM identity").toArray()[0]?.name;
  const name = id.name ?? noted;
  if (name === undefined) throw new Error("This object was not made by name.");
  if (noted === undefined) storage.sql.exec("INSERT INTO identity VALUES (?)", name);
  return name;
}
