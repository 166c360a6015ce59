// Where a voxel of the image lies in NiiVue's drawing: NiiVue draws on the image's axes, reordered and flipped so that
// they run to the right, to anterior and to superior as nearly as they can. The server knows the image's own order alone.

/** Array axes of the image: slices of a plane are stacked along one of them. 0 is k, 1 is j, 2 is i. */
const PLANES = ["sagittal", "coronal", "axial"];

export class Grid {
  /**
   * @param {number[]} dims Voxels of the image along i, j, k.
   * @param {number[]} permRAS NiiVue's: for x, y, z of the drawing, the image axis (1: i, 2: j, 3: k); negative where it is flipped.
   */
  constructor(dims, permRAS) {
    const steps = [1, dims[0], dims[0] * dims[1]];
    this.dims = dims;
    this.axes = permRAS.map((axis) => Math.abs(axis) - 1);
    this.size = this.axes.map((axis) => dims[axis]);
    this.step = permRAS.map((axis, x) => Math.sign(axis) * steps[this.axes[x]]);
    this.start = permRAS.reduce((sum, axis, x) => sum + (axis < 0 ? (this.size[x] - 1) * steps[this.axes[x]] : 0), 0);
    this.flipped = permRAS.map((axis) => axis < 0);
  }

  /** Shape of the image as the server has it: k, j, i. */
  get shape() {
    return [...this.dims].reverse();
  }

  /** Call `visit(voxel of the drawing, voxel of the image)` for each, in the drawing's order. */
  forEach(visit) {
    const [sx, sy, sz] = this.size;
    const [dx, dy, dz] = this.step;
    let drawing = 0;
    for (let z = 0; z < sz; z++) {
      for (let y = 0; y < sy; y++) {
        let image = this.start + y * dy + z * dz;
        for (let x = 0; x < sx; x++, image += dx) visit(drawing++, image);
      }
    }
  }

  /** Values of the image's voxels, in the drawing's order. */
  toDrawing(image) {
    const drawing = new Uint8Array(image.length);
    this.forEach((d, v) => (drawing[d] = image[v]));
    return drawing;
  }

  /** Values of the drawing's voxels, in the image's order: k slowest, i fastest. */
  toImage(drawing) {
    const image = new Uint8Array(drawing.length);
    this.forEach((d, v) => (image[v] = drawing[d]));
    return image;
  }

  /** The array axis of the image along which slices of a plane are stacked. */
  axisOfPlane(plane) {
    return 2 - this.axes[PLANES.indexOf(plane)];
  }

  /** The number that the server gives to a plane's slice at a place of the drawing (x, y, z). */
  sliceOfPlane(plane, xyz) {
    const at = PLANES.indexOf(plane);
    return this.flipped[at] ? this.size[at] - 1 - xyz[at] : xyz[at];
  }
}
