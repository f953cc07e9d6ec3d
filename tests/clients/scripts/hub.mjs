// What the JavaScript client reads: listings, facts, files by name and by range, a snapshot. Prints JSON.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const plan = JSON.parse(process.argv[2]);
const found = createRequire(join(plan.modules, "package.json")).resolve("@huggingface/hub");
const hub = await import(pathToFileURL(found));

const hubUrl = process.env.HF_ENDPOINT;
const credentials = plan.token ? { accessToken: plan.token } : {};
const common = { hubUrl, ...credentials };
const answers = {};
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

async function ask(name, call) {
	try {
		answers[name] = { gave: (await call()) ?? null };
	} catch (error) {
		answers[name] = { raised: error.constructor.name, status: error.statusCode ?? null, message: error.message };
	}
}

async function all(cursor) {
	const items = [];
	for await (const item of cursor) items.push(item);
	return items;
}

async function bytesOf(repo, path, revision) {
	const blob = await hub.downloadFile({ ...common, repo, path, revision });
	return blob && new Uint8Array(await blob.arrayBuffer());
}

for (const [name, { repo, path, revision }] of Object.entries(plan.files)) {
	await ask(`file ${name}`, async () => {
		const bytes = await bytesOf(repo, path, revision);
		return bytes && sha256(bytes);
	});
	await ask(`info ${name}`, async () => {
		const info = await hub.fileDownloadInfo({ ...common, repo, path, revision });
		return info && { size: info.size, etag: info.etag, xet: info.xet !== undefined };
	});
}
await ask("part", async () => {
	const blob = await hub.downloadFile({ ...common, repo: plan.large.repo, path: plan.large.path });
	return sha256(new Uint8Array(await blob.slice(1000000, 1300000).arrayBuffer()));
});
const listed = ({ path, type, size, oid, lfs }) => ({ path, type, size, oid, lfs: lfs?.oid ?? null });
for (const [name, { repo, revision, path }] of Object.entries(plan.listings)) {
	await ask(`list ${name}`, async () =>
		(await all(hub.listFiles({ ...common, repo, revision, path, recursive: true }))).map(listed),
	);
}
await ask("many", async () => (await all(hub.listFiles({ ...common, repo: plan.many, recursive: true }))).length);
await ask("paths", async () =>
	(await hub.pathsInfo({ ...common, repo: plan.large.repo, paths: ["config.json", "onnx", "not/there"] })).map(listed),
);
await ask("model", async () => {
	const info = await hub.modelInfo({ ...common, name: plan.large.repo, additionalFields: ["sha", "tags"] });
	return { name: info.name, sha: info.sha, tags: info.tags, gated: info.gated, private: info.private };
});
await ask("dataset", async () => (await hub.datasetInfo({ ...common, name: "acme/rows" })).name);
await ask("space", async () => (await hub.spaceInfo({ ...common, name: "acme/demo" })).sdk);
await ask("models", async () => (await all(hub.listModels({ ...common, search: { owner: "acme" } }))).map((m) => m.name));
await ask("datasets", async () => (await all(hub.listDatasets(common))).map((d) => d.name));
await ask("spaces", async () => (await all(hub.listSpaces(common))).map((s) => s.name));
await ask("commits", async () => (await all(hub.listCommits({ ...common, repo: plan.large.repo }))).map((c) => c.oid));
await ask("count", () => hub.countCommits({ ...common, repo: plan.large.repo }));
await ask("exists", () => hub.fileExists({ ...common, repo: plan.large.repo, path: "config.json" }));
await ask("exists not", () => hub.fileExists({ ...common, repo: plan.large.repo, path: "absent.json" }));
await ask("repo exists", () => hub.repoExists({ ...common, repo: plan.large.repo }));
await ask("repo exists not", () => hub.repoExists({ ...common, repo: "acme/absent" }));
await ask("access", () => hub.checkRepoAccess({ ...common, repo: plan.large.repo }));
await ask("access gated", () => bytesOf("acme/gated-auto", "config.json"));
if (plan.token) await ask("whoami", async () => (await hub.whoAmI(common)).name);
await ask("snapshot", async () => {
	const cacheDir = join(process.env.HOME, "cache");
	const folder = await hub.snapshotDownload({ ...common, repo: plan.snapshot, cacheDir });
	const names = (await all(hub.listFiles({ ...common, repo: plan.snapshot, recursive: true })))
		.filter((entry) => entry.type === "file")
		.map((entry) => entry.path);
	return Object.fromEntries(
		await Promise.all(names.map(async (name) => [name, sha256(await readFile(join(folder, name)))])),
	);
});
console.log(JSON.stringify(answers));
