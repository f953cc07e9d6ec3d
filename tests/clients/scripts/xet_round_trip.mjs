// Get files through Xet, whole and in part, then perhaps put one up and get it back; what their bytes are. Prints JSON.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const plan = JSON.parse(process.argv[2]);
const found = createRequire(join(plan.modules, "package.json")).resolve("@huggingface/hub");
const hub = await import(pathToFileURL(found));

const common = { hubUrl: process.env.HF_ENDPOINT, xet: true };
const told = {};
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const bytesOf = async (blob) => new Uint8Array(await blob.arrayBuffer());

for (const [repo, path] of plan.get ?? []) {
	const blob = await hub.downloadFile({ ...common, repo, path });
	told[`${repo} ${path}`] = [blob.constructor.name, sha256(await bytesOf(blob))];
	if (blob.size > 2000000) told[`${repo} ${path} part`] = sha256(await bytesOf(blob.slice(1000000, 1300000)));
}
if (plan.put) {
	const { repo, path, from } = plan.put;
	const credentials = { accessToken: process.env.HF_TOKEN };
	await hub.createRepo({ ...common, ...credentials, repo }).catch((error) => {
		if (error.statusCode !== 409) throw error;
	});
	const content = new Blob([await readFile(from)]);
	await hub.uploadFiles({ ...common, ...credentials, repo, files: [{ path, content }], useXet: true });
	told.back = sha256(await bytesOf(await hub.downloadFile({ ...common, repo, path })));
}
console.log(JSON.stringify(told));
