// Masks as they travel: the bits of the box around them, compressed, in base 64. The server calls it BoxedMask.

async function through(bytes, stream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

function base64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

export function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function boxAround(mask, [, rows, columns]) {
  const low = [Infinity, Infinity, Infinity];
  const high = [-1, -1, -1];
  for (let at = mask.indexOf(1); at >= 0; at = mask.indexOf(1, at + 1)) {
    const place = [Math.floor(at / (rows * columns)), Math.floor(at / columns) % rows, at % columns];
    for (let axis = 0; axis < 3; axis++) {
      low[axis] = Math.min(low[axis], place[axis]);
      high[axis] = Math.max(high[axis], place[axis]);
    }
  }
  return high[0] < 0 ? [[0, 0], [0, 0], [0, 0]] : low.map((start, axis) => [start, high[axis] + 1]);
}

/** Call `visit(bit of the box, voxel of the mask)` for each voxel of a box. */
function forEachIn(box, [, rows, columns], visit) {
  let bit = 0;
  for (let k = box[0][0]; k < box[0][1]; k++)
    for (let j = box[1][0]; j < box[1][1]; j++)
      for (let i = box[2][0]; i < box[2][1]; i++) visit(bit++, (k * rows + j) * columns + i);
}

/**
 * @param {Uint8Array} mask 0 and 1, k slowest.
 * @param {number[]} shape k, j, i.
 */
export async function packed(mask, shape) {
  const box = boxAround(mask, shape);
  const count = box.reduce((product, [start, stop]) => product * (stop - start), 1);
  const bits = new Uint8Array(Math.ceil(count / 8));
  forEachIn(box, shape, (bit, voxel) => {
    if (mask[voxel]) bits[bit >> 3] |= 128 >> (bit & 7);
  });
  return { shape, box, bits: base64(await through(bits, new CompressionStream("deflate"))) };
}

/** What `packed` gave, or the server. */
export async function unpacked(plain) {
  const mask = new Uint8Array(plain.shape.reduce((product, side) => product * side, 1));
  const bits = await through(bytesOf(plain.bits), new DecompressionStream("deflate"));
  forEachIn(plain.box, plain.shape, (bit, voxel) => {
    if (bits[bit >> 3] & (128 >> (bit & 7))) mask[voxel] = 1;
  });
  return mask;
}
