/** The examples cannot be shared out as asked. */
export class PartitionError extends Error {
  override readonly name = "PartitionError";
}
