// Builds the page. `node build.mjs` writes to ../kerascxr/serving/web_page, which is committed;
// `node build.mjs --to FOLDER` elsewhere; `node build.mjs --tests` builds the unit tests.
import { build } from "esbuild";
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [, , option, folder] = process.argv;
const shared = {
  absWorkingDir: here,
  bundle: true,
  format: "esm",
  target: "es2022",
  logLevel: "warning",
  legalComments: "none",
  charset: "utf8",
  // The runtime's own loader comes from ort/, beside its WebAssembly.
  conditions: ["onnxruntime-web-use-extern-wasm"],
};

if (option === "--tests") {
  const tests = (await readdir(join(here, "test"))).filter((name) => name.endsWith(".test.ts"));
  await rm(join(here, "build"), { recursive: true, force: true });
  await build({
    ...shared,
    platform: "node",
    entryPoints: tests.map((name) => `test/${name}`),
    outdir: "build",
    outExtension: { ".js": ".mjs" },
  });
} else {
  const to = option === "--to" && folder ? folder : join(here, "../kerascxr/serving/web_page");
  await rm(to, { recursive: true, force: true });
  await mkdir(to, { recursive: true });
  const { metafile } = await build({
    ...shared,
    platform: "browser",
    alias: { zlib: "./src/no_zlib.ts" },
    entryPoints: { app: "src/main.ts", worker: "src/worker.ts", sw: "src/sw.ts" },
    outdir: to,
    metafile: true,
  });
  for (const name of await readdir(join(here, "static"))) {
    await copyFile(join(here, "static", name), join(to, name));
  }
  await writeFile(join(to, "licences.txt"), await licences(metafile));
}

/** The licences of the packages of which something is in the page, and of the runtime beside it. */
async function licences(metafile) {
  const names = new Set(["onnxruntime-web"]);
  for (const path of Object.keys(metafile.inputs)) {
    const match = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path);
    if (match) names.add(match[1]);
  }
  const parts = ["This page contains parts of the packages below.\n"];
  for (const name of [...names].sort()) {
    const root = join(here, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
    const own = (await readdir(root)).find((file) => /^licen[cs]e/i.test(file));
    const text = own
      ? await readFile(join(root, own), "utf8")
      : await readFile(join(here, "licences", `${name}.txt`), "utf8");
    parts.push(`${"-".repeat(72)}\n${name} ${version} (${license})\n\n${text.trim()}\n`);
  }
  return parts.join("\n");
}
