// Build the page into the package: node build.mjs FOLDER. What is bundled is listed with its licence, or the build fails.

import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const OWN = `This page is built of Context Propagation, under the licence that follows, and of the packages below it.

${readFileSync("../LICENSE", "utf8").trim()}`;

/** The packages among esbuild's inputs, such as node_modules/@niivue/niivue/build/index.js. */
function packagesOf(inputs) {
  const found = inputs.map((path) => path.match(/^node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1]);
  return [...new Set(found.filter(Boolean))].sort();
}

function licenceOf(name) {
  const folder = join("node_modules", name);
  const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const own = join("licences", `${name.replace("/", "+")}.txt`); // of those that come without theirs
  const file = existsSync(own) ? own : readdirSync(folder).filter((one) => /^licen[cs]e/i.test(one)).map((one) => join(folder, one))[0];
  if (!file) throw new Error(`'${name}' comes without its licence; put the text into page/${own}`);
  return `${name} ${about.version} (${about.license})\n\n${readFileSync(file, "utf8").trim()}`;
}

const target = process.argv[2];
rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
const { metafile } = await build({
  entryPoints: ["src/page.js"], outdir: target, bundle: true, format: "esm", minify: true, metafile: true, target: "es2022", legalComments: "none",
});
for (const file of ["index.html", "style.css"]) copyFileSync(join("src", file), join(target, file));
const packages = packagesOf(Object.keys(metafile.inputs));
const line = `\n\n${"-".repeat(80)}\n\n`;
writeFileSync(join(target, "licences.txt"), `${[OWN, ...packages.map(licenceOf)].join(line)}\n`);
console.log(`The page is built: ${packages.length} packages in it`);
