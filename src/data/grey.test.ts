import { expect, test } from "vitest";
import { greyLevels, inChannels, middleOf } from "./grey";

// OpenCV's cvtColor(RGB2GRAY) of red, green, blue, white and black.
const COLOURS = Uint8Array.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0]);
const GREY = [76, 150, 29, 255, 0];

test("colours become the grey levels that others make of them, and grey becomes as much of each colour", () => {
  expect([...greyLevels(COLOURS, 3)]).toEqual(GREY);
  expect([...inChannels(COLOURS, 3, 1)]).toEqual(GREY);
  expect([...inChannels(Uint8Array.from(GREY), 1, 3)]).toEqual(GREY.flatMap((level) => [level, level, level]));
  expect([...inChannels(COLOURS, 3, 3)]).toEqual([...COLOURS]);
});

test("the middle of a camera's picture is cut to the task's proportions", () => {
  const vga = { width: 640, height: 480 };
  expect(middleOf(vga, { width: 32, height: 32 })).toEqual({ x: 80, y: 0, width: 480, height: 480 });
  // A phone that is held upright.
  expect(middleOf({ width: 480, height: 640 }, { width: 96, height: 96 })).toMatchObject({ x: 0, y: 80, width: 480 });
  // Wider than the camera's picture, and taller.
  expect(middleOf(vga, { width: 64, height: 16 })).toEqual({ x: 0, y: 160, width: 640, height: 160 });
  expect(middleOf(vga, { width: 8, height: 24 })).toEqual({ x: 240, y: 0, width: 160, height: 480 });
});
