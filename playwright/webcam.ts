import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { chromium } from "@playwright/test";
import { findBrowser, root } from "../tools/setup.mjs";

/** A fake webcam for Chromium: motion JPEG made of photographs of real people, which a development package carries. */
export const WEBCAM = join(root, "node_modules/.cache/best-actor/webcam.mjpeg");

/** Frames of 640 x 480 cut around faces: the photograph, the frame's left upper corner in it, and the role that it shows. */
export const SCENES = [
  { photo: "sample6.jpg", x: 467, y: 259, role: "Happy" },
  { photo: "sample3.jpg", x: 890, y: 120, role: "Happy" },
  { photo: "sample6.jpg", x: 40, y: 360, role: "Happy" },
  { photo: "sample5.jpg", x: 1216, y: 260, role: "Happy" },
  { photo: "sample6.jpg", x: 947, y: 210, role: "Neutral" },
];

/** A scene as a picture of its own, for players who have no camera. */
export const scenePath = (scene: number): string => join(dirname(WEBCAM), `scene-${scene}.jpg`);

/** Each scene is shown for so many of the camera's 30 frames a second. */
const FRAMES = 45;

export const photoPath = (photo: string): string => join(root, "node_modules/@vladmandic/face-api/demo", photo);

/** Writes a file that another suite's browsers may be reading. */
function replaceFile(path: string, content: Buffer): void {
  const own = `${path}.${process.pid}`;
  writeFileSync(own, content);
  renameSync(own, path);
}

export default async function makeWebcam(): Promise<void> {
  const executablePath = findBrowser();
  const browser = await chromium.launch(executablePath ? { executablePath } : {});
  try {
    const page = await browser.newPage();
    const frames: Buffer[] = [];
    mkdirSync(dirname(WEBCAM), { recursive: true });
    for (const [scene, { photo, x, y }] of SCENES.entries()) {
      const jpeg = await page.evaluate(
        async ({ source, x, y }) => {
          const blob = await (await fetch(`data:image/jpeg;base64,${source}`)).blob();
          const canvas = new OffscreenCanvas(640, 480);
          canvas.getContext("2d")?.drawImage(await createImageBitmap(blob), -x, -y);
          const frame = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
          return btoa(String.fromCharCode(...new Uint8Array(await frame.arrayBuffer())));
        },
        { source: readFileSync(photoPath(photo)).toString("base64"), x, y },
      );
      const frame = Buffer.from(jpeg, "base64");
      replaceFile(scenePath(scene), frame);
      for (let i = 0; i < FRAMES; i++) frames.push(frame);
    }
    replaceFile(WEBCAM, Buffer.concat(frames));
  } finally {
    await browser.close();
  }
}
