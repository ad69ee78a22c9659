/** A configuration that cannot be run. */
export class LabConfigError extends Error {
  override readonly name = "LabConfigError";
  /** @param isConflict where each setting may be as it is, and only some of them not together: another combination can be run */
  constructor(
    message: string,
    readonly isConflict = false,
  ) {
    super(message);
  }
}
