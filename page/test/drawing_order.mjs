// For each NIfTI file that is named: its voxels in the order of NiiVue's drawing, by this page's own grid. A line of JSON each.

import { readFileSync } from "node:fs";
import { NVImage } from "@niivue/niivue";
import { Grid } from "../src/grid.js";

for (const path of process.argv.slice(2)) {
  const file = readFileSync(path);
  const image = await NVImage.new(file.buffer.slice(file.byteOffset, file.byteOffset + file.length), "image.nii.gz", "gray", 1);
  const grid = new Grid(Array.from(image.hdr.dims.slice(1, 4)), image.permRAS);
  const voxels = Uint8Array.from(image.img);
  const drawing = grid.toDrawing(voxels);
  const niivues = image.img2RAS();
  const planes = ["sagittal", "coronal", "axial"].map((plane) => ({
    axis: grid.axisOfPlane(plane),
    slice: grid.sliceOfPlane(plane, [1, 2, 3]),
  }));
  console.log(
    JSON.stringify({
      size: grid.size,
      drawing: Buffer.from(drawing).toString("base64"),
      same_as_niivue: drawing.every((value, at) => value === niivues[at]),
      back: Buffer.from(grid.toImage(drawing)).equals(Buffer.from(voxels)),
      planes,
    }),
  );
}
