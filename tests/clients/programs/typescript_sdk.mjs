// The official TypeScript SDK: its client makes the calls itself.
import { readFileSync } from "node:fs";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const given = JSON.parse(readFileSync(0, "utf8"));
const client = new Client({ name: "typescript-sdk", version: "1.0.0" });
await client.connect(new StdioClientTransport({ command: given.command, args: given.args }));
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const results = [];
for (const [name, args] of given.steps) {
  const result = await client.callTool({ name, arguments: args });
  results.push(result.content.map((block) => block.text).join(""));
}
const note = (await client.readResource({ uri: given.note })).contents[0].text;
const { prompts } = await client.listPrompts();
const prompt = (await client.getPrompt({ name: prompts[0].name })).messages[0].content.text;
console.log(JSON.stringify({ tools, results, note, prompt }));
await client.close();
