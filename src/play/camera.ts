/** Why there is no picture; the texts have words and a way on for each. */
export type CameraProblem = "unsupported" | "denied" | "none" | "in-use" | "taken-away" | "failed";

export class CameraError extends Error {
  override readonly name = "CameraError";
  constructor(
    readonly problem: CameraProblem,
    options?: ErrorOptions,
  ) {
    super(`There is no camera: ${problem}.`, options);
  }
}

const BY_NAME: Record<string, CameraProblem> = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "none",
  OverconstrainedError: "none",
  NotReadableError: "in-use",
  AbortError: "in-use",
};

/** Towards whom a phone's camera looks: its front camera sees the player, its back camera what lies before both. */
export type Facing = "user" | "environment";

/** Opens a camera, where there is a choice the one that looks that way. @throws CameraError */
export async function openCamera(facing: Facing): Promise<MediaStream> {
  // Typed as always there, but missing where the page is not secure.
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  if (!devices) throw new CameraError("unsupported");
  try {
    return await devices.getUserMedia({
      audio: false,
      video: { facingMode: facing, width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } },
    });
  } catch (error) {
    throw new CameraError((error instanceof DOMException ? BY_NAME[error.name] : undefined) ?? "failed", {
      cause: error,
    });
  }
}

/** Calls `listener` when the camera stops by itself: unplugged, switched off, or its permission withdrawn. */
export function onCameraGone(stream: MediaStream, listener: () => void): void {
  for (const track of stream.getVideoTracks()) track.addEventListener("ended", listener);
}

/** Whether a camera sees its player, who then looks into a mirror: all but those that say that they look the other way. */
export const isMirror = (stream: MediaStream): boolean =>
  stream.getVideoTracks()[0]?.getSettings().facingMode !== "environment";

/** Whether there is another camera to choose. Browsers tell once one is allowed. */
export async function hasTwoCameras(): Promise<boolean> {
  const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  return devices.filter(({ kind }) => kind === "videoinput").length > 1;
}

export function closeCamera(stream: MediaStream | undefined): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
