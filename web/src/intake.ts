/** Files from the button, from a drop (folders too) and from the clipboard. */

import { find, whole } from "./dom.ts";

export interface Given {
  name: string;
  /** Undefined for what cannot be read, whatever it is. */
  file: File | undefined;
  /** Why not: what follows the name. */
  problem?: string;
}

const MOST = 2000; // of the folders of one drop
const UNOPENED = "cannot be opened";

/** Calls back with files, whichever way they come. */
export function takeFiles(take: (files: Given[]) => void): void {
  const input = find("files", HTMLInputElement);
  for (const id of ["choose", "add"]) {
    find(id, HTMLButtonElement).addEventListener("click", () => input.click());
  }
  input.addEventListener("change", () => {
    take(Array.from(input.files ?? [], (file) => ({ name: file.name, file })));
    input.value = ""; // the same file may be chosen again
  });
  document.addEventListener("paste", (event) => {
    const files = Array.from(event.clipboardData?.files ?? []);
    if (!files.length) return;
    event.preventDefault();
    take(files.map((file) => ({ name: file.name || "pasted image", file })));
  });
  takeDrops(take);
}

function takeDrops(take: (files: Given[]) => void): void {
  const veil = find("dropping", HTMLElement);
  let depth = 0;
  const holdsFiles = (event: DragEvent): boolean =>
    Boolean(event.dataTransfer?.types.includes("Files"));
  const show = (change: number): void => {
    depth = Math.max(0, depth + change);
    veil.hidden = depth === 0;
  };
  document.addEventListener("dragenter", (event) => {
    if (holdsFiles(event)) show(1);
  });
  document.addEventListener("dragleave", (event) => {
    if (holdsFiles(event)) show(-1);
  });
  document.addEventListener("dragover", (event) => {
    if (holdsFiles(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault(); // or the browser would leave the page for the file
    show(-depth);
    if (event.dataTransfer) void dropped(event.dataTransfer).then(take);
  });
}

async function dropped(transfer: DataTransfer): Promise<Given[]> {
  // Entries are only there until the first await.
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry());
  const files = Array.from(transfer.files, (file) => ({ name: file.name, file }));
  if (!entries.some((entry) => entry?.isDirectory)) return files;
  const found: Given[] = [];
  for (const entry of entries) {
    if (!entry) continue;
    const left = await collect(entry, found);
    if (!left) continue;
    const problem = `holds ${whole(left)} more files than the ${whole(MOST)} that one drop takes, which are left out`;
    found.push({ name: entry.name, file: undefined, problem });
  }
  return found;
}

/** Adds the files of an entry, and returns how many are more than a drop takes. */
async function collect(entry: FileSystemEntry, found: Given[]): Promise<number> {
  if (entry.name.startsWith(".")) return 0;
  const name = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) {
    if (found.length >= MOST) return 1;
    const file = await new Promise<File>((resolve, reject) => {
      (entry as FileSystemFileEntry).file(resolve, reject);
    }).catch(() => undefined);
    found.push(file ? { name, file } : { name, file, problem: UNOPENED });
    return 0;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  let left = 0;
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => {
      reader.readEntries(resolve, reject);
    }).catch(() => undefined);
    if (!some) found.push({ name, file: undefined, problem: UNOPENED });
    if (!some?.length) return left;
    some.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
    for (const child of some) left += await collect(child, found);
  }
}
