// The peer of serve.py: llama.cpp by node-llama-cpp, as many sequences together as it is asked for.
//
//     node serve_peer.mjs FOLDER MODEL.gguf < {"prompts": […], "tokens": n, "streams": […], "threads": n}
//
// FOLDER is where `npm install node-llama-cpp` was run. Prints one JSON object: of each number of streams the tokens a
// second while all of them are written, by the clock and by processor time.

import {readFileSync} from "node:fs";
import {join, resolve} from "node:path";
import {pathToFileURL} from "node:url";

const [folder, path] = process.argv.slice(2);
const {prompts, tokens, streams, threads} = JSON.parse(readFileSync(0, "utf8"));
const {getLlama} = await import(pathToFileURL(resolve(folder, "node_modules/node-llama-cpp/dist/index.js")));
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, maxThreads: threads, logLevel: "error"});
const model = await llama.loadModel({modelPath: path});

const processorSeconds = () => {
    const {user, system} = process.cpuUsage();
    return (user + system) / 1e6;
};

async function speeds(count) {
    const longest = prompts[0].length + tokens + 1;
    const context = await model.createContext({
        sequences: count, contextSize: longest, batchSize: Math.max(count, longest), threads
    });
    const written = Array(count).fill(0);
    let begun = null, ended = null;
    async function write(number) {
        const sequence = context.getSequence();
        for await (const _ of sequence.evaluate(prompts[number], {temperature: 0, yieldEogToken: true})) {
            written[number]++;
            const all = written.reduce((sum, one) => sum + one);
            if (begun === null && written.every(one => one > 0))
                begun = [performance.now() / 1e3, processorSeconds(), all];
            if (written[number] === tokens) {
                ended ??= [performance.now() / 1e3, processorSeconds(), all];
                break;
            }
        }
    }
    await Promise.all(Array.from({length: count}, (_, number) => write(number)));
    await context.dispose();
    const [seconds, processor, made] = ended.map((value, place) => value - begun[place]);
    return {
        tokens_per_second: Math.round(100 * made / seconds) / 100,
        tokens_per_processor_second: Math.round(100 * made / processor) / 100
    };
}

await speeds(1); // what is done once only
const found = {};
for (const count of streams) found[count] = await speeds(count);
const {version} = JSON.parse(readFileSync(join(folder, "node_modules/node-llama-cpp/package.json"), "utf8"));
console.log(JSON.stringify({what: `node-llama-cpp ${version}`, streams: found}));
process.exit(0);
