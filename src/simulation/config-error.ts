/** A configuration that cannot be run. */
export class LabConfigError extends Error {
  override readonly name = "LabConfigError";
}
