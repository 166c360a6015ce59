// Drawings, and never images, in the browser's own storage: only after a tick.

const PREFIX = "context-propagation drawings of ";

const nameOf = (work) => `${PREFIX}${work.image} ${work.model.bundle} ${work.model.label ?? ""}`;

/** What was kept of the same image and model: `{done, undone, drawn}`, or null. */
export function keptOf(work) {
  try {
    return JSON.parse(localStorage.getItem(nameOf(work)));
  } catch {
    return null;
  }
}

/**
 * @param {object | null} drawn The segmentation with what was drawn since the last step, packed.
 * @returns {boolean} Whether there was room.
 */
export function keep(work, drawn) {
  try {
    localStorage.setItem(nameOf(work), JSON.stringify({ done: work.done, undone: work.undone, drawn }));
    return true;
  } catch {
    return false;
  }
}

/** Forget all that is kept, of any image. */
export function forgetAll() {
  for (const name of Object.keys(localStorage)) if (name.startsWith(PREFIX)) localStorage.removeItem(name);
}
