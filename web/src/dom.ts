/** Elements without markup: texts only ever become text nodes. */

type Child = Node | string | undefined | false;

/** Makes an element. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child): child is Node | string => Boolean(child)));
  return element;
}

/** Returns the element of an id, of a given type. */
export function find<T extends HTMLElement>(id: string, type: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`The page has no ${id}.`);
  return element;
}

/** A list of names and values. */
export function facts(rows: [string, Node | string][]): HTMLDListElement {
  const list = make("dl");
  for (const [name, value] of rows) list.append(make("dt", {}, name), make("dd", {}, value));
  return list;
}

/** A name that may break after each underscore. */
export function breakable(name: string): Child[] {
  return joined(name.split(/(?<=_)/));
}

const SHORT = 16; // letters that fit a table's column on a phone

/** A file's name that may break behind separators and within long words, but not within its ending. */
export function breakableFile(name: string): Child[] {
  if (name.length <= SHORT) return [name];
  const [, stem = name, ending] = /^(.*?)([^_\-\s.]{1,4}\.\w{1,5})?$/s.exec(name) ?? [];
  const parts = stem.match(/[^_\-\s.]{1,14}[_\-\s.]*|[_\-\s.]+/g) ?? [];
  return joined(ending ? [...parts, ending] : parts);
}

function joined(parts: string[]): Child[] {
  return parts.flatMap((part, index) => (index ? [make("wbr"), part] : [part]));
}

/** A table with a header. A column whose name ends with a number sign is one of numbers. */
export function table(caption: string, columns: string[], rows: string[][]): HTMLTableElement {
  const numbers = columns.map((name) => name.endsWith("#"));
  const kind = (index: number): Record<string, string> => (numbers[index] ? { class: "number" } : {});
  const head = make("tr");
  columns.forEach((name, index) => {
    head.append(make("th", { scope: "col", ...kind(index) }, name.replace(/#$/, "")));
  });
  const body = make("tbody");
  for (const row of rows) {
    const line = make("tr");
    row.forEach((cell, index) => {
      line.append(
        index === 0
          ? make("th", { scope: "row" }, ...breakable(cell))
          : make("td", kind(index), cell),
      );
    });
    body.append(line);
  }
  return make(
    "table",
    {},
    make("caption", { class: "visually-hidden" }, caption),
    make("thead", {}, head),
    body,
  );
}

/** a, b and c */
export function listed(names: string[]): string {
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1) ?? ""}`;
}

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** 12,345 */
export function whole(value: number): string {
  return WHOLE.format(value);
}

/** 0.971 as 97.1%; what is nearly 0 or 1 never reads as certain. */
export function percent(share: number): string {
  if (!Number.isFinite(share)) return "unknown";
  if (share > 0 && share < 0.001) return "<\u00a00.1%";
  if (share < 1 && share > 0.999) return ">\u00a099.9%";
  return `${(100 * share).toFixed(1)}%`;
}
