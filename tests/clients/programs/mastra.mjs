// Mastra with zod 3: its MCP client makes tools with zod schemas, which check and change the arguments.
import { readFileSync } from "node:fs";
import { MCPClient } from "@mastra/mcp";

const given = JSON.parse(readFileSync(0, "utf8"));
const client = new MCPClient({ servers: { dynamic: { command: given.command, args: given.args } } });
const tools = await client.getTools();
const results = [];
for (const [name, args] of given.steps) {
  const tool = tools[`dynamic_${name}`];
  let result;
  try {
    result = await tool.execute({ context: args });
  } catch (error) {
    result = { text: error.message };
  }
  results.push(result.content ? result.content.map((block) => block.text).join("") : JSON.stringify(result));
}
const note = (await client.resources.read("dynamic", given.note)).contents[0].text;
const [first] = (await client.prompts.list()).dynamic;
const prompt = (await client.prompts.get({ serverName: "dynamic", name: first.name })).messages[0].content.text;
console.log(JSON.stringify({ tools: Object.keys(tools), results, note, prompt }));
await client.disconnect();
