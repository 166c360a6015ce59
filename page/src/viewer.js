// Three planes and a pen: NiiVue, and the way between its drawing and the image's own voxels.

import { DRAG_MODE, Niivue, NVImage, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";
import { Grid } from "./grid.js";

/** Values of the drawing: what is in the segmentation, what would come to it, what would leave it. */
export const IS = 1;
export const COMES = 2;
export const LEAVES = 3;

const COLOURS = { R: [0, 60, 255, 240], G: [0, 220, 210, 60], B: [0, 120, 0, 200], A: [0, 255, 255, 255], I: [0, 1, 2, 3], labels: ["", "segmentation", "comes", "leaves"] };

const VIEWS = { three: SLICE_TYPE.MULTIPLANAR, axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL, sagittal: SLICE_TYPE.SAGITTAL };

export class Viewer {
  /** @param {(where: number[]) => void} moved Told where the crosshair is: x, y, z of the drawing. */
  constructor(moved) {
    this.niivue = new Niivue({
      dragAndDropEnabled: false, // a dropped file would be shown, and not computed on
      isRadiologicalConvention: true,
      multiplanarShowRender: SHOW_RENDER.NEVER,
      dragMode: DRAG_MODE.contrast,
      backColor: [0.08, 0.08, 0.1, 1],
      crosshairColor: [0.3, 0.6, 1, 0.6],
      crosshairWidth: 0.2, // voxels: what is drawn is seen beside it
      logLevel: "error",
    });
    this.grid = null;
    this.niivue.onLocationChange = ({ vox }) => moved(vox);
  }

  async attach(canvas) {
    await this.niivue.attachToCanvas(canvas);
    this.niivue.setDrawColormap(COLOURS);
    this.niivue.setDrawOpacity(0.5);
  }

  /** Called when a stroke of the pen has ended. */
  set drawn(told) {
    this.niivue.onDrawingChanged = told;
  }

  /** Show an image; whatever was shown before is gone. */
  async show(file) {
    const image = await NVImage.new(file, "image.nii.gz", "gray", 1);
    this.draw(null);
    this.niivue.closeDrawing();
    while (this.niivue.volumes.length) this.niivue.removeVolume(this.niivue.volumes[0]);
    this.niivue.addVolume(image);
    this.grid = new Grid(image.hdr.dims.slice(1, 4), image.permRAS);
  }

  view(name) {
    this.niivue.setSliceType(VIEWS[name]);
  }

  /** @param {"pen" | "eraser" | null} tool */
  draw(tool, filled = true, size = 1) {
    this.niivue.opts.penSize = size;
    this.niivue.setPenValue(tool === "eraser" ? 0 : IS, filled);
    this.niivue.setDrawingEnabled(tool !== null);
  }

  undoStroke() {
    this.niivue.drawUndo();
  }

  /** The segmentation as it is drawn, in the image's order: 0 and 1. */
  get mask() {
    return this.grid.toImage(this.niivue.drawBitmap.map((value) => (value === IS ? 1 : 0)));
  }

  /** Show a segmentation. */
  set mask(mask) {
    this._show(mask);
  }

  /** Show what would come to a segmentation, and what would leave it. */
  compare(before, after) {
    this._show(before.map((was, voxel) => (was ? (after[voxel] ? IS : LEAVES) : after[voxel] ? COMES : 0)));
  }

  /** Move the crosshair into a mask: to the slice of each plane that holds most of it. */
  lookAt(mask) {
    const counts = this.grid.size.map((size) => new Uint32Array(size));
    const [sx, sy] = this.grid.size;
    this.grid.toDrawing(mask).forEach((value, at) => {
      if (!value) return;
      counts[0][at % sx]++;
      counts[1][Math.floor(at / sx) % sy]++;
      counts[2][Math.floor(at / (sx * sy))]++;
    });
    if (!mask.includes(1)) return;
    const most = counts.map((axis) => axis.indexOf(Math.max(...axis)));
    this.niivue.scene.crosshairPos = this.niivue.vox2frac(most);
    this.niivue.createOnLocationChange();
    this.niivue.drawScene();
  }

  _show(values) {
    if (!this.niivue.drawBitmap) this.niivue.createEmptyDrawing();
    this.niivue.drawBitmap.set(this.grid.toDrawing(values));
    this.niivue.drawClearAllUndoBitmaps();
    this.niivue.drawAddUndoBitmap();
    this.niivue.refreshDrawing(true);
  }
}
