/** Why there is no picture, each with its own words and way on. */
export type CameraProblem = "unsupported" | "denied" | "none" | "in-use" | "taken-away" | "failed";

export const CAMERA_WORDS: Record<CameraProblem, { title: string; help: string }> = {
  unsupported: {
    title: "This browser gives us no camera",
    help: "Cameras only work on a secure address (https, or localhost) and in a current browser. You can play with a photo.",
  },
  denied: {
    title: "The camera is not allowed",
    help: "Click the camera sign beside the address and allow it, then try again. Or play with a photo.",
  },
  none: {
    title: "No camera found",
    help: "Plug one in and try again, or play with a photo.",
  },
  "in-use": {
    title: "Another program has the camera",
    help: "Close the call or app that is using it, then try again. Or play with a photo.",
  },
  "taken-away": {
    title: "The camera has gone",
    help: "It was unplugged or switched off in mid-take. Your score and faces are safe: connect it and try again, or go on with a photo.",
  },
  failed: {
    title: "The camera did not start",
    help: "Try again; if it keeps failing, restart the browser. You can play with a photo meanwhile.",
  },
};

export class CameraError extends Error {
  override readonly name = "CameraError";
  constructor(
    readonly problem: CameraProblem,
    options?: ErrorOptions,
  ) {
    super(CAMERA_WORDS[problem].title, options);
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

/** Opens the front camera. @throws CameraError */
export async function openCamera(): Promise<MediaStream> {
  // Typed as always there, but missing where the page is not secure.
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  if (!devices) throw new CameraError("unsupported");
  try {
    return await devices.getUserMedia({
      audio: false,
      video: { facingMode: "user", width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } },
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

export function closeCamera(stream: MediaStream | undefined): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
